"""What does each part of `projected` contribute? The generator as it is, and without one part at a time.

    python benchmarks/ablation.py [--data FOLDER | --collection FOLDER] [--out FOLDER] [--steps 1200] [--only NAME ...]

Each is trained on the training photographs of Fish4Knowledge for the same number of steps, and judged on the photographs of the split
``val``, which trains nothing: choices are made on it, so that the split ``test`` stays fit to judge the outcome. What was measured is
kept, so a call that was stopped goes on where it was; the page holds all that is known. The result is written to
docs/benchmarks/ablation.md. Without the photographs nothing is measured.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from fish4knowledge import NOTICE, add_arguments, machine, open_photographs, syntype, write_page

from syntype.run import write_json

VARIANTS: dict[str, tuple[str, list[str]]] = {
    "as it is": ("", []),
    "no instance codes": (
        "noise of 100 on codes whose own deviation is 1 drowns them; nothing is matched",
        ["model.code_noise=100", "model.feature_matching_weight=0"],
    ),
    "codes, nothing matched": ("discriminators alone tie images to codes", ["model.feature_matching_weight=0"]),
    "matched harder": ("weight 16 instead of 4", ["model.feature_matching_weight=16"]),
    "wider neighbourhoods": ("noise of 1 on codes instead of 0.3", ["model.code_noise=1"]),
    "every image augmented": ("probability 1 instead of 0.5", ["model.augmentation=1"]),
    "no augmentation": ("probability 0", ["model.augmentation=0"]),
    "equal rates": ("2e-4 for both networks", ["model.generator_learning_rate=2e-4"]),
    "species as they come": ("balance 1: drawn by their numbers, not the square roots", ["balance=1"]),
    "batch of 32": ("and half the steps", ["batch_size=32"]),
}
MEASURES = {"kid": "KID", "precision": "precision", "recall": "recall", "coverage": "coverage", "vendi_ratio": "variety", "copy_rate": "copies"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser, "ablation")
    parser.add_argument("--steps", type=int, default=1200, help="training steps of each")
    parser.add_argument("--only", nargs="*", default=list(VARIANTS), choices=list(VARIANTS), help="measure these alone")
    arguments = parser.parse_args()
    collection = open_photographs(arguments)
    if collection is None:
        return
    out, folder = arguments.out, collection.root
    for name in VARIANTS:
        if name in arguments.only:
            measure(name, folder, out / name.replace(" ", "-").replace(",", ""), arguments.steps)
    write_page(report(out, arguments.steps), "ablation", arguments.docs)


def measure(name: str, collection: Path, out: Path, steps: int) -> None:
    """Train, draw and judge one variant, unless that was done; its figures stand in ``out``.json."""
    kept = out.with_name(out.name + ".json")
    if kept.exists():
        return
    settings = [word for setting in VARIANTS[name][1] for word in ("--set", setting)]
    steps = steps // 2 if "batch_size=32" in settings else steps
    began = time.monotonic()
    trained = syntype(["train", "projected", collection, "--steps", steps, *settings, "--out", out / "generator", "--resume"])
    drawn = out / "synthetic"
    syntype(["generate", out / "generator", "--num", 100, "--out", drawn, "--resume"])
    found = syntype(["evaluate", drawn, "--real", collection, "--split", "val"])
    write_json(kept, {**found, "steps": trained["steps"], "minutes": (time.monotonic() - began) / 60})


def report(out: Path, steps: int) -> str:
    """What was measured, as Markdown."""
    lines = ["# What each part of `projected` contributes", "", "Written by `python benchmarks/ablation.py`.", ""]
    lines += [
        f"Machine: {machine()}. {steps} steps each, one seed; 64 px, all species; judged on the split `val` in Lite0 features with the same mix "
        "of species. KID: lower is better; variety: Vendi score within species, synthetic over real. One seed each: small differences say nothing.",
        "",
        NOTICE,
        "",
        f"| generator | {' | '.join(MEASURES.values())} | what differs |",
        "| --- |" + " --- |" * (len(MEASURES) + 1),
    ]
    for name, (what, _) in VARIANTS.items():
        kept = out / f"{name.replace(' ', '-').replace(',', '')}.json"
        if kept.exists():
            found = json.loads(kept.read_text(encoding="utf-8"))
            lines.append(f"| {name} | {' | '.join(f'{found[key]:.3f}' for key in MEASURES)} | {what} |")
    missing = [name for name in VARIANTS if not (out / f"{name.replace(' ', '-').replace(',', '')}.json").exists()]
    if missing:
        lines += ["", f"Not measured yet: {', '.join(missing)}."]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
