"""Which loss, which sampler, which head? Identifiers trained on the photographs of Fish4Knowledge in every way that Syntype knows.

    python benchmarks/identification.py [--data FOLDER | --collection FOLDER] [--out FOLDER] [--networks NAME ...] [--seeds 3]

Three networks: Lite2 left as it is (``frozen``), Lite2 trained too (``tuned``), and a small one trained from nothing (``scratch``), at 64 px and,
where named (``frozen-128`` and so on), at 128. Every loss with natural sampling, and every sampler with the losses that it may take the place of;
then the heads and refits. All with several seeds, on one split. Recall is that of the test photographs, by bin of training photographs; differences
from the first row are paired by photograph and seed (hierarchical bootstrap over species, tracks and seeds, as in the study).

A fit that is known is not done again, so the command may be given in pieces or go on where it was stopped: what every classifier said is kept in
docs/benchmarks/identification.csv, a letter for each test photograph (A is the first species of the collection). The page
docs/benchmarks/identification.md is written from all that is known with the present settings. Without the photographs nothing is measured.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import itertools
import time
from pathlib import Path
from typing import Any

import numpy as np
from fish4knowledge import NOTICE, add_arguments, machine, open_photographs, points, write_page

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
    "scratch-128, trained out": {"size": 128, "backbone": "scratch", "learning_rate": 2e-3},
    "tuned-128": {"size": 128, "tune": "all", "steps": 100, "batch_size": 32},
}
"""Short fits, so that all of them take hours and not days of a core; one with as many steps as by default."""
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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser, "identification")
    parser.add_argument("--networks", nargs="*", default=list(NETWORKS), choices=list(NETWORKS), help="networks to measure now")
    parser.add_argument("--ways", nargs="*", default=list(WAYS), choices=list(WAYS), metavar="WAY", help=f"of {', '.join(WAYS)}")
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    collection = open_photographs(arguments)
    if collection is None:
        return
    for network, seed in itertools.product(arguments.networks, range(arguments.seeds)):
        measure(collection, network, [way for way in WAYS if way in arguments.ways], seed, arguments.out, file_of(arguments.docs))
    write_page(report(collection, read(file_of(arguments.docs)), arguments.seeds), "identification", arguments.docs)


def config_of(network: str, way: str) -> ClassifierConfig | None:
    """Settings; None where the two do not go together."""
    if way == "prototype" and not network.startswith("frozen"):
        return None
    return ClassifierConfig.parse({"device": "cpu", "refit": "none", **NETWORKS[network], **WAYS[way]})


def file_of(docs: Path) -> Path:
    return docs / "benchmarks" / "identification.csv"


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
    """Keep what a classifier said: one more line, so that several processes may do so."""
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


def report(collection: Collection, known: dict[Key, tuple[float, np.ndarray]], seeds: int) -> str:
    """What was measured, as Markdown."""
    test = collection.select(split="test")
    labels, groups = test.labels(), test.groups()
    counts = np.array(list(collection.training().counts().values()))
    places = bins_of(counts)
    tested = np.array([np.isin(number, places[np.unique(labels)]) for number in range(len(BINS))])
    shown = [name for name, some in zip(BINS, tested, strict=True) if some]
    everyone, rare = np.arange(len(counts)), np.flatnonzero(counts <= 100)
    lines = [
        "# Losses, samplers, heads",
        "",
        f"Written by `python benchmarks/identification.py`. Machine: {machine()}. {seeds} seeds each, one split by tracks: "
        f"{len(collection.training())} training, {len(test)} test photographs, {len(counts)} species. All that was said: identification.csv.",
        "",
        NOTICE,
        "",
        f"Recall in %: mean over species and seeds. Δ rare: recall of the species with at most 100 training photographs, minus that of `{FIRST}` "
        "with the same network, in points (95 % interval; paired bootstrap over species and seeds). Minutes: processor time "
        "of one fit.",
    ]
    for network in NETWORKS:
        found = {}
        for way in WAYS:
            keys = [key_of(collection, network, way, seed) for seed in range(seeds)]
            if all(key in known for key in keys):
                found[way] = (np.stack([known[key][1] for key in keys]), float(np.mean([known[key][0] for key in keys])))
        if not found:
            continue
        lines += [
            "",
            f"## {network}: {NETWORKS[network]}",
            "",
            f"| loss, sampler, head | accuracy | macro recall | {' | '.join(shown)} | Δ rare | minutes |",
            "| --- |" + " --- |" * (len(shown) + 4),
        ]
        ahead = []
        for way, (predicted, minutes) in found.items():
            hits = predicted == labels
            recall = species_recall(hits, labels, len(counts))
            bins = [mean_recall(recall, np.flatnonzero(places == BINS.index(name))) for name in shown]
            difference = "–"
            if way != FIRST and FIRST in found:
                effect = paired_effect(hits, found[FIRST][0] == labels, labels, groups, rare, seed=0)
                difference = f"{points(effect.value)} ({points(effect.low)} to {points(effect.high)})" if effect else "–"
                ahead += [f"`{way}`"] if effect and effect.low > 0 else []
            cells = [hits.mean(), mean_recall(recall, everyone), *bins]
            lines.append(f"| {way} | {' | '.join('–' if cell is None else f'{100 * cell:.1f}' for cell in cells)} | {difference} | {minutes:.1f} |")
        lines += ["", f"Better than `{FIRST}` on rare species, interval and all: {', '.join(ahead) or 'none'}."]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
