"""Does the study tell truth from noise? On the drawn reef, whose true distribution is known, three kinds of image are put before it:

oracle    fresh individuals from the true distribution: as good as synthetic images can be. The study must say "add".
copies    training photographs repeated. The study must not say "add".
noise     every pixel drawn at random. The study must not say "add".

    python benchmarks/truth.py [--out FOLDER] [--repetitions 10] [--species 24] [--seeds 5]

Each kind goes to ``study`` twice: curated first, as the product does it, and with curation switched off (every image declared accepted),
so that the arms alone must tell. Every repetition draws another reef and uses other seeds. What is the same in the studies of one
repetition (the arms without a generator, and features) is computed once. A call that was stopped continues where it was; other settings need
another --out.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from common.results import Page, kept, options, points, publish, rate, rewrite, table
from common.synthetic import save, share

from syntype.collection import Collection
from syntype.collection.reef import ReefConfig, draw_images, draw_reef, reef_config, species_names
from syntype.run import Run
from syntype.study import StudyConfig, study
from syntype.study.arms import COMPETITORS, CURATED

KINDS = {"oracle": "fresh draws from the true distribution", "copies": "training photographs repeated", "noise": "random pixels"}
WORDS = ("add", "do not add", "not enough evidence")
CURATION = ("all accepted", "curated")
LEAST, MOST = 6, 30
"""Training images of the rarest and of the commonest species; all are filled up, so that there is one question and no price to weigh."""
ARMS = (*COMPETITORS, CURATED)


def main() -> None:
    parser = options("truth", __doc__)
    parser.add_argument("--repetitions", type=int, default=10)
    parser.add_argument("--species", type=int, default=24)
    parser.add_argument("--tests", type=int, default=30, help="test images of every species")
    parser.add_argument("--fill-to", type=int, default=40, help="training images of every species, real and synthetic together")
    parser.add_argument("--seeds", type=int, default=5, help="paired seeds of each study")
    parser.add_argument("--steps", type=int, default=1000, help="gradient steps of each classifier")
    arguments = parser.parse_args()
    if arguments.page:
        rewrite("truth", report, arguments)
        return
    rows = [row for number in range(arguments.repetitions) for row in repetition(number, arguments)]
    figures = {
        "studies": {f"{row['repetition']}, {row['kind']}, {row['curation']}": row for row in rows},
        "summary": summary(rows),
        "minutes": sum(row["minutes"] for row in rows),
    }
    settings = {name: getattr(arguments, name) for name in ("repetitions", "species", "tests", "fill_to", "seeds", "steps")}
    publish("truth", settings, figures, report, arguments)


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

            before = folder / f"{rows[-1]['kind']}, {rows[-1]['curation']}" / "study" if rows else None
            measure = partial(judged, reef, images, labels, inside, before, arguments)
            about = {"repetition": number, "kind": kind, "curation": curation}
            rows.append(kept(inside / "row.json", lambda measure=measure, about=about: {**about, **measure(about)}))
            print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    for features in folder.glob("*/study/features"):
        shutil.rmtree(features)
    return rows


def judged(
    reef: Collection, images: np.ndarray, labels: np.ndarray, folder: Path, before: Path | None, arguments: argparse.Namespace, about: dict[str, Any]
) -> dict[str, Any]:
    """One study of images, which takes over from the one ``before`` what both compute."""
    shutil.rmtree(folder, ignore_errors=True)  # begun and not finished: its minutes would be wrong
    save(folder / "images", images, labels, reef.species, None if about["curation"] == "curated" else "accepted")
    if before:
        share(before, folder / "study")
    settings = {
        "synthetic": str(folder / "images"),
        "seeds": arguments.seeds,
        "seed": about["repetition"],
        "arms": ARMS,
        "classifier": {"steps": arguments.steps},
        "device": "cpu",
        "quick": True,
        "size": 64,
    }
    began = time.process_time()
    result = study(reef, StudyConfig.parse(settings), folder / "study", Run(None, quiet=True))
    minutes = (time.process_time() - began) / 60
    said = {key: result.summary()[key] for key in ("verdict", "effect", "interval", "best_without_generator")}
    accepted = result.results["curation"]["accepted"] / result.results["curation"]["offered"]
    return {**said, "accepted": accepted, "minutes": minutes}


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


def summary(rows: list[dict]) -> dict[str, dict[str, Any]]:
    """Verdicts and means of every kind of image, curated and not."""
    found = {}
    for curation in reversed(CURATION):
        for kind in KINDS:
            some = [row for row in rows if row["kind"] == kind and row["curation"] == curation]
            said, effects = Counter(row["verdict"] for row in some), [row["effect"] for row in some]
            found[f"{kind}, {curation}"] = {
                "kind": kind,
                "curation": curation,
                "verdicts": {word: said[word] for word in WORDS},
                "effect": [float(np.mean(effects)), min(effects), max(effects)],
                "accepted": float(np.mean([row["accepted"] for row in some])),
                "minutes": float(np.mean([row["minutes"] for row in some])),
            }
    return found


def report(settings: dict[str, Any], figures: dict[str, Any]) -> Page:
    """The page."""
    rows, add, headline = [], {}, []
    for name, one in figures["summary"].items():
        said = one["verdicts"]
        number = sum(said.values())
        effect = "{} ({} to {})".format(*map(points, one["effect"]))
        counts = [str(said[word]) for word in WORDS]
        rows.append([one["kind"], one["curation"], *counts, rate(said["add"], number, 0), effect, f"{one['accepted']:.0%}", f"{one['minutes']:.1f}"])
        add[name] = f"{said['add']} of {number}"
        headline.append((f"“add”, {name}", add[name]))
    studies = []
    for row in figures["studies"].values():
        low, high = row["interval"]
        interval_ = f"{points(low)} to {points(high)}"
        cells = [str(row["repetition"]), row["kind"], row["curation"], row["verdict"], points(row["effect"]), interval_]
        studies.append([*cells, row["best_without_generator"]])
    kinds = "; ".join(f"`{kind}`: {words}" for kind, words in KINDS.items())
    return Page(
        title="Does the study tell useful images from useless ones?",
        question="Where the truth is known, does a study say “add” to perfect images, and not to copies of training photographs or to noise?",
        answer=f"It says “add” to curated perfect images in {add['oracle, curated']} studies, to curated copies in {add['copies, curated']} and to "
        f"curated noise in {add['noise, curated']}.",
        headline=headline[:3],
        body=[
            "The reef is drawn: this shows whether the verdict is right where the truth is known, not how often synthetic photographs help.",
            "",
            "## Verdicts",
            "",
            f"Images: {kinds}. Curated: as the product does it. All accepted: curation switched off, so that the arms alone must tell. Effect: "
            f"recall of the filled-up species with the images, minus that of the best arm without a generator. Accepted: share of the images that "
            f"curation accepted; where it is none, the study says “do not add” whatever the arms do. The first study of a reef computes what the "
            f"others share, hence its minutes.",
            "",
            *table(
                ["images", "curation", *WORDS, "share of “add” (95 %, Wilson)", "effect, points: mean (range)", "accepted", "minutes of a core"], rows
            ),
            "",
            "## Every study",
            "",
            *table(["reef", "images", "curation", "verdict", "effect, points", "95 % interval", "best without a generator"], studies),
        ],
        method=[
            f"{settings['repetitions']} repetitions, each on another drawn reef of {settings['species']} species ({LEAST} to {MOST} training images, "
            f"{settings['tests']} test images a species) with other seeds. Every species is filled up to {settings['fill_to']} training images by "
            f"images of one kind. Each study: {settings['seeds']} paired seeds, arms {', '.join(f'`{name}`' for name in ARMS)}, {settings['steps']} "
            f"steps of a linear head on frozen Lite2 features, all else as by default. {figures['minutes']:.0f} minutes of one core."
        ],
    )


if __name__ == "__main__":
    main()
