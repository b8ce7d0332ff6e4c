"""What every command shares: options, the run folder around a stage, plans, and how results are shown."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import click

from syntype.errors import InputError, UnsupportedError, UserError

if TYPE_CHECKING:
    from syntype.collection import Collection
    from syntype.generators import Generator
    from syntype.recipe import Settings
    from syntype.run import Run
    from syntype.synthesis._drawing import DrawConfig

__all__ = [
    "FOLDER",
    "Result",
    "Stopped",
    "device_option",
    "dry_run_option",
    "example",
    "images_per_second",
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
        """The figures that ``--json`` prints."""


R = TypeVar("R", bound=Result)
S = TypeVar("S", bound="Settings")


class Stopped(click.ClickException):
    """Ctrl-C during a stage: exit code 130, and a sentence about what was kept."""

    exit_code = 130


def example(*lines: str) -> str:
    """An epilog for ``--help`` that shows the given command lines as they are."""
    return "\b\nExample:\n" + "\n".join(f"  {line}" for line in lines)


def output_options(command: Command) -> Command:
    """Add ``--json`` and ``--quiet``."""
    command = click.option("--quiet", is_flag=True, help="No progress on standard error.")(command)
    return click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object on standard output.")(command)


# Without a default here: what the user does not say is left to the recipe, then to the settings class.
seed_option = click.option("--seed", type=click.IntRange(min=0), help="Where all randomness comes from.  [default: 0]")
device_option = click.option("--device", type=click.Choice(["auto", "cpu", "cuda", "mps"]), help="Where to compute.  [default: auto]")
resume_option = click.option("--resume", is_flag=True, help="Continue a run that was stopped or killed, where it was.")
set_option = click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change any setting, for example --set batch_size=32. Repeatable."
)
dry_run_option = click.option("--dry-run", is_flag=True, help="Say what would be done, and write nothing.")


def stage_options(command: Command) -> Command:
    """Add what every stage takes that may be stopped and continued: --resume, --seed, --device, --set, --dry-run, --json and --quiet."""
    for option in (output_options, dry_run_option, set_option, device_option, seed_option, resume_option):
        command = option(command)
    return command


def out_option(what: str) -> Callable[[Command], Command]:
    """Add the required ``--out``; ``what`` names what will be written."""
    return click.option("--out", type=FOLDER, required=True, help=f"Folder to write: {what}.")


def settings(kind: type[S], flags: Mapping[str, Any], *, recipe: str | None = None, overrides: Sequence[str] = ()) -> S:
    """Settings of a stage: its defaults, then the recipe, then the flags that were given (not None), then ``--set``."""
    from syntype.recipe import apply_overrides, find_recipe

    values = find_recipe(recipe) if recipe else {}
    given = {key: list(value) if isinstance(value, tuple) else value for key, value in flags.items() if value not in (None, ())}
    return kind.parse(apply_overrides({**values, **given}, overrides), recipe or "settings")


def open_collection(folder: Path) -> Collection:
    """Open a collection (imported here so that ``--help`` needs no pandas)."""
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
    resumable: bool = False,
    resume: bool = False,
    quiet: bool = False,
) -> R:
    """Open the run folder ``out``, call ``stage`` with the run, and record how it ended.

    While the stage runs, whatever libraries print on standard output goes to standard error.

    Args:
        kept: what remains after Ctrl-C, as a sentence.
        resumable: whether the command has ``--resume``.

    Raises:
        Stopped: the user pressed Ctrl-C, whether the stage let that through or ended early with the status ``interrupted``.
        UnsupportedError: several processes were started for a stage that only one can do.
    """
    from syntype.run import Run, num_processes, plain

    if num_processes() > 1 and name != "train":
        raise UnsupportedError(
            f"{num_processes()} processes were started for syntype {name}, which one does. Start it without torchrun or accelerate."
        )
    if not resumable and out.is_dir() and any(out.iterdir()):
        raise InputError("already holds files", "Give --out a new folder, or delete this one first.", file=out)
    existed = out.exists()
    run = Run.start(out, name, config, seed=seed, inputs=inputs, resume=resume, quiet=quiet)
    try:
        with redirect_stdout(sys.stderr):
            result = stage(run)
    except KeyboardInterrupt:
        if run.manifest.get("status") == "running":  # a stage may have noted more than this
            run.finish("interrupted")
        raise Stopped(f"stopped by Ctrl-C. {kept}") from None
    except Exception as error:
        run.finish("failed", error=str(error))
        if isinstance(error, UserError) and run.folder is not None:
            _withdraw(out, existed)
        raise
    summary = plain(result.summary())
    status = summary.pop("status", "finished")
    run.finish(status, **summary)
    if status == "interrupted":
        raise Stopped(f"stopped by Ctrl-C. {kept}")
    return result


def _withdraw(out: Path, existed: bool) -> None:
    """After a mistake of the user, remove a folder that holds only the run's own notes, so that --out is free again."""
    notes = {"run.json", "recipe.yaml", "progress.jsonl"}
    files = {path for path in out.rglob("*") if not path.is_dir()}
    if files <= {out / name for name in notes}:
        for path in files:
            path.unlink()
        for folder in sorted((path for path in out.rglob("*") if path.is_dir()), reverse=True):
            folder.rmdir()
        if not existed:
            out.rmdir()


def table_json(value: Mapping[str, Any]) -> str:
    """One JSON object on one line."""
    from syntype.run import plain

    return json.dumps(plain(value), ensure_ascii=False, allow_nan=False)


def show(summary: Mapping[str, Any], as_json: bool, then: str = "") -> None:
    """Print a result on standard output: as one JSON object, or as aligned lines and a hint at the next command. Of several
    processes the main one alone does."""
    from syntype.run import is_main_process, plain

    if not is_main_process():
        return
    if as_json:
        click.echo(table_json(summary))
        return
    for line in _lines(plain(summary)):
        click.echo(line)
    if then:
        click.echo(f"\n{then}")


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
    """Show what ``--dry-run`` promises: images, steps, estimated minutes and the output folder."""
    minutes = None if minutes is None else max(0.1, round(minutes, 1))
    show({"dry_run": True, "images": images, "steps": steps, "estimated_minutes": minutes, "out": str(out), **more}, as_json)


def images_per_second(size: int) -> float:
    """Rough training speed for plans: 30 images of 64 pixels a second on two cores without a GPU, and in proportion to the pixels."""
    return 30 * (64 / size) ** 2


def plan_drawing(as_json: bool, out: Path, images: int, size: int, speed: float) -> None:
    """Show the plan of drawing images, ``speed`` times as fast as generators train."""
    plan(as_json, out=out, images=images, steps=None, minutes=images / (speed * images_per_second(size)) / 60)


def on_device(generator: Generator, device: str | None) -> Generator:
    """The generator, on the device asked for."""
    from syntype.compute.runtime import Runtime

    return generator.to(Runtime(device or "auto").device)


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
    """Run a stage that draws images, one after another, so that it can go on where it was stopped; and show what it gave."""
    kept = f"{out} holds what was drawn so far; continue with --resume."
    result = run_stage(stage, name, out, config, seed=config.seed, inputs=inputs, kept=kept, resumable=True, resume=resume, quiet=quiet)
    show(result.summary(), as_json, then)
