"""A command touches only what it made: folders of others, changed inputs, two writers, full disks, and what killed processes leave."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from made import fill, make_collection, tree

from syntype.adaptation import AdaptConfig, adapt
from syntype.apps.cli import main
from syntype.collection import Collection
from syntype.errors import CollectionError, DiskError, InputError
from syntype.files import atomic_write, disk_problem, inside, sweep_temporary, write_json
from syntype.generators import TrainConfig, load_generator, train
from syntype.ownership import FolderLock, discard_run, run_status
from syntype.recipe import Settings
from syntype.run import Run
from syntype.synthesis import GenerateConfig, generate


class Plain(Settings):
    size: int = 1
    note: str = ""
    may_change = frozenset({"note"})


@pytest.fixture(scope="module")
def reef(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    return make_collection(tmp_path_factory.mktemp("reef") / "reef", {"Aus primus": 8, "Aus secundus": 6, "Bus tertius": 5}, size=32)


@pytest.fixture(scope="module")
def generator(reef: Collection, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("generator") / "generator"
    train(reef, TrainConfig(family="collage", size=32, steps=1), out)
    return out


# Folders of others


@pytest.mark.parametrize("command", ["generate", "train", "adapt", "study", "vary", "inpaint", "blend"])
def test_no_command_goes_on_in_a_collection_of_photographs(
    command: str, reef: Collection, generator: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photographs = tmp_path / "photographs"
    shutil.copytree(reef.root, photographs)
    before, name = tree(photographs), reef.species[0]
    source = {
        "generate": [str(generator), "--num", "1"],
        "train": ["collage", str(reef.root), "--steps", "1"],
        "adapt": [str(generator), str(reef.root), "--species", name],
        "study": [str(reef.root), "--generator", "collage"],
        "vary": [str(generator), str(reef.root)],
        "inpaint": [str(generator), str(reef.root), "--box", "0", "0", "0.5", "0.5"],
        "blend": [str(generator), "--species", name],
    }[command]
    assert main([command, *source, "--out", str(photographs), "--resume", "--quiet"]) == 2
    assert "Give --out a new folder" in capsys.readouterr().err
    assert tree(photographs) == before


def test_a_folder_without_a_run_is_refused_and_stays(reef: Collection, tmp_path: Path) -> None:
    own = tmp_path / "mine"
    own.mkdir()
    (own / "recipe.yaml").write_text("family: mine\n")
    for more in (["--resume"], []):
        assert main(["train", "collage", str(reef.root), "--steps", "1", "--out", str(own), "--recipe", str(own / "recipe.yaml"), *more]) == 2
        assert tree(own) == {"recipe.yaml": b"family: mine\n"}


def test_the_demo_deletes_nothing_that_it_did_not_make(reef: Collection, tmp_path: Path) -> None:
    photographs = tmp_path / "demo/1-photographs"
    shutil.copytree(reef.root, photographs)
    before = tree(photographs)
    assert main(["demo", "--out", str(tmp_path / "demo"), "--quiet"]) == 2
    assert tree(photographs) == before


def test_an_error_in_the_input_leaves_no_new_folder(reef: Collection, tmp_path: Path) -> None:
    assert main(["classify", "train", str(reef.root), "--loss", "magic", "--out", str(tmp_path / "new"), "--quiet"]) == 2
    assert not (tmp_path / "new").exists()
    (tmp_path / "empty").mkdir()
    assert main(["classify", "train", str(reef.root), "--loss", "magic", "--out", str(tmp_path / "empty"), "--quiet"]) == 2
    assert tree(tmp_path / "empty") == {}


def test_an_unfinished_run_is_discarded_by_its_own_stage_only(tmp_path: Path) -> None:
    Run.start(tmp_path / "run", "curate", Plain(), seed=0).finish("failed")
    for stage, run_id in (("collect", None), ("curate", "another")):
        with pytest.raises(InputError, match="did not make"):
            discard_run(tmp_path / "run", stage, run_id)
    discard_run(tmp_path / "run", "curate")
    assert not (tmp_path / "run").exists()
    discard_run(tmp_path / "run", "curate")


# Inputs and settings that have changed


def test_a_run_goes_on_only_with_the_same_stage_settings_and_run_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "run"
    Run.start(out, "train", Plain(size=2), seed=0).finish("interrupted")
    with pytest.raises(InputError, match=r"made by the stage 'train', not by 'adapt'"):
        Run.start(out, "adapt", Plain(size=2), seed=0, resume=True)
    with pytest.raises(InputError, match=r"size: 2 before, 3 now"):
        Run.start(out, "train", Plain(size=3), seed=0, resume=True)
    monkeypatch.setenv("SYNTYPE_RUN_ID", "job-9")
    with pytest.raises(InputError, match="another run"):
        Run.start(out, "train", Plain(size=2), seed=0, resume=True)
    monkeypatch.delenv("SYNTYPE_RUN_ID")
    Run.start(out, "train", Plain(size=2, note="may change"), seed=0, resume=True).finish()
    assert len(json.loads((out / "run.json").read_text())["sessions"]) == 2


def with_splits(reef: Collection, folder: Path) -> Collection:
    """The same photographs, with test and training images exchanged."""
    shutil.copytree(reef.root, folder)
    split = reef.table["split"].map({"train": "test", "test": "train", "val": "val"})
    return Collection.create(folder, reef.table.assign(split=split), species=reef.species)


def test_training_does_not_go_on_after_the_photographs_were_split_anew(reef: Collection, tmp_path: Path) -> None:
    tiny = {"size": 32, "batch_size": 2, "device": "cpu", "model": {"width": 4, "latent_dim": 4}}
    train(reef, TrainConfig(family="dcgan", steps=1, **tiny), tmp_path / "out")
    learnt = load_generator(tmp_path / "out").trained_on
    other = with_splits(reef, tmp_path / "other")
    with pytest.raises(InputError, match="another collection: its images, splits"):
        train(other, TrainConfig(family="dcgan", steps=2, **tiny), tmp_path / "out")
    with pytest.raises(InputError, match="images"):  # nor without the record of the run
        train(other, TrainConfig(family="dcgan", steps=2, **tiny), tmp_path / "out", Run.silent())
    assert load_generator(tmp_path / "out").trained_on == learnt == set(reef.training().table["sha256"])


def test_a_moved_collection_is_the_same_one(reef: Collection, tmp_path: Path) -> None:
    shutil.copytree(reef.root, tmp_path / "first")
    train(Collection.open(tmp_path / "first"), TrainConfig(family="collage", size=32, steps=1), tmp_path / "out")
    (tmp_path / "first").rename(tmp_path / "second")
    assert train(Collection.open(tmp_path / "second"), TrainConfig(family="collage", size=32, steps=1), tmp_path / "out").status == "finished"


@pytest.mark.parametrize("column", ["sha256", "species", "group", "split", "box", "verdict"])
def test_the_fingerprint_of_a_collection_changes_with_its_content(column: str, reef: Collection) -> None:
    changed = reef.table.copy()
    changed.loc[0, column] = {"species": reef.species[-1], "split": "val", "verdict": "refused", "box": "[0, 0, 4, 4]"}.get(column, "other")
    assert Collection(reef.root, changed, reef.species).fingerprint != reef.fingerprint
    shuffled = reef.table.sample(frac=1, random_state=0).reset_index(drop=True)
    assert Collection(Path("elsewhere"), shuffled, reef.species).fingerprint == reef.fingerprint


def test_changed_weights_are_not_loaded(generator: Path, reef: Collection, tmp_path: Path) -> None:
    tiny = {"size": 32, "batch_size": 2, "device": "cpu", "model": {"width": 4, "latent_dim": 4, "embedding_dim": 4}}
    base, out = tmp_path / "base", tmp_path / "adapted"
    train(reef, TrainConfig(family="fastgan", steps=1, except_=(reef.species[0],), **tiny), base)
    adapt(load_generator(base), reef, AdaptConfig(species=reef.species[0], steps=1, batch_size=2, shots=2), out)
    load_generator(out)
    for path, folder in ((out / "adapters/0000.safetensors", out), (base / "weights.safetensors", base)):
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
        with pytest.raises(CollectionError, match="has changed since it was written"):
            load_generator(folder)
    info = json.loads((out / "generator.json").read_text())
    info["adapters"][0]["file"] = "../../stolen.safetensors"
    write_json(out / "generator.json", info)
    with pytest.raises((InputError, CollectionError), match=r"outside|changed"):
        load_generator(out)


# One writer


def test_a_second_writer_is_refused_until_the_first_ends(tmp_path: Path) -> None:
    first = Run.start(tmp_path / "run", "train", Plain(), seed=0)
    for resume in (True, False):
        with pytest.raises(InputError, match=rf"being written to by another command \(process {os.getpid()}"):
            Run.start(tmp_path / "run", "train", Plain(), seed=0, resume=resume)
    assert run_status(tmp_path / "run") == "running"
    first.finish()
    assert run_status(tmp_path / "run") == "finished" and not (tmp_path / "run/.lock").exists()
    Run.start(tmp_path / "run", "train", Plain(), seed=0, resume=True).finish()


def test_the_lock_of_a_killed_process_does_not_last(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from syntype.recipe import Settings; from syntype.run import Run;"
        "run = Run.start(Path(sys.argv[1]), 'train', Settings(), seed=0, resume=True); print('started', flush=True); time.sleep(60)"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "run")], stdout=subprocess.PIPE)
    assert child.stdout is not None and child.stdout.readline() == b"started\n"
    with pytest.raises(InputError, match=rf"process {child.pid}"):
        FolderLock(tmp_path / "run")
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    assert run_status(tmp_path / "run") == "killed"
    (tmp_path / f"run/half.{child.pid}-1.tmp").write_text("half")
    (tmp_path / "run/progress.jsonl").write_text('{"event": "a"}\n{"event": "b')
    with Run.start(tmp_path / "run", "train", Settings(), seed=0, resume=True) as run:
        run.event("c")
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"run.json", "recipe.yaml", "progress.jsonl"}
    assert json.loads((tmp_path / "run/progress.jsonl").read_text().splitlines()[-1])["event"] == "c"


def test_temporary_files_of_living_processes_and_of_users_stay(tmp_path: Path) -> None:
    stay = {f"a.{os.getpid()}-1.tmp", "my.tmp", "notes.2024-1.tmp.txt", "a.999999999-1@other-node.tmp"}
    for name in (*stay, "a.999999999-1.tmp", "old.999999999-1@other-node.tmp"):
        (tmp_path / name).write_text("")
    os.utime(tmp_path / "old.999999999-1@other-node.tmp", (0, 0))
    sweep_temporary(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == stay


# Names from tables


@pytest.mark.parametrize("name", ["/etc/passwd", "../x", "a/../../x", "..\\x", "C:\\x", "C:x", "\\\\server\\share\\x", "", ".", "a\0b"])
def test_a_name_that_leaves_its_folder_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="outside this folder"):
        inside(tmp_path, name)


@pytest.mark.parametrize("name", ["a.png", "images/..a.png", "images/a..b.png", "Ünïcode/a b.png"])
def test_a_name_within_its_folder_is_taken(name: str, tmp_path: Path) -> None:
    assert inside(tmp_path, name) == tmp_path / name


# Disks


@pytest.mark.parametrize("error", [
    OSError(28, "No space left on device"), RuntimeError("I/O error: No space left on device (os error 28)"), OSError(30, "Read-only file system"),
    PermissionError(13, "Permission denied"), Exception("[Errno 30] Read-only file system"),
])  # fmt: skip
def test_an_error_of_the_disk_is_one_sentence(error: Exception, tmp_path: Path) -> None:
    with pytest.raises(DiskError, match=r"file: cannot be .*(full|read-only|permission)"), atomic_write(tmp_path / "file"):
        raise error
    assert disk_problem(ValueError("bad"), tmp_path) is None and disk_problem(OSError(2, "No such file"), tmp_path) is None


def test_a_full_disk_is_named_and_recorded_and_the_run_can_go_on(generator: Path, small_disk: Path) -> None:
    drawn, config = load_generator(generator), GenerateConfig(num=40)
    whole = generate(drawn, config, small_disk.parent / "whole").collection.table
    out = small_disk / "out"
    with pytest.raises(DiskError, match="the disk is full"):
        (small_disk / "large").write_bytes(b"0" * 1_900_000)
        generate(drawn, config, out)
    assert json.loads((out / "run.json").read_text())["status"] == "failed"
    (small_disk / "large").unlink()
    assert generate(drawn, config, out).collection.table.equals(whole)
    assert not list(out.rglob("*.tmp"))


def test_a_full_disk_does_not_hide_the_cause(small_disk: Path) -> None:
    with pytest.raises(ValueError, match="the cause"), Run.start(small_disk / "run", "train", Plain(), seed=0):
        fill(small_disk)
        raise ValueError("the cause")
    assert json.loads((small_disk / "run/run.json").read_text())["status"] == "failed"


@pytest.mark.parametrize("free", [1, 2, 3, 4])
def test_a_disk_that_is_full_while_a_run_starts_leaves_no_run_that_seems_to_go_on(small_disk: Path, free: int) -> None:
    (small_disk / "room").write_bytes(b"0" * 4096 * free)
    fill(small_disk)
    (small_disk / "room").unlink()
    try:
        with Run.start(small_disk / "run", "train", Plain(), seed=0):
            fill(small_disk)
            raise ValueError("the cause")
    except (DiskError, ValueError):
        pass
    record = small_disk / "run" / "run.json"
    assert not record.exists() or json.loads(record.read_text())["status"] == "failed"


def test_a_read_only_disk_is_named(reef: Collection, small_disk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    assert main(["export", str(reef.root), "--out", str(small_disk / "out")]) == 2
    assert "the disk is read-only" in capsys.readouterr().err


def test_a_larger_number_adds_images_and_keeps_what_experts_said(generator: Path, tmp_path: Path) -> None:
    drawn = load_generator(generator)
    first = generate(drawn, GenerateConfig(num=2), tmp_path / "out").collection
    Collection(first.root, first.table.assign(verdict=["refused", *[None] * (len(first) - 1)]), first.species, first.info).save()
    more = generate(drawn, GenerateConfig(num=3), tmp_path / "out").collection
    assert len(more) == 3 * len(first.species) and more.table["verdict"].notna().sum() == 1
    with pytest.raises(InputError, match="other images"):  # it would lose rows
        generate(drawn, GenerateConfig(num=1), tmp_path / "out")
    assert Collection.open(tmp_path / "out").table.equals(more.table)
    assert np.isin(first.table["image_id"], more.table["image_id"]).all()
