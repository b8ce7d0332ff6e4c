"""A run folder: what was asked, with which versions and seed, what happened, and how it ended.

    OUT/
      run.json         manifest: command, seed, library versions, machine, inputs, status, result
      recipe.yaml      the resolved settings
      progress.jsonl   one JSON object an event, appended and flushed as it happens
      now.json         while the run lasts: how far it is, and the time left

Every stage function takes a ``Run`` and has one of its own if none is given (``keeps_run``): a run folder in ``out``, with progress on standard
error. ``Run.silent()`` keeps and shows nothing.
"""

from __future__ import annotations

import functools
import inspect
import json
import math
import os
import platform
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from syntype.errors import InputError
from syntype.recipe import Settings, write_yaml

__all__ = [
    "OWN_RUN",
    "Progress",
    "Run",
    "is_main_process",
    "keeps_run",
    "num_processes",
    "parse_events",
    "plain",
    "read_events",
    "read_object",
    "replacing",
    "write_json",
    "write_npz",
]

T = TypeVar("T")
P = ParamSpec("P")

_VERSIONED = ("syntype", "torch", "torchvision", "timm", "numpy", "pillow", "pandas", "scikit-learn", "accelerate", "safetensors")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path``; the file written there takes its place in the end, and is gone if an error comes first.

    So a reader sees the old file or the new one, never half of one; and of processes and threads that write at once, the last one wins.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        with suppress(OSError):
            temporary.unlink()


def write_json(path: Path, value: Any) -> None:
    """Write JSON, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file; empty where there is no file, or no object in it."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def write_npz(path: Path, **arrays: Any) -> None:
    """Write arrays as ``.npz``, whole or not at all; the folder is made where it is missing."""
    import numpy as np

    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)


def num_processes() -> int:
    """How many processes ``torchrun`` or ``accelerate launch`` has started for this command; 1 without them."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main_process() -> bool:
    """True in the one of these processes that writes files and speaks."""
    return num_processes() == 1 or os.environ.get("RANK", "0") == "0"


class Progress:
    """A bar with the time left on a terminal; a line every 30 seconds elsewhere; always on standard error.

    In a run's folder ``now.json`` says the same to other programs, at most once a second: ``doing``, ``done``, ``total``, ``seconds_left``
    (null where it is not known), ``note``.
    """

    def __init__(self, description: str, total: float | None, quiet: bool, folder: Path | None = None) -> None:
        self._description, self._total, self._quiet, self._folder = description, total, quiet, folder
        self._done, self._note = 0.0, ""
        self._start = self._last = time.monotonic()
        self._from: tuple[float, float] | None = None  # done, and when, as first heard: a resumed run does not start at 0
        self._told = 0.0
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
        """Move on by ``amount``; ``note`` is shown behind the bar."""
        self.set(self._done + amount, note)

    def set(self, done: float, note: str | None = None) -> None:
        """Move to ``done`` of the total."""
        self._done = done
        if note is not None:
            self._note = note
        if self._bar is not None:
            self._bar.update(self._task, completed=done, note=self._note)
        elif not self._quiet and time.monotonic() - self._last > 30:
            self._last = time.monotonic()
            self._line()
        if self._folder is not None and time.monotonic() - self._told > 1:
            self._told = time.monotonic()
            self._tell(self._folder)

    def _tell(self, folder: Path) -> None:
        if self._from is None:
            self._from = (self._done, time.monotonic())
        gained, elapsed = self._done - self._from[0], time.monotonic() - self._from[1]
        left = round(elapsed * max(0.0, self._total - self._done) / gained, 1) if self._total and gained > 0 else None
        with suppress(OSError):  # a full disk is for the work itself to complain of
            now = {"doing": self._description, "done": self._done, "total": self._total, "seconds_left": left, "note": self._note}
            write_json(folder / "now.json", now)

    def _line(self) -> None:
        elapsed = time.monotonic() - self._start
        text = f"{self._description}: {elapsed / 60:.1f} min"
        if self._total and self._done > 0:
            text += f", {100 * self._done / self._total:.0f} %, about {elapsed * (self._total - self._done) / self._done / 60:.1f} min left"
        print(f"{text} {self._note}".rstrip(), file=sys.stderr, flush=True)

    def close(self) -> None:
        """Stop the bar; the last state stays on the screen."""
        if self._bar is not None:
            self._bar.stop()


class Run:
    """The folder of one run.

    Args:
        folder: where to write, or None to keep nothing.
        quiet: no progress on standard error.
    """

    def __init__(self, folder: Path | None, *, quiet: bool = False) -> None:
        self.folder, self.quiet = folder, quiet
        self.manifest: dict[str, Any] = {}

    @classmethod
    def silent(cls) -> Run:
        """A run that writes and shows nothing."""
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
        resume: bool = False,
        overwrite: bool = False,
        quiet: bool = False,
    ) -> Run:
        """Open ``folder`` for a run of ``stage``; write ``run.json`` and ``recipe.yaml`` at once.

        A folder that a run of the same stage left unfinished is continued with ``resume=True``. Of several processes the main one keeps the
        run; the others are silent.

        Raises:
            InputError: the folder holds another run (or other files) and neither ``resume`` nor ``overwrite`` was asked.
        """
        if not is_main_process():
            return cls.silent()
        folder = Path(folder)
        earlier = folder / "run.json"
        if folder.exists() and not folder.is_dir():
            raise InputError("is a file, not a folder", "Give --out another path.", file=folder)
        if folder.is_dir() and any(folder.iterdir()) and not (resume or overwrite):
            hint = "Add --resume to continue it, or " if earlier.exists() else ""
            raise InputError("already holds files", f"{hint}give --out a new folder." if hint else "Give --out a new folder.", file=folder)
        folder.mkdir(parents=True, exist_ok=True)
        run = cls(folder, quiet=quiet)
        previous = json.loads(earlier.read_text(encoding="utf-8")) if resume and earlier.exists() else {}
        run.manifest = {
            "stage": stage,
            "status": "running",
            "seed": seed,
            "arguments": sys.argv[1:],
            "inputs": dict(inputs or {}),
            "versions": {"python": platform.python_version(), **_versions()},
            "machine": {"system": platform.platform(), "processor": platform.processor() or platform.machine(), "cores": os.cpu_count()},
            "started": previous.get("started", _now()),
            "sessions": [*previous.get("sessions", []), _now()],
        }
        write_yaml(folder / "recipe.yaml", settings)
        run._save()
        return run

    @property
    def path(self) -> Path:
        """The run's folder. Raises ``RuntimeError`` for a silent run."""
        if self.folder is None:
            raise RuntimeError("a silent run has no folder")
        return self.folder

    def event(self, kind: str, **fields: Any) -> None:
        """Append one event to ``progress.jsonl``."""
        if self.folder is None:
            return
        with (self.folder / "progress.jsonl").open("a", encoding="utf-8") as file:  # events are seldom: nothing stays open
            file.write(json.dumps({"time": _now(), "event": kind, **fields}, ensure_ascii=False) + "\n")

    def forget(self, unwanted: Callable[[dict[str, Any]], bool]) -> None:
        """Drop events from ``progress.jsonl``: those of steps that a resumed run takes again."""
        if self.folder is None or not (self.folder / "progress.jsonl").exists():
            return
        kept = [event for event in read_events(self.folder) if not unwanted(event)]
        with replacing(self.folder / "progress.jsonl") as temporary:
            temporary.write_text("".join(json.dumps(event, ensure_ascii=False) + "\n" for event in kept), encoding="utf-8")

    def say(self, message: str) -> None:
        """Tell the user something on standard error, and keep it as an event."""
        if not self.quiet:
            print(message, file=sys.stderr, flush=True)
        self.event("message", text=message)

    @contextmanager
    def progress(self, description: str, total: float | None = None) -> Iterator[Progress]:
        """A progress bar for a stretch of work of ``total`` units."""
        bar = Progress(description, total, self.quiet, self.folder)
        try:
            yield bar
        finally:
            bar.close()

    def track(self, items: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
        """Iterate over ``items`` behind a progress bar."""
        if total is None and isinstance(items, Sized):
            total = len(items)
        with self.progress(description, total) as bar:
            for item in items:
                yield item
                bar.advance()

    def finish(self, status: str = "finished", **result: Any) -> None:
        """Record how the run ended (``finished``, ``interrupted`` or ``failed``) and its result."""
        self.manifest.update(status=status, ended=_now(), result=result)
        self._save()
        if self.folder is not None:
            (self.folder / "now.json").unlink(missing_ok=True)

    def __enter__(self) -> Run:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _traceback: object) -> None:
        """Record how the run ended, if ``finish`` has not been called: an error that leaves the run stands in its manifest."""
        if error is not None:
            self.finish("interrupted" if isinstance(error, KeyboardInterrupt) else "failed", error=f"{type(error).__name__}: {error}")
        elif self.manifest.get("status") == "running":
            self.finish()

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
    resume = resumable and read_object(out / "run.json").get("stage") == name
    if out.is_dir() and any(out.iterdir()) and not resume:
        raise InputError("already holds files", "Give `out` a new folder, or delete this one first.", file=out)
    inputs = {key: value for key, value in arguments.items() if key not in ("config", "out", "run")}
    folders = {key: str(getattr(value, "root", getattr(value, "folder", value))) for key, value in inputs.items()}
    config = arguments["config"]
    return Run.start(out, name, config, seed=getattr(config, "seed", 0), inputs=folders, resume=resume)


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
    """Events of a run, oldest first; a last line cut off by a crash is passed over."""
    path = Path(folder) / "progress.jsonl"
    return list(parse_events(path.read_text(encoding="utf-8").splitlines())) if path.exists() else []


def parse_events(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Events of some lines of ``progress.jsonl``; one that is only half there is passed over."""
    for line in lines:
        with suppress(json.JSONDecodeError):
            yield json.loads(line)


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
