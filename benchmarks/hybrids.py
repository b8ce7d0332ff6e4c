"""Does a blend from one species to another pass steadily from the one to the other, and is its middle neither? Every trained generator that blends.

    python benchmarks/hybrids.py --generators FOLDER [FOLDER ...] [--data FOLDER | --collection FOLDER] [--out FOLDER] [--pairs 200] [--draws 2]

Each generator walks in nine steps between the species of many pairs: from the first seeds, and from seeds whose two ends a classifier on
EfficientNet-Lite1 recognises, as a user would begin with good images of both. Another one on EfficientNet-Lite2, with no part in any
generator's training nor in the choice, says how likely each image is of either species. What is known is not measured again; other settings
need another --out. Page and picture show all generators that are known. Without the photographs nothing is measured.
"""

from __future__ import annotations

from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common.fish import NOTICE, SHOWN, SIZE, open_photographs, photograph_options, save_grid
from common.judging import fitted_to, outsider, refuse_partner
from common.results import Page, kept, publish, rewrite, table
from PIL import Image
from scipy.special import expit, log_softmax
from scipy.stats import spearmanr

from syntype.collection import Collection
from syntype.compute.tensors import to_uint8
from syntype.generators import Generator, load_generator
from syntype.generators.contract import BlendOf, Blends
from syntype.identification import Classifier
from syntype.study.statistics import mean_recall, species_recall

STEPS, AT_A_TIME, STRIPS, TRIES = 9, 16, 3, 8
OF: tuple[BlendOf, ...] = ("both", "species")
"""What moves: individual and species, or the species alone."""
AIM = 0.9


def main() -> None:
    parser = photograph_options("hybrids", __doc__)
    parser.add_argument("--generators", type=Path, nargs="*", default=[], help="folders of trained generators to measure now")
    parser.add_argument("--classifier", type=Path, help="a trained one with no part in any generator's training; otherwise one is trained in --out")
    parser.add_argument("--pairs", type=int, default=200, help="of species, drawn at random; all if there are fewer (%(default)s)")
    parser.add_argument("--draws", type=int, default=2, help="walks of a pair, each from two seeds of its own (%(default)s)")
    arguments = parser.parse_args()
    if arguments.page:
        rewrite("hybrids", report, arguments)
        return
    collection = open_photographs(arguments)
    if collection is None:
        return
    classifier = outsider(collection, arguments.out, arguments.classifier)
    chooser = fitted_to(collection, arguments.out / "chooser", "lite1")
    for folder in arguments.generators:
        generator = load_generator(folder)
        if not isinstance(generator.model, Blends) or not generator.model.is_conditional:
            print(f"{folder}: family {generator.family} has no blends of species; left out", flush=True)
            continue
        refuse_partner(generator, classifier)
        for of, (seeds, by) in product(OF, {"first": None, "recognised": chooser}.items()):
            path = arguments.out / f"{generator.generator_id}-{of}-{seeds}.json"
            if not path.exists():
                save_strips(generator, of, by, path.with_suffix(".npz"))
            about = {"family": generator.family, "generator": generator.generator_id, "of": of, "seeds": seeds}
            kept(path, lambda g=generator, of=of, by=by, about=about: {**about, **measure(g, classifier, of, by, arguments.pairs, arguments.draws)})
    known = {path.stem: kept(path, dict) for path in sorted(arguments.out.glob("*-*.json"))}
    if known:
        strips = [np.load(arguments.out / f"{name}.npz")["strips"] for name in known]
        said = f"Synthetic images, {STRIPS} blends each: {', '.join(known)}; not occurrence evidence."
        save_grid([image for strip in strips for image in strip], STEPS, arguments.docs / "images" / "hybrids.png", said)
    publish("hybrids", {"judge_recall": recall_of(collection, classifier)}, known, report, arguments)


Ends = list[tuple[tuple[str, str], tuple[int, int]]]
"""Of walks: species and seed at either end."""


def walks(species: tuple[str, ...], known: tuple[str, ...], pairs: int, draws: int) -> Ends:
    """Pairs drawn at random, in a random direction, of the species that both know."""
    random = np.random.default_rng(0)
    all_pairs = list(combinations(sorted(set(species) & set(known)), 2))
    chosen = [all_pairs[row] for row in np.sort(random.permutation(len(all_pairs))[:pairs])]
    ends = []
    for number, pair in enumerate(chosen):
        for draw in range(draws):
            seed = 2 * (number * draws + draw)
            ends.append((pair if random.random() < 0.5 else pair[::-1], (seed, seed + 1)))
    return ends


def with_good_ends(generator: Generator, of: BlendOf, ends: Ends, chooser: Classifier) -> Ends:
    """The same walks from other seeds: of some for each those whose less certain end is recognised best."""
    found = []
    for number, (pair, _) in enumerate(ends):
        tries: Ends = [(pair, (first, first + 1)) for first in range(2 * number * TRIES, 2 * (number + 1) * TRIES, 2)]
        logits = chooser.fitted.predict_logits(blended(generator, of, tries, 2).reshape(2 * TRIES, generator.size, generator.size, 3))
        wanted = np.tile([chooser.species.index(name) for name in pair], TRIES)
        chances = np.exp(log_softmax(logits.astype(np.float64), axis=1))[np.arange(len(wanted)), wanted].reshape(TRIES, 2).min(axis=1)
        found.append(tries[int(chances.argmax())])
    return found


def blended(generator: Generator, of: BlendOf, ends: Ends, steps: int = STEPS) -> np.ndarray:
    """Images of walks: uint8, shape (len(ends), steps, size, size, 3)."""
    amounts, parts = np.linspace(0, 1, steps).tolist(), []
    for start in range(0, len(ends), AT_A_TIME):
        part = ends[start : start + AT_A_TIME]
        species, seeds = ([end[which] for end in part for _ in amounts] for which in (0, 1))
        with torch.inference_mode():
            images = generator.blend(species, seeds, amounts * len(part), of)
        parts.append(to_uint8(images).reshape(len(part), steps, *images.shape[2:], 3))
    return np.concatenate(parts)


def measure(generator: Generator, classifier: Classifier, of: BlendOf, chooser: Classifier | None, pairs: int, draws: int) -> dict:
    """All figures of one generator; ``chooser``: whose judgement chooses the ends."""
    ends = walks(generator.species, classifier.species, pairs, draws)
    ends = with_good_ends(generator, of, ends, chooser) if chooser else ends
    found = []
    for start in range(0, len(ends), 10 * AT_A_TIME):
        part = ends[start : start + 10 * AT_A_TIME]
        images = blended(generator, of, part)
        logits = classifier.fitted.predict_logits(images.reshape(-1, *images.shape[2:])).reshape(len(part), STEPS, -1)
        labels = [[classifier.species.index(name) for name in pair] for pair, _ in part]
        found += [walk(images[row], logits[row], *labels[row]) for row in range(len(part))]
        print(f"{generator.generator_id}, {of}: {len(found)} of {len(ends)} walks", flush=True)
    return {**summary(found), "num_pairs": len({frozenset(pair) for pair, _ in ends})}


def walk(images: np.ndarray, logits: np.ndarray, a: int, b: int) -> dict[str, float]:
    """Figures of one walk from species ``a`` to ``b``.

    Args:
        images: uint8, shape (STEPS, size, size, 3).
        logits: of all species, shape (STEPS, num_species).
    """
    logs, middle = log_softmax(logits.astype(np.float64), axis=1), len(images) // 2
    towards = logs[:, b] - logs[:, a]  # orders the steps as the probability of b among the two does, without rounding to 1
    pixels = images.astype(np.float64)
    apart = [float(np.sqrt(np.square(pixels[i] - pixels[j]).mean())) for i, j in ((0, -1), (middle, 0), (middle, -1))]
    return {
        "rises": rank_correlation(logs[:, b]),
        "rises_of_two": rank_correlation(towards),
        "starts": float(logs[0].argmax() == a),
        "ends": float(logs[-1].argmax() == b),
        "middle_of_two": float(expit(towards[middle])),
        "neither": float(logs[middle, a] < logs[0, a] and logs[middle, b] < logs[-1, b]),
        "to_nearer_end": min(apart[1:]) / max(apart[0], 1e-9),
    }


def rank_correlation(values: np.ndarray) -> float:
    """Spearman's, of the steps with values; 0 where these are all the same."""
    return float(spearmanr(np.arange(len(values)), values).statistic) if np.ptp(values) > 0 else 0.0


def summary(found: list[dict[str, float]]) -> dict:
    """Means over walks, 95 % intervals of the rank correlations (percentiles of 2,000 resamples of the walks), and the walks themselves.

    ``rises_between``: of the walks alone whose first image is recognised as A and whose last as B.
    """
    table = {key: np.array([one[key] for one in found]) for key in found[0]}
    between = (table["starts"] > 0) & (table["ends"] > 0)
    result: dict = {key: float(values.mean()) for key, values in table.items()} | {"num_walks": len(found), "num_between": int(between.sum())}
    for key, values in (("rises", table["rises"]), ("rises_of_two", table["rises_of_two"]), ("rises_between", table["rises"][between])):
        if len(values):
            means = values[np.random.default_rng(0).integers(len(values), size=(2000, len(values)))].mean(1)
            result[key] = float(values.mean())
            result[f"{key}_interval"] = [float(value) for value in np.percentile(means, [2.5, 97.5])]
            result[f"{key}_share"] = float((values >= AIM).mean())
    return result | {"walks": {key: values.tolist() for key, values in table.items()}}


def save_strips(generator: Generator, of: BlendOf, chooser: Classifier | None, path: Path) -> None:
    """A few blends, of species from the commonest to the rarest."""
    names = [name for name in SHOWN if name in generator.species] or list(generator.species)
    ends: Ends = [((names[row % len(names)], names[-1 - row % len(names)]), (2 * row, 2 * row + 1)) for row in range(STRIPS)]
    ends = with_good_ends(generator, of, ends, chooser) if chooser else ends
    images = blended(generator, of, ends).reshape(-1, generator.size, generator.size, 3)
    np.savez_compressed(path, strips=np.stack([np.asarray(Image.fromarray(image).resize((SIZE, SIZE), Image.Resampling.BOX)) for image in images]))


def recall_of(collection: Collection, classifier: Classifier) -> float:
    """Of the test photographs, every species counting the same."""
    test = collection.select(split="test")
    named = np.array(classifier.species)[classifier.fitted.predict_logits(test.pixels(classifier.size)).argmax(axis=1)]
    hits = named == test.table["species"].to_numpy(dtype=object)
    return mean_recall(species_recall(hits[None], test.labels(), len(test.species)), np.arange(len(test.species))) or 0.0


def report(settings: dict[str, Any], figures: dict[str, Any]) -> Page:
    """The page."""
    known = {name: one for name, one in figures.items() if name != "measured"}
    rows = []
    for one in known.values():
        cells = [f"`{one['generator']}`", one["of"], one["seeds"], str(one["num_pairs"]), str(one["num_walks"])]
        for key in ("rises", "rises_of_two", "rises_between"):
            if key in one:
                low, high = one[f"{key}_interval"]
                cells += [f"{one[key]:.3f} ({low:.3f} to {high:.3f})", f"{one[f'{key}_share']:.0%}"]
            else:
                cells += ["–", "–"]
        cells.append(str(one["num_between"]))
        cells += [f"{one['starts']:.0%}, {one['ends']:.0%}", f"{one['middle_of_two']:.2f}", f"{one['neither']:.0%}", f"{one['to_nearer_end']:.2f}"]
        rows.append(cells)
    heads = ["generator", "moves", "seeds", "pairs", "walks", "rises", "share", "rises, of two", "share", "rises, recognised ends", "share", "walks"]
    body = [
        "- Moves: what changes along a walk, individual and species (*both*) or the species alone.",
        f"- Seeds: the *first* ones; or, of {TRIES}, those whose two ends a classifier on EfficientNet-Lite1 recognises best (*recognised*), "
        f"because a user who wants a hybrid begins with good images of both species.",
        "- Rises: Spearman's rank correlation of the step with the probability of species B among all species, mean over walks with its 95 % "
        f"interval (over walks; those that share a species are not independent), and the share of walks of at least {AIM:g}. *Of two*: with the "
        f"probability of B among A and B alone. *Recognised ends*: only of the walks (their number follows) whose two ends the judge recognises.",
        "- Ends A, B: share of walks whose first image is recognised as A, and whose last as B. B of two in the middle: probability of B among A "
        "and B. Neither: in the middle both species are less probable than at their own end. Nearer end: distance in pixels (root mean square) from "
        "the middle to the nearer end over that between the ends; 0.5 or more.",
        "",
        *table([*heads, "ends A, B", "B of two in the middle", "neither", "nearer end"], rows),
        "",
        "## Aim",
        "",
        f"The probability of B rises with a rank correlation of at least {AIM:g}, for the best family:",
        "",
    ]
    headline = []
    for seeds, (key, words) in product(
        dict.fromkeys(one["seeds"] for one in known.values()), {"rises": "all walks", "rises_between": "walks whose ends are recognised"}.items()
    ):
        best = max((one for one in known.values() if one["seeds"] == seeds), key=lambda one: one.get(key, -1))
        if key in best:
            said = "**met**." if best[key] >= AIM else f"**missed by {AIM - best[key]:.3f}**."
            body.append(f"- Seeds *{seeds}*, {words}: `{best['family']}` (*{best['of']}*) {best[key]:.3f}, {said}")
            headline.append((f"rank correlation, seeds {seeds}, {words}", f"{best[key]:.3f}"))
    body += [
        "",
        "![Strips of blends](../images/hybrids.png)",
        "",
        f"{STRIPS} blends each, from the top: {', '.join(f'`{name}`' for name in known)}. The first of each, not the best. Synthetic images.",
    ]
    values = [float(value) for _, value in headline]
    answer = "No generator has been measured yet (`--generators`)."
    if known:
        answer = (
            f"The rank correlation of the step with the probability of the second species is {min(values):.3f} to {max(values):.3f} for the "
            f"best family, depending on the seeds and on which walks are counted; the aim is 0.9."
        )
    return Page(
        title="Hybrids: from one species to another",
        question="Does a walk of blended images pass steadily from one species to another, and is its middle neither of them?",
        answer=answer,
        headline=headline,
        body=body if known else [],
        method=[
            f"Walks of {STEPS} steps from an image of species A to one of B. The judge is EfficientNet-Lite2, fitted to the photographs; it took no "
            f"part in training the generators, and names {settings['judge_recall']:.0%} of the test photographs correctly (mean over species).",
            "",
            NOTICE,
        ],
    )


if __name__ == "__main__":
    main()
