"""Does a blend from one species to another pass steadily from the one to the other, and is its middle neither? Every trained generator that blends.

    python benchmarks/hybrids.py --generators FOLDER [FOLDER ...] [--data FOLDER | --collection FOLDER] [--out FOLDER] [--pairs 200] [--draws 2]

Each generator walks in nine steps between the species of many pairs: from the first seeds, and from seeds whose two ends a classifier on
EfficientNet-Lite1 recognises, as a user would begin with good images of both. Another one on EfficientNet-Lite2, with no part in any
generator's training nor in the choice, says how likely each image is of either species. What is known is not measured again; other settings
need another --out. The page docs/benchmarks/hybrids.md and the picture docs/images/hybrids.png are written from all
generators that are known. Without the photographs nothing is measured.
"""

from __future__ import annotations

import argparse
import json
from itertools import combinations, product
from pathlib import Path

import numpy as np
import torch
from fidelity import SIZE
from fish4knowledge import NOTICE, SHOWN, add_arguments, machine, open_photographs, save_grid, syntype, write_page
from PIL import Image
from scipy.special import expit, log_softmax
from scipy.stats import spearmanr

from syntype.collection import Collection
from syntype.compute.tensors import to_uint8
from syntype.generators import Generator, load_generator
from syntype.generators.contract import BlendOf, Blends
from syntype.identification import Classifier, load_classifier
from syntype.run import write_json
from syntype.study.statistics import mean_recall, species_recall

STEPS, AT_A_TIME, STRIPS, TRIES = 9, 16, 3, 8
OF: tuple[BlendOf, ...] = ("both", "species")
"""What moves: individual and species, or the species alone."""
AIM = 0.9
TUNED = ("--set", "size=64", "--set", "tune=all", "--set", "encoder_size=96", "--set", "batch_size=32", "--steps", "600")
"""Options that fit a whole backbone: a head alone names too many photographs wrongly to be a judge of what lies between species."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser, "hybrids")
    parser.add_argument("--generators", type=Path, nargs="*", default=[], help="folders of trained generators to measure now")
    parser.add_argument("--classifier", type=Path, help="a trained one with no part in any generator's training; otherwise one is trained in --out")
    parser.add_argument("--pairs", type=int, default=200, help="of species, drawn at random; all if there are fewer (%(default)s)")
    parser.add_argument("--draws", type=int, default=2, help="walks of a pair, each from two seeds of its own (%(default)s)")
    arguments = parser.parse_args()
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
            kept = arguments.out / f"{generator.generator_id}-{of}-{seeds}.json"
            if not kept.exists():
                save_strips(generator, of, by, kept.with_suffix(".npz"))
                found = measure(generator, classifier, of, by, arguments.pairs, arguments.draws)
                write_json(kept, {"family": generator.family, "of": of, "seeds": seeds, **found})
    known = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(arguments.out.glob("*-*.json"))}
    write_page(report(known, recall_of(collection, classifier)), "hybrids", arguments.docs)
    if known:
        strips = [np.load(arguments.out / f"{name}.npz")["strips"] for name in known]
        said = f"Synthetic images, {STRIPS} blends each: {', '.join(known)}; not occurrence evidence."
        (arguments.docs / "images").mkdir(exist_ok=True)
        save_grid([image for strip in strips for image in strip], STEPS, arguments.docs / "images" / "hybrids.png", said)


def outsider(collection: Collection, out: Path, given: Path | None) -> Classifier:
    """A classifier that takes no part in training generators: the given one, or Lite2 fitted to the photographs."""
    return load_classifier(given) if given else fitted_to(collection, out / "classifier", "lite2", *TUNED)


def fitted_to(collection: Collection, folder: Path, backbone: str, *options: str) -> Classifier:
    """A bundled backbone fitted to the photographs, unless that was done; without options its head alone."""
    if not (folder / "classifier.json").exists():
        syntype(["classify", "train", collection.root, "--backbone", backbone, "--out", folder, *options])
    return load_classifier(folder)


def refuse_partner(generator: Generator, classifier: Classifier) -> None:
    """Stop if a generator was trained by means of the classifier's backbone.

    Raises:
        SystemExit: with what to do instead.
    """
    config = generator.model.config
    guide = str(config.guidance_classifier) if getattr(config, "guidance_weight", 0) and hasattr(config, "guidance_classifier") else ""
    saved = Path(guide) / "classifier.json"
    backbone = json.loads(saved.read_text(encoding="utf-8"))["config"]["backbone"] if guide and saved.is_file() else guide
    if backbone == classifier.fitted.backbone.name:
        raise SystemExit(f"{generator.folder} was trained by means of {backbone}, which may not judge it too: leave it out, or give --classifier")


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


def report(known: dict[str, dict], judge_recall: float) -> str:
    """What was measured, as Markdown."""
    lines = [
        "# Hybrids: from one species to another",
        "",
        f"Written by `python benchmarks/hybrids.py`. Machine: {machine()}; PyTorch {torch.__version__}.",
        "",
        NOTICE,
        "",
    ]
    if not known:
        return "\n".join([*lines, "No generator has been measured yet (`--generators`).", ""])
    lines += [
        f"Walks of {STEPS} steps from an image of species A to one of B. What moves: individual and species (*both*), or the species alone. The "
        "judge is EfficientNet-Lite2, fitted to the photographs; it took no part in training the generators, and names "
        f"{judge_recall:.0%} of the test photographs rightly (mean over species). *Rises*: Spearman's "
        "rank correlation of the step with the probability of B among all species, mean over walks with its 95 % interval (over walks; those that "
        f"share a species are not independent), and the share of walks of at least {AIM:g}; *of two*: with the probability of B among A and B alone; "
        "*between*: of the walks alone (their number) whose two ends the judge recognises, for a walk that does not begin at A or never comes to B "
        "says nothing of what lies between them. "
        f"*Seeds*: the *first*, or of {TRIES} those whose two ends a head on EfficientNet-Lite1, which has no other part in this, "
        "recognises best (*recognised*); a user who wants a hybrid begins with good images of both species, too. "
        "*Ends*: the first image is recognised as A, the last as B. *Neither*: in the middle both species are less probable than at their own end. "
        "*Nearer end*: distance in pixels (root mean square) from the middle to the nearer end, over that between the ends; 0.5 or more.",
        "",
        "| generator | moves | seeds | pairs | walks | rises | share | rises, of two | share | rises, between | share | walks "
        "| ends A, B | B of two in the middle | neither | nearer end |",
        "| --- |" + " --- |" * 15,
    ]
    for name, one in known.items():
        cells = [f"`{name.rsplit('-', 2)[0]}`", one["of"], one["seeds"], str(one["num_pairs"]), str(one["num_walks"])]
        for key in ("rises", "rises_of_two", "rises_between"):
            if key in one:
                low, high = one[f"{key}_interval"]
                cells += [f"{one[key]:.3f} ({low:.3f} to {high:.3f})", f"{one[f'{key}_share']:.0%}"]
            else:
                cells += ["–", "–"]
        cells.append(str(one["num_between"]))
        cells += [f"{one['starts']:.0%}, {one['ends']:.0%}", f"{one['middle_of_two']:.2f}", f"{one['neither']:.0%}", f"{one['to_nearer_end']:.2f}"]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "## Aim", ""]
    for seeds, (key, words) in product(
        dict.fromkeys(one["seeds"] for one in known.values()), {"rises": "all walks", "rises_between": "walks whose ends are recognised"}.items()
    ):
        best = max((one for one in known.values() if one["seeds"] == seeds), key=lambda one: one.get(key, -1))
        if key in best:
            met = "**met**." if best[key] >= AIM else f"**missed by {AIM - best[key]:.3f}**."
            said = f"seeds *{seeds}*, {words}: `{best['family']}` (*{best['of']}*) {best[key]:.3f}, {met}"
            lines.append(f"- The best family's probability of B rises with Spearman at least {AIM:g}; {said}")
    lines += [
        "",
        "![Strips of blends](../images/hybrids.png)",
        "",
        f"{STRIPS} blends each, from the top: {', '.join(f'`{name}`' for name in known)}. The first of each, not the best. Synthetic images.",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
