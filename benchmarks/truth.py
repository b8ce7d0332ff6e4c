"""Does the study tell truth from noise? On the drawn reef, whose true distribution is known, three kinds of image are put before it:

oracle    fresh individuals from the true distribution: as good as synthetic images can be. The study must say "add".
copies    training photographs repeated. The study must not say "add".
noise     every pixel drawn at random. The study must not say "add".

    python benchmarks/truth.py [--out FOLDER] [--repetitions 10] [--species 24] [--seeds 5]

Each kind goes to ``study`` twice: curated first, as the product does it, and with curation switched off (every image declared accepted),
so that the arms alone must tell. Every repetition draws another reef and uses other seeds. What is the same in the studies of one
repetition (the arms without a generator, and features) is computed once. A call that was stopped goes on where it was; other settings need
another --out. The result is written to docs/benchmarks/truth.md.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from fish4knowledge import add_outputs, machine, points, write_page
from PIL import Image
from scipy.stats import binomtest

from syntype.collection import Collection
from syntype.collection.reef import ReefConfig, draw_images, draw_reef, reef_config, species_names
from syntype.run import Run, write_json
from syntype.study import StudyConfig, study
from syntype.study.arms import COMPETITORS, CURATED

KINDS = {"oracle": "fresh draws from the true distribution", "copies": "training photographs repeated", "noise": "random pixels"}
WORDS = ("add", "do not add", "not enough evidence")
CURATION = ("all accepted", "curated")
LEAST, MOST = 6, 30
"""Training images of the rarest and of the commonest species; all are filled up, so that there is one question and no price to weigh."""
ARMS = (*COMPETITORS, CURATED)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_outputs(parser, "truth")
    parser.add_argument("--repetitions", type=int, default=10)
    parser.add_argument("--species", type=int, default=24)
    parser.add_argument("--tests", type=int, default=30, help="test images of every species")
    parser.add_argument("--fill-to", type=int, default=40, help="training images of every species, real and synthetic together")
    parser.add_argument("--seeds", type=int, default=5, help="paired seeds of each study")
    parser.add_argument("--steps", type=int, default=1000, help="gradient steps of each classifier")
    arguments = parser.parse_args()
    rows = [row for number in range(arguments.repetitions) for row in repetition(number, arguments)]
    write_page(report(rows, arguments), "truth", arguments.docs)


def repetition(number: int, arguments: argparse.Namespace) -> list[dict]:
    """What the studies of one reef said: one entry for each kind of image, curated and not."""
    folder = arguments.out / f"{number:02d}"
    if (folder / "reef" / "collection.json").exists():
        reef = Collection.open(folder / "reef")
    else:
        shutil.rmtree(folder, ignore_errors=True)
        config = ReefConfig(num_species=arguments.species, max_images=MOST, min_images=LEAST, num_test=arguments.tests, seed=4000 + number)
        reef = draw_reef(config, folder / "reef", Run.silent()).collection
    rows: list[dict] = []
    for kind in KINDS:
        images, labels = draw(kind, reef, arguments.fill_to, number)
        for curation in CURATION:
            inside = folder / f"{kind}, {curation}"
            kept = inside / "row.json"
            if not kept.exists():
                shutil.rmtree(inside, ignore_errors=True)  # begun and not finished: its minutes would be wrong
                save(inside / "images", images, labels, reef.species, None if curation == "curated" else "accepted")
                if rows:
                    share(folder / f"{rows[-1]['kind']}, {rows[-1]['curation']}" / "study", inside / "study")
                settings = {
                    "synthetic": str(inside / "images"),
                    "seeds": arguments.seeds,
                    "seed": number,
                    "arms": ARMS,
                    "classifier": {"steps": arguments.steps},
                    "device": "cpu",
                }
                began = time.process_time()
                result = study(reef, StudyConfig.parse(settings), inside / "study", Run(None, quiet=True))
                minutes = (time.process_time() - began) / 60
                summary = {key: result.summary()[key] for key in ("verdict", "effect", "interval", "best_without_generator")}
                accepted = result.results["curation"]["accepted"] / result.results["curation"]["offered"]
                row = {"repetition": number, "kind": kind, "curation": curation, **summary, "accepted": accepted, "minutes": minutes}
                write_json(kept, row)
                print(json.dumps(row), file=sys.stderr, flush=True)
            rows.append(json.loads(kept.read_text(encoding="utf-8")))
    for features in folder.glob("*/study/features"):
        shutil.rmtree(features)
    return rows


def draw(kind: str, reef: Collection, fill_to: int, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Images of one kind, uint8 (N, size, size, 3), as many as each species lacks, and their labels, int64 (N,)."""
    config = reef_config(reef)
    assert config is not None and species_names(config) == reef.species
    train = reef.training()
    real, known = train.pixels(config.size), train.labels()
    lacking = np.maximum(fill_to - np.bincount(known, minlength=len(reef.species)), 0)
    labels = np.repeat(np.arange(len(reef.species)), lacking)
    random = np.random.default_rng([number, 0x7247])
    if kind == "oracle":
        return draw_images(config, labels, random.integers(2**62, size=len(labels)), config.size), labels
    if kind == "noise":
        return random.integers(0, 256, (len(labels), config.size, config.size, 3), dtype=np.uint8), labels
    rows = [np.resize(random.permutation(np.flatnonzero(known == label)), count) for label, count in enumerate(lacking) if count]
    return real[np.concatenate(rows)], labels


def save(folder: Path, images: np.ndarray, labels: np.ndarray, species: tuple[str, ...], verdict: str | None) -> Collection:
    """Write images as a synthetic collection; with a verdict, curation takes it for judged and leaves it alone."""
    folder.mkdir(parents=True)
    rows = []
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        path = folder / f"{number:05d}.png"
        Image.fromarray(image).save(path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        rows.append(
            {"image_id": path.stem, "file_name": path.name, "species": species[label], "sha256": digest, "origin": "synthetic", "verdict": verdict}
        )
    size = {"width": images.shape[2], "height": images.shape[1]}
    return Collection.create(folder, pd.DataFrame(rows).assign(**size), species=species)


def share(done: Path, out: Path, arms: Sequence[str] = COMPETITORS) -> None:
    """Hand a study what an earlier one of the same reef, seeds and numbers of images has computed: its features, and its arms without a generator."""
    files = [*(done / "features").rglob("*.npz"), *(path for name in arms for path in (done / "arms").glob(f"{name}-*.npz"))]
    for path in files:
        target = out / path.relative_to(done)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.link(path, target)


def report(rows: list[dict], arguments: argparse.Namespace) -> str:
    """What was found, as Markdown."""
    kinds = "; ".join(f"`{kind}`: {words}" for kind, words in KINDS.items())
    minutes = sum(row["minutes"] for row in rows)
    lines = [
        "# Does the study tell truth from noise?",
        "",
        f"Written by `python benchmarks/truth.py{options(arguments)}`. Machine: {machine()}; {minutes:.0f} minutes of one core.",
        "",
        f"{arguments.repetitions} repetitions, each on another drawn reef of {arguments.species} species ({LEAST} to {MOST} training images, "
        f"{arguments.tests} test images a species) with other seeds. Every species is filled up to {arguments.fill_to} training images "
        f"by images of one of three kinds: {kinds}. Each study: {arguments.seeds} paired seeds, arms "
        f"{', '.join(f'`{name}`' for name in ARMS)}, {arguments.steps} steps of a linear head on frozen Lite2 features, all else as by default. "
        "*Curated*: as the product does it. *All accepted*: curation switched off, so that the arms alone must tell.",
        "",
        "The reef is drawn: this shows whether the verdict tells help from none where the truth is known, not how often synthetic photographs help.",
        "",
        "## Verdicts",
        "",
        f"| images | curation | {' | '.join(WORDS)} | share of “add” (95 %, Wilson) | effect, points: mean (range) | accepted | minutes of a core |",
        "| --- | --- |" + " --- |" * (len(WORDS) + 4),
    ]
    for curation in reversed(CURATION):
        for kind in KINDS:
            some = [row for row in rows if row["kind"] == kind and row["curation"] == curation]
            said, effects = Counter(row["verdict"] for row in some), [row["effect"] for row in some]
            interval = binomtest(said["add"], len(some)).proportion_ci(method="wilson")
            lines.append(
                f"| {kind} | {curation} | {' | '.join(str(said[word]) for word in WORDS)} | "
                f"{said['add'] / len(some):.0%} ({interval.low:.0%} to {interval.high:.0%}) | "
                f"{points(np.mean(effects))} ({points(min(effects))} to {points(max(effects))}) | "
                f"{np.mean([row['accepted'] for row in some]):.0%} | {np.mean([row['minutes'] for row in some]):.1f} |"
            )
    lines += [
        "",
        "Effect: recall of the filled-up species with the images, minus that of the best arm without a generator. Accepted: share of the images that "
        "curation let through; where it is none, the study says “do not add” whatever the arms do. The first study of a reef computes what the "
        "others share, hence its minutes.",
        "",
        "## Every study",
        "",
        "| reef | images | curation | verdict | effect, points | 95 % interval | best without a generator |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        low, high = row["interval"]
        lines.append(
            f"| {row['repetition']} | {row['kind']} | {row['curation']} | {row['verdict']} | {points(row['effect'])} | "
            f"{points(low)} to {points(high)} | {row['best_without_generator']} |"
        )
    return "\n".join([*lines, ""])


def options(arguments: argparse.Namespace) -> str:
    """The settings that differ from the defaults, as they were given."""
    given = {"--repetitions": (arguments.repetitions, 10), "--species": (arguments.species, 24), "--tests": (arguments.tests, 30),
             "--fill-to": (arguments.fill_to, 40), "--seeds": (arguments.seeds, 5), "--steps": (arguments.steps, 1000)}  # fmt: skip
    return "".join(f" {name} {value}" for name, (value, default) in given.items() if value != default)


if __name__ == "__main__":
    main()
