"""The command line as a user meets it: help, JSON, mistakes, and the whole route on a tiny reef."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from PIL import Image

from syntype.apps.cli import SECTIONS, cli, main
from syntype.apps.cli_common import Interrupted, run_stage, settings
from syntype.collection import Collection
from syntype.errors import SyntypeError
from syntype.identification import Speed
from syntype.recipe import Settings
from syntype.run import plain
from syntype.study import StudyConfig

REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "cli.md"


def commands(group: click.Group, prefix: str = "") -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", command


COMMANDS = dict(commands(cli))


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def call_json(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    code, out, err = call(capsys, *arguments, "--json")
    assert code == 0, err
    assert out.count("\n") == 1, "more than one line on standard output"
    return json.loads(out)


def is_one_clear_line(err: str) -> bool:
    return err.startswith("syntype: error: ") and err.count("\n") == 1 and "Traceback" not in err


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three species of 8, 6 and 4 noisy pictures, and a file that is no image."""
    root = tmp_path_factory.mktemp("photographs")
    random = np.random.default_rng([0, 1])
    for species, (count, colour) in {"Alpha one": (8, 60), "Beta two": (6, 120), "Gamma three": (4, 200)}.items():
        (root / species).mkdir()
        for i in range(count):
            pixels = np.clip(random.normal(colour, 60, (40, 48, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / species / f"{i}.png")
    (root / "Alpha one" / "broken.jpg").write_bytes(b"this is no picture")
    return root


@pytest.fixture(scope="module")
def collection(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("collections") / "small"
    assert main(["collect", str(photographs), "--out", str(out), "--quiet", "--json"]) == 0
    return out


def test_the_contracts_commands_exist() -> None:
    promised = (
        "formats,collect,reef,inspect,relabel,move,train,adapt,generate,blend,vary,inpaint,curate,evaluate,classify train,classify predict,"
        "classify export,study,report,families,demo,export,serve,jobs"
    )
    assert set(COMMANDS) == set(promised.split(","))


def test_every_command_is_in_one_section_of_the_help_page(capsys: pytest.CaptureFixture[str]) -> None:
    assert sorted(name for names in SECTIONS.values() for name in names) == sorted(cli.commands)
    _, out, _ = call(capsys, "--help")
    assert [line.split()[0] for line in out.splitlines() if line.split()[:1] in [[name] for name in cli.commands]] == cli.list_commands(
        click.Context(cli)
    )


@pytest.mark.parametrize("name", ["colect", "trian"])
def test_a_misspelt_command_is_answered_with_a_suggestion(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = call(capsys, name)
    assert code == 2 and "Did you mean" in err


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_an_example_of_the_command(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(capsys, *name.split(), "--help")
    assert code == 0
    assert f"    syntype {name}" in out.partition("Example:")[2]


@pytest.mark.parametrize("name", sorted(COMMANDS.keys() - {"serve"}))  # which runs until it is stopped
def test_every_command_that_ends_prints_json(name: str) -> None:
    assert any("--json" in parameter.opts for parameter in COMMANDS[name].params)


def test_the_generated_reference_has_a_section_for_every_command() -> None:
    """Each section is generated from the command object itself, so that options, defaults and examples cannot differ from ``--help``."""
    sections = re.findall(r"^\.\. click:: (\S+):(\S+)\n   :prog: syntype (.+)$", REFERENCE.read_text(encoding="utf-8"), re.MULTILINE)
    assert {name: getattr(import_module(module), attribute) for module, attribute, name in sections} == COMMANDS


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_is_explained(name: str) -> None:
    assert COMMANDS[name].help
    assert [parameter.name for parameter in COMMANDS[name].params if isinstance(parameter, click.Option) and not parameter.help] == []


@pytest.mark.parametrize("name", ["train", "adapt", "generate", "blend", "vary", "inpaint", "classify train", "study", "demo"])
def test_long_commands_have_a_dry_run_a_device_and_a_seed(name: str) -> None:
    options = {option for parameter in COMMANDS[name].params for option in parameter.opts}
    assert {"--dry-run", "--device", "--seed"} <= options


def test_help_is_quick_and_imports_no_torch() -> None:
    code = """
import sys, time
from syntype.apps.cli import main
main(['--help'])
print({'torch', 'pandas', 'numpy'} & set(sys.modules), time.process_time())
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy, seconds = result.stdout.splitlines()[-1].split()
    assert heavy == "set()" and float(seconds) < 3  # of its own: how busy the machine is does not matter


@pytest.mark.parametrize(
    "arguments",
    [
        ["frobnicate"],
        ["collect"],
        ["collect", "nowhere", "--out", "x"],
        ["collect", "nowhere", "--out", "x", "--origin", "imagined"],
        ["collect", "nowhere", "--out", "x", "--set", "colour=red"],
        ["reef", "--out", "x", "--species", "many"],
        ["reef", "--out", "x", "--species", "1"],
        ["inspect", "nowhere"],
        ["train", "projected", "nowhere", "--out", "x"],
        ["train", "no-such-family", "nowhere", "--out", "x"],
        ["train", "projected", "nowhere", "--out", "x", "--recipe", "no-such-recipe"],
        ["adapt", "nowhere", "nowhere", "--species", "S", "--out", "x"],
        ["generate", "nowhere", "--species", "S", "--num", "3", "--out", "x"],
        ["generate", "nowhere", "--species", "S", "--num", "0", "--out", "x"],
        ["blend", "nowhere", "--species", "S", "--out", "x"],
        ["blend", "nowhere", "--species", "S", "--layout", "board", "--out", "x"],
        ["vary", "nowhere", "nowhere", "--strength", "1.5", "--out", "x"],
        ["vary", "nowhere", "nowhere", "--out", "x"],
        ["inpaint", "nowhere", "nowhere", "--out", "x"],
        ["inpaint", "nowhere", "nowhere", "--box", "0", "0", "1", "--out", "x"],
        ["curate", "nowhere", "--real", "nowhere", "--out", "x"],
        ["evaluate", "nowhere", "--real", "nowhere"],
        ["classify", "train", "nowhere", "--out", "x"],
        ["classify", "predict", "nowhere", "nowhere", "--out", "x.csv"],
        ["study", "nowhere", "--out", "x"],
        ["report", "nowhere"],
    ],
    ids=" ".join,
)
def test_a_mistake_gives_exit_code_2_one_line_and_leaves_nothing(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for more in ([], ["--json"]):
        code, out, err = call(capsys, *arguments, *more)
        assert code == 2
        assert out == ""
        assert is_one_clear_line(err), err
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_species_is_guessed(collection: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = call(capsys, "train", "copies", collection, "--except", "Beta tow", "--size", 32, "--out", tmp_path / "g")
    assert code == 2
    assert is_one_clear_line(err)
    assert "'Beta two'" in err
    assert not (tmp_path / "g").exists()


def test_collect_reports_counts_and_sets_broken_files_aside(photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "c"
    result = call_json(capsys, "collect", photographs, "--out", out)
    assert (result["num_images"], result["num_species"], result["num_refused"], result["num_duplicates"]) == (18, 3, 1, 0)
    assert sum(result["splits"].values()) == 18
    assert "broken.jpg" in (out / "refused.csv").read_text(encoding="utf-8")
    assert json.loads((out / "run.json").read_text(encoding="utf-8"))["status"] == "finished"


def test_collect_never_writes_over_earlier_results(photographs: Path, collection: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (collection / "collection.json").read_bytes()
    code, _, err = call(capsys, "collect", photographs, "--out", collection)
    assert code == 2
    assert is_one_clear_line(err)
    assert (collection / "collection.json").read_bytes() == before


def test_inspect_describes_the_long_tail(collection: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(collection.rglob("*"))
    result = call_json(capsys, "inspect", collection)
    assert result["num_images"] == 18
    assert sorted(path for path in collection.rglob("*") if ".cache" not in path.parts) == before
    code, out, _ = call(capsys, "inspect", collection, "--quiet")
    assert code == 0
    assert "18" in out


def test_families_are_listed_with_what_they_can_do(capsys: pytest.CaptureFixture[str]) -> None:
    listed = {item["family"]: item for item in call_json(capsys, "families")["families"]}
    assert {"projected", "copies", "collage"} <= set(listed)
    assert listed["projected"]["learns"]
    assert "adapt" in listed["projected"]["abilities"]
    assert not listed["copies"]["learns"]
    assert all(item["description"] for item in listed.values())
    assert call(capsys, "families")[1].startswith(min(listed))


def test_flags_win_over_a_recipe_and_set_wins_over_flags(tmp_path: Path) -> None:
    class Both(Settings):
        first: int = 1
        second: int = 1
        third: int = 1
        fourth: int = 1

    recipe = tmp_path / "own.yaml"
    recipe.write_text("second: 2\nthird: 2\nfourth: 2\n", encoding="utf-8")
    chosen = settings(Both, {"first": None, "third": 3, "fourth": 3}, recipe=str(recipe), overrides=["fourth=4"])
    assert chosen == Both(first=1, second=2, third=3, fourth=4)


class Nothing(Settings):
    """No settings."""


def _run(out: Path, error: BaseException) -> None:
    def stage(run: object) -> Any:
        raise error

    run_stage(stage, "stage", out, Nothing(), seed=0, inputs={}, kept="The last checkpoint is kept.", quiet=True)


def test_ctrl_c_ends_with_130_and_says_what_was_kept(tmp_path: Path) -> None:
    with pytest.raises(Interrupted, match="The last checkpoint is kept") as caught:
        _run(tmp_path / "run", KeyboardInterrupt())
    assert caught.value.exit_code == 130
    assert json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))["status"] == "interrupted"


def test_a_failed_run_is_recorded(tmp_path: Path) -> None:
    with pytest.raises(SyntypeError):
        _run(tmp_path / "run", SyntypeError("ran out of fish"))
    manifest = json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))
    assert manifest["status"] == "failed"
    assert manifest["result"] == {"error": "ran out of fish"}


@pytest.mark.parametrize(("error", "expected"), [(SyntypeError("no luck"), 1), (ZeroDivisionError("by nought"), 1), (KeyboardInterrupt(), 130)])
def test_what_goes_wrong_inside_is_one_line_too(
    error: BaseException, expected: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*arguments: object, **more: object) -> None:
        raise error

    monkeypatch.setattr(COMMANDS["families"], "callback", fail)
    code, out, err = call(capsys, "families", "--json")
    assert code == expected
    assert out == ""
    assert is_one_clear_line(err.lstrip("\n"))  # after ^C click begins a new line
    assert ("SYNTYPE_DEBUG=1" in err) == isinstance(error, ZeroDivisionError)
    monkeypatch.setenv("SYNTYPE_DEBUG", "1")
    assert ("Traceback" in call(capsys, "families")[2]) == isinstance(error, Exception)


def test_results_that_json_cannot_hold_become_what_it_can() -> None:
    value = {"a": float("nan"), "b": np.float32(0.5), "c": np.arange(2), "d": Path("x"), "e": (1, None, True), 3: {"f": float("inf")}}
    assert plain(value) == {"a": None, "b": 0.5, "c": [0, 1], "d": "x", "e": [1, None, True], "3": {"f": None}}


@pytest.fixture(scope="module")
def tiny_reef(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("reefs") / "reef"
    sizes = ["--set", "max_images=14", "--set", "num_val=2", "--set", "num_test=4"]
    assert main(["reef", "--species", "4", "--size", "32", "--out", str(out), "--quiet", "--json", *sizes]) == 0
    return out


def test_dry_runs_say_what_would_be_done_and_write_nothing(tiny_reef: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    for arguments in (
        ["train", "projected", tiny_reef, "--steps", 600, "--size", 32],
        ["classify", "train", tiny_reef, "--steps", 100],
        ["study", tiny_reef, "--generator", "collage", "--seeds", 2, "--quick"],
        ["demo"],
        ["demo", tiny_reef],
    ):
        told = call_json(capsys, *arguments, "--out", out, "--dry-run")
        assert told["out"] == str(out)
        assert told["images"] > 0
        assert told["estimated_minutes"] > 0
        assert "steps" in told
        assert not out.exists()


def test_the_dry_run_of_a_study_counts_what_would_run(
    tiny_reef: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("syntype.study.running.measure_speed", lambda config: Speed(0.01, 0.05))  # seconds for an image

    def planned(*arguments: object) -> dict[str, Any]:
        return call_json(capsys, "study", tiny_reef, "--seeds", 2, "--set", "classifier.steps=10", *arguments, "--out", tmp_path / "s", "--dry-run")

    collage = planned("--generator", "collage", "--quick")  # nothing to learn, and its own arm is left out
    assert (collage["arms"], collage["steps"], collage["size"]) == (9, 9 * 2 * 10, 128)
    learning = planned("--generator", "projected", "--minutes", 7, "--set", "generator_seeds=3", "--quick")  # no more trainings than seeds
    assert learning["arms"] == 10 and learning["estimated_minutes"] == pytest.approx(2 * 7 + collage["estimated_minutes"] * 20 / 18, abs=0.5)
    few = planned("--generator", "collage", "--set", "arms=[real,synthetic+curated]")  # two arms choose among three settings, once each
    assert (few["arms"], few["classifiers"], few["steps"], few["size"]) == (2, 10, 100, 64)
    assert few["estimated_minutes"] > 10 * 10 * 32 * 0.05 / 60  # ten classifiers of ten steps of 32 images


def test_the_help_of_a_study_shows_the_defaults_of_its_settings() -> None:
    shown = {option.name: re.findall(r"\[default: (\d+)\]", getattr(option, "help", None) or "") for option in COMMANDS["study"].params}
    defaults = {name: [f"{StudyConfig.model_fields[name].default:g}"] for name in ("seeds", "minutes", "seed")}
    assert {name: shown[name] for name in defaults} == defaults


def test_species_lists_take_one_or_several_names(tiny_reef: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = json.loads((tiny_reef / "collection.json").read_text(encoding="utf-8"))["species"]
    for words in (["--only", names[0], names[1]], ["--only", names[0], "--only", names[1]], ["--except", names[2], names[3]]):
        out = tmp_path / str(len(list(tmp_path.iterdir())))
        trained = call_json(capsys, "train", "copies", tiny_reef, *words, "--size", 32, "--out", out)
        assert trained["num_species"] == 2


def test_the_route_without_training(tiny_reef: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Copies through the whole route: every command takes what the one before it wrote, and copies are called copies."""
    generator, drawn, curated = tmp_path / "generator", tmp_path / "drawn", tmp_path / "curated"
    trained = call_json(capsys, "train", "copies", tiny_reef, "--size", 32, "--out", generator)
    assert {"family", "steps", "images_per_second", "num_parameters", "minutes"} <= set(trained)

    species = json.loads((tiny_reef / "collection.json").read_text(encoding="utf-8"))["species"][0]
    made = call_json(capsys, "generate", generator, "--species", species, "--num", 12, "--out", drawn)
    assert made["num_images"] == 12
    assert call_json(capsys, "generate", generator, "--species", species, "--num", 14, "--out", drawn, "--resume")["num_images"] == 14

    judged = call_json(capsys, "curate", drawn, "--real", tiny_reef, "--out", curated)
    assert judged["num_images"] == 14
    assert judged["num_accepted"] + sum(judged["refused"].values()) == 14
    assert judged["refused"]["copy"] >= 13

    measured = call_json(capsys, "evaluate", drawn, "--real", tiny_reef)
    assert {"encoder", "kid", "precision", "recall", "density", "coverage", "copy_rate"} <= set(measured)
    assert measured["copy_rate"] > 0.9


@pytest.fixture(scope="module")
def tiny_generator(tiny_reef: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("generators") / "fastgan"
    small = [word for setting in ("model.width=4", "model.latent_dim=16", "model.embedding_dim=8", "batch_size=4") for word in ("--set", setting)]
    assert main(["train", "fastgan", str(tiny_reef), "--steps", "1", "--size", "32", "--out", str(out), "--quiet", "--json", *small]) == 0
    return out


def test_hybrids_from_the_command_line(tiny_reef: Path, tiny_generator: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = Collection.open(tiny_reef).table
    names = table["species"].unique().tolist()
    photograph = table.loc[table["split"] == "train", "image_id"].iloc[0]
    held = table.loc[table["split"] == "test", "image_id"].iloc[0]
    strip = [tiny_generator, "--species", names[0], "--species", names[1], "--steps", 3, "--num", 2]
    around = [tiny_generator, tiny_reef, "--photograph", photograph, "--strength", 0.2, "--strength", 0.8]
    within = [tiny_generator, tiny_reef, "--photograph", photograph, "--box", 0.25, 0.25, 0.5, 0.5, "--num", 2]
    quick = ["--set", "controls.search_steps=1"]
    for command, arguments, images in (("blend", strip, 6), ("vary", [*around, *quick], 2), ("inpaint", [*within, *quick], 2)):
        out = tmp_path / command
        told = call_json(capsys, command, *arguments, "--out", out, "--dry-run")
        assert told["images"] == images and told["estimated_minutes"] > 0 and not out.exists()
        made = call_json(capsys, command, *arguments, "--out", out)
        assert made["num_images"] == images and all(Path(path).is_file() for path in made["pictures"])
        code, _, err = call(capsys, command, *arguments, "--out", out)
        assert code == 2 and "--resume" in err
        assert call_json(capsys, command, *arguments, "--out", out, "--resume")["num_images"] == images
    for arguments, reason in (
        ([*around[:2], "--photograph", held], "not a training photograph"),
        ([*around, "--set", "controls.truncation=0.5"], "no control 'truncation'"),
        ([*around[:2], "--species", "Cus novus"], "unknown species"),
    ):
        code, _, err = call(capsys, "vary", *arguments, "--out", tmp_path / "refused")
        assert code == 2 and is_one_clear_line(err) and reason in err, err
        assert not (tmp_path / "refused").exists()


def test_a_classifier_is_trained_and_names_photographs(tiny_reef: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    quick = ["--set", "encoder_size=64", "--set", "views=1"]
    result = call_json(capsys, "classify", "train", tiny_reef, "--steps", 60, "--out", tmp_path / "classifier", *quick)
    assert {"accuracy", "macro_recall", "macro_f1", "bins"} <= set(result)
    named = call_json(capsys, "classify", "predict", tmp_path / "classifier", tiny_reef / "images", "--out", tmp_path / "names.csv")
    rows = (tmp_path / "names.csv").read_text(encoding="utf-8").splitlines()
    assert len(rows) == 1 + named["num_images"]


@pytest.mark.slow
@pytest.mark.parametrize("drawn", [True, False], ids=["drawn", "photographs"])
def test_the_demo_ends_with_a_picture_and_a_report_and_is_not_done_twice(
    drawn: bool, tiny_reef: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "demo"
    arguments = ["demo", *([] if drawn else [tiny_reef]), "--out", out, "--seeds", 1, "--quiet"]
    first = call_json(capsys, *arguments)
    assert first["verdict"] in ("add", "do not add", "not enough evidence")
    assert Path(first["report"]).is_file() and first["accepted"] <= first["synthetic"]
    with Image.open(first["picture"]) as picture:
        assert picture.width > 12 * 128 and b"Synthetic image" in picture.info["xmp"]
    again = call_json(capsys, *arguments)
    assert again == first
    code, said, err = call(capsys, *arguments)
    assert code == 0 and str(first["picture"]) in said and ("syntype demo photographs/" if drawn else "syntype study") in said, err
