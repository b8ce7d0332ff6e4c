"""Whatever commands and jobs do to a workspace, in whatever order: every photograph that was taken in stays readable and labelled as it was.

Names are few, so that they collide: the same ``--out`` for different commands, a folder of photographs as ``--out``, jobs that wait while
the command line takes their name, folders that the user deletes and makes again, jobs that are killed, cancelled and resumed.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from made import make_collection
from starlette.testclient import TestClient
from studio_server import TOKEN

from syntype.apps.cli import main
from syntype.apps.web.app import create_app
from syntype.apps.web.limits import StudioConfig
from syntype.apps.web.processes import JobProcess
from syntype.apps.web.workspace import Workspace
from syntype.collection import Collection
from syntype.ownership import RUN_ID_VARIABLE

LABELS = ["image_id", "file_name", "species", "split", "group", "licence", "origin", "sha256"]
PLACES = st.sampled_from(
    ("workspace/collections/a", "workspace/collections/b", "workspace/generators/a", "workspace/exports/a", "photographs", "loose")
)
INPUTS = st.sampled_from(("workspace/collections/fish", "workspace/collections/a", "workspace/collections/b"))
GENERATORS = st.sampled_from(("workspace/generators/little", "workspace/generators/a"))
NAMES = st.sampled_from(("a", "b"))


def run_quietly(*arguments: object) -> int:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        return main([str(one) for one in arguments])


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photographs in folders, and a workspace with a collection, a generator and synthetic images of it."""
    root = tmp_path_factory.mktemp("template")
    workspace = Workspace(root / "workspace")
    fish = make_collection(workspace.root / "collections" / "fish", {"Aus primus": 8, "Bus secundus": 5}, size=32)
    for row, species in enumerate(fish.table["species"]):
        place = root / "photographs" / species.replace(" ", "_")
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(fish.path(row), place)
    assert (
        run_quietly("train", "copies", fish.root, "--size", 32, "--device", "cpu", "--out", workspace.root / "generators" / "little", "--quiet") == 0
    )
    return root


class InProcess(JobProcess):
    """Runs a job's command at once in this process; a killed one leaves no exit code."""

    kill = "no"

    def start(self, command: Any, run_id: str) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        for name in ("exit", "pid", "output", "start"):
            (self.folder / name).unlink(missing_ok=True)
        kill, InProcess.kill = InProcess.kill, "no"
        if kill == "before":
            return
        with contextlib.ExitStack() as stack:
            stack.enter_context(contextlib.redirect_stdout(stack.enter_context((self.folder / "output").open("w"))))
            stack.enter_context(contextlib.redirect_stderr(stack.enter_context((self.folder / "log").open("a"))))
            stack.enter_context(mock.patch.dict(os.environ, {RUN_ID_VARIABLE: run_id}))
            (self.folder / "start").write_text(str((self.folder / "log").stat().st_size))
            code = main(list(command))
        if kill == "no":
            (self.folder / "exit").write_text(str(code))

    def is_alive(self) -> bool:
        return False


def what_is_in(folder: Path) -> dict[str, Any]:
    """Labels and bytes of a collection's images, by id."""
    collection = Collection.open(folder)
    rows = collection.table[LABELS].astype(object).where(collection.table[LABELS].notna(), None).to_dict("records")
    return {one["image_id"]: (one, hashlib.sha256(collection.path(row).read_bytes()).hexdigest()) for row, one in enumerate(rows)}


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


class WorkspaceStates(RuleBasedStateMachine):
    """A workspace, and what was taken in: ``taken`` maps a collection's folder to its labels and bytes."""

    template: Path

    @initialize()
    def begin(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="states-"))
        shutil.copytree(self.template, self.root, dirs_exist_ok=True)
        self.workspace = self.root / "workspace"
        self.photographs = files_in(self.root / "photographs")
        self.taken = {self.workspace / "collections" / "fish": what_is_in(self.workspace / "collections" / "fish")}
        self._serve()

    def _serve(self) -> None:
        self.app = create_app(Workspace(self.workspace), StudioConfig(token=TOKEN))  # its queue's thread is not started: `work` does a step of it
        self.client = TestClient(self.app, base_url="http://localhost", headers={"authorization": f"Bearer {TOKEN}"})
        self.queue = self.app.app.state.studio.queue  # type: ignore[attr-defined]

    def _collected(self, folder: Path) -> None:
        self.taken[folder] = what_is_in(folder)

    @rule(place=PLACES)
    def collect(self, place: str) -> None:
        if run_quietly("collect", self.root / "photographs", "--out", self.root / place, "--quiet") == 0:
            self._collected(self.root / place)

    @rule(generator=GENERATORS, place=PLACES, resume=st.booleans())
    def generate(self, generator: str, place: str, resume: bool) -> None:
        more = ["--resume"] if resume else []
        run_quietly("generate", self.root / generator, "--num", 1, "--device", "cpu", "--out", self.root / place, "--quiet", *more)

    @rule(collection=INPUTS, place=PLACES, resume=st.booleans())
    def train(self, collection: str, place: str, resume: bool) -> None:
        more = ["--resume"] if resume else []
        run_quietly("train", "copies", self.root / collection, "--size", 32, "--device", "cpu", "--out", self.root / place, "--quiet", *more)

    @rule(collection=INPUTS, place=PLACES)
    def export(self, collection: str, place: str) -> None:
        run_quietly("export", self.root / collection, "--out", self.root / place, "--quiet")

    @rule(collection=INPUTS, real=INPUTS, place=PLACES)
    def curate(self, collection: str, real: str, place: str) -> None:
        run_quietly("curate", self.root / collection, "--real", self.root / real, "--set", "size=32", "--out", self.root / place, "--quiet")

    @rule(place=PLACES.filter(lambda place: place != "photographs"))
    def the_user_deletes(self, place: str) -> None:
        shutil.rmtree(self.root / place, ignore_errors=True)
        self.taken.pop(self.root / place, None)

    @rule(name=NAMES)
    def job_import(self, name: str) -> None:
        upload = self.client.post("/api/uploads").json()["upload"]
        for path in (self.root / "photographs").rglob("*.png"):
            place = self.workspace / "uploads" / upload / path.parent.name
            place.mkdir(exist_ok=True)
            shutil.copy(path, place)
        self.client.post("/api/jobs", json={"kind": "import", "name": name, "upload": upload})

    @rule(name=NAMES, kind=st.sampled_from(("generate", "train", "export", "curate")), other=st.sampled_from(("fish", "a", "b")))
    def job(self, name: str, kind: str, other: str) -> None:
        requests: dict[str, dict[str, Any]] = {
            "generate": {"generator": "little" if other == "fish" else "a", "num": 1},
            "train": {"family": "copies", "collection": other, "size": 32},
            "export": {"collection": other},
            "curate": {"synthetic": other, "real": "fish"},
        }
        self.client.post("/api/jobs", json={"kind": kind, "name": name, **requests[kind]})

    @rule(number=st.integers(1, 4), what=st.sampled_from(("cancel", "resume")))
    def change(self, number: int, what: str) -> None:
        self.client.post(f"/api/jobs/{number}/{what}")

    @rule(kill=st.sampled_from(("no", "no", "before", "after")))
    def work(self, kill: str) -> None:
        """The queue begins a job, which ends or is killed; then it takes note of that."""
        InProcess.kill = kill
        before = set(Workspace(self.workspace).slugs("collections"))
        self.queue._step()
        self.queue._step()
        InProcess.kill = "no"
        for name in set(Workspace(self.workspace).slugs("collections")) - before:
            folder = self.workspace / "collections" / name
            if Workspace(self.workspace).manifest("collections", name).get("stage") == "collect":
                self._collected(folder)

    @rule()
    def restart(self) -> None:
        self._serve()

    @invariant()
    def every_photograph_is_readable_and_labelled_as_it_was(self) -> None:
        if not hasattr(self, "taken"):
            return
        now = files_in(self.root / "photographs")
        assert {name: now.get(name) for name in self.photographs} == self.photographs, "the photographs that were collected"
        for folder, was in self.taken.items():
            assert what_is_in(folder) == was, folder.relative_to(self.root)

    def teardown(self) -> None:
        if hasattr(self, "root"):
            shutil.rmtree(self.root, ignore_errors=True)


@pytest.fixture
def machine(template: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[WorkspaceStates]]:
    monkeypatch.setattr("syntype.apps.web.queue.JobProcess", InProcess)
    yield type("WorkspaceStatesHere", (WorkspaceStates,), {"template": template})


@pytest.mark.parametrize(("examples", "steps"), [(5, 12), pytest.param(150, 30, marks=pytest.mark.slow)])
def test_any_sequence_of_commands_and_jobs_keeps_every_photograph(machine: type[WorkspaceStates], examples: int, steps: int) -> None:
    asked = settings(max_examples=examples, stateful_step_count=steps, deadline=None, database=None, derandomize=True)
    run_state_machine_as_test(machine, settings=settings(asked, suppress_health_check=list(HealthCheck)))


A, LITTLE = "workspace/collections/a", "workspace/generators/little"
COLLISIONS: dict[str, list[tuple[Any, ...]]] = {
    "a resumed generation in a collection of photographs": [("collect", A), ("generate", LITTLE, A, True)],
    "a resumed generation among photographs": [("generate", LITTLE, "photographs", True)],
    "a killed import whose name was taken": [("job_import", "a"), ("collect", A), ("work", "before"), ("work", "no")],
    "a waiting generation whose name was taken": [("job", "a", "generate", "fish"), ("collect", A), ("work", "no")],
    "a waiting curation whose name was taken": [("job", "a", "curate", "fish"), ("collect", A), ("work", "no")],
    "a cancelled job whose name was taken": [
        ("job", "a", "generate", "fish"),
        ("change", 1, "cancel"),
        ("collect", A),
        ("change", 1, "resume"),
        ("work", "no"),
    ],
}
"""Sequences that have cost photographs before, step by step: the rules of ``WorkspaceStates`` and their arguments."""


@pytest.mark.parametrize("steps", COLLISIONS.values(), ids=COLLISIONS)
def test_names_that_collide_cost_no_photograph(machine: type[WorkspaceStates], steps: list[tuple[Any, ...]]) -> None:
    states = machine()
    states.begin()
    try:
        for name, *arguments in steps:
            getattr(states, name)(*arguments)
            states.every_photograph_is_readable_and_labelled_as_it_was()
    finally:
        states.teardown()
