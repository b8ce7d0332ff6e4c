"""Progress and pictures of a job, read from the run folder that its command writes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from syntype.files import read_json_object
from syntype.run import parse_events

__all__ = ["latest_events", "now", "pictures", "preview"]

_TAIL = 64_000
_DRAWN = 60
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


def pictures(out: Path) -> dict[str, Path]:
    """Pictures of a run by name: previews (latest first), overviews, then the newest images.

    Requests look names up in this result, so that no path is ever built from a request.
    """
    found = {path.name: path for path in _previews(out)[:_DRAWN]}
    found |= {name: out / name for name in _SHOWN if (out / name).is_file()}
    drawn = [path for path in (out / "images").glob("**/*") if path.suffix in (".png", ".jpg")]
    newest = sorted(drawn, key=lambda path: path.stat().st_mtime_ns, reverse=True)[:_DRAWN]
    return found | {f"images--{path.parent.name}--{path.name}": path for path in newest}


def preview(out: Path) -> Path | None:
    """The latest preview of a training, if there is one."""
    return next(iter(_previews(out)), None)


def _previews(out: Path) -> list[Path]:
    """Latest first."""
    return sorted((out / "previews").glob("*.png"), key=lambda path: path.stem.rpartition("-")[2], reverse=True)
