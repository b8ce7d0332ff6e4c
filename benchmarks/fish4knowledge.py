"""The whole route on real photographs: Fish4Knowledge at 64 px, with *Neoglyphidodon nigroris* as the species never seen.

    python benchmarks/fish4knowledge.py [--data FOLDER] [--out FOLDER] [--minutes 45] [--seeds 5]

Runs the commands of the quickstart one after the other, skips those that an earlier call finished, and writes what they
measured to docs/benchmarks/fish4knowledge.md. The photographs are not part of this repository: see tests/conftest.py for
where they are looked for. Without them nothing is measured and the script says so.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
RECORD = ROOT / "docs" / "benchmarks" / "fish4knowledge.md"
NEW = "Neoglyphidodon nigroris"
NOTICE = (
    "Photographs: Fish4Knowledge ground-truth data, P. X. Huang, B. J. Boom and R. B. Fisher, University of Edinburgh; the original data are "
    "available from groups.inf.ed.ac.uk/vision/DATASETS/FISH4KNOWLEDGE/WEBSITE/GROUNDTRUTH/RECOG; see B. J. Boom et al., cited on that page."
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = os.environ.get("SYNTYPE_FISH4KNOWLEDGE", ROOT.parent / "shared" / "data" / "fish4knowledge")
    parser.add_argument("--data", type=Path, default=Path(default))
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "fish4knowledge")
    parser.add_argument("--minutes", type=float, default=45)
    parser.add_argument("--seeds", type=int, default=5)
    arguments = parser.parse_args()
    table = arguments.data / "classification.csv"
    if not table.is_file():
        print(f"{table} is not there: nothing measured. Give --data or set SYNTYPE_FISH4KNOWLEDGE.", file=sys.stderr)
        return
    out = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    columns = ["--species-column", "standardized_species", "--group-column", "trajectory"]
    minutes = str(arguments.minutes)
    steps = {
        "collect": ["collect", table, *columns, "--out", out / "collection"],
        "train": ["train", "projected", out / "collection", "--except", NEW, "--minutes", minutes, "--out", out / "generator", "--resume"],
        "adapt": ["adapt", out / "generator", out / "collection", "--species", NEW, "--out", out / "adapted"],
        "generate": ["generate", out / "adapted", "--species", NEW, "--num", "200", "--out", out / "synthetic"],
        "curate": ["curate", out / "synthetic", "--real", out / "collection", "--out", out / "curated"],
        "generate all": ["generate", out / "generator", "--num", "100", "--out", out / "synthetic-all"],
        "evaluate all": ["evaluate", out / "synthetic-all", "--real", out / "collection"],
        "study": ["study", out / "collection", "--generator", out / "adapted", "--seeds", str(arguments.seeds), "--out", out / "study", "--resume"],
    }
    results = {name: step(name, command, out) for name, command in steps.items()}
    RECORD.parent.mkdir(parents=True, exist_ok=True)
    RECORD.write_text(report(results), encoding="utf-8")
    print(f"wrote {RECORD}")


def step(name: str, command: list[object], out: Path) -> dict:
    """Run one command unless its result is known; keep the result beside the output."""
    kept = out / f"{name.replace(' ', '-')}.json"
    if kept.exists():
        return json.loads(kept.read_text(encoding="utf-8"))
    words = [Path(sys.executable).with_name("syntype"), *command, "--json"]
    print("$ " + " ".join(["syntype", *map(str, command)]), file=sys.stderr, flush=True)
    done = subprocess.run([str(word) for word in words], check=True, stdout=subprocess.PIPE, text=True)
    kept.write_text(done.stdout, encoding="utf-8")
    return json.loads(done.stdout)


def report(results: dict[str, dict]) -> str:
    """What was measured, as Markdown."""
    machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, no GPU, {platform.system()}"
    lines = [
        "# The whole route on real photographs",
        "",
        "Written by `python benchmarks/fish4knowledge.py`.",
        "",
        f"Machine: {machine}.",
        "",
        NOTICE,
        "",
    ]
    for name, result in results.items():
        lines += [f"## {name}", "", "| | |", "| --- | --- |"]
        lines += [f"| {key} | {json.dumps(value, ensure_ascii=False)} |" for key, value in result.items() if key not in ("folder", "out", "report")]
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
