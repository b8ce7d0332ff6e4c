"""Options, results with their provenance, and pages.

A benchmark measures *figures*, a dictionary that JSON can hold, and writes two files:

- ``benchmarks/results/NAME.json``: settings, figures, and of every figure when, where, at which commit and by which command it was measured;
- ``docs/benchmarks/NAME.md``: a rendering of the first, made by the benchmark's function ``report``.

``--page`` writes the page again from the result that is there and measures nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import Any

from scipy.stats import binomtest

from syntype.files import write_json

__all__ = [
    "RESULTS",
    "ROOT",
    "Page",
    "kept",
    "machine",
    "met",
    "options",
    "points",
    "provenance",
    "publish",
    "rate",
    "read_result",
    "rewrite",
    "row",
    "stamp",
    "table",
]

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
SOFTWARE = ("torch", "timm", "numpy")
MOST_NAMES = 8
"""So many figures of one provenance are named; of more the number is given."""

Report = Callable[[dict[str, Any], dict[str, Any]], "Page"]
"""Takes settings and figures; the page."""


@dataclass(frozen=True)
class Page:
    """What a page says.

    Attributes:
        title: heading.
        question: what was asked, one sentence.
        answer: one or two sentences, with the figures that matter.
        headline: (what, value) of the main figures, for the index.
        body: lines of Markdown: tables, each after what its columns mean, and pictures.
        method: lines of Markdown: how it was measured.
    """

    title: str
    question: str
    answer: str
    headline: list[tuple[str, str]]
    body: list[str]
    method: list[str] = field(default_factory=list)


# Options --------------------------------------------------------------------------------------------------------------------------


def options(name: str, description: str | None) -> argparse.ArgumentParser:
    """A parser with the options that every benchmark has."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--out", type=Path, default=ROOT / "out" / name, help="working folder: parts that are in it are not measured again (%(default)s)"
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the result files")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="folder of the pages (benchmarks/) and pictures (images/)")
    parser.add_argument("--page", action="store_true", help="write the page again from the result that is there; measure nothing")
    return parser


# Provenance -----------------------------------------------------------------------------------------------------------------------


def machine() -> str:
    """The machine in words."""
    import torch  # slow to import, and not needed where it is not there

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU only"
    return f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {gpu}, {platform.system()}"


def stamp() -> dict[str, Any]:
    """Date, commit, machine, command and versions of what is measured now."""
    threads = os.environ.get("OMP_NUM_THREADS", "default")
    return {
        "date": date.today().isoformat(),
        "commit": commit(),
        "machine": f"{machine()}; threads: {threads}",
        "command": " ".join(["python", f"benchmarks/{Path(sys.argv[0]).stem}.py", *("FOLDER" if "/" in word else word for word in sys.argv[1:])]),
        "software": {"python": platform.python_version(), **{name: metadata.version(name) for name in SOFTWARE}},
    }


def commit() -> str:
    """Short hash of the commit that runs; with a plus if files differ from it. "unknown" outside a repository."""

    def git(*words: str) -> str:
        return subprocess.run(["git", "-C", str(ROOT), *words], check=True, capture_output=True, text=True).stdout.strip()

    try:
        return git("rev-parse", "--short=7", "HEAD") + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def kept(path: Path, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What was measured, now or by an earlier call, with its ``stamp`` under the key ``measured``."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {**measure(), "measured": stamp()})
    return json.loads(path.read_text(encoding="utf-8"))


def provenance(figures: dict[str, Any]) -> list[dict[str, Any]]:
    """Stamps of all parts of figures, equal ones once; each with ``of``: which parts."""
    found: list[tuple[dict[str, Any], list[str]]] = []
    for name, one in stamps(figures):
        same = next((names for other, names in found if other == one), None)
        if same is None:
            found.append((one, [name]))
        else:
            same.append(name)
    several = len(found) > 1
    return [
        {"of": (", ".join(names) if len(names) <= MOST_NAMES else f"{len(names)} parts") if several else "all figures", **one} for one, names in found
    ]


def stamps(node: Any, name: str = "the rest") -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(node, dict):
        if "measured" in node:
            yield name, node["measured"]
        for key, value in node.items():
            if key != "measured":
                yield from stamps(value, key)


# Results and pages ----------------------------------------------------------------------------------------------------------------


def publish(name: str, settings: dict[str, Any], figures: dict[str, Any], report: Report, arguments: argparse.Namespace) -> None:
    """Write a benchmark's result and its page."""
    if not any(True for _ in stamps(figures)):
        figures = {"measured": stamp(), **figures}
    write_both({"name": name, "settings": settings, "figures": figures}, report, arguments)


def rewrite(name: str, report: Report, arguments: argparse.Namespace) -> None:
    """Write the page again from the result that is there."""
    write_both(read_result(arguments.results / f"{name}.json"), report, arguments)


def read_result(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise SystemExit(f"{path} is not there: run the benchmark without --page first.")
    return json.loads(path.read_text(encoding="utf-8"))


def write_both(result: dict[str, Any], report: Report, arguments: argparse.Namespace) -> None:
    page = report(result["settings"], result["figures"])
    words = {"title": page.title, "question": page.question, "answer": page.answer, "headline": [list(pair) for pair in page.headline]}
    arguments.results.mkdir(parents=True, exist_ok=True)
    write_json(arguments.results / f"{result['name']}.json", {"name": result["name"], **words, **{k: result[k] for k in ("settings", "figures")}})
    path = arguments.docs / "benchmarks" / f"{result['name']}.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(rendered(page, provenance(result["figures"])), encoding="utf-8")
    print(f"wrote {path}")


def rendered(page: Page, origins: list[dict[str, Any]]) -> str:
    """A page as Markdown: question, answer, body, how it was measured."""
    lines = [f"# {page.title}", "", f"**Question.** {page.question}", "", f"**Answer.** {page.answer}", "", *page.body]
    lines += ["", "## How it was measured", "", *page.method, *([""] if page.method else []), *map(origin, origins)]
    return "\n".join([*lines, ""])


def origin(one: dict[str, Any]) -> str:
    """A line on where figures come from."""
    software = ", ".join(f"{name} {version}" for name, version in one["software"].items())
    commit_ = f"{'recorded in ' if one.get('transcribed') else ''}commit `{one['commit']}`"
    parts = [f"{one['date']}, {commit_}", one["machine"], *([software] if software else []), f"`{one['command']}`"]
    note = f" {one['note']}" if "note" in one else ""
    return f"- {one['of'][0].upper()}{one['of'][1:]}: {'; '.join(parts)}.{note}"


# Words of pages -------------------------------------------------------------------------------------------------------------------


def row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def table(heads: list[str], rows: list[list[str]]) -> list[str]:
    """Lines of a Markdown table."""
    return [row(heads), "|" + " --- |" * len(heads), *map(row, rows)]


def points(value: float | None) -> str:
    """A share as signed percentage points."""
    return "–" if value is None else f"{100 * value:+.1f}"


def rate(count: int, whole: int, digits: int = 1) -> str:
    """A share with its 95 % interval (Wilson 1927), in percent with so many decimals."""
    interval = binomtest(count, whole).proportion_ci(method="wilson")
    return f"{count / whole:.{digits}%} ({interval.low:.{digits}%} to {interval.high:.{digits}%})"


def met(value: float, aim: float, style: str) -> str:
    """Whether an aim is reached, and by how much it is missed."""
    return "**met**." if value >= aim else f"**missed by {aim - value:{style}}**."
