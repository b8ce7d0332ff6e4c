"""Progress and pictures of a job, read from the run folder that its command writes."""

from __future__ import annotations

import json
import os
from heapq import nlargest
from pathlib import Path
from typing import Any

from PIL import Image

from syntype.compute.grids import ROWS
from syntype.files import read_json_object
from syntype.run import parse_events

__all__ = ["latest_events", "now", "picture", "pictures", "preview", "species_of_rows"]

_TAIL = 64_000
_DRAWN = 60
_BETWEEN = "--"
_ENDINGS = (".png", ".jpg")
_SHOWN = ("progress.webp", "process.png", "losses.png", "strip.gif", "strip.webp", "strip.png", "board.png", "sheet.png", "long-tail.png")


def now(out: Path) -> dict[str, Any]:
    """What the command is doing: ``doing``, ``done``, ``total``, ``seconds_left``, ``note``; empty if nothing was written yet."""
    return read_json_object(out / "now.json")


def latest_events(out: Path, limit: int) -> list[dict[str, Any]]:
    """The last events of ``progress.jsonl``, oldest first; only the end of a long file is read."""
    try:
        with (out / "progress.jsonl").open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL))
            lines = file.read(_TAIL).decode("utf-8", errors="replace").splitlines()[1 if size > _TAIL else 0 :]
    except OSError:
        return []
    return list(parse_events(lines[-limit:]))


def pictures(out: Path) -> list[str]:
    """Names of the pictures of a run: previews (latest first), overviews, then the newest images.

    The newest images are the last ones by name of the folders that were written to last, so that a run of any number of images is listed fast.
    """
    names = [path.name for path in _previews(out)[:_DRAWN]]
    names += [name for name in _SHOWN if (out / name).is_file()]
    newest: list[str] = []
    try:
        with os.scandir(out / "images") as entries:
            folders = sorted((entry for entry in entries if entry.is_dir()), key=lambda entry: entry.stat().st_mtime_ns, reverse=True)
        for folder in folders:
            with os.scandir(folder) as entries:
                drawn = (entry.name for entry in entries if entry.name.endswith(_ENDINGS))
                newest += [f"images{_BETWEEN}{folder.name}{_BETWEEN}{name}" for name in nlargest(_DRAWN - len(newest), drawn)]
            if len(newest) >= _DRAWN:
                break
    except OSError:  # no image yet, or the run is being deleted
        pass
    return names + newest


def picture(out: Path, name: str) -> Path | None:
    """The file of a picture that ``pictures`` may name; None if there is none."""
    if name.startswith(".") or any(letter in name for letter in "/\\\0"):
        return None
    possible = [out / name] if name in _SHOWN else [out / "previews" / name] if name.endswith(".png") else []
    start = f"images{_BETWEEN}"
    if name.startswith(start) and name.endswith(_ENDINGS):
        rest = name.removeprefix(start)  # a folder's name may itself hold what stands between
        cuts = [at for at in range(1, len(rest)) if rest.startswith(_BETWEEN, at)]
        pairs = [(rest[:at], rest[at + len(_BETWEEN) :]) for at in cuts]
        possible += [out / "images" / folder / file for folder, file in pairs if not folder.startswith(".") and not file.startswith(".")]
    return next((path for path in possible if path.is_file()), None)


def preview(out: Path) -> Path | None:
    """The latest preview of a training, if there is one."""
    return next(iter(_previews(out)), None)


def species_of_rows(path: Path | None) -> list[str]:
    """Species of the rows of a preview, from the top, as the file itself tells; empty where it does not."""
    if path is None or path.suffix != ".png":
        return []
    try:
        with Image.open(path) as image:
            names = json.loads(getattr(image, "text", {}).get(ROWS, "[]"))
    except (OSError, ValueError, SyntaxError):  # it is being written, or another program has left it
        return []
    return [str(name) for name in names] if isinstance(names, list) else []


def _previews(out: Path) -> list[Path]:
    """Latest first: by the step, and of one step the one that was made at the end of the training."""
    return sorted((out / "previews").glob("*.png"), key=_when, reverse=True)


def _when(path: Path) -> tuple[int, bool, str]:
    word, _, step = path.stem.rpartition("-")
    return int(step[:18]) if step.isdecimal() else -1, word == "final", path.name
