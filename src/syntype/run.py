"""Run folders: the record of what a stage was asked to do, with which settings, versions and seed, and how it ended.

    OUT/
      run.json         manifest: run id, command, settings, seed, library versions, machine, inputs with fingerprints, status, result
      recipe.yaml      the resolved settings
      progress.jsonl   one JSON object per event, written when it happens
      now.json         current progress and remaining time; exists only while the stage runs
      .lock            exists only while a process writes to the folder

Every stage function takes a ``Run``. ``Run.silent()`` writes and prints nothing.
"""

from __future__ import annotations

import functools
import inspect
import json
import math
import os
import platform
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from syntype.errors import DiskError, InputError, SyntypeError, UserError, check_arguments
from syntype.files import atomic_write, disk_problem, read_json_object, sweep_temporary, write_json
from syntype.ownership import LOCK, FolderLock, check_same_run, describe_inputs, is_empty, new_run_id
from syntype.recipe import Settings, write_yaml

__all__ = ["OWN_RUN", "Progress", "Run", "is_main_process", "keeps_run", "num_processes", "parse_events", "plain", "read_events"]

T = TypeVar("T")
P = ParamSpec("P")

_VERSIONED = ("syntype", "torch", "torchvision", "timm", "numpy", "pillow", "pandas", "scikit-learn", "accelerate", "safetensors")


def num_processes() -> int:
    """Number of processes that ``torchrun`` or ``accelerate launch`` has started for this command; 1 without them."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main_process() -> bool:
    """Whether this is the process that writes files and prints messages (rank 0)."""
    return num_processes() == 1 or os.environ.get("RANK", "0") == "0"


class Progress:
    """Progress on standard error: a bar with the remaining time on a terminal, otherwise one line every 30 seconds.

    If the run has a folder, ``now.json`` there holds the same for other programs, updated at most once a second: ``doing`` (description),
    ``done``, ``total``, ``seconds_left`` (null if not known), ``note``.

    Args:
        description: What is being done.
        total: Amount of work, in any unit; None if not known.
        quiet: Print nothing.
        folder: Folder of ``now.json``; None to write none.
    """

    def __init__(self, description: str, total: float | None, quiet: bool, folder: Path | None = None) -> None:
        self._description, self._total, self._quiet, self._folder = description, total, quiet, folder
        self._done, self._note = 0.0, ""
        self._start = self._last = time.monotonic()
        self._first: tuple[float, float] | None = None  # first amount and time that were reported: a resumed run does not start at 0
        self._last_written = 0.0
        self._bar: Any = None
        if not quiet and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.percentage:>3.0f}%"),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                TextColumn("{task.fields[note]}"),
            )
            self._bar = Bar(*columns, console=Console(stderr=True), transient=False)
            self._task = self._bar.add_task(description, total=total, note="")
            self._bar.start()

    def advance(self, amount: float = 1, note: str | None = None) -> None:
        """Add ``amount`` to the work done; ``note`` is shown behind the bar."""
        self.set(self._done + amount, note)

    def set(self, done: float, note: str | None = None) -> None:
        """Set the work done; ``note`` is shown behind the bar."""
        self._done = done
        if note is not None:
            self._note = note
        if self._bar is not None:
            self._bar.update(self._task, completed=done, note=self._note)
        elif not self._quiet and time.monotonic() - self._last > 30:
            self._last = time.monotonic()
            self._print_line()
        if self._folder is not None and time.monotonic() - self._last_written > 1:
            self._last_written = time.monotonic()
            self._write_now(self._folder)

    def _write_now(self, folder: Path) -> None:
        if self._first is None:
            self._first = (self._done, time.monotonic())
        gained, elapsed = self._done - self._first[0], time.monotonic() - self._first[1]
        left = round(elapsed * max(0.0, self._total - self._done) / gained, 1) if self._total and gained > 0 else None
        with suppress(OSError):  # if the disk is full, the stage itself reports it
            now = {"doing": self._description, "done": self._done, "total": self._total, "seconds_left": left, "note": self._note}
            write_json(folder / "now.json", now)

    def _print_line(self) -> None:
        elapsed = time.monotonic() - self._start
        text = f"{self._description}: {elapsed / 60:.1f} min"
        if self._total and self._done > 0:
            text += f", {100 * self._done / self._total:.0f} %, about {elapsed * (self._total - self._done) / self._done / 60:.1f} min left"
        print(f"{text} {self._note}".rstrip(), file=sys.stderr, flush=True)

    def close(self) -> None:
        """Stop the bar. Its last state stays on the screen."""
        if self._bar is not None:
            self._bar.stop()


class Run:
    """The record of one run of a stage.

    Args:
        folder: Where to write it; None to write nothing.
        quiet: Print no progress on standard error.

    Attributes:
        manifest: Content of ``run.json``.
    """

    def __init__(self, folder: Path | None, *, quiet: bool = False) -> None:
        self.folder, self.quiet = folder, quiet
        self.manifest: dict[str, Any] = {}
        self._lock: FolderLock | None = None
        self._fresh = self._made_folder = False

    @classmethod
    def silent(cls) -> Run:
        """A run that writes and prints nothing."""
        return cls(None, quiet=True)

    @classmethod
    def start(
        cls,
        folder: Path | str,
        stage: str,
        settings: Settings,
        *,
        seed: int,
        inputs: Mapping[str, Any] | None = None,
        resume: bool | None = None,
        quiet: bool = False,
    ) -> Run:
        """Start a run of ``stage`` in ``folder``, and write ``run.json`` and ``recipe.yaml``.

        Until ``finish`` no other process can start a run in the folder. Of several processes of one command only the main one gets this run;
        the others get a silent one.

        Args:
            folder: Folder of the run; created if missing.
            stage: Name of the stage, for example ``train``.
            settings: Settings of the stage.
            seed: Seed of the stage, for the record.
            inputs: The collections, generators and paths that the stage reads, by name; see ``describe_inputs``.
            resume: True to continue the run that the folder holds (an empty folder is accepted too); False to start a new one; None for a
                stage that always starts from the beginning.
            quiet: Print no progress on standard error.

        Raises:
            InputError: The folder holds files and ``resume`` is not set; it holds a run of another stage, with other settings or from other
                inputs; another process writes to it; it is a file; or it cannot be written.
        """
        if not is_main_process():
            return cls.silent()
        folder = Path(folder)
        if folder.exists() and not folder.is_dir():
            raise InputError("is a file, not a folder", "Give --out another path.", file=folder)
        run = cls(folder, quiet=quiet)
        run._made_folder = not folder.exists()
        described = describe_inputs(inputs or {})
        try:
            folder.mkdir(parents=True, exist_ok=True)
            run._lock = FolderLock(folder)
            run._start(stage, settings, seed, described, resume)
        except (OSError, DiskError) as error:
            if run.manifest and not run._fresh:
                run.fail(error)
            run._withdraw()
            if isinstance(error, OSError) and (problem := disk_problem(error, folder)) is not None:
                raise problem from None
            raise
        except BaseException:
            run._release()
            raise
        return run

    def _start(self, stage: str, settings: Settings, seed: int, inputs: dict[str, Any], resume: bool | None) -> None:
        folder, previous = self.path, {}
        self._fresh = is_empty(folder)
        if not self._fresh:
            previous = read_json_object(folder / "run.json")
            if not resume:
                can_continue = resume is not None and previous.get("stage") == stage
                hint = "Add --resume to continue it, or give --out a new folder." if can_continue else "Give --out a new folder."
                raise InputError("already holds files", hint, file=folder)
            check_same_run(folder, previous, stage, settings, inputs)
            _complete_last_line(folder / "progress.jsonl")
        sweep_temporary(folder)
        self.manifest = {
            "stage": stage,
            "run_id": previous.get("run_id") or new_run_id(),
            "status": "running",
            "seed": seed,
            "settings": settings.model_dump(mode="json"),
            "arguments": sys.argv[1:],
            "inputs": inputs,
            "versions": {"python": platform.python_version(), **_versions()},
            "machine": {"system": platform.platform(), "processor": platform.processor() or platform.machine(), "cores": os.cpu_count()},
            "started": previous.get("started", _now()),
            "sessions": [*previous.get("sessions", []), _now()],
        }
        self._save()
        write_yaml(folder / "recipe.yaml", settings)

    @property
    def path(self) -> Path:
        """The folder of the run.

        Raises:
            RuntimeError: The run has no folder.
        """
        if self.folder is None:
            raise RuntimeError("a silent run has no folder")
        return self.folder

    def event(self, kind: str, **fields: Any) -> None:
        """Append an event to ``progress.jsonl``: its kind, the time, and ``fields``."""
        if self.folder is None:
            return
        with (self.folder / "progress.jsonl").open("a", encoding="utf-8") as file:  # events are rare, so the file need not stay open
            file.write(json.dumps({"time": _now(), "event": kind, **fields}, ensure_ascii=False) + "\n")

    def drop_events(self, unwanted: Callable[[dict[str, Any]], bool]) -> None:
        """Remove events from ``progress.jsonl``, for example those of training steps that a resumed run repeats."""
        if self.folder is None or not (self.folder / "progress.jsonl").exists():
            return
        kept = [event for event in read_events(self.folder) if not unwanted(event)]
        with atomic_write(self.folder / "progress.jsonl") as temporary:
            temporary.write_text("".join(json.dumps(event, ensure_ascii=False) + "\n" for event in kept), encoding="utf-8")

    def say(self, message: str) -> None:
        """Print a message on standard error, and append it to ``progress.jsonl`` as an event."""
        if not self.quiet:
            print(message, file=sys.stderr, flush=True)
        self.event("message", text=message)

    @contextmanager
    def progress(self, description: str, total: float | None = None) -> Iterator[Progress]:
        """Show progress of some work of ``total`` units; see ``Progress``."""
        bar = Progress(description, total, self.quiet, self.folder)
        try:
            yield bar
        finally:
            bar.close()

    def track(self, items: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
        """Iterate over ``items`` with a progress bar."""
        if total is None and isinstance(items, Sized):
            total = len(items)
        with self.progress(description, total) as bar:
            for item in items:
                yield item
                bar.advance()

    def finish(self, status: str = "finished", **result: Any) -> None:
        """Write the end of the run to ``run.json``: status (``finished``, ``interrupted`` or ``failed``) and result. Others may then write."""
        self.manifest.update(status=status, ended=_now(), result=result)
        if self.folder is not None:
            (self.folder / "now.json").unlink(missing_ok=True)
            sweep_temporary(self.folder, own=True)
        try:
            self._save()
        finally:
            self._release()

    def fail(self, error: BaseException) -> None:
        """Record that ``error`` ended the run. It never raises an error of its own, which would hide the cause: if the disk is full,
        ``run.json`` is overwritten in place."""
        try:
            told = str(error) if isinstance(error, SyntypeError) else f"{type(error).__name__}: {error}"
            self.finish("interrupted" if isinstance(error, KeyboardInterrupt) else "failed", error=told)
        except Exception:
            with suppress(OSError), (self.path / "run.json").open("r+", encoding="utf-8") as file:
                short = {key: value for key, value in self.manifest.items() if key not in ("versions", "machine", "arguments")}
                file.write(json.dumps(short, ensure_ascii=False))  # shorter than before, so that it needs no further space
                file.truncate()
        if isinstance(error, UserError) and not isinstance(error, DiskError):
            self._withdraw()

    def _withdraw(self) -> None:
        """After an error in the input: delete the records of a run that has written nothing else, so that the same folder can be used again.
        Nothing that was there before is deleted."""
        if self.folder is not None and self._fresh:
            rest = {path.name for path in self.folder.rglob("*") if not path.is_dir()} - {LOCK}
            if rest <= {"run.json", "recipe.yaml", "progress.jsonl"}:
                for name in rest:
                    with suppress(OSError):
                        (self.folder / name).unlink()
                for path in sorted((path for path in self.folder.rglob("*") if path.is_dir()), reverse=True):
                    with suppress(OSError):
                        path.rmdir()
        self._release()
        if self.folder is not None and self._made_folder:
            with suppress(OSError):  # it is not empty
                self.folder.rmdir()

    def __enter__(self) -> Run:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _traceback: object) -> None:
        """Write the end of the run unless ``finish`` has been called. An error that ended it is recorded in the manifest.

        Raises:
            DiskError: the error was one of the disk, which is told in one sentence.
        """
        if error is not None:
            if self.manifest.get("status") == "running":  # unless the stage has recorded more
                self.fail(error)
            if self.folder is not None and (problem := disk_problem(error, self.folder)) is not None:
                raise problem from None
        elif self.manifest.get("status") == "running":
            self.finish()

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _save(self) -> None:
        if self.folder is not None:
            write_json(self.folder / "run.json", self.manifest)


OWN_RUN = Run(None)
"""The default of a stage's parameter ``run``: the stage opens a run of its own (``keeps_run``)."""


def keeps_run(name: str, *, resumable: bool = False) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Let a stage function be called without its parameter ``run``.

    A stage with a parameter ``out`` then keeps ``run.json``, ``recipe.yaml`` and ``progress.jsonl`` in that folder, as the command of the
    same name does; a stage without ``out`` keeps nothing. Both show their progress on standard error.

    Args:
        name: the stage's name in ``run.json``.
        resumable: whether the stage goes on in a folder in which it was stopped. If not, ``out`` must be empty.
    """

    def decorate(stage: Callable[P, T]) -> Callable[P, T]:
        signature = inspect.signature(stage)

        @functools.wraps(stage)
        def with_run(*args: P.args, **kwargs: P.kwargs) -> T:
            given = signature.bind(*args, **kwargs)
            check_arguments(signature, given.arguments)
            if given.arguments.get("run", OWN_RUN) is not OWN_RUN:
                return stage(*args, **kwargs)
            if "out" not in given.arguments:
                return stage(*args, **kwargs)
            with _run_in(Path(given.arguments["out"]), name, resumable, given.arguments) as run:
                given.arguments["run"] = run
                result = stage(*given.args, **given.kwargs)
                summary = plain(result.summary())  # type: ignore[attr-defined]
                run.finish(summary.pop("status", "finished"), **summary)
                return result

        return with_run

    return decorate


def _run_in(out: Path, name: str, resumable: bool, arguments: Mapping[str, Any]) -> Run:
    """A run of the stage ``name`` in ``out``, which is empty or, if the stage is ``resumable``, holds an earlier run of the same stage."""
    inputs = {key: value for key, value in arguments.items() if key not in ("config", "out", "run", "cluster")}
    config = arguments["config"]
    return Run.start(out, name, config, seed=getattr(config, "seed", 0), inputs=inputs, resume=resumable or None)


def plain(value: Any) -> Any:
    """Turn a summary into what JSON can hold: numbers that are not finite become null, paths text, arrays lists."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (str, int)):
        return value
    if hasattr(value, "tolist"):  # numpy scalars and arrays, tensors
        return plain(value.tolist())
    return str(value)


def read_events(folder: Path | str) -> list[dict[str, Any]]:
    """Events of a run, oldest first. A last line that a crash cut off is skipped."""
    path = Path(folder) / "progress.jsonl"
    return list(parse_events(path.read_text(encoding="utf-8", errors="replace").splitlines())) if path.exists() else []


def parse_events(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Parse lines of ``progress.jsonl``. A line that is incomplete or damaged is skipped."""
    for line in lines:
        with suppress(ValueError, RecursionError):
            event = json.loads(line)
            if isinstance(event, dict):
                yield event


def _complete_last_line(path: Path) -> None:
    """End a line that a killed process has not completed, so that the next event starts on a line of its own."""
    if path.is_file() and (size := path.stat().st_size):
        with path.open("rb+") as file:
            file.seek(size - 1)
            if file.read(1) != b"\n":
                file.write(b"\n")


@functools.cache
def _versions() -> dict[str, str]:
    found = {}
    for name in _VERSIONED:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")
