"""The commands that are attacked: tiny, on drawn photographs, one to three seconds each.

Commands start by a fork of a process that has imported everything already: a new interpreter would take five seconds to import it, in which
a kill hits nothing. The process that forks has one thread and computes nothing itself.

    WORK/world/     inputs of the commands, made once: photographs, a collection, generators, synthetic images
    WORK/reference/ results of the commands when nobody disturbs them
    WORK/trial/     where an attack happens; the command's working folder, so that all paths in its results are relative
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["STAGES", "Ended", "Stage", "World", "continued", "describe", "differences", "in_child", "launch", "preload", "wait"]

VOLATILE = frozenset(
    ("minutes", "seconds", "images_per_second", "started", "ended", "sessions", "arguments", "time", "date", "created", "machine", "seconds_left")
)
"""Keys of JSON objects that tell when, how fast and how often something ran, not what came of it."""
LOGS = frozenset(("progress.jsonl", ".lock"))
"""Files that tell the story of a run; a story with a kill in it is another one."""
NEW_SPECIES = 3
"""Which species of the drawn reef no generator is trained on, so that adaptation has one to learn."""


@dataclass(frozen=True)
class Stage:
    """A command to attack.

    Attributes:
        words: its arguments without ``--out``; ``{world}`` stands for the folder of the inputs, ``{new}`` for the species to learn.
        resumes: whether it has ``--resume``.
    """

    name: str
    words: tuple[str, ...]
    resumes: bool


def _stage(name: str, words: str, *, resumes: bool) -> Stage:
    return Stage(name, tuple(words.split()), resumes)


_TINY = "--size 32 --steps 10 --set batch_size=4 --set checkpoint_minutes=0.0001 --set precision=fp32 --set preview_every=4 --device cpu"
STAGES = (
    _stage("collect", "collect {world}/photographs", resumes=True),
    _stage("train (dcgan)", f"train dcgan {{world}}/reef {_TINY} --set model={{dcgan}}", resumes=True),
    _stage("train (fastgan)", f"train fastgan {{world}}/reef --except={{new}} {_TINY} --set model={{fastgan}}", resumes=True),
    _stage("train (collage)", "train collage {world}/reef --size 32 --device cpu", resumes=True),
    _stage(
        "adapt",
        "adapt {world}/fastgan {world}/reef --species={new} --shots 4 --steps 8 --set batch_size=4 --set precision=fp32 --device cpu",
        resumes=True,
    ),
    _stage("generate", "generate {world}/collage --num 25 --device cpu", resumes=True),
    _stage("curate", "curate {world}/synthetic --real {world}/reef --set size=32", resumes=False),
    _stage("classify train", "classify train {world}/reef --steps 20 --set views=1 --set encoder_size=32 --set size=32 --device cpu", resumes=False),
    _stage(
        "study",
        "study {world}/reef --generator {world}/collage --seeds 2 --processes 1 --device cpu --quick --set size=32 --set fill_to=10"
        " --set num_bootstrap=100 --set classifier={classifier} --set curate={curate} --set arms=[real,oversample,mixup,synthetic,synthetic+curated]",
        resumes=True,
    ),
)
"""All of them. The attack on the Studio's jobs has these commands in it too, as jobs."""


def preload() -> None:
    """Import what the commands import, without starting a thread."""
    import torch

    import syntype.adaptation
    import syntype.apps.cli
    import syntype.collection.importers
    import syntype.collection.reef
    import syntype.curation
    import syntype.generators
    import syntype.identification
    import syntype.study
    import syntype.synthesis  # noqa: F401
    from syntype.generators import family

    for name in ("collage", "dcgan", "fastgan"):
        family(name)
    torch.set_num_threads(1)


# Processes ------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ended:
    """How a process ended: exit code (negative: the signal), what it printed, seconds since its start."""

    code: int
    out: str
    err: str
    seconds: float

    @property
    def error(self) -> str:
        """Its error message, one line; empty if there is none."""
        return next((line for line in reversed(self.err.splitlines()) if line.startswith("syntype: error: ")), "")

    @property
    def clean(self) -> bool:
        """Whether it ended well, or with one sentence that expects the situation: no traceback and no ``unexpected ...Error``."""
        return self.code == 0 or (self.code in (1, 2) and bool(self.error) and "Traceback" not in self.err and "unexpected " not in self.error)


@dataclass
class Started:
    pid: int
    began: float
    log: Path


def launch(words: list[str], folder: Path, label: str = "log", before: Callable[[], None] | None = None) -> Started:
    """Start ``syntype`` with these arguments in a process group of its own, in ``folder``. Its output goes to ``folder/../LABEL.*``.

    Args:
        before: called in the new process before the command.
    """
    log = folder.parent / f"{folder.name}-{label}"
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.setsid()
            os.chdir(folder)
            for number, ending in ((1, ".out"), (2, ".err")):
                file = os.open(f"{log}{ending}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
                os.dup2(file, number)
            sys.argv = ["syntype", *words]
            if before is not None:
                before()
            from syntype.apps.cli import main

            code = main(words)
            sys.stdout.flush()
            sys.stderr.flush()
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
        finally:
            os._exit(code)
    return Started(pid, time.monotonic(), log)


def wait(process: Started, kill_at: float | None = None, limit: float = 300) -> Ended:
    """Wait for a process. ``kill_at``: seconds after its start at which its group is killed, if it is still there."""
    end = process.began + (limit if kill_at is None else kill_at)
    while True:
        pid, status = os.waitpid(process.pid, os.WNOHANG)
        if pid:
            break
        if time.monotonic() >= end:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:  # too early: it has no group of its own yet
                os.kill(process.pid, signal.SIGKILL)
            _, status = os.waitpid(process.pid, 0)
            break
        time.sleep(min(0.002, max(0.0, end - time.monotonic())))
    seconds = time.monotonic() - process.began
    out, err = (
        Path(f"{process.log}{ending}").read_text(errors="replace") if Path(f"{process.log}{ending}").exists() else "" for ending in (".out", ".err")
    )
    return Ended(os.waitstatus_to_exitcode(status), out, err, seconds)


def in_child(function: Callable[[], Any], limit: float = 1800) -> Any:
    """What a function returns that runs in a forked process, so that this one starts no thread. The value goes through JSON.

    Raises:
        RuntimeError: it raised an error, with its traceback, or it ran longer than ``limit`` seconds.
    """
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        try:
            answer = {"value": function()}
        except BaseException:
            answer = {"error": traceback.format_exc()}
        with os.fdopen(writing, "w") as pipe:
            json.dump(answer, pipe)
        os._exit(0)
    os.close(writing)
    signal.signal(signal.SIGALRM, lambda *_: os.kill(pid, signal.SIGKILL))
    signal.alarm(int(limit))
    with os.fdopen(reading) as pipe:
        text = pipe.read()
    signal.alarm(0)
    os.waitpid(pid, 0)
    answer = json.loads(text) if text else {"error": f"ended without an answer (killed, or longer than {limit:.0f} s)"}
    if "error" in answer:
        raise RuntimeError(answer["error"])
    return answer["value"]


# Results --------------------------------------------------------------------------------------------------------------------------


def describe(folder: Path) -> dict[str, Any]:
    """What a result folder holds: of every file its hash, or for JSON and tables their content without times. Runs in a child."""
    return in_child(lambda: {_name(path.relative_to(folder).as_posix()): _content(path) for path in _visible(folder)})


def _visible(folder: Path) -> list[Path]:
    """All files but caches: those in folders whose name begins with a dot."""
    return [
        path
        for path in sorted(folder.rglob("*"))
        if not path.is_dir() and not any(part.startswith(".") for part in path.relative_to(folder).parts[:-1])
    ]


def _name(name: str) -> str:
    """A file's name; those of TensorBoard's logs hold the time and the process, and each session has one."""
    return "tensorboard/events" if "tfevents" in name else name


def _content(path: Path) -> Any:
    if path.name in LOGS or "tfevents" in path.name:
        return "log"
    if path.suffix == ".json":
        try:
            return _steady(json.loads(path.read_text(encoding="utf-8")))
        except ValueError:
            return "damaged JSON"
    if path.suffix == ".parquet":
        import pandas as pd

        return hashlib.sha256(pd.read_parquet(path).to_json(orient="split").encode()).hexdigest()
    if path.suffix == ".npz":
        import numpy as np

        with np.load(path) as arrays:
            kept = sorted(name for name in arrays.files if name not in VOLATILE)
            return {name: hashlib.sha256(arrays[name].tobytes()).hexdigest() for name in kept}
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _steady(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _steady(item) for key, item in value.items() if key not in VOLATILE}
    return [_steady(item) for item in value] if isinstance(value, list) else value


def differences(found: dict[str, Any], wanted: dict[str, Any], ignore: frozenset[str] = frozenset()) -> list[str]:
    """Sentences on what is missing, too much, or another; empty if the results are the same.

    Args:
        ignore: files whose content differs between two undisturbed runs too; they only have to be there.
    """
    told = [f"{name} is missing" for name in sorted(wanted.keys() - found.keys())]
    told += [f"{name} is left over" for name in sorted(found.keys() - wanted.keys())]
    for name in sorted(wanted.keys() & found.keys() - ignore):
        if found[name] != wanted[name]:
            told.append(f"{name} differs{_where(found[name], wanted[name])}")
    return told


def _where(one: Any, other: Any, at: str = "") -> str:
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted({*one, *other}):
            if one.get(key) != other.get(key):
                return _where(one.get(key), other.get(key), f"{at}.{key}" if at else key)
    return f" at {at}: {str(one)[:60]!r} instead of {str(other)[:60]!r}" if at else ""


def continued(stage: Stage, words: list[str], trial: Path) -> tuple[list[str], Ended]:
    """Do what a user does after a command was stopped: ``--resume`` where there is it, or else the same again, in a new folder if told so.

    Returns:
        faults on the way, and how the last command ended.
    """
    faults: list[str] = []
    if stage.resumes:
        ended = wait(launch([*words, "--resume"], trial))
        if ended.code != 0:
            faults.append(f"--resume ends with exit code {ended.code}: {ended.error or ended.err[-200:]}")
        return faults, ended
    ended = wait(launch(words, trial))
    if ended.code == 2 and "already holds files" in ended.error:
        shutil.rmtree(trial / "out")
        ended = wait(launch(words, trial))
    if ended.code != 0:
        faults.append(f"the same command again ends with exit code {ended.code}: {ended.error or ended.err[-200:]}")
    return faults, ended


class World:
    """The inputs and the undisturbed results, made where they are not there yet.

    Attributes:
        root: folder of all.
        seconds: how long each stage takes undisturbed.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.world, self.trials = self.root / "world", self.root / "trials"
        self._make()
        self.new_species = in_child(self._species)[NEW_SPECIES]
        self._finish()
        self.fingerprint = self._world_fingerprint()
        self._references: dict[str, tuple[dict[str, Any], frozenset[str], float, int]] = {}

    def words(self, stage: Stage, world: str = "../../world") -> list[str]:
        """The command with its folder of inputs, relative to a trial's folder, and ``--out out --json``."""
        tiny = self._tiny()
        filled = [word.format(world=world, new=self.new_species, **tiny) for word in stage.words]
        return [*filled, "--out", "out", "--json", "--quiet"]

    def trial(self, name: str = "trial") -> Path:
        """A new empty folder in which an attack can happen."""
        folder = self.trials / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    def reference(self, stage: Stage) -> tuple[dict[str, Any], frozenset[str], float, int]:
        """The undisturbed result, files that differ from run to run by themselves, seconds, and bytes written."""
        if stage.name not in self._references:
            found, seconds = [], []
            for _ in range(2):
                trial = self.trial("reference")
                ended = wait(launch(self.words(stage), trial))
                if ended.code != 0:
                    raise SystemExit(f"{stage.name} fails undisturbed: {ended.err[-800:]}")
                found.append(describe(trial / "out"))
                seconds.append(ended.seconds)
            size = sum(path.stat().st_size for path in (trial / "out").rglob("*") if path.is_file())
            by_itself = frozenset(name for name in found[0] if found[0][name] != found[1].get(name))
            self._references[stage.name] = found[1], by_itself, min(seconds), size
        return self._references[stage.name]

    def untouched(self) -> list[str]:
        """What of the inputs has changed since the beginning, as sentences."""
        return differences(self._world_fingerprint(), self.fingerprint)

    def _world_fingerprint(self) -> dict[str, Any]:
        def of_all() -> dict[str, str]:
            files = (path for path in sorted(self.world.rglob("*")) if path.is_file() and not any(part.startswith(".") for part in path.parts))
            return {path.relative_to(self.world).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

        return in_child(of_all)

    def _tiny(self) -> dict[str, str]:
        from syntype.generators import family

        tiny = {name: json.dumps(family(name).Config.tiny(32).model_dump(mode="json", exclude={"size"})) for name in ("dcgan", "fastgan")}
        classifier = json.dumps({"backbone": "scratch", "steps": 4, "batch_size": 8, "views": 1})
        return {**tiny, "classifier": classifier, "curate": json.dumps({"size": 32})}

    def _species(self) -> list[str]:
        from syntype.collection import Collection

        return list(Collection.open(self.world / "reef").species)

    def _make(self) -> None:
        self.world.mkdir(parents=True, exist_ok=True)
        sizes = "--species 4 --size 32 --set max_images=12 --set min_images=6 --set tail=1.0 --set num_val=3 --set num_test=5"
        self._once("reef", ["reef", *sizes.split()])
        if not (self.world / "photographs").is_dir():
            in_child(self._photographs)

    def _photographs(self) -> None:
        from syntype.collection import Collection

        reef, begun = Collection.open(self.world / "reef"), self.world / ".photographs"
        for row, species in enumerate(reef.table["species"]):
            place = begun / species.replace(" ", "_")
            place.mkdir(parents=True, exist_ok=True)
            shutil.copy(reef.path(row), place / f"{row:03d}{reef.path(row).suffix}")
        begun.rename(self.world / "photographs")

    def _finish(self) -> None:
        by_name = {stage.name: stage for stage in STAGES}
        for name in ("dcgan", "fastgan", "collage"):
            words = self.words(by_name[f"train ({name})"], ".")
            self._once(name, words[: words.index("--out")])
        self._once("synthetic", ["generate", "./collage", "--num", "10", "--device", "cpu"])

    def _once(self, name: str, words: list[str]) -> None:
        if (self.world / name).is_dir():
            return
        ended = wait(launch([*words, "--out", f".{name}"], self.world))
        if ended.code != 0:
            raise SystemExit(f"{' '.join(words)} fails: {ended.err[-800:]}")
        (self.world / f".{name}").rename(self.world / name)
