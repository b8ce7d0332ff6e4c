"""How does the weight of the classifier's guidance change what ``guided_cgan`` draws? The same GAN at several weights, at 64 px.

    python benchmarks/guidance.py [--data FOLDER | --collection FOLDER] [--out FOLDER] [--weights W ...] [--steps 3000] [--seeds 3]

Trains the family at each weight of its guidance from each seed, for the same steps on the same photographs. What it draws is named by a
classifier on EfficientNet-Lite2, fitted to the photographs and with no part in training (the guide rests on Lite1), and compared with test
photographs. A run that is known is not done again, and one that was stopped continues; after a change of the code, give a new --out. Without
the photographs nothing is measured.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from common.fish import NEW, NOTICE, SIZE, open_photographs, photograph_options, without_new
from common.judging import Referee, asked_of, outsider, refuse_partner
from common.results import Page, kept, points, publish, rewrite, table
from common.timing import syntype
from scipy.stats import t as student

from syntype.compute.tensors import to_uint8
from syntype.generators import load_generator
from syntype.generators.families.guided_cgan import GuidedGANConfig
from syntype.identification import Classifier

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
CHANGED = ("recognised", "recall", "vendi_ratio", "coverage", "kid")
SHARES = ("recognised", "recall", "copy_rate")


def main() -> None:
    parser = photograph_options("guidance", __doc__)
    parser.add_argument("--weights", type=float, nargs="+", default=[UNGUIDED, DEFAULT, STRONG], help="of the guidance (%(default)s)")
    parser.add_argument("--steps", type=int, default=3000, help="of training (%(default)s)")
    parser.add_argument("--seeds", type=int, default=3, help="trainings at each weight (%(default)s)")
    parser.add_argument("--classifier", type=Path, help="a trained one with no part in training; otherwise one is trained in --out")
    arguments = parser.parse_args()
    if arguments.page:
        rewrite("guidance", report, arguments)
        return
    collection = open_photographs(arguments)
    if collection is None:
        return
    place = arguments.out / f"{arguments.steps}-steps"
    classifier = outsider(collection, arguments.out, arguments.classifier)
    referee = Referee(without_new(collection))
    kept(place / f"{PHOTOGRAPHS}.json", lambda: recognition(classifier, referee.test.pixels(classifier.size), referee.species))
    for seed in range(arguments.seeds):
        for weight in arguments.weights:
            path = place / f"{weight:g}-{seed}.json"
            kept(path, lambda path=path, w=weight, s=seed: trained(path.with_suffix(""), w, s, arguments.steps, referee, classifier))
    runs = {path.stem: kept(path, dict) for path in sorted(place.glob("*.json"))}
    asked = [[weight, seed] for weight in arguments.weights for seed in range(arguments.seeds)]
    settings = {"steps": arguments.steps, "images": len(referee.test), "asked": asked}
    publish("guidance", settings, {"runs": runs, **summary(runs)}, report, arguments)


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


def summary(runs: dict[str, dict]) -> dict[str, Any]:
    """Mean, half of its 95 % interval and number of seeds of each figure, by weight; and of its difference from no guidance, seed by seed."""
    known = [one for one in runs.values() if "seed" in one]
    means: dict[str, Any] = {}
    changes: dict[str, Any] = {}
    for weight in sorted({one["weight"] for one in known}):
        these = [one for one in known if one["weight"] == weight]
        means[f"{weight:g}"] = {"seeds": len(these), **{key: list(interval([one[key] for one in these])) for key in FIGURES}}
        if weight != UNGUIDED and (pairs := differences(runs, weight, "kid")):
            change = {key: list(interval(differences(runs, weight, key))) for key in CHANGED}
            changes[f"{weight:g}"] = {"seeds": len(pairs), **change}
    return {"mean": means, "difference": changes}


def report(settings: dict[str, Any], figures: dict[str, Any]) -> Page:
    """The page."""
    runs, means, changes = figures["runs"], figures["mean"], figures["difference"]
    missing = [f"{weight:g} from seed {seed}" for weight, seed in settings["asked"] if f"{weight:g}-{seed}" not in runs]
    rows = []
    if PHOTOGRAPHS in runs:
        photographs = [cell(key, runs[PHOTOGRAPHS][key], None) if key in runs[PHOTOGRAPHS] else "–" for key in FIGURES]
        rows.append(["test photographs", "–", *photographs])
    rows += [[weight, str(one["seeds"]), *(cell(key, *one[key]) for key in FIGURES)] for weight, one in means.items()]
    body = [
        "Recognised: share of images that EfficientNet-Lite2, fitted to the photographs, names as the species they were asked for; it took no part "
        "in training (the guide uses Lite1). Coverage, Vendi ratio (variety within species, synthetic over real), KID, density and copies: in "
        "features of EfficientNet-Lite0, against the test photographs. Means over seeds ± half of the 95 % interval (Student's t).",
        "",
        *table(["weight", "seeds", *FIGURES.values()], rows),
    ]
    if missing:
        body += ["", f"Not measured yet: {', '.join(missing)}."]
    body += ["", "## Difference from no guidance", "", "Differences from the same GAN without guidance, seed by seed.", ""]
    body += [gains(weight, one) for weight, one in changes.items()] or ["Not measured yet."]
    default = f"{DEFAULT:g}"
    answer, headline = "Not measured yet.", []
    if default in changes:
        one = changes[default]
        recognised = f"{signed('recognised', *one['recognised'])}".replace("**", "")
        unsure = "; the interval includes 0" if includes_zero(one["recognised"]) else ""
        kid_change = signed("kid", *one["kid"]).replace("**", "")
        answer = (
            f"The default weight {default} changes the share of recognised images by {recognised}{unsure}, and KID by {kid_change}, with "
            f"{one['seeds']} seeds. Most images are not recognised, with guidance or without."
            if means[default]["recognised"][0] < 0.5
            else f"The default weight {default} changes the share of recognised images by {recognised}{unsure}, and KID by {kid_change}."
        )
        headline = [(f"change in recognised images, weight {default}", recognised)]
    return Page(
        title="Effect of classifier guidance",
        question="How does guidance by a classifier change what `guided_cgan` draws, and does it cost variety or quality?",
        answer=answer,
        headline=headline,
        body=body,
        method=[
            f"`{FAMILY}` with its default settings but for the weight of its guidance, {SIZE} px, {settings['steps']:,} steps each, from the same "
            f"seeds, on the training split without *{NEW}*; at weight 0 there is no guide. {settings['images']} images each, with the test "
            f"photographs' mix of species.",
            "",
            NOTICE,
        ],
    )


def includes_zero(change: list[float | None]) -> bool:
    mean, half = change
    return half is not None and mean is not None and abs(mean) <= half


def gains(weight: str, change: dict[str, Any]) -> str:
    """What a weight changes, in a line."""
    parts = [f"{FIGURES[key]} {signed(key, *change[key])}{' (the interval includes 0)' if includes_zero(change[key]) else ''}" for key in CHANGED]
    few = "; one seed, so no interval" if change["seeds"] == 1 else f"; {change['seeds']} seeds"
    return f"- Weight {weight}{' (the default)' if weight == f'{DEFAULT:g}' else ''}: {', '.join(parts)}{few}."


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
