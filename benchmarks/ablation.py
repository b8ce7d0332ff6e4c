"""What does each part of ``projected`` contribute? The generator as it is, and without one part at a time.

    python benchmarks/ablation.py [--data FOLDER | --collection FOLDER] [--out FOLDER] [--steps 1200] [--only NAME ...]

Each is trained on the training photographs of Fish4Knowledge for the same number of steps, and judged on the photographs of the split
``val``, which trains nothing: choices are made on it, so that the split ``test`` stays fit to judge the outcome. What was measured is
kept, so a call that was stopped continues where it was; the page shows all that is known. Without the photographs nothing is measured.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from common.fish import NOTICE, open_photographs, photograph_options
from common.results import Page, kept, publish, rewrite, table
from common.timing import syntype

VARIANTS: dict[str, tuple[str, list[str]]] = {
    "as it is": ("", []),
    "no instance codes": (
        "noise of standard deviation 100 on codes of standard deviation 1; no feature matching",
        ["model.code_noise=100", "model.feature_matching_weight=0"],
    ),
    "codes without feature matching": ("no feature matching", ["model.feature_matching_weight=0"]),
    "stronger feature matching": ("weight 16 instead of 4", ["model.feature_matching_weight=16"]),
    "more noise on codes": ("noise of 1 on codes instead of 0.3", ["model.code_noise=1"]),
    "every image augmented": ("probability 1 instead of 0.5", ["model.augmentation=1"]),
    "no augmentation": ("probability 0", ["model.augmentation=0"]),
    "equal learning rates": ("learning rate 2e-4 for both networks", ["model.generator_learning_rate=2e-4"]),
    "species by their numbers": ("balance 1: species drawn in proportion to their numbers, not to the square roots", ["balance=1"]),
    "batch of 32": ("and half the steps", ["batch_size=32"]),
}
MEASURES = {"kid": "KID", "precision": "precision", "recall": "recall", "coverage": "coverage", "vendi_ratio": "Vendi ratio", "copy_rate": "copies"}


def main() -> None:
    parser = photograph_options("ablation", __doc__)
    parser.add_argument("--steps", type=int, default=1200, help="training steps of each")
    parser.add_argument("--only", nargs="*", default=list(VARIANTS), choices=list(VARIANTS), help="measure these alone")
    arguments = parser.parse_args()
    if arguments.page:
        rewrite("ablation", report, arguments)
        return
    collection = open_photographs(arguments)
    if collection is None:
        return
    figures = {}
    for name in VARIANTS:
        place = arguments.out / name.replace(" ", "-").replace(",", "")
        path = place.with_name(f"{place.name}.json")
        if name in arguments.only or path.exists():
            figures[name] = kept(path, lambda name=name, place=place: measure(name, collection.root, place, arguments.steps))
    publish("ablation", {"steps": arguments.steps}, figures, report, arguments)


def measure(name: str, collection: Path, out: Path, steps: int) -> dict[str, Any]:
    """Train, draw and judge one variant."""
    settings = [word for setting in VARIANTS[name][1] for word in ("--set", setting)]
    steps = steps // 2 if "batch_size=32" in settings else steps
    began = time.monotonic()
    trained = syntype(["train", "projected", collection, "--steps", steps, *settings, "--out", out / "generator", "--resume"])
    drawn = out / "synthetic"
    syntype(["generate", out / "generator", "--num", 100, "--out", drawn, "--resume"])
    found = syntype(["evaluate", drawn, "--real", collection, "--split", "val"])
    return {**found, "steps": trained["steps"], "minutes": (time.monotonic() - began) / 60}


def report(settings: dict[str, Any], figures: dict[str, Any]) -> Page:
    """The page."""
    known = [name for name in VARIANTS if name in figures]
    best = min(known, key=lambda name: figures[name]["kid"])
    missing = [name for name in VARIANTS if name not in known]
    rows = [[name, *(f"{figures[name][key]:.3f}" for key in MEASURES), VARIANTS[name][0]] for name in known]
    return Page(
        title="What each part of `projected` contributes",
        question="How do the images of `projected` change if one part of it is left out or set differently?",
        answer=f"The lowest KID, {figures[best]['kid']:.3f}, has the variant “{best}”. Each variant was trained once: small differences are within "
        f"chance.",
        headline=[(f"lowest KID (“{best}”)", f"{figures[best]['kid']:.3f}")],
        body=[
            "KID, precision, recall and coverage compare synthetic images with photographs (KID: 0 is best; coverage: 1 is best). Vendi ratio: "
            "variety "
            "within species, of synthetic images over photographs. Copies: share of images that the copy detector refuses.",
            "",
            *table(["generator", *MEASURES.values(), "what differs"], rows),
            *(["", f"Not measured yet: {', '.join(missing)}."] if missing else []),
        ],
        method=[
            f"{settings['steps']} training steps each, one seed, 64 px, all species; judged on the validation photographs in EfficientNet-Lite0 "
            f"features, "
            "with the same mix of species.",
            "",
            NOTICE,
            "",
        ],
    )


if __name__ == "__main__":
    main()
