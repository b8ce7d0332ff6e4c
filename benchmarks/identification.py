"""Which loss, which sampler, which head? Identifiers trained on the photographs of Fish4Knowledge in every way that Syntype knows.

    python benchmarks/identification.py [--data FOLDER | --collection FOLDER] [--out FOLDER] [--networks NAME ...] [--seeds 3]

Three networks: Lite2 left as it is (``frozen``), Lite2 trained too (``tuned``), and a small one trained from nothing (``scratch``), at 64 px and,
where named (``frozen-128`` and so on), at 128. Every loss with natural sampling, and every sampler with the losses that it may take the place of;
then the heads and refits. All with several seeds, on one split. Recall is that of the test photographs, by bin of training photographs; differences
from the first row are paired by photograph and seed (hierarchical bootstrap over species, tracks and seeds, as in the study).

A fit that is known is not done again, so the command may be given in pieces or continue where it was stopped: what every classifier predicted is
kept in benchmarks/results/identification.csv, a letter for each test photograph (A is the first species of the collection). The page shows all
that is known with the present settings. Without the photographs nothing is measured.
"""

from __future__ import annotations

import csv
import hashlib
import itertools
import time
from pathlib import Path
from typing import Any

import numpy as np
from common.fish import NOTICE, open_photographs, photograph_options
from common.results import Page, points, publish, read_result, rewrite, stamp, table

from syntype.collection import Collection
from syntype.collection.bins import BINS, bins_of
from syntype.identification import ClassifierConfig, FeatureCache, LabelledImages, fit, labelled, refit
from syntype.run import Run
from syntype.study.statistics import mean_recall, paired_effect, species_recall

NETWORKS: dict[str, dict[str, Any]] = {
    "frozen": {"size": 64},
    "scratch": {"size": 64, "backbone": "scratch", "steps": 1000, "learning_rate": 2e-3},
    "tuned": {"size": 64, "tune": "all", "encoder_size": 96, "steps": 120, "batch_size": 32},
    "frozen-128": {"size": 128},
    "scratch-128": {"size": 128, "backbone": "scratch", "steps": 500, "learning_rate": 2e-3},
    "scratch-128, default steps": {"size": 128, "backbone": "scratch", "learning_rate": 2e-3},
    "tuned-128": {"size": 128, "tune": "all", "steps": 100, "batch_size": 32},
}
"""Short fits, so that all of them take hours and not days of a core; one with as many steps as by default."""
ABOUT = {
    "frozen": "EfficientNet-Lite2 frozen, a head trained; 64 px",
    "scratch": "a small network trained from random weights; 64 px, 1,000 steps, learning rate 0.002",
    "tuned": "EfficientNet-Lite2 trained too; 64 px enlarged to 96, 120 steps, batch 32",
    "frozen-128": "EfficientNet-Lite2 frozen, a head trained; 128 px",
    "scratch-128": "a small network trained from random weights; 128 px, 500 steps, learning rate 0.002",
    "scratch-128, default steps": "a small network trained from random weights; 128 px, default number of steps, learning rate 0.002",
    "tuned-128": "EfficientNet-Lite2 trained too; 128 px, 100 steps, batch 32",
}
WAYS: dict[str, dict[str, Any]] = {
    "balanced_softmax": {"loss": "balanced_softmax"},
    "cross_entropy": {"loss": "cross_entropy"},
    "cross_entropy, cRT": {"loss": "cross_entropy", "refit": "balanced"},
    "cross_entropy, tau-norm": {"loss": "cross_entropy", "refit": "tau_norm"},
    "focal": {"loss": "focal"},
    "focal_alpha": {"loss": "focal_alpha"},
    "class_balanced_focal": {"loss": "class_balanced_focal"},
    "ldam_drw": {"loss": "ldam_drw"},
    "logit_adjustment, tau 1.5": {"loss": "logit_adjustment", "loss_settings": {"tau": 1.5}},
    "cross_entropy, square_root": {"loss": "cross_entropy", "sampler": "square_root"},
    "cross_entropy, balanced": {"loss": "cross_entropy", "sampler": "balanced"},
    "focal, balanced": {"loss": "focal", "sampler": "balanced"},
    "balanced_softmax, square_root": {"loss": "balanced_softmax", "sampler": "square_root"},
    "balanced_softmax, cosine": {"loss": "balanced_softmax", "head": "cosine"},
    "prototype": {"head": "prototype"},
}
FIRST = "balanced_softmax"
"""The default, from which the others are said to differ."""


def main() -> None:
    parser = photograph_options("identification", __doc__)
    parser.add_argument("--networks", nargs="*", default=list(NETWORKS), choices=list(NETWORKS), help="networks to measure now")
    parser.add_argument("--ways", nargs="*", default=list(WAYS), choices=list(WAYS), metavar="WAY", help=f"of {', '.join(WAYS)}")
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    if arguments.page:
        rewrite("identification", report, arguments)
        return
    collection = open_photographs(arguments)
    if collection is None:
        return
    path = arguments.results / "identification.csv"
    for network, seed in itertools.product(arguments.networks, range(arguments.seeds)):
        measure(collection, network, [way for way in WAYS if way in arguments.ways], seed, arguments.out, path)
    old = arguments.results / "identification.json"
    before = read_result(old)["figures"] if old.exists() else {}
    found = summary(collection, read(path), arguments.seeds)
    for network, ways in found.items():
        for way, one in ways.items():
            known = before.get(network, {}).get(way)
            ways[way] = known if known and known["settings"] == one["settings"] else {**one, "measured": stamp()}
    sizes = {"training": len(collection.training()), "test": len(collection.select(split="test")), "species": len(collection.species)}
    publish("identification", {"seeds": arguments.seeds, **sizes}, found, report, arguments)


def config_of(network: str, way: str) -> ClassifierConfig | None:
    """Settings; None where the two do not go together."""
    if way == "prototype" and not network.startswith("frozen"):
        return
    return ClassifierConfig.parse({"device": "cpu", "refit": "none", **NETWORKS[network], **WAYS[way]})


Key = tuple[str, str, int, str]
"""Network, way, seed, and a hash of the settings and photographs."""


def key_of(collection: Collection, network: str, way: str, seed: int) -> Key:
    config = config_of(network, way)
    asked = f"{collection.fingerprint} {config.model_dump_json() if config else None}"
    return network, way, seed, hashlib.sha256(asked.encode()).hexdigest()[:12]


def read(path: Path) -> dict[Key, tuple[float, np.ndarray]]:
    """What is known: minutes, and the species that each test photograph was given, int64."""
    found: dict[Key, tuple[float, np.ndarray]] = {}
    if path.exists():
        with path.open(newline="", encoding="utf-8") as file:
            for network, way, seed, settings, minutes, said in csv.reader(file):
                found[network, way, int(seed), settings] = float(minutes), np.array([ord(letter) - ord("A") for letter in said])
    return found


def add(path: Path, key: Key, minutes: float, predicted: np.ndarray) -> None:
    """Keep what a classifier predicted: one more line, so that several processes may do so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", newline="", encoding="utf-8") as file:
        csv.writer(file).writerow([*key, f"{minutes:.2f}", "".join(chr(ord("A") + label) for label in predicted)])


def measure(collection: Collection, network: str, ways: list[str], seed: int, out: Path, path: Path) -> None:
    """Fit classifiers and keep what each says of the test photographs, but for those for which that was done. Ways that differ in the head's
    second stage alone share the first, when they follow one another."""
    known, train, val, test, first = read(path), None, None, None, None
    for way in ways:
        config, key = config_of(network, way), key_of(collection, network, way, seed)
        if config is None or key in known:
            continue
        if train is None:
            train = labelled(collection.training(), config.size, collection.species)
            val, test = (collection.select(split=split) for split in ("val", "test"))
            counts, looked = np.array(list(collection.training().counts().values())), LabelledImages(val.pixels(config.size), val.labels())
            run, cache = Run.silent(), FeatureCache(out / "features")
        plain = config.model_copy(update={"refit": "none"})
        if first is None or first.config != plain:
            began = time.process_time()
            first = fit(train, counts, len(counts), plain, seed, looked, run, cache)
            spent = time.process_time() - began
        began = time.process_time()
        predicted = refit(first, train, counts, config.refit, seed, looked, run, cache).predict_logits(test.pixels(config.size)).argmax(axis=1)
        minutes = (spent + time.process_time() - began) / 60
        add(path, key, minutes, predicted)
        right = species_recall((predicted == test.labels())[None], test.labels(), len(counts))
        print(f"{network}, {way}, seed {seed}: macro recall {mean_recall(right, np.arange(len(counts))):.3f}, {minutes:.1f} minutes", flush=True)


def summary(collection: Collection, known: dict[Key, tuple[float, np.ndarray]], seeds: int) -> dict[str, dict[str, dict[str, Any]]]:
    """Figures by network and way, of those that were fitted with every seed."""
    test = collection.select(split="test")
    labels, groups = test.labels(), test.groups()
    counts = np.array(list(collection.training().counts().values()))
    places = bins_of(counts)
    tested = np.array([np.isin(number, places[np.unique(labels)]) for number in range(len(BINS))])
    shown = [name for name, some in zip(BINS, tested, strict=True) if some]
    everyone, rare = np.arange(len(counts)), np.flatnonzero(counts <= 100)
    result: dict[str, dict[str, dict[str, Any]]] = {}
    for network in NETWORKS:
        found = {}
        for way in WAYS:
            keys = [key_of(collection, network, way, seed) for seed in range(seeds)]
            if all(key in known for key in keys):
                found[way] = (np.stack([known[key][1] for key in keys]), float(np.mean([known[key][0] for key in keys])), keys[0][3])
        for way, (predicted, minutes, settings) in found.items():
            hits = predicted == labels
            recall = species_recall(hits, labels, len(counts))
            effect = paired_effect(hits, found[FIRST][0] == labels, labels, groups, rare, seed=0) if way != FIRST and FIRST in found else None
            result.setdefault(network, {})[way] = {
                "settings": settings,
                "accuracy": float(hits.mean()),
                "macro_recall": mean_recall(recall, everyone),
                "bins": {name: mean_recall(recall, np.flatnonzero(places == BINS.index(name))) for name in shown},
                "difference": [effect.value, effect.low, effect.high] if effect else None,
                "minutes": minutes,
            }
    return result


def report(settings: dict[str, Any], figures: dict[str, Any]) -> Page:
    """The page."""
    known = {network: figures[network] for network in NETWORKS if network in figures}
    body = [
        "Recall in %, mean over species and seeds: of all species (macro recall) and by number of training photographs. Difference: recall of the "
        f"species with at most 100 training photographs, minus that of `{FIRST}` with the same network, in points (95 % interval; paired bootstrap "
        f"over species and seeds). Minutes: processor time of one fit."
    ]
    better = []
    for network, ways in known.items():
        shown = list(next(iter(ways.values()))["bins"])
        rows, ahead = [], []
        for way, one in ways.items():
            difference = "–"
            if one["difference"]:
                value, low, high = map(points, one["difference"])
                difference = f"{value} ({low} to {high})"
                ahead += [f"`{way}`"] if one["difference"][1] > 0 else []
            cells = [one["accuracy"], one["macro_recall"], *one["bins"].values()]
            rows.append([way, *("–" if cell is None else f"{100 * cell:.1f}" for cell in cells), difference, f"{one['minutes']:.1f}"])
        heads = ["loss, sampler, head", "accuracy", "macro recall", *shown, "difference, rare species", "minutes"]
        body += ["", f"## {network}", "", f"{ABOUT[network][0].upper()}{ABOUT[network][1:]}.", "", *table(heads, rows), ""]
        body += [f"Better than `{FIRST}` on rare species, with an interval above 0: {', '.join(ahead) or 'none'}."]
        better += [f"{way} with `{network}`" for way in ahead]
    first = {network: ways[FIRST]["macro_recall"] for network, ways in known.items() if FIRST in ways}
    best = max(first, key=lambda network: first[network], default="")
    return Page(
        title="Losses, samplers and heads for rare species",
        question="Which loss, sampler and classifier head recognise rare species best?",
        answer=f"With an interval above 0, better than the default `{FIRST}`: {', '.join(better) or 'none'}. With the default loss the macro recall "
        f"is {min(first.values()):.1%} to {max(first.values()):.1%}, depending on the network; `{best}` is best."
        if first
        else "Not measured yet.",
        headline=[(f"macro recall, `{network}`, `{FIRST}`", f"{value:.1%}") for network, value in first.items()],
        body=body,
        method=[
            f"{settings['seeds']} seeds each, one split by tracks: {settings['training']} training, {settings['test']} test photographs, "
            f"{settings['species']} species. Every prediction: `benchmarks/results/identification.csv` (network, way, seed, checksum of the "
            f"settings, minutes, a letter for each test photograph).",
            "",
            NOTICE,
        ],
    )


if __name__ == "__main__":
    main()
