"""Which synthetic images help a classifier with rare species? Many ways to make them, each judged against the ways that need no generator.

    python benchmarks/experiments.py --generators FOLDER [FOLDER ...] [--data FOLDER | --collection FOLDER] [--out FOLDER]
        [--routes NAME ...] [--judges NAME ...] [--seeds 3] [--final]

Every route fills up each species with fewer than 60 training photographs, by images of its own. The search is done on the validation photographs:
test photographs are read by --final alone, which hands the route that was best there to ``study``, once. What is known is not done again; other
settings or other code need another --out. The result, failures too, is written to docs/experiments.md. Without the photographs nothing is measured.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from fidelity import SIZE
from fish4knowledge import NOTICE, add_arguments, kept, machine, open_photographs, points
from truth import save, share

from syntype.adaptation import nearest_relative
from syntype.collection import Collection
from syntype.encoders import encode_collection, load_encoder
from syntype.generators import Generator, load_generator
from syntype.generators.contract import Blends, Varies, to_tensor, to_uint8
from syntype.generators.projected import ProjectedGAN
from syntype.run import Run
from syntype.study import StudyConfig, study
from syntype.study.arms import ARMS, COMPETITORS, CURATED
from syntype.study.materials import Materials
from syntype.study.running import Parts, run_arms
from syntype.study.statistics import mean_recall, paired_effect, species_recall

FILL_TO = 60
RARE = 100
"""Species with at most so many training photographs are the rare ones."""
STRENGTHS, AMOUNTS, CARRIED = (0.2, 0.4, 0.6, 0.8), (0.15, 0.3), (0.5, 1.0)
JUDGES = {"head": {}, "scratch": {"backbone": "scratch"}}
"""A head on frozen Lite2 features, the default; and a small network from nothing."""
SYNTHETIC = ("synthetic", CURATED)


@dataclass(frozen=True)
class Task:
    """What a route starts from.

    Attributes:
        train: the training photographs.
        labels: species of each image that is wanted, int64, shape (M,).
        rows: for each a training photograph of that species, shape (M,); every one equally often.
    """

    train: Collection
    labels: np.ndarray
    rows: np.ndarray

    @classmethod
    def of(cls, collection: Collection, known: Sequence[str]) -> Task:
        """That of filling up the species that a generator knows too."""
        train = collection.training()
        real, random = train.labels(), np.random.default_rng(0)
        counts = np.bincount(real, minlength=len(train.species))
        may = np.array([name in known for name in train.species]) & (counts > 0)
        labels = np.repeat(np.arange(len(counts)), np.where(may, np.maximum(FILL_TO - counts, 0), 0))
        rows = [np.resize(random.permutation(np.flatnonzero(real == label)), (labels == label).sum()) for label in np.unique(labels)]
        return cls(train, labels, np.concatenate(rows))

    @property
    def names(self) -> list[str]:
        """Species of each image that is wanted."""
        return [self.train.species[label] for label in self.labels]

    @cached_property
    def relatives(self) -> list[str]:
        """For each image the species nearest to its own (Lite1 features)."""
        features, real = encode_collection(load_encoder("lite1"), self.train, pixels=SIZE), self.train.labels()
        names = np.array(self.train.species)[real]
        nearest = {
            label: nearest_relative(features[real != label], names[real != label].tolist(), features[real == label].mean(0))
            for label in np.unique(self.labels)
        }
        return [nearest[label] for label in self.labels]


def drawn(generator: Generator, task: Task) -> np.ndarray:
    """The species by name."""
    return to_uint8(generator.sample(task.names, list(range(len(task.labels)))))


def varied(strength: float, generator: Generator, task: Task) -> np.ndarray:
    """From the species' own photographs."""
    pixels = task.train.pixels(SIZE)[task.rows]
    return to_uint8(generator.vary(to_tensor(pixels), task.names, list(range(len(pixels))), strength))


def lent(strength: float, generator: Generator, task: Task) -> np.ndarray:
    """From photographs of the nearest relative, drawn as the species."""
    random, real = np.random.default_rng(1), task.train.labels()
    rows = [random.choice(np.flatnonzero(real == task.train.species.index(name))) for name in task.relatives]
    return to_uint8(generator.vary(to_tensor(task.train.pixels(SIZE)[rows]), task.names, list(range(len(rows))), strength))


def blended(amount: float, generator: Generator, task: Task) -> np.ndarray:
    """So far on the way to the nearest relative."""
    seeds = [(seed, seed) for seed in range(len(task.labels))]
    others = [name if name in generator.species else own for name, own in zip(task.relatives, task.names, strict=True)]
    pairs = list(zip(task.names, others, strict=True))
    return to_uint8(generator.blend(pairs, seeds, [amount] * len(seeds), "species"))


def coded(generator: Generator, task: Task, change: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
    """Images of ``projected`` from instance codes that photographs give: ``change(codes, labels)`` of all training photographs' codes, one row
    for each image that is wanted."""
    model, labels = generator.model, task.train.labels()
    assert isinstance(model, ProjectedGAN)
    pixels = to_tensor(task.train.pixels(SIZE))
    names = [task.train.species[label] for label in labels]
    known = [row for row, name in enumerate(names) if name in generator.species]
    with torch.inference_mode():
        found = [model.codes_of(pixels[part], model.labels_of([names[row] for row in part])) for part in chunks(known)]
        codes = np.full((len(names), model.config.code_dim), np.nan, np.float32)
        codes[known] = torch.cat(found).numpy()
        wanted, images = torch.from_numpy(change(codes, labels)), []
        for part in chunks(range(len(task.labels))):
            latents, rows = model.ready([task.names[row] for row in part], list(part))
            latents[:, model.config.latent_dim :] = wanted[part]
            images.append(to_uint8(model.generator(latents, rows).clamp(-1, 1)))
    return np.concatenate(images)


def chunks(rows: Sequence[int], size: int = 64) -> list[list[int]]:
    """In parts of bounded memory."""
    return [list(rows[start : start + size]) for start in range(0, len(rows), size)]


def fused(generator: Generator, task: Task) -> np.ndarray:
    """Between two photographs of the species (what LoFGAN and F2GAN fuse in feature maps: Gu et al. 2021, Hong et al. 2020)."""
    random = np.random.default_rng(2)

    def change(codes: np.ndarray, labels: np.ndarray) -> np.ndarray:
        others = np.array([random.choice(np.flatnonzero(labels == label)) for label in task.labels])
        share = random.uniform(0.25, 0.75, (len(others), 1)).astype(np.float32)
        return (1 - share) * codes[task.rows] + share * codes[others]

    return coded(generator, task, change)


def carried(amount: float, generator: Generator, task: Task) -> np.ndarray:
    """A photograph of the species, changed as one photograph of a common species differs from another (Schwartz et al. 2018, arXiv 1806.04734)."""
    random = np.random.default_rng(3)

    def change(codes: np.ndarray, labels: np.ndarray) -> np.ndarray:
        common = [label for label, number in enumerate(np.bincount(labels)) if number > FILL_TO and not np.isnan(codes[labels == label]).any()]
        ends = np.stack([random.choice(np.flatnonzero(labels == random.choice(common)), 2, replace=False) for _ in task.labels])
        return codes[task.rows] + np.float32(amount) * (codes[ends[:, 0]] - codes[ends[:, 1]])

    return coded(generator, task, change)


def routes_of(generator: Generator) -> dict[str, Callable[[Generator, Task], np.ndarray]]:
    """The routes that a generator's abilities allow, by name."""
    found: dict[str, Callable[[Generator, Task], np.ndarray]] = {f"{generator.family}": drawn}
    if isinstance(generator.model, Blends):
        found |= {f"{generator.family}, {amount:g} towards the relative": lambda g, t, amount=amount: blended(amount, g, t) for amount in AMOUNTS}
    if isinstance(generator.model, Varies):
        for words, way in (("varied", varied), ("the relative varied", lent)):
            found |= {f"{generator.family}, {words} at {strength:g}": lambda g, t, s=strength, w=way: w(s, g, t) for strength in STRENGTHS}
    if isinstance(generator.model, ProjectedGAN):
        found[f"{generator.family}, two photographs fused"] = fused
        for share in CARRIED:
            found[f"{generator.family}, differences of common species carried over at {share:g}"] = lambda g, t, s=share: carried(s, g, t)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser, "experiments")
    parser.add_argument("--generators", type=Path, nargs="*", default=[], help="folders of trained generators")
    parser.add_argument("--routes", nargs="*", metavar="NAME", help="routes to try now (all that the generators allow)")
    parser.add_argument("--judges", nargs="*", default=list(JUDGES), choices=list(JUDGES))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--final", action="store_true", help="judge each judge's best route by a study on the test photographs")
    arguments = parser.parse_args()
    collection = open_photographs(arguments)
    if collection is None:
        return
    for folder in arguments.generators:
        generator = load_generator(folder)
        task = Task.of(collection, generator.species)
        for name, make in routes_of(generator).items():
            if not arguments.routes or name in arguments.routes:
                place = arguments.out / "routes" / name
                if not (place / "collection.json").exists():
                    save(place, make(generator, task), task.labels, task.train.species, None)
    for judge in arguments.judges:
        (arguments.out / judge).mkdir(exist_ok=True)
        for place in sorted(arguments.out.glob("routes/*")):
            kept(arguments.out / judge / f"{place.name}.json", lambda place=place, judge=judge: searched(collection, place, judge, arguments))
    found = {
        judge: {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted((arguments.out / judge).glob("*.json"))}
        for judge in JUDGES
    }
    finals = {judge: final(collection, best_of(rows), judge, arguments) for judge, rows in found.items() if rows and arguments.final}
    (arguments.docs / "experiments.md").write_text(report(collection, found, finals, arguments.seeds), encoding="utf-8")


def settings_of(place: Path, judge: str, arguments: argparse.Namespace, arms: Sequence[str]) -> StudyConfig:
    """A study of a route's images."""
    return StudyConfig.parse({"synthetic": str(place), "seeds": arguments.seeds, "arms": list(arms), "classifier": JUDGES[judge], "device": "cpu"})


def searched(collection: Collection, place: Path, judge: str, arguments: argparse.Namespace) -> dict:
    """A route on the validation photographs: recall of every arm over the rare species, and the effect against the best without a generator."""
    folder = arguments.out / "search" / judge / place.name
    for other in sorted((arguments.out / "search" / judge).glob("*")):
        if other != folder and not folder.exists():
            share(other, folder)  # the arms without a generator are the same, but for the collages' number
    config = settings_of(place, judge, arguments, (*COMPETITORS, *SYNTHETIC))
    materials = Materials(collection, config, folder, Run(None, quiet=True))
    arms, parts = [ARMS[name] for name in config.arms or ()], Parts.of(collection, config.size)
    materials.prepare(tuple(arms))
    outcomes = run_arms(materials, arms, parts, folder / "arms", Run(None, quiet=True), test=False)
    labels, groups = parts.val.split.labels, parts.val.split.groups
    rare = np.flatnonzero((materials.counts_real <= RARE) & np.isin(np.arange(len(materials.counts_real)), labels))
    hits = {name: outcome.val == labels for name, outcome in outcomes.items()}
    recall = {name: mean_recall(species_recall(right, labels, len(materials.counts_real)), rare) for name, right in hits.items()}
    rival = max(COMPETITORS, key=lambda name: recall[name] or 0.0)
    effects = {name: paired_effect(hits[name], hits[rival], labels, groups, rare, seed=0).to_json() for name in SYNTHETIC}
    judged = materials.judged(0).table["verdict"]
    return {"recall": recall, "rival": rival, "effects": effects, "accepted": float((judged.fillna("accepted") != "refused").mean())}


def best_of(rows: dict[str, dict]) -> str:
    """The route whose curated images did best."""
    return max(rows, key=lambda name: rows[name]["effects"][CURATED]["value"])


def final(collection: Collection, route: str, judge: str, arguments: argparse.Namespace) -> dict:
    """The study of a route on the test photographs, with five seeds."""
    config = settings_of(arguments.out / "routes" / route, judge, arguments, list(ARMS)).model_copy(update={"seeds": 5, "arms": None})
    return {"route": route, **study(collection, config, arguments.out / "final" / judge, Run(None, quiet=True)).summary()}


def report(collection: Collection, found: dict[str, dict[str, dict]], finals: dict[str, dict], seeds: int) -> str:
    """What was tried, as Markdown."""
    counts = np.array(list(collection.training().counts().values()))
    lines = [
        "# Which synthetic images help?",
        "",
        f"Written by `python benchmarks/experiments.py`. Machine: {machine()}. {seeds} seeds.",
        "",
        NOTICE,
        "",
        f"Each route fills up the species with fewer than {FILL_TO} training photographs. Recall in %, over the {(counts <= RARE).sum()} species "
        f"with at most {RARE} training photographs, as far as they have validation photographs; the effect is against the best way without a "
        "generator, in points, with a 95 % interval. All on the validation photographs, where routes were chosen, so that the best looks better "
        "than it is.",
    ]
    for judge, rows in found.items():
        if not rows:
            continue
        first = next(iter(rows.values()))
        without = ", ".join(f"{name} {100 * first['recall'][name]:.1f}" for name in COMPETITORS)
        lines += ["", f"## Judged by `{judge}`", "", f"Without a generator: {without}.", ""]
        lines += ["| route | all images | effect | curated | effect | accepted |", "| --- | --- | --- | --- | --- | --- |"]
        for name in sorted(rows, key=lambda name: -rows[name]["effects"][CURATED]["value"]):
            row, cells = rows[name], []
            for arm in SYNTHETIC:
                low, high = row["effects"][arm]["interval"]
                cells += [f"{100 * row['recall'][arm]:.1f}", f"{points(row['effects'][arm]['value'])} ({points(low)} to {points(high)})"]
            lines.append(f"| {name} | {' | '.join(cells)} | {row['accepted']:.0%} |")
        if judge in finals:
            one = finals[judge]
            low, high = one["interval"]
            lines += [
                "",
                f"On the test photographs, once, with 5 seeds: `{one['route']}`, “{one['verdict']}”, {points(one['effect'])} points "
                f"({points(low)} to {points(high)}) against `{one['best_without_generator']}`.",
            ]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
