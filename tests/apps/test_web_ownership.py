"""The Studio touches only what its own jobs made: names that were taken since, uploads in use, two writers, reused process numbers, full disks."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from made import fill, tree
from sqlalchemy import update
from studio_server import SMALL, browser, make_synthetic, make_workspace, png, until, zipped

from syntype.apps.web import queue as queue_module
from syntype.apps.web.app import create_app
from syntype.apps.web.limits import Limits, StudioConfig
from syntype.apps.web.processes import JobProcess
from syntype.apps.web.queue import Queue
from syntype.apps.web.requests import parse_request
from syntype.apps.web.reviews import Reviews
from syntype.apps.web.store import Store, jobs
from syntype.apps.web.uploads import Uploads
from syntype.apps.web.workspace import MARKS, Workspace
from syntype.collection import Collection
from syntype.errors import InputError, UnknownNameError, UserError
from syntype.files import write_json
from syntype.ownership import FolderLock
from syntype.recipe import Settings
from syntype.run import Run

ENDS = ("finish", "fail", "stop", "kill", "kill at the end", "run")


class Commands:
    """What the jobs' commands do: a run as the real ones keep it, which ends at once in the way that ``end`` says."""

    def __init__(self, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
        self.workspace, self.end = workspace, "finish"
        commands = self

        class Process(JobProcess):
            def start(self, command: Sequence[str], run_id: str) -> None:
                self.folder.mkdir(parents=True, exist_ok=True)
                self.clear()
                monkeypatch.setenv("SYNTYPE_RUN_ID", run_id)
                try:
                    code = commands.run(command)
                finally:
                    monkeypatch.delenv("SYNTYPE_RUN_ID")
                if code is not None:
                    (self.folder / "exit").write_text(str(code))

        monkeypatch.setattr(queue_module, "JobProcess", Process)

    def run(self, command: Sequence[str]) -> int | None:
        """Returns the exit code; None for a process that was killed."""
        resumable = command[0] not in ("collect", "curate", "export")
        out = Path(next(word for word in command if word.startswith("--out=")).removeprefix("--out="))
        try:
            run = Run.start(out, command[0], Settings(), seed=0, resume=("--resume" in command) if resumable else None, quiet=True)
        except InputError:
            return 2
        (out / "images").mkdir(exist_ok=True)
        if command[0] == "collect":
            for path in Path(command[1]).glob("[!.]*/*"):
                shutil.copy(path, out / "images")
        if self.end == "fail":
            run.fail(RuntimeError("broken"))
            return 1
        if self.end == "stop":
            run.finish("interrupted")
            return 130
        if self.end == "kill":
            run._release()
            return None
        mark = MARKS["exports" if command[0] == "export" else "generators" if command[0] == "train" else "collections"]
        (out / mark).write_text("{}")
        run.finish()
        return None if self.end == "kill at the end" else 0


class Bench:
    """A workspace with its queue, which works when it is told to."""

    def __init__(self, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, limits: Limits = SMALL) -> None:
        self.workspace, self.limits = workspace, limits
        self.commands = Commands(workspace, monkeypatch)
        self.store = Store(f"sqlite:///{workspace.root / 'studio.sqlite'}")
        self.restart()

    def restart(self) -> None:
        """What the next server finds."""
        self.reviews = Reviews(self.store, self.workspace)
        self.uploads = Uploads(self.workspace, self.limits, self.store)
        self.queue = Queue(self.store, self.workspace, self.reviews, self.uploads)

    def add(self, **request: Any) -> int:
        return self.queue.add(parse_request(request))

    def upload(self) -> str:
        name = self.uploads.begin()
        self.send(name)
        return name

    def send(self, upload: str, colour: tuple[int, int, int] = (200, 80, 10)) -> bytes:
        (part := self.workspace.root / "received").write_bytes(photograph := png(colour=colour))
        self.uploads.take(upload, part, "a.png", "Aus primus")
        return photograph

    def step(self, times: int = 1) -> None:
        for _ in range(times):
            self.queue._step()

    def place(self, name: str, kind: str = "collections") -> Path:
        return self.workspace.root / kind / name

    def put(self, name: str, kind: str = "collections") -> dict[str, bytes]:
        """A folder that the user puts there."""
        self.place(name, kind).mkdir(parents=True)
        (self.place(name, kind) / "photograph.png").write_bytes(png(colour=(1, 2, 3)))
        return tree(self.place(name, kind))

    def __getitem__(self, number: int) -> Any:
        return self.queue.get(number)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_workspace(tmp_path_factory.mktemp("made") / "workspace").root


@pytest.fixture
def workspace(made: Path, tmp_path: Path) -> Workspace:
    return Workspace(shutil.copytree(made, tmp_path / "workspace"))


@pytest.fixture
def bench(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    made = Bench(workspace, monkeypatch)
    yield made
    made.store.close()


# Names that were taken since


def test_a_waiting_import_neither_starts_in_nor_deletes_a_folder_that_was_put_there(bench: Bench) -> None:
    upload = bench.upload()
    number = bench.add(kind="import", name="new", upload=upload)
    before = bench.put("new")
    bench.step(3)
    assert bench[number].status == "failed"
    assert bench[number].message == "the name 'new' has been taken since this job was created. Create a new job under another name."
    assert tree(bench.place("new")) == before and bench.uploads.contents(upload) == {"Aus primus": 1}


def test_a_job_is_not_resumed_in_a_folder_of_another(bench: Bench) -> None:
    bench.commands.end = "stop"
    number = bench.add(kind="train", name="new", family="collage", collection="fish", steps=1)
    bench.step(2)
    assert bench[number].status == "failed" and bench.queue.result_folder(bench[number]) is not None
    shutil.rmtree(bench.place("new", "generators"))
    before = bench.put("new", "generators")
    with pytest.raises(InputError, match="has been taken since this job was created"):
        bench.queue.resume(number)
    assert bench[number].status == "failed" and tree(bench.place("new", "generators")) == before
    assert bench.queue.result_folder(bench[number]) is None  # its page does not show what is not its own
    shutil.rmtree(bench.place("new", "generators"))
    other = bench.add(kind="train", name="new", family="collage", collection="fish", steps=1)
    with pytest.raises(InputError, match=f"job {other} makes 'new' now"):
        bench.queue.resume(number)
    bench.queue.cancel(other)
    bench.commands.end = "finish"
    bench.queue.resume(number)
    bench.step(2)
    assert bench[number].status == "finished"


def test_a_name_taken_at_the_last_moment_is_refused_by_the_command(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    number, before = bench.add(kind="train", name="new", family="collage", collection="fish", steps=1), {}
    apply = bench.reviews.apply
    monkeypatch.setattr(bench.reviews, "apply", lambda collection: before.update(bench.put("new", "generators")) or apply(collection))
    bench.step(2)
    assert bench[number].status == "failed" and tree(bench.place("new", "generators")) == before


def test_a_job_that_is_cancelled_while_it_begins_does_not_begin(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    number = bench.add(kind="train", name="new", family="collage", collection="fish", steps=1)
    monkeypatch.setattr(bench.reviews, "apply", lambda collection: bench.queue.cancel(number))
    bench.step(2)
    assert (bench[number].status, bench[number].starts) == ("cancelled", 0) and not bench.place("new", "generators").exists()


def test_of_jobs_that_are_created_at_once_one_gets_the_name(bench: Bench) -> None:
    def add(_: int) -> int:
        try:
            return bench.add(kind="train", name="new", family="collage", collection="fish", steps=1)
        except InputError:
            return 0

    with ThreadPoolExecutor(8) as pool:
        assert sum(map(bool, pool.map(add, range(8)))) == 1


@pytest.mark.parametrize("target", ["somewhere", "nowhere"])
def test_no_job_writes_through_a_link(target: str, bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "somewhere").mkdir()
    number = bench.add(kind="train", name="new", family="collage", collection="fish", steps=1)
    bench.place("new", "generators").symlink_to(tmp_path / target)
    bench.step(2)
    assert bench[number].status == "failed" and "has been taken" in bench[number].message
    assert list((tmp_path / "somewhere").iterdir()) == [] and not (tmp_path / "nowhere").exists()


def test_a_job_killed_after_its_end_is_finished_and_one_killed_before_begins_again(bench: Bench) -> None:
    upload = bench.upload()
    number = bench.add(kind="import", name="new", upload=upload)
    bench.commands.end = "kill"
    bench.step(2)
    assert bench[number].status == "waiting" and not bench.place("new").exists()
    bench.restart()
    bench.commands.end = "kill at the end"
    bench.step(2)
    assert bench[number].status == "finished" and bench[number].starts == 2
    with pytest.raises(UnknownNameError):
        bench.uploads.folder(upload)


def test_the_end_of_an_earlier_start_is_not_that_of_this_one(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.commands.end = "stop"
    number = bench.add(kind="train", name="new", family="collage", collection="fish", steps=1)
    bench.step(2)
    bench.queue.resume(number)
    bench.commands.end = "finish"
    with monkeypatch.context() as patch, pytest.raises(SystemExit):  # the server is killed just before it starts the process
        patch.setattr(bench.commands, "run", lambda command: sys.exit())
        bench.step()
    assert bench[number].status == "running"
    bench.restart()
    bench.step(3)
    assert bench[number].status == "finished"


def test_a_request_of_another_version_does_not_stop_the_queue(bench: Bench) -> None:
    numbers = [bench.add(kind="train", name=name, family="collage", collection="fish", steps=1) for name in ("a", "b")]
    with bench.store.writing() as connection:
        connection.execute(update(jobs).where(jobs.c.id == numbers[0]).values(request={"kind": "magic", "name": "a"}))
    bench.step(3)
    assert [bench[number].status for number in numbers] == ["failed", "finished"] and "create a new job" in bench[numbers[0]].message.lower()


def walk(bench: Bench, seed: int, num: int) -> None:
    """So many steps of the queue, of its users, of commands and of people with a file manager, in any order.

    What a job has not made stays as it is, and every photograph that an upload took in is in the upload or in a collection."""
    chance, uploads, others, photographs = random.Random(seed), [bench.upload()], {}, set()
    photographs |= set(tree(bench.uploads.folder(uploads[0])).values())
    for number in range(num):
        kind, name = chance.choice(("collections", "generators")), chance.choice("ab")
        place, known = bench.place(name, kind), [row.id for row in bench.queue.list(50)] or [1]
        bench.commands.end = chance.choice(ENDS)
        action = chance.choice(("add", "add", "step", "step", "step", "cancel", "resume", "put", "command", "delete", "send", "drop", "restart"))
        try:
            if action == "add" and kind == "collections":
                bench.add(kind="import", name=name, upload=chance.choice(uploads))
            elif action == "add":
                bench.add(kind="train", name=name, family="collage", collection="fish", steps=1)
            elif action == "step":
                bench.step()
            elif action in ("cancel", "resume"):
                getattr(bench.queue, action)(chance.choice(known))
            elif action == "put" and not place.exists():
                others[place] = bench.put(name, kind)
            elif action == "command":
                Run.start(place, "collect" if kind == "collections" else "train", Settings(), seed=0, quiet=True).finish()
                others[place] = tree(place)
            elif action == "delete" and place.exists():
                photographs -= set(tree(place).values())
                shutil.rmtree(place)
                others.pop(place, None)
            elif action == "send":
                uploads.append(bench.uploads.begin())
                photographs.add(bench.send(uploads[-1], (seed % 256, number % 256, number // 256)))
            elif action == "drop":
                upload = chance.choice(uploads)
                there = set(tree(bench.uploads.folder(upload)).values())
                bench.uploads.drop(upload)
                photographs -= there
            elif action == "restart":
                bench.restart()
        except UserError:
            pass
        assert {path: tree(path) for path in others} == others, (seed, number, action)
        kept = {content for place in ("uploads", "collections") for content in tree(bench.workspace.root / place).values()}
        assert photographs <= kept, (seed, number, action)


@pytest.mark.parametrize("seed", range(2))
def test_no_order_of_jobs_commands_and_hands_harms_what_others_made(seed: int, bench: Bench) -> None:
    walk(bench, seed, 60)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 42))
def test_no_long_order_of_jobs_commands_and_hands_harms_what_others_made(seed: int, bench: Bench) -> None:
    walk(bench, seed, 300)


# Uploads


def test_an_upload_is_deleted_only_with_the_collection_of_its_own_job(bench: Bench) -> None:
    first, second = bench.upload(), bench.upload()
    numbers = [bench.add(kind="import", name=name, upload=upload) for name, upload in (("one", first), ("two", second))]
    bench.step()
    shutil.rmtree(bench.place("one"))
    before = bench.put("one")
    bench.step(4)
    assert [bench[number].status for number in numbers] == ["failed", "finished"] and "was moved, deleted or replaced" in bench[numbers[0]].message
    assert bench.uploads.contents(first) == {"Aus primus": 1} and tree(bench.place("one")) == before
    with pytest.raises(UnknownNameError):
        bench.uploads.folder(second)


def test_an_upload_that_a_job_reads_stays_as_it_is(bench: Bench) -> None:
    upload = bench.upload()
    first, second = (bench.add(kind="import", name=name, upload=upload) for name in ("one", "two"))
    for change in (lambda: bench.uploads.drop(upload), lambda: bench.send(upload)):
        with pytest.raises(InputError, match=f"job {first} reads this upload"):
            change()
    os.utime(bench.uploads.folder(upload), (0, 0))
    bench.uploads.begin()  # removes those that nobody has touched for a week
    bench.step(2)
    assert bench[first].status == "finished" and bench.uploads.contents(upload) == {"Aus primus": 1}, "another job still reads it"
    bench.step(2)
    assert bench[second].status == "finished"
    assert len(tree(bench.place("two") / "images")) == 1
    with pytest.raises(UnknownNameError):
        bench.uploads.folder(upload)


def test_folders_that_are_no_uploads_are_not_removed_and_unfinished_parts_are(bench: Bench) -> None:
    mine, upload = bench.workspace.root / "uploads" / "my photographs", bench.upload()
    (mine / ".part-mine").mkdir(parents=True)
    part = bench.uploads.folder(upload) / ".part-0"
    part.mkdir()
    (part / "received").write_bytes(b"half")
    os.utime(mine, (0, 0))
    bench.uploads.begin()
    bench.uploads.sweep()
    assert (mine / ".part-mine").is_dir() and not part.exists() and bench.uploads.contents(upload) == {"Aus primus": 1}


def test_of_a_zip_all_photographs_are_taken_or_none(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    upload, replace, moved = bench.upload(), os.replace, []

    def fill_up(source: Path, target: Path) -> None:
        if len(moved) == 2:
            raise OSError(28, "No space left on device")
        moved.append(target)
        replace(source, target)

    (part := bench.workspace.root / "received").write_bytes(zipped(*((f"Bus secundus/{number}.png", png()) for number in range(3))))
    monkeypatch.setattr(os, "replace", fill_up)
    with pytest.raises(OSError, match="space"):
        bench.uploads.take(upload, part, "b.zip", None)
    assert len(moved) == 2 and sum(bench.uploads.contents(upload).values()) == 1
    assert len(tree(bench.uploads.folder(upload))) == 1


# Verdicts and other writers


def test_verdicts_wait_for_another_writer_and_keep_its_rows(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    drawn, other = bench.place("drawn"), bench.place("other")
    make_synthetic(other, {"Aus primus": 2})
    for name in ("drawn", "other"):
        bench.reviews.decide(name, "0-0", None, "Ada", "reject", None, None)
    lock, longer = FolderLock(drawn), Collection.open(drawn)
    for _ in range(3):
        bench.reviews.apply_rested(0)
    assert caplog.text.count("being written to by another command") == 1
    assert Collection.open(other).table["verdict"].notna().sum() == 1, "one collection does not hold up the others"
    with pytest.raises(InputError, match="being written to"):
        bench.reviews.apply("drawn")
    more = longer.table.iloc[[0]].assign(image_id="new")
    Collection(drawn, pd.concat([longer.table, more], ignore_index=True), longer.species, longer.info).save()
    lock.release()
    bench.reviews.apply_rested(0)
    table = Collection.open(drawn).table.set_index("image_id")
    assert len(table) == len(longer) + 1 and table.loc["0-0", "verdict"] == "refused" and not (drawn / ".lock").exists()


def test_the_photographs_of_a_curation_are_found_again(workspace: Workspace) -> None:
    for real, expected in (({"path": str(workspace.root / "collections/fish"), "fingerprint": "0"}, "fish"), ("fish", None), (None, None)):
        write_json(workspace.root / "collections/drawn/run.json", {"inputs": {"real": real}})
        assert workspace.reference("drawn") == expected


def test_a_job_that_reads_a_collection_without_verdicts_needs_no_lock(bench: Bench) -> None:
    lock = FolderLock(bench.place("fish"))
    number = bench.add(kind="train", name="new", family="collage", collection="fish", steps=1)
    bench.step(2)
    lock.release()
    assert bench[number].status == "finished"


# Servers


def test_two_workspaces_do_not_share_a_database(workspace: Workspace, tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path / 'common.sqlite'}"
    create_app(workspace, StudioConfig(), database)
    create_app(Workspace(workspace.root.rename(tmp_path / "moved")), StudioConfig(), database)
    with pytest.raises(InputError, match="holds the jobs and verdicts of another workspace"):
        create_app(Workspace(tmp_path / "other"), StudioConfig(), database)


# Processes


def test_only_the_process_of_the_job_itself_is_stopped(tmp_path: Path) -> None:
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    process = JobProcess(tmp_path)
    (tmp_path / "lock").touch()
    (tmp_path / "pid").write_text(str(stranger.pid))
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"import fcntl, time; f = open({str(tmp_path / 'lock')!r}); fcntl.flock(f, 2); print('held', flush=True); time.sleep(60)",
        ],
        stdout=subprocess.PIPE,
    )
    try:
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n" and process.is_alive()
        assert not process.stop() and not process.stop(at_once=True)
        with pytest.raises(InputError, match="still used by another process"):
            process.start(["reef"], "job-1")
        assert (tmp_path / "pid").exists(), "nothing of the running process is deleted"
        time.sleep(0.2)
        assert stranger.poll() is None
    finally:
        for child in (stranger, holder):
            child.kill()
            child.communicate()


# Full disks


def test_on_a_full_disk_every_request_says_so_and_the_studio_goes_on(made: Path, small_disk: Path) -> None:
    workspace = Workspace(shutil.copytree(made, small_disk / "workspace"))
    vote = {"image_id": "0-0", "decision": "reject", "reviewer": "Ada"}
    with browser(workspace) as client:
        upload = client.post("/api/uploads").json()["upload"]
        fill(small_disk)
        answers = [
            client.post("/api/collections/drawn/verdicts", json=vote),
            client.put(f"/api/uploads/{upload}/files", params={"name": "a.png", "species": "Aus primus"}, content=os.urandom(150_000)),
            client.post("/api/jobs", json={"kind": "export", "name": "set", "collection": "fish"}),
            client.get("/api/collections/fish/images/0-0/thumbnail"),
        ]
        for answer in answers:
            assert answer.status_code == 507 and "the disk is full. Free some space" in answer.json()["error"], answer.text
            assert str(small_disk) not in answer.text
        assert [path.name for path in (workspace.root / "uploads" / upload).iterdir()] == []
        assert client.get("/api/collections/fish").status_code == client.get("/api/jobs").status_code == 200
        (small_disk / "filler").unlink()
        assert client.post("/api/collections/drawn/verdicts", json=vote).status_code == 201
        assert client.get("/api/collections/fish/images/0-0/thumbnail").status_code == 200


def test_a_job_that_cannot_start_on_a_full_disk_fails_with_the_sentence_and_the_next_goes_on(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = [bench.add(kind="train", name=name, family="collage", collection="fish", steps=1) for name in ("a", "b")]
    with monkeypatch.context() as patch:
        patch.setattr(bench.commands, "run", lambda command: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        bench.step()
    bench.step(2)
    assert [bench[number].status for number in numbers] == ["failed", "finished"]
    assert bench[numbers[0]].message.startswith("the workspace: cannot be written, because the disk is full")


def test_a_process_tells_its_exit_code_on_a_full_disk(small_disk: Path) -> None:
    process = JobProcess(small_disk / "job")
    process.start(["inspect", str(small_disk / "nowhere")], "job-1")
    fill(small_disk)
    until(lambda: not process.is_alive())
    assert process.exit_code() in (1, 2), "1 if even the message could not be written"
