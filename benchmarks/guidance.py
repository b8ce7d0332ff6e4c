"""What does a classifier's guidance give ``guided_cgan``, and what does it cost? The same GAN at several weights, at 64 px.

    python benchmarks/guidance.py [--data FOLDER | --collection FOLDER] [--out FOLDER] [--weights W ...] [--steps 3000] [--seeds 3]

Trains the family at each weight of its guidance from each seed, for the same steps on the same photographs. What it draws is named by a
classifier on EfficientNet-Lite2, fitted to the photographs and with no part in training (the guide rests on Lite1), and compared with test
photographs by the referee of fidelity.py. A run that is known is not done again, and one that was stopped goes on; after a change of the
code, give a new --out. The result is written to docs/benchmarks/guidance.md. Without the photographs nothing is measured.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from families import asked_of
from fidelity import SIZE, Referee, without_new
from fish4knowledge import NEW, NOTICE, add_arguments, machine, open_photographs, points, syntype, write_page
from hybrids import outsider, refuse_partner
from scipy.stats import t as student

from syntype.compute.tensors import to_uint8
from syntype.generators import load_generator
from syntype.generators.families.guided_cgan import GuidedGANConfig
from syntype.identification import Classifier
from syntype.run import write_json

FAMILY = "guided_cgan"
UNGUIDED, DEFAULT, STRONG = 0.0, GuidedGANConfig().guidance_weight, 1.0
"""Weights of the guidance."""
PHOTOGRAPHS = "photographs"
FIGURES = {
    "recognised": "recognised",
    "recall": "mean over species",
    "coverage": "coverage",
    "vendi_ratio": "Vendi ratio",
    "kid": "KID",
    "density": "density",
    "copy_rate": "copies",
}
SHARES = ("recognised", "recall", "copy_rate")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser, "guidance")
    parser.add_argument("--weights", type=float, nargs="+", default=[UNGUIDED, DEFAULT, STRONG], help="of the guidance (%(default)s)")
    parser.add_argument("--steps", type=int, default=3000, help="of training (%(default)s)")
    parser.add_argument("--seeds", type=int, default=3, help="trainings at each weight (%(default)s)")
    parser.add_argument("--classifier", type=Path, help="a trained one with no part in training; otherwise one is trained in --out")
    arguments = parser.parse_args()
    collection = open_photographs(arguments)
    if collection is None:
        return
    place = arguments.out / f"{arguments.steps}-steps"
    place.mkdir(exist_ok=True)
    classifier = outsider(collection, arguments.out, arguments.classifier)
    referee = Referee(without_new(collection))
    kept = place / f"{PHOTOGRAPHS}.json"
    if not kept.exists():
        write_json(kept, recognition(classifier, referee.test.pixels(classifier.size), referee.species))
    for seed in range(arguments.seeds):
        for weight in arguments.weights:
            kept = place / f"{weight:g}-{seed}.json"
            if not kept.exists():
                write_json(kept, trained(place / f"{weight:g}-{seed}", weight, seed, arguments.steps, referee, classifier))
    known = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(place.glob("*.json"))}
    asked = [(weight, seed) for weight in arguments.weights for seed in range(arguments.seeds)]
    write_page(report(known, arguments.steps, len(referee.test), asked), "guidance", arguments.docs)


def trained(out: Path, weight: float, seed: int, steps: int, referee: Referee, classifier: Classifier) -> dict:
    """Train at a weight from a seed; all figures of what is drawn."""
    leaving = ["--except", NEW] if NEW in referee.collection.species else []
    how = ["--size", SIZE, "--steps", steps, "--seed", seed, "--set", f"model.guidance_weight={weight:g}", "--resume"]
    result = syntype(["train", FAMILY, referee.collection.root, *leaving, *how, "--out", out])
    generator = load_generator(out)
    refuse_partner(generator, classifier)
    images = to_uint8(generator.sample(*asked_of(generator, referee)))
    figures = {**referee.judge(images), **recognition(classifier, images, referee.species), "minutes": result["minutes"]}
    return {"weight": weight, "seed": seed, **figures}


def recognition(classifier: Classifier, images: np.ndarray, species: np.ndarray) -> dict[str, float]:
    """Share of images that are named as what they were asked for, over all and as the mean over species.

    Args:
        images: uint8, shape (N, size, size, 3), of the classifier's size.
        species: asked for, shape (N,).
    """
    right = np.array(classifier.species, dtype=object)[classifier.fitted.predict_logits(images).argmax(1)] == species
    return {"recognised": float(right.mean()), "recall": float(np.mean([right[species == name].mean() for name in np.unique(species)]))}


def interval(values: list[float]) -> tuple[float, float | None]:
    """Mean and half of its 95 % interval by Student's t; None for one value."""
    if len(values) < 2:
        return values[0], None
    return float(np.mean(values)), float(student.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values)))


def differences(known: dict[str, dict], weight: float, key: str) -> list[float]:
    """A figure at a weight less that without guidance, for each seed that was trained at both."""
    at = {(one["weight"], one["seed"]): one[key] for one in known.values() if "seed" in one}
    return [value - at[UNGUIDED, seed] for (other, seed), value in at.items() if other == weight and (UNGUIDED, seed) in at]


def report(known: dict[str, dict], steps: int, number: int, asked: list[tuple[float, int]]) -> str:
    """What was measured, as Markdown.

    Args:
        asked: weights and seeds that are to be known in the end.
    """
    runs = [one for one in known.values() if "seed" in one]
    weights = sorted({one["weight"] for one in runs})
    missing = [f"{weight:g} from seed {seed}" for weight, seed in asked if f"{weight:g}-{seed}" not in known]
    lines = [
        "# Guidance: what it gains and what it costs",
        "",
        f"Written by `python benchmarks/guidance.py --steps {steps}`. Machine: {machine()}; {torch.get_num_threads()} thread(s); "
        f"PyTorch {torch.__version__}.",
        "",
        NOTICE,
        "",
        f"`{FAMILY}` with its default settings but for the weight of its guidance, {SIZE} px, {steps:,} steps each, from the same seeds, on the "
        f"training split but for *{NEW}*; at weight 0 there is no guide. {number} images each, with the test photographs' mix of species. "
        "*Recognised*: share that EfficientNet-Lite2, fitted to the photographs, names as what was asked for; it took no part in "
        "training (the guide rests on Lite1). Coverage, Vendi ratio (variety within species, of the photographs'), KID, density and copies: in "
        "features of EfficientNet-Lite0, against the test photographs. Means over seeds ± half of the 95 % interval (Student's t).",
        "",
        "| weight | seeds | " + " | ".join(FIGURES.values()) + " |",
        "| --- | --- |" + " --- |" * len(FIGURES),
    ]
    if PHOTOGRAPHS in known:
        photographs = [cell(key, known[PHOTOGRAPHS][key], None) if key in known[PHOTOGRAPHS] else "–" for key in FIGURES]
        lines.append(f"| test photographs | – | {' | '.join(photographs)} |")
    for weight in weights:
        these = [one for one in runs if one["weight"] == weight]
        cells = [cell(key, *interval([one[key] for one in these])) for key in FIGURES]
        lines.append(f"| {weight:g} | {len(these)} | {' | '.join(cells)} |")
    if missing:
        lines += ["", f"Not measured yet: {', '.join(missing)}."]
    lines += ["", "## Gain and cost", "", "Differences from the same GAN unguided, seed by seed.", ""]
    found = [line for weight in weights if weight != UNGUIDED for line in gains(known, weight)]
    return "\n".join([*lines, *(found or ["Not measured yet."]), ""])


def gains(known: dict[str, dict], weight: float) -> list[str]:
    """What a weight changes, in a line; nothing where no seed was trained without guidance."""
    parts = []
    for key in ("recognised", "recall", "vendi_ratio", "coverage", "kid"):
        values = differences(known, weight, key)
        if not values:
            return []
        mean, half = interval(values)
        sure = "" if half is None else " (the interval holds 0)" if abs(mean) <= half else ""
        parts.append(f"{FIGURES[key]} {signed(key, mean, half)}{sure}")
    seeds = len(differences(known, weight, "kid"))
    few = "; one seed, so no interval" if seeds == 1 else f"; {seeds} seeds"
    return [f"- Weight {weight:g}{' (the default)' if weight == DEFAULT else ''}: {', '.join(parts)}{few}."]


def signed(key: str, mean: float, half: float | None) -> str:
    """A difference; of shares, in points."""
    if key in SHARES:
        return f"**{points(mean)}**" + (" points" if half is None else f" ± {100 * half:.1f} points")
    return f"**{mean:+.3f}**" + ("" if half is None else f" ± {half:.3f}")


def cell(key: str, mean: float, half: float | None) -> str:
    """A figure of the table."""
    if key in SHARES:
        return f"{mean:.1%}" + ("" if half is None else f" ± {100 * half:.1f}")
    return f"{mean:.3f}" + ("" if half is None else f" ± {half:.3f}")


if __name__ == "__main__":
    main()
