"""Shared by all commands: options, the run folder of a stage, dry runs, and printing of results."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import click

from syntype.cluster.preemption import RESUME, Preempted, preemptible, stop_requests
from syntype.errors import UnsupportedError
from syntype.generators.engine.expected import images_per_second

if TYPE_CHECKING:
    from syntype.cluster import Cluster
    from syntype.collection import Collection
    from syntype.generators import Generator
    from syntype.recipe import Settings
    from syntype.run import Run
    from syntype.synthesis._drawing import DrawConfig

__all__ = [
    "FOLDER",
    "Interrupted",
    "Result",
    "device_option",
    "drawing_options",
    "dry_run_option",
    "example",
    "kept_jobs",
    "on_device",
    "open_collection",
    "out_option",
    "output_options",
    "plan",
    "plan_drawing",
    "resume_option",
    "run_drawing",
    "run_stage",
    "seed_option",
    "set_option",
    "settings",
    "show",
    "stage_options",
    "table_json",
]

Command = TypeVar("Command", bound=Callable[..., Any])

FOLDER = click.Path(path_type=Path)


class Result(Protocol):
    """What every stage function returns."""

    def summary(self) -> dict[str, Any]:
        """The values that ``--json`` prints."""


R = TypeVar("R", bound=Result)
S = TypeVar("S", bound="Settings")


class Interrupted(click.ClickException):
    """Ctrl-C during a stage: exit code 130, with a sentence about what was kept."""

    exit_code = 130


class ToResume(Interrupted):
    """A cluster took the machine back during a stage: exit code 75, "resume me"."""

    exit_code = RESUME


def example(*lines: str) -> str:
    """An epilog for ``--help`` that shows these command lines unchanged."""
    return "\b\nExample:\n" + "\n".join(f"  {line}" for line in lines)


def output_options(command: Command) -> Command:
    """Add ``--json`` and ``--quiet``."""
    command = click.option("--quiet", is_flag=True, help="Do not show progress.")(command)
    return click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")(command)


# No defaults here: the recipe and then the settings class provide them.
seed_option = click.option("--seed", type=click.IntRange(min=0), help="Random seed. Equal seeds give equal results.  [default: 0]")
device_option = click.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda", "mps"]), help="Device to compute on; auto takes a GPU if there is one.  [default: auto]"
)
resume_option = click.option("--resume", is_flag=True, help="Continue an interrupted run in the folder --out.")
set_option = click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change any setting by name, for example --set batch_size=32. Repeatable."
)
dry_run_option = click.option("--dry-run", is_flag=True, help="Print the number of images and the estimated minutes, and stop.")


def stage_options(command: Command) -> Command:
    """Add the options of all resumable stages: --resume, --seed, --device, --set, --dry-run, --json and --quiet."""
    for option in (output_options, dry_run_option, set_option, device_option, seed_option, resume_option):
        command = option(command)
    return command


def drawing_options(command: Command) -> Command:
    """Add the options of all stages that draw with a generator: those of ``stage_options`` and --offload."""
    text = (
        "Keep only the part of a large pre-trained generator that is in use on the graphics card, the others in the computer's memory: "
        "needs about half of the card's memory, and some seconds for each batch."
    )
    return stage_options(click.option("--offload", is_flag=True, help=text)(command))


def out_option(what: str) -> Callable[[Command], Command]:
    """Add the required option ``--out``; ``what`` names what is written."""
    return click.option("--out", type=FOLDER, required=True, help=f"Folder to write {what} to.")


def settings(kind: type[S], flags: Mapping[str, Any], *, recipe: str | None = None, overrides: Sequence[str] = ()) -> S:
    """Settings of a stage. In order of increasing priority: defaults, the recipe, the flags that were given (not None), and ``--set``."""
    from syntype.recipe import apply_overrides, find_recipe

    values = find_recipe(recipe, kind) if recipe else {}
    given = {key: list(value) if isinstance(value, tuple) else value for key, value in flags.items() if value not in (None, ())}
    return kind.parse(apply_overrides({**values, **given}, overrides, kind), recipe or "settings")


def open_collection(folder: Path) -> Collection:
    """Open a collection. The import is here so that ``--help`` does not load pandas."""
    from syntype.collection import Collection

    return Collection.open(folder)


def run_stage(
    stage: Callable[[Run], R],
    name: str,
    out: Path,
    config: Settings,
    *,
    seed: int,
    inputs: Mapping[str, Any],
    kept: str,
    resume: bool | None = None,
    quiet: bool = False,
) -> R:
    """Start a run in the folder ``out``, call ``stage`` with it, and record how it ended.

    While the stage runs, standard output is redirected to standard error, because libraries print there.

    Args:
        stage: Called with the run.
        name: Name of the stage, for ``run.json``.
        out: Folder of the run.
        config: Settings of the stage.
        seed: Seed, for the record.
        inputs: The collections, generators and paths that the stage reads, by name.
        kept: A sentence that says what remains after Ctrl-C.
        resume: Whether to continue the run in ``out``; None for a command without the option ``--resume``.
        quiet: Show no progress.

    Raises:
        Interrupted: The user pressed Ctrl-C.
        ToResume: A cluster takes the machine back.
        InputError: ``out`` is not empty and the run is not resumed, it is not a run of the same stage, settings and inputs, another process
            writes to it, or it cannot be written.
        UnsupportedError: Several processes were started for a stage that supports only one.
    """
    from syntype.run import Run, num_processes, plain

    if num_processes() > 1 and name != "train":
        raise UnsupportedError(f"{num_processes()} processes were started, but syntype {name} runs in one. Start it without torchrun or accelerate.")
    guarded = preemptible() if num_processes() == 1 else stop_requests()  # several processes stop together, after a step
    try:
        with guarded, Run.start(out, name, config, seed=seed, inputs=inputs, resume=resume, quiet=quiet) as run, redirect_stdout(sys.stderr):
            try:
                result = stage(run)
            except Interrupted:  # of a stage inside this one
                run.fail(KeyboardInterrupt())
                raise
            summary = plain(result.summary())
            status = summary.pop("status", "finished")
            run.finish(status, **summary)
    except KeyboardInterrupt as error:
        status = "preempted" if isinstance(error, Preempted) else "interrupted"
    if status == "preempted":
        raise ToResume(f"stopped by a signal (pre-emption). {kept}")
    if status == "interrupted":
        raise Interrupted(f"stopped by Ctrl-C. {kept}")
    return result


def kept_jobs(what: str, out: Path, cluster: Cluster) -> str:
    """What is left of a stage of many jobs that was stopped, and how it goes on; ``what``: several, such as ``species learnt``."""
    go_on = "; jobs on the cluster go on (syntype jobs shows them)" if cluster.executor == "slurm" else ""
    return f"The {what} so far are in {out}{go_on}. Continue with --resume."


def table_json(value: Mapping[str, Any]) -> str:
    """One JSON object on one line."""
    from syntype.run import plain

    return json.dumps(plain(value), ensure_ascii=False, allow_nan=False)


def _printable(text: str) -> str:
    """JSON that standard output can print: characters that it lacks are written as ``\\uXXXX``, so that the JSON stays the same."""
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        return json.dumps(json.loads(text))
    return text


def show(summary: Mapping[str, Any], as_json: bool, then: str = "") -> None:
    """Print a result on standard output: as one JSON object, or as aligned lines and a hint at the next command. Of several
    processes the main one alone does."""
    from syntype.run import is_main_process, plain

    if not is_main_process():
        return
    if as_json:
        print(_printable(table_json(summary)), flush=True)
        return
    for line in _lines(plain(summary)):
        print(line, flush=True)
    if then:
        print(f"\n{then}", flush=True)


def _lines(values: Mapping[str, Any], indent: str = "") -> list[str]:
    width = max((len(key) for key in values), default=0)
    lines = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            lines += [f"{indent}{key}", *_lines(value, indent + "  ")]
        elif isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
            lines.append(f"{indent}{key}")
            for item in value:
                lines += [f"{indent}  - " + ", ".join(f"{name}: {_text(part)}" for name, part in item.items())]
        else:
            lines.append(f"{indent}{key:<{width}}  {_text(value)}")
    return lines


def _text(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return ", ".join(_text(item) for item in value)
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_text(item)}" for key, item in value.items())
    return str(value)


def plan(as_json: bool, *, out: Path, images: int, steps: int | None, minutes: float | None, **more: Any) -> None:
    """Print the result of ``--dry-run``: images, steps, estimated minutes and the output folder."""
    minutes = None if minutes is None else max(0.1, round(minutes, 1))
    show({"dry_run": True, "images": images, "steps": steps, "estimated_minutes": minutes, "out": str(out), **more}, as_json)


def plan_drawing(as_json: bool, out: Path, images: int, size: int, speed: float) -> None:
    """Print the result of ``--dry-run`` for generating images, at ``speed`` times the training speed."""
    plan(as_json, out=out, images=images, steps=None, minutes=images / (speed * images_per_second(size)) / 60)


def on_device(generator: Generator, device: str | None, offload: bool) -> Generator:
    """Move the generator to a device, or with ``offload`` its parts one at a time."""
    from syntype.compute.runtime import Runtime

    return generator.to(Runtime(device or "auto").device, offload=offload)


def run_drawing(
    name: str,
    stage: Callable[[Run], Result],
    config: DrawConfig,
    out: Path,
    inputs: Mapping[str, Any],
    *,
    resume: bool,
    quiet: bool,
    as_json: bool,
    then: str = "",
) -> None:
    """Run a resumable stage that generates images, and print the result."""
    kept = f"{out} holds the images finished so far; continue with --resume."
    result = run_stage(stage, name, out, config, seed=config.seed, inputs=inputs, kept=kept, resume=resume, quiet=quiet)
    show(result.summary(), as_json, then)
