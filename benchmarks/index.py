"""The table of all benchmark pages, from benchmarks/results: question, main figures, date, machine and commit of every figure.

    python benchmarks/index.py [--results FOLDER] [--docs FOLDER]

Writes docs/benchmarks/index.md.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from common.results import RESULTS, ROOT, provenance, table

OTHERS = {
    "checks": "What holds, and the command that shows it.",
    "latent-256": "What latent diffusion draws at 256 px after an hour.",
    "diary": "Diary of experiments: what was tried, with figures, by date.",
}
"""Pages that are written by hand, as far as no result has their name."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--docs", type=Path, default=ROOT / "docs")
    arguments = parser.parse_args()
    path = arguments.docs / "benchmarks" / "index.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(index(arguments.results), encoding="utf-8")
    print(f"wrote {path}")


def index(results: Path) -> str:
    """The page."""
    known = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(results.glob("*.json"))]
    pages, figures = [], []
    for one in known:
        link = f"[{one['title']}]({one['name']}.md)"
        pages.append([link, one["question"], one["answer"]])
        for origin in provenance(one["figures"]):
            figures.append([link, shown(one, origin), origin["date"], f"`{origin['commit']}`", origin["machine"], f"`{origin['command']}`"])
    by_hand = [f"- [{words}]({name}.md)" for name, words in OTHERS.items() if name not in {one["name"] for one in known}]
    lines = [
        "# Benchmarks",
        "",
        "Each page says what was asked, gives the answer, and ends with how it was measured. `make bench` runs all; `python benchmarks/NAME.py` one.",
        "",
        *table(["page", "question", "answer"], pages),
        "",
        "Written by hand:",
        "",
        *by_hand,
        "",
        "## Where the figures come from",
        "",
        "Figures that were measured before results were kept are transcribed from the pages; their date and commit are those of the commit that "
        "recorded them. For later ones it is the commit that was measured; a plus after it means that files differed from the commit. The raw "
        "figures are in `benchmarks/results`.",
        "",
        *table(["page", "figures", "date", "commit", "machine", "command"], figures),
        "",
    ]
    return "\n".join(lines)


def shown(one: dict[str, Any], origin: dict[str, Any]) -> str:
    """Which figures an origin is of; the main ones where it is of all."""
    if origin["of"] != "all figures":
        return origin["of"]
    return "; ".join(f"{what}: {value}" for what, value in one["headline"]) or "all figures"


if __name__ == "__main__":
    main()
