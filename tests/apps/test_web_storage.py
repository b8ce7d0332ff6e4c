"""Renaming, deleting and restoring: nothing is half done, nothing is lost, and nothing new inherits from what was deleted."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from made import fill, tree
from sqlalchemy import insert, select, update
from starlette.testclient import TestClient
from studio_server import SMALL, browser, make_synthetic, make_workspace, png, until

from syntype.apps.web import references
from syntype.apps.web import sizes as sizes_module
from syntype.apps.web import storage as storage_module
from syntype.apps.web.limits import StudioConfig
from syntype.apps.web.queue import Queue, run_id
from syntype.apps.web.requests import parse_request
from syntype.apps.web.reviews import Reviews
from syntype.apps.web.sizes import Room, told_size
from syntype.apps.web.storage import Storage
from syntype.apps.web.store import Store, jobs, moves
from syntype.apps.web.uploads import Uploads
from syntype.apps.web.workspace import Workspace
from syntype.collection import Collection
from syntype.errors import CollectionError, InputError, UnknownNameError, UserError
from syntype.files import write_json
from syntype.ownership import FolderLock


def put(folder: Path, run: dict[str, Any] | None = None, **files: Any) -> Path:
    """A folder with JSON files, among them perhaps a run."""
    folder.mkdir(parents=True)
    for name, content in {**files, **({} if run is None else {"run": run})}.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


def inputs(**paths: Path) -> dict[str, Any]:
    return {name: {"path": str(path), "fingerprint": "0"} for name, path in paths.items()}


def make_related(root: Path) -> Workspace:
    """``fish``, which generators have learnt from, one of which is the base of another; what was drawn with them, and studies."""
    workspace = make_workspace(root)
    fish, drawn = root / "collections" / "fish", root / "collections" / "drawn"
    base, adapted = root / "generators" / "base", root / "generators" / "adapted"
    described = {"schema_version": 1, "family": "fastgan", "species": ["Aus primus"], "config": {"size": 32}, "abilities": []}
    learnt = {"name": "fish", "fingerprint": "0", "num_images": 24}
    put(
        base,
        {"stage": "train", "run_id": "1", "status": "finished", "inputs": inputs(collection=fish)},
        generator={**described, "collection": learnt},
    )
    refers = {"relative": "../base", "absolute": str(base), "weights_sha256": "0"}
    put(adapted, {"stage": "adapt", "run_id": "2", "inputs": inputs(generator=base, collection=fish)}, generator={**described, "base": refers})
    (drawn / "run.json").write_text(json.dumps({"stage": "curate", "run_id": "3", "inputs": inputs(synthetic=drawn, real=fish)}))
    asked = {"generator": str(base), "seeds": 2}
    run = {"stage": "study", "run_id": "4", "status": "finished", "settings": asked, "inputs": inputs(collection=fish)}
    put(root / "studies" / "reef-1", run, results={"verdict": {"word": "add", "sentence": "Add."}})
    learnt_from = {"stage": "classify", "run_id": "5", "status": "finished", "inputs": inputs(collection=fish)}
    put(root / "identifiers" / "namer", learnt_from, classifier={"species": ["Aus primus", "Bus secundus"]})
    return workspace


class Bench:
    """A workspace, and what the next server makes of it. Its queue does not work."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace, self.root = workspace, workspace.root
        self.store = Store(f"sqlite:///{workspace.root / 'studio.sqlite'}")
        self.restart()

    def restart(self) -> None:
        self.reviews = Reviews(self.store, self.workspace)
        self.uploads = Uploads(self.workspace, SMALL, self.store)
        self.queue = Queue(self.store, self.workspace, self.reviews, self.uploads)
        self.storage = Storage(self.workspace, self.store, self.reviews, self.queue, self.uploads)
        self.storage.settle()

    def add(self, **request: Any) -> int:
        return self.queue.add(parse_request(request))

    def end(self, number: int, status: str = "cancelled") -> None:
        with self.store.writing() as connection:
            connection.execute(update(jobs).where(jobs.c.id == number).values(status=status))

    def judge(self, image: str = "0-0", collection: str = "drawn") -> None:
        self.reviews.decide(collection, image, None, "Ada", "reject", None, None)

    def run_of(self, place: str, name: str) -> Any:
        return json.loads((self.root / place / name / "run.json").read_text())


@pytest.fixture(scope="module")
def related(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_related(tmp_path_factory.mktemp("related") / "workspace").root


@pytest.fixture
def bench(related: Path, tmp_path: Path) -> Iterator[Bench]:
    root = Path(shutil.copytree(related, tmp_path / "workspace"))
    for path in root.rglob("*.json"):
        path.write_text(path.read_text().replace(str(related), str(root)))
    bench = Bench(Workspace(root))
    yield bench
    bench.storage.sizes.close()
    bench.store.close()


# What depends on a thing


def test_what_was_made_from_a_thing_is_named(bench: Bench) -> None:
    told = bench.storage.told_dependents(bench.storage.thing("collections", "fish"))
    assert told == [
        "Collection drawn was checked against it.",
        "Generator base learnt from it.",
        "Generator adapted was adapted with its photographs.",
        "Identifier namer learnt from it.",
        "Study reef-1 used it.",
    ]
    put(bench.root / "generators" / "other", {"stage": "train", "run_id": "5", "inputs": inputs(collection=bench.root / "collections" / "fish")})
    assert "Generators base and other learnt from it." in bench.storage.told_dependents(bench.storage.thing("collections", "fish"))
    base = bench.storage.told_dependents(bench.storage.thing("generators", "base"))
    assert base == ["Generator adapted was adapted from it and cannot draw without it.", "Study reef-1 used it."]


def test_a_generator_that_others_need_is_not_deleted(bench: Bench) -> None:
    with pytest.raises(UserError, match=r"the generator adapted cannot draw without it\. Delete that first"):
        bench.storage.delete("generators", "base")
    adapted = bench.storage.delete("generators", "adapted")
    base = bench.storage.delete("generators", "base")
    assert "(in the trash)" in " ".join(bench.storage.told_dependents(base))
    with pytest.raises(InputError, match="Restore 'base' first"):
        bench.storage.restore(adapted.id)
    bench.storage.restore(base.id, "Base of all")
    bench.storage.restore(adapted.id)
    info = json.loads((bench.root / "generators" / "adapted" / "generator.json").read_text())
    assert info["base"]["relative"] == "../base-of-all" and info["base"]["absolute"] == str(bench.root / "generators" / "base-of-all")
    again = bench.storage.delete("generators", "adapted")
    bench.storage.destroy(bench.storage.delete("generators", "base-of-all").id)
    with pytest.raises(InputError, match="gone for good"):
        bench.storage.restore(again.id)


# Renaming


def test_everything_that_refers_to_a_renamed_thing_goes_along(bench: Bench) -> None:
    finished = bench.add(kind="export", name="set", collection="fish")
    bench.end(finished, "finished")
    thing = bench.storage.rename("collections", "fish", "Reef fish 2026")
    place = bench.root / "collections" / "reef-fish-2026"
    assert (thing.name, thing.title, thing.folder) == ("reef-fish-2026", "Reef fish 2026", place)
    assert bench.run_of("generators", "base")["inputs"]["collection"]["path"] == str(place)
    assert bench.workspace.reference("drawn") == "reef-fish-2026"
    assert Collection.open(place).name == "reef-fish-2026"
    assert json.loads((bench.root / "generators" / "base" / "generator.json").read_text())["collection"]["name"] == "reef-fish-2026"
    assert bench.queue.get(finished).request["collection"] == "reef-fish-2026"
    assert "Generator base learnt from it." in bench.storage.told_dependents(bench.storage.thing("collections", "reef-fish-2026"))
    bench.storage.rename("generators", "base", "root")
    info = json.loads((bench.root / "generators" / "adapted" / "generator.json").read_text())
    assert info["base"]["relative"] == "../root" and bench.run_of("studies", "reef-1")["settings"]["generator"] == str(bench.root / "generators/root")


def test_an_adapted_generator_still_draws_after_its_base_and_itself_were_renamed(bench: Bench, trained: Path) -> None:
    from syntype.generators import load_generator

    little, more = bench.root / "generators" / "little", bench.root / "generators" / "more"
    shutil.copytree(trained, little)
    info = json.loads((little / "generator.json").read_text())
    base = {"relative": "../little", "absolute": str(little), "weights_sha256": info["weights_sha256"]}
    put(more, {"stage": "adapt", "run_id": "9"}, generator={**info, "base": base, "adapters": []})
    shutil.copy(little / "training_images.txt", more)
    images = load_generator(more).sample(["Aus primus"], seeds=[3])
    trash = bench.storage.delete("generators", "more")
    bench.storage.rename("generators", "little", "Große Fische")
    bench.storage.restore(trash.id)
    bench.storage.rename("generators", "more", "many")
    assert bench.storage.thing("generators", "grosse-fische").title == "Große Fische"
    assert (load_generator(bench.root / "generators" / "many").sample(["Aus primus"], seeds=[3]) == images).all()


def test_verdicts_and_quizzes_follow_a_renamed_collection(bench: Bench) -> None:
    bench.judge()
    bench.storage.rename("collections", "drawn", "judged")
    assert [row.image_id for row in bench.reviews.standing("judged")] == ["0-0"] and not bench.reviews.standing("drawn")
    bench.reviews.apply_rested(0)
    assert Collection.open(bench.root / "collections" / "judged").table.set_index("image_id").loc["0-0", "verdict"] == "refused"


def test_a_job_finds_its_renamed_result(bench: Bench) -> None:
    number = bench.add(kind="train", name="new", family="collage", collection="fish", steps=1)
    bench.end(number)
    put(bench.root / "generators" / "new", {"stage": "train", "run_id": run_id(bench.queue.get(number))}, generator={"species": []})
    bench.storage.rename("generators", "new", "newer")
    job = bench.queue.get(number)
    assert (job.slug, job.request["name"]) == ("newer", "newer") and bench.queue.result_folder(job) == bench.root / "generators" / "newer"


def test_names_that_are_taken_or_are_none_are_refused(bench: Bench) -> None:
    for typed, reason in (("drawn", "'drawn' exists already"), ("Drawn!", "'drawn' exists already"), ("…", "cannot be a name")):
        with pytest.raises(InputError, match=reason):
            bench.storage.rename("collections", "fish", typed)
    number = bench.add(kind="curate", name="coming", synthetic="drawn", real="drawn")
    with pytest.raises(InputError, match=f"job {number} already makes 'coming'"):
        bench.storage.rename("collections", "fish", "coming")
    assert bench.storage.rename("collections", "fish", "Fish").title == "Fish", "the folder keeps its name"
    assert bench.storage.rename("generators", "adapted", "珊瑚").name.startswith("n-")


def test_a_study_that_is_not_finished_keeps_the_name_of_its_generator(bench: Bench) -> None:
    file = bench.root / "studies" / "reef-1" / "run.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "status": "interrupted"}))
    with pytest.raises(UserError, match="unfinished study reef-1 finds it by its name"):
        bench.storage.rename("generators", "base", "other")


# The trash


def test_what_was_deleted_comes_back_as_it_was(bench: Bench) -> None:
    bench.judge()
    bench.storage.rename("collections", "drawn", "Drawn ones")
    folder, before = bench.root / "collections" / "drawn-ones", tree(bench.root / "collections" / "drawn-ones")
    entry = bench.storage.delete("collections", "drawn-ones")
    assert not folder.exists() and bench.workspace.slugs("collections") == ["fish"]
    with pytest.raises(UnknownNameError, match="It is in the trash"):
        bench.storage.delete("collections", "drawn-ones")
    assert [(item.place, item.name) for item in bench.storage.trash.entries()] == [("collections", "drawn-ones")]
    thing = bench.storage.restore(entry.id)
    assert thing.title == "Drawn ones" and tree(folder) == before and not bench.storage.trash.entries()
    assert [row.image_id for row in bench.reviews.standing("drawn-ones")] == ["0-0"]
    assert not list((bench.root / "trash").iterdir())


def test_a_new_collection_of_the_name_has_nothing_of_the_deleted_one(bench: Bench) -> None:
    bench.judge()
    job = bench.add(kind="export", name="set", collection="drawn")
    bench.end(job)
    entry = bench.storage.delete("collections", "drawn")
    fish = bench.storage.delete("collections", "fish")
    for name in ("drawn", "fish"):
        make_synthetic(bench.root / "collections" / name, {"Aus primus": 2})
    bench.reviews.apply_rested(0)
    assert Collection.open(bench.root / "collections" / "drawn").table["verdict"].isna().all() and not bench.reviews.standing("drawn")
    assert bench.storage.told_dependents(bench.storage.thing("collections", "fish")) == []
    with pytest.raises(UserError, match="needs a collection that was deleted"):
        bench.queue.resume(job)
    with pytest.raises(InputError, match="'drawn' exists already"):
        bench.storage.restore(entry.id)
    bench.storage.restore(entry.id, "drawn-restored")
    assert [row.image_id for row in bench.reviews.standing("drawn-restored")] == ["0-0"] and not bench.reviews.standing("drawn")
    assert bench.queue.get(job).request["collection"] == "drawn-restored"
    assert bench.workspace.reference("drawn-restored") is None, "what it was checked against is in the trash, and not the new one"
    bench.storage.restore(fish.id, "old-fish")
    assert bench.workspace.reference("drawn-restored") == "old-fish"


def test_what_is_deleted_for_good_is_gone_with_its_verdicts(bench: Bench) -> None:
    bench.judge()
    entry = bench.storage.delete("collections", "drawn")
    bench.storage.destroy(entry.id)
    assert not list((bench.root / "trash").iterdir()) and not bench.reviews.standing(entry.key)
    with pytest.raises(UnknownNameError):
        bench.storage.destroy(entry.id)


def test_a_waiting_upload_is_deleted_and_restored(bench: Bench) -> None:
    upload = bench.uploads.begin()
    (part := bench.root / "received").write_bytes(png())
    bench.uploads.take(upload, part, "a.png", "Aus primus")
    assert bench.storage.rename("uploads", upload, "From the reef").title == "From the reef"
    entry = bench.storage.delete("uploads", upload)
    assert not bench.uploads.open_ones()
    thing = bench.storage.restore(entry.id)
    assert bench.uploads.contents(upload) == {"Aus primus": 1} and thing.title == "From the reef"
    number = bench.add(kind="import", name="new", upload=upload)
    with pytest.raises(UserError, match=f"job {number} reads it"):
        bench.storage.delete("uploads", upload)


# What is in use


@pytest.mark.parametrize("change", ["rename", "delete"])
def test_what_a_job_reads_or_makes_stays(bench: Bench, change: str) -> None:
    def refused(place: str, name: str, why: str) -> None:
        with pytest.raises(UserError, match=why):
            bench.storage.rename(place, name, "other") if change == "rename" else bench.storage.delete(place, name)

    number = bench.add(kind="generate", name="new", generator="adapted", num=1)
    put(bench.root / "collections" / "new", {"run_id": "x"})
    refused("generators", "adapted", f"job {number} reads it. Wait until the job has ended, or cancel it")
    refused("generators", "base", f"job {number} reads it")  # through the one that was adapted from it
    refused("collections", "new", f"job {number} makes it")
    bench.end(number)
    told = bench.storage.told_dependents(bench.storage.thing("generators", "adapted"))
    assert told == [f"Job {number}, cancelled or failed, cannot be resumed without it."]
    lock = FolderLock(bench.root / "collections" / "fish")
    try:
        refused("collections", "fish", "is being written to by another command")
    finally:
        lock.release()
    assert not bench.storage.trash.entries() and not list((bench.root / "trash").iterdir())


def test_links_and_what_the_studio_did_not_make_are_left_alone(bench: Bench, tmp_path: Path) -> None:
    outside = put(tmp_path / "outside", collection={})
    (bench.root / "collections" / "link").symlink_to(outside)
    (bench.root / "collections" / "inner").symlink_to(bench.root / "collections" / "fish")
    put(bench.root / "collections" / "notes")
    for name, error in (("link", CollectionError), ("inner", CollectionError), ("notes", UnknownNameError), ("..", UnknownNameError)):
        with pytest.raises(error):
            bench.storage.delete("collections", name)
    (bench.root / "collections" / "fish" / "away").symlink_to(outside)
    entry = bench.storage.delete("collections", "fish")
    bench.storage.destroy(entry.id)
    assert (outside / "collection.json").is_file() and (bench.root / "collections" / "link").is_symlink()


def test_a_path_that_could_not_be_corrected_is_found_out_before_anything_moves(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: "reef-1" not in str(path) and access(path, mode))
    with pytest.raises(InputError, match="reef-1, where nothing may be written"):
        bench.storage.rename("collections", "fish", "other")
    assert bench.workspace.slugs("collections") == ["drawn", "fish"]


def test_a_server_starts_although_an_earlier_change_cannot_be_completed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(storage_module, "redirect", full)
        with pytest.raises(OSError, match="No space"):
            bench.storage.delete("collections", "drawn")
        bench.restart()
        bench.judge()  # of a page that was open
    bench.storage.require_settled()
    assert [entry.name for entry in bench.storage.trash.entries()] == ["drawn"] and not bench.reviews.standing("drawn")


def test_entries_of_the_trash_that_were_tampered_with_lead_nowhere(bench: Bench, tmp_path: Path) -> None:
    outside = put(tmp_path / "outside", collection={})
    for number, told in enumerate(("../../collections/fish", str(outside), "..", "fish")):
        folder = put(bench.root / "trash" / f"{number:032x}", entry={"kind": "collections", "name": told, "deleted": 0})
        if told == "fish":
            (folder / "fish").symlink_to(outside)
    (bench.root / "trash" / ("f" * 32)).symlink_to(outside)
    assert bench.storage.trash.entries() == []
    bench.restart()
    assert (outside / "collection.json").is_file() and (bench.root / "collections" / "fish").is_dir()


# Killed between two steps


class Killed(BaseException):
    """The server is killed at this moment."""


STEPS: dict[str, Callable[[pytest.MonkeyPatch, Callable[..., Any]], None]] = {
    "before the folder is moved": lambda patch, killed: patch.setattr(storage_module.os, "rename", killed),
    "before the references are corrected": lambda patch, killed: patch.setattr(storage_module, "redirect", killed),
    "before the keys are changed": lambda patch, killed: patch.setattr(Storage, "_change_keys", killed),
    "before the move is on the list": lambda patch, killed: patch.setattr(storage_module, "insert", killed),
    "after the first file is corrected": lambda patch, killed: patch.setattr(
        references, "write_json", lambda path, value: (write_json(path, value), killed())
    ),
}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("change", ["rename", "delete", "restore"])
def test_a_kill_at_any_moment_leaves_nothing_half_done(bench: Bench, step: str, change: str) -> None:
    bench.judge()
    entry = bench.storage.delete("collections", "drawn") if change == "restore" else None
    place, name = ("generators", "base") if change == "rename" else ("collections", "drawn")

    def killed(*_: Any, **__: Any) -> Any:
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        STEPS[step](patch, killed)
        with pytest.raises(Killed):
            if change == "rename":
                bench.storage.rename(place, name, "other")
            elif entry is None:
                bench.storage.delete(place, name)
            else:
                bench.storage.restore(entry.id)
    bench.restart()
    with bench.store.reading() as connection:
        assert not connection.execute(select(moves)).all()
    if change == "rename":
        there = [name for name in bench.workspace.slugs("generators") if name != "adapted"]
        assert there in (["base"], ["other"]) and (there == ["other"]) == (step != "before the move is on the list")
        info = json.loads((bench.root / "generators" / "adapted" / "generator.json").read_text())
        assert info["base"]["relative"] == f"../{there[0]}"
        assert bench.run_of("generators", "adapted")["inputs"]["generator"]["path"] == str(bench.root / "generators" / there[0])
        return
    live, entries = (bench.root / "collections" / "drawn").is_dir(), bench.storage.trash.entries()
    assert live != bool(entries)
    assert [row.image_id for row in bench.reviews.standing("drawn" if live else entries[0].key)] == ["0-0"]
    assert len(list((bench.root / "trash").iterdir())) == len(entries)
    assert live == ((change == "delete") == (step == "before the move is on the list"))


@pytest.mark.parametrize("change", ["delete", "rename"])
def test_what_is_made_by_hand_after_a_kill_is_not_taken_for_what_was_moved(bench: Bench, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    bench.judge()

    def killed(*_: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Storage, "_change_keys", killed)
        bench.storage.delete("collections", "drawn") if change == "delete" else bench.storage.rename("collections", "drawn", "other")
    make_synthetic(bench.root / "collections" / "drawn", {"Aus primus": 2})
    bench.restart()
    key = "other" if change == "rename" else bench.storage.trash.entries()[0].key
    assert [row.image_id for row in bench.reviews.standing(key)] == ["0-0"] and not bench.reviews.standing("drawn")


def test_a_kill_while_something_is_deleted_for_good(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.judge()
    entry = bench.storage.delete("collections", "drawn")
    bench.storage.trash.give_up(entry)
    assert bench.storage.trash.entries() == []
    bench.restart()
    assert not list((bench.root / "trash").iterdir()) and not bench.reviews.standing(entry.key)


def test_two_tabs_at_once(bench: Bench) -> None:
    gate = threading.Barrier(4)

    def delete(_: int) -> str:
        gate.wait()
        try:
            return bench.storage.delete("collections", "drawn").id
        except UserError as error:
            return str(error)

    with ThreadPoolExecutor(4) as pool:
        told = list(pool.map(delete, range(4)))
    assert len(bench.storage.trash.entries()) == 1 and sum("is in the trash" in words for words in told) == 3


# Over the network


@pytest.fixture
def client(bench: Bench) -> Iterator[TestClient]:
    with browser(bench.workspace, StudioConfig(limits=SMALL)) as client:
        yield client


def test_storage_over_rest(client: TestClient, bench: Bench) -> None:
    def measured() -> Any:
        told = client.get("/api/storage").json()
        return None if told["measuring"] else told

    until(lambda: measured() is not None)
    told = measured()
    bytes_of = {item["name"]: item["num_bytes"] for item in told["things"]}
    assert bytes_of["fish"] == sum(path.stat().st_size for path in (bench.root / "collections" / "fish").rglob("*") if path.is_file())
    assert [item["num_bytes"] for item in told["things"]] == sorted(bytes_of.values(), reverse=True) and told["free"] > 0
    detail = client.get("/api/storage/collections/fish").json()
    assert detail["not_deleted"] is None and "Study reef-1 used it." in detail["dependents"]
    assert "cannot draw without it" in client.get("/api/storage/generators/base").json()["not_deleted"]
    assert client.post("/api/storage/collections/fish/rename", json={"name": "Reef Fish"}).json()["title"] == "Reef Fish"
    quiz = client.post("/api/quizzes", json={"synthetic": "drawn", "real": "reef-fish", "reviewer": "Ada", "num": 2}).json()["id"]
    deleted = client.delete("/api/storage/collections/reef-fish").json()
    assert (deleted["title"], deleted["name"]) == ("Reef Fish", "reef-fish")
    answers = [client.get(f"/api/quizzes/{quiz}/items/{number}/image") for number in range(2)]
    assert sorted(answer.status_code for answer in answers) == [200, 422]
    assert any("was deleted" in answer.text for answer in answers if answer.status_code == 422)
    assert client.get("/collections/reef-fish").status_code == 404
    assert client.get("/api/trash").json()[0]["id"] == deleted["id"]
    assert client.post(f"/api/trash/{deleted['id']}/restore", json={}).json()["title"] == "Reef Fish"
    assert {client.get(f"/api/quizzes/{quiz}/items/{number}/image").status_code for number in range(2)} == {200}
    again = client.delete("/api/storage/collections/reef-fish").json()
    freed = client.delete("/api/trash").json()
    assert freed["num_items"] == 1 and freed["num_bytes"] >= bytes_of["fish"] - 10_000 and client.get("/api/trash").json() == []
    assert client.post(f"/api/trash/{again['id']}/restore", json={}).status_code == 404
    assert client.get("/api/collections/drawn/images/0-0/thumbnail").status_code == 200
    assert client.delete("/api/storage/caches").json()["num_bytes"] > 0 and not list((bench.root / ".cache").iterdir())


def test_what_cannot_fit_is_refused_before_it_begins(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizes_module, "free_room", lambda _: Room(30_000_000, 100_000_000))
    answer = client.post("/api/uploads", params={"num_bytes": 20_000_000})
    assert answer.status_code == 422 and answer.json()["error"] == (
        "there is not enough room on the disk: sending and importing these files needs about 40.0 MB, and 30.0 MB are free. "
        "Delete something or empty the trash on the page Storage, then try again."
    )
    assert client.post("/api/uploads", params={"num_bytes": 10_000_000}).status_code == 201
    asked = {"kind": "generate", "name": "many", "generator": "base", "num": 10_000}
    answer = client.post("/api/jobs", json=asked)
    assert answer.status_code == 422 and "this job (generate) needs about" in answer.json()["error"]
    assert client.get("/api/jobs").json() == []


def test_a_full_disk_is_emptied_from_the_trash(small_disk: Path) -> None:
    workspace = make_workspace(small_disk / "workspace")
    with browser(workspace) as client:
        assert client.delete("/api/storage/collections/drawn").status_code == 200
        fill(small_disk)
        answer = client.delete("/api/storage/collections/fish")
        assert answer.status_code == 507 and "the disk is full" in answer.json()["error"]
        assert (workspace.root / "collections" / "fish").is_dir() and len(client.get("/api/trash").json()) == 1
        assert client.delete("/api/trash").json()["num_items"] == 1
        assert client.delete("/api/storage/collections/fish").status_code == 200
        assert [item["name"] for item in client.get("/api/trash").json()] == ["fish"]


def test_a_job_takes_the_name_that_people_type(client: TestClient, bench: Bench) -> None:
    job = client.post("/api/jobs", json={"kind": "export", "name": " Poissons récifaux ", "collection": "fish"}).json()
    assert (job["name"], job["title"], job["request"]["name"]) == ("poissons-recifaux", "Poissons récifaux", "Poissons récifaux")
    assert "Poissons récifaux" in client.get(f"/jobs/{job['id']}").text
    assert client.post("/api/jobs", json={"kind": "export", "name": "??", "collection": "fish"}).status_code == 422
    client.post("/api/storage/collections/drawn/rename", json={"name": "Dessins <b>"})
    assert "Dessins &lt;b&gt;" in client.get("/").text and client.get("/api/collections/dessins-b").json()["title"] == "Dessins <b>"
    assert "Dessins &lt;b&gt; (16 images)" in client.get("/new/export").text


def test_the_pages_of_things_offer_renaming_and_deleting(client: TestClient) -> None:
    for kind, name in (("collections", "fish"), ("generators", "base"), ("identifiers", "namer"), ("studies", "reef-1")):
        text = client.get(f"/{kind}/{name}").text
        assert f'data-do="rename" data-kind="{kind}" data-name="{name}"' in text and f'data-do="delete" data-kind="{kind}"' in text
    assert 'href="/storage"' in client.get("/").text and "Trash" in client.get("/storage").text


def test_sizes_are_told_in_words() -> None:
    told = {0: "0 bytes", 999: "999 bytes", 1000: "1.0 kB", 123_456: "123 kB", 999_700: "1.0 MB", 2_500_000_000: "2.5 GB", 7 * 10**12: "7.0 TB"}
    assert {number: told_size(number) for number in told} == told


def test_jobs_made_elsewhere_are_no_hindrance(bench: Bench) -> None:
    with bench.store.writing() as connection:
        connection.execute(insert(jobs).values(kind="x", request={"odd": 1}, place="collections", slug="gone", status="finished", created=0))
    bench.storage.rename("collections", "drawn", "other")
    assert bench.workspace.slugs("collections") == ["fish", "other"]
