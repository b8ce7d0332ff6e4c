"""Which synthetic images help a classifier with rare species? Many ways to make them, each judged against the ways that need no generator.

    python benchmarks/experiments.py --name NAME [--data FOLDER | --collection FOLDER] [--generators FOLDER ...] [--out FOLDER]
        [--routes NAME ...] [--judges NAME ...] [--seeds 2] [--final JUDGE ...]

Every route fills up each species with fewer than 60 training photographs, by images of its own. The search is done on the validation photographs:
test photographs are read by --final alone, which hands the route that was best there to ``study``, once. What is known is not done again; other
settings or other code need another --out and another --results, where what was found is kept. The page shows all of it, failures too. Without
the photographs nothing is measured.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common.fish import NOTICE, SIZE, open_photographs, photograph_options
from common.results import Page, points, publish, read_result, rewrite, stamp, table
from common.synthetic import save, share

from syntype.adaptation import nearest_relative
from syntype.collection import Collection
from syntype.collection.reef import ReefConfig, reef_config
from syntype.compute.tensors import to_tensor, to_uint8
from syntype.encoders import encode_collection, load_encoder
from syntype.files import write_json
from syntype.generators import Generator, load_generator
from syntype.generators.contract import Blends, Varies
from syntype.generators.families.collage import Collage, CollageConfig
from syntype.generators.families.pose_transfer import PoseTransfer
from syntype.generators.families.projected import ProjectedGAN
from syntype.identification import ClassifierConfig, fit, labelled
from syntype.run import Run
from syntype.study import StudyConfig, study
from syntype.study.arms import ARMS, COMPETITORS, CURATED
from syntype.study.photographs import Split
from syntype.study.running import processes_for, run_arms
from syntype.study.statistics import mean_recall, paired_effect, species_recall
from syntype.study.synthetic import find_source, prepare_synthetic

FILL_TO = 60
"""Species with fewer training photographs are the rare ones, which get images."""
STRENGTHS, AMOUNTS, CARRIED = (0.2, 0.4, 0.6, 0.8), (0.15, 0.3), (0.5, 1.0)
SCRATCH = {"backbone": "scratch", "learning_rate": 2e-3}
SHORT = {**SCRATCH, "steps": 800, "refit": "none"}
JUDGES = {
    "head": {},
    "scratch": SHORT,
    "scratch, a fifth synthetic": {**SHORT, "synthetic_share": 0.2},
    "scratch, head from photographs": {**SCRATCH, "steps": 800},
    "scratch, default steps": SCRATCH,
}
JUDGE_WORDS = {
    "head": "a head on frozen EfficientNet-Lite2 features (the default)",
    "scratch": "a small network trained from random weights, 800 steps, learning rate 0.002, head not refitted",
    "scratch, a fifth synthetic": "the same, with at most a fifth of each batch synthetic",
    "scratch, head from photographs": "a small network trained from random weights, 800 steps, head refitted on the photographs",
    "scratch, default steps": "a small network trained from random weights, default number of steps, head refitted on the photographs",
}
SURPLUS = 4
"""Images that are drawn for each that the surest are chosen from."""
MANY = 250
"""Images a species that families which learn nothing are tried with too: they have no end of them."""
MANY_WORDS = f", to {MANY} images a species"
COLLAGED = "collage, its animals cut out by lent" + MANY_WORDS
MIXTURE = "mixture of the routes"


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
    def of(cls, collection: Collection, known: Sequence[str], fill_to: int = FILL_TO) -> Task:
        """That of filling up the rare species that a generator knows too."""
        train = collection.training()
        real, random = train.labels(), np.random.default_rng(0)
        counts = np.bincount(real, minlength=len(train.species))
        may = np.array([name in known for name in train.species]) & (counts > 0)
        labels = np.repeat(np.arange(len(counts)), np.where(may & (counts < FILL_TO), fill_to - counts, 0))
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


def collaged(generator: Generator, task: Task) -> np.ndarray:
    """Collages of the animals that ``pose_transfer`` has cut out: what its outlines are worth without what else it does."""
    assert isinstance(generator.model, PoseTransfer)
    model = Collage(CollageConfig(size=SIZE), generator.species)
    model.generator = generator.model.generator
    return to_uint8(model.sample(task.names, list(range(len(task.labels)))))


def surest(generator: Generator, task: Task) -> np.ndarray:
    """Of several times as many, those that a classifier of the photographs is surest of: whose species leads by the largest margin. Its network
    is another one than that of the judges."""
    train, counts = labelled(task.train, SIZE, task.train.species), np.array(list(task.train.counts().values()))
    judge = fit(train, counts, len(counts), ClassifierConfig(backbone="lite1", device="cpu"), 0)
    kept = np.empty((len(task.labels), SIZE, SIZE, 3), np.uint8)
    for label in np.unique(task.labels):
        rows = np.flatnonzero(task.labels == label)
        images = to_uint8(generator.sample([task.train.species[label]] * SURPLUS * len(rows), list(range(SURPLUS * len(rows)))))
        logits = judge.predict_logits(images)
        margin = logits[:, label] - np.delete(logits, label, axis=1).max(axis=1)
        kept[rows] = images[np.argsort(-margin)[: len(rows)]]
    return kept


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
            latents, rows = model.generator_inputs([task.names[row] for row in part], list(part))
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
    if not generator.model.learns:
        plain = dict.fromkeys((generator.family, generator.family + MANY_WORDS), drawn)
        return {**plain, COLLAGED: collaged} if isinstance(generator.model, PoseTransfer) else plain
    found: dict[str, Callable[[Generator, Task], np.ndarray]] = {generator.family: drawn, f"{generator.family}, the surest of {SURPLUS}": surest}
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
    parser = photograph_options("experiments", __doc__)
    parser.add_argument("--name", help="of the collection, in the page")
    parser.add_argument("--generators", type=Path, nargs="*", default=[], help="folders of generators trained on the collection")
    parser.add_argument("--routes", nargs="*", metavar="NAME", help="routes to make and judge now (all that the generators allow, and what is there)")
    parser.add_argument("--judges", nargs="*", default=list(JUDGES), choices=list(JUDGES), help="search with these (%(default)s)")
    parser.add_argument("--final", nargs="*", default=[], choices=list(JUDGES), help="judge these judges' best routes on the test photographs")
    parser.add_argument("--seeds", type=int, default=2, help="of the search (%(default)s)")
    parser.add_argument("--final-seeds", type=int, default=3)
    parser.add_argument("--final-arms", nargs="*", choices=list(ARMS), help="arms of these studies (all)")
    arguments = parser.parse_args()
    if arguments.page:
        rewrite("experiments", report, arguments)
        return
    if not arguments.name:
        parser.error("--name is missing: what is the collection called?")
    collection = open_photographs(arguments)
    if collection is None:
        return
    place, path = arguments.out / arguments.name, arguments.results / "experiments.json"
    make_routes(collection, place / "routes", arguments)
    remember(path, about(collection), arguments.name, "about")
    for judge in arguments.judges:
        for route in sorted(place.glob("routes/*")):
            if not arguments.routes or route.name in arguments.routes:
                once(path, partial(searched, collection, route, judge, place, arguments.seeds), arguments.name, "routes", judge, route.name)
    for judge in arguments.final:
        routes = read(path)[arguments.name].get("routes", {})
        found = routes.get(judge) or next(iter(routes.values()), None)
        # without a search, there is one route to judge: the one that was asked for
        route = place / "routes" / (best_of(found) if found else arguments.routes[0])
        measure = partial(final, collection, route, judge, place, arguments.final_seeds, arguments.final_arms)
        once(path, measure, arguments.name, "finals", judge)
    publish("experiments", {}, read(path), report, arguments)


def read(path: Path) -> dict[str, Any]:
    """What is known: of every collection what it is, its routes and its final studies by judge."""
    return read_result(path)["figures"] if path.exists() else {}


def remember(path: Path, value: dict, *names: str) -> None:
    """Keep something under these names, beside what others have written meanwhile."""
    result = read_result(path) if path.exists() else {"name": "experiments", "settings": {}, "figures": {}}
    place = result["figures"]
    for name in names[:-1]:
        place = place.setdefault(name, {})
    place[names[-1]] = value
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, result)


def once(path: Path, measure: Callable[[], dict], *names: str) -> None:
    """Measure what is not known under these names, and keep it with its stamp."""
    place = read(path)
    for name in names:
        place = place.get(name, {})
    if not place:
        remember(path, {**measure(), "measured": stamp()}, *names)


def about(collection: Collection) -> dict:
    """What the page says of the collection."""
    counts = np.array(list(collection.training().counts().values()))
    splits = {split: len(collection.select(split=split)) for split in ("val", "test")}
    words = f"{len(collection.training())} training photographs of {len(counts)} species, {(counts < FILL_TO).sum()} of them rare; "
    words += f"{splits['val']} for validation, {splits['test']} for the test"
    reef = reef_config(collection)
    if reef is None:
        return {"words": words, "notice": NOTICE}
    usual = ReefConfig().model_dump()
    settings = [f"--set {name}={value}" for name, value in reef.model_dump().items() if value != usual[name]]
    return {"words": f"{words}. Drawn by `{' '.join(['syntype reef', *settings])}`", "notice": ""}


def make_routes(collection: Collection, place: Path, arguments: argparse.Namespace) -> None:
    """Draw the images of every route, and a mixture: each image from a route by chance."""
    for folder in arguments.generators:
        generator = load_generator(folder)
        for name, make in routes_of(generator).items():
            if (not arguments.routes or name in arguments.routes) and not (place / name / "collection.json").exists():
                print(f"drawing: {name}", flush=True)
                task = Task.of(collection, generator.species, MANY if name.endswith(MANY_WORDS) else FILL_TO)
                save(place / name, make(generator, task), task.labels, task.train.species, None)
    ready = [Collection.open(folder) for folder in sorted(place.glob("*")) if folder.name != MIXTURE]
    wanted = not arguments.routes or MIXTURE in arguments.routes
    if wanted and len(ready) > 1 and not (place / MIXTURE / "collection.json").exists():
        ready = [one for one in ready if len(one) == len(ready[0])]
        images, labels = np.stack([one.pixels(SIZE) for one in ready]), ready[0].labels()
        save(place / MIXTURE, images[np.random.default_rng(4).integers(len(ready), size=len(labels)), np.arange(len(labels))], labels,
             ready[0].species, None)  # fmt: skip


def settings_of(route: Path, judge: str, seeds: int, arms: Sequence[str] | None) -> StudyConfig:
    """A study of a route's images."""
    return StudyConfig.parse(
        {"synthetic": str(route), "seeds": seeds, "arms": arms, "classifier": JUDGES[judge], "device": "cpu", "quick": True, "size": SIZE}
    )


def searched(collection: Collection, route: Path, judge: str, place: Path, seeds: int) -> dict:
    """A route on the validation photographs: recall of every arm over the rare species, and the effect against the best without a generator."""
    folder = place / "search" / judge / route.name
    for other in sorted((place / "search" / judge).glob("*")):
        if other != folder and not folder.exists():
            as_many = Collection.open(route).counts() == Collection.open(place / "routes" / other.name).counts()
            share(other, folder, [name for name in COMPETITORS if as_many or name != "collage"])  # there are as many collages as images
    config = settings_of(route, judge, seeds, (*COMPETITORS, CURATED))
    run, arms, val = Run(None, quiet=True), [ARMS[name] for name in config.arms or ()], Split.of(collection, "val")
    synthetic = prepare_synthetic(collection, find_source(collection, config), config, folder, run, with_collage=True)
    outcomes = run_arms(collection, synthetic, arms, config, folder, run, splits=("val",))
    labels, groups, width = val.labels, val.groups, len(collection.species)
    rare, others = np.flatnonzero(synthetic.num_planned), np.flatnonzero(synthetic.num_planned == 0)
    hits = {name: outcome.val == labels for name, outcome in outcomes.items()}
    recall = {name: [mean_recall(species_recall(right, labels, width), some) for some in (rare, others)] for name, right in hits.items()}
    rival = max(COMPETITORS, key=lambda name: recall[name][0] or 0.0)
    effect = paired_effect(hits[CURATED], hits[rival], labels, groups, rare, seed=0)
    judged = synthetic.curated[0].table["verdict"]
    print(f"{judge}: {route.name}: {points(effect.value)} against {rival}", flush=True)
    accepted = float((judged.fillna("accepted") != "refused").mean())
    return {"seeds": seeds, "images": len(judged), "accepted": accepted, "recall": recall, "rival": rival, "effect": effect.to_json()}


def best_of(rows: dict[str, dict]) -> str:
    """The route whose images did best."""
    return max(rows, key=lambda name: rows[name]["effect"]["value"])


def final(collection: Collection, route: Path, judge: str, place: Path, seeds: int, arms: Sequence[str] | None) -> dict:
    """The study of a route on the test photographs."""
    config = settings_of(route, judge, seeds, arms).model_copy(update={"processes": processes_for("cpu")})
    found = study(collection, config, place / "final" / judge, Run(None, quiet=True)).results
    return {"route": route.name, "seeds": seeds, **{key: found[key] for key in ("verdict", "competitor", "effects", "arms")}}


def report(settings: dict[str, Any], figures: dict[str, Any]) -> Page:
    """The page."""
    body = [
        "A route is a way to make synthetic images; `pose_transfer` was called `lent` when most of this was measured. Recall in %, mean over "
        "species and seeds, of the rare and of the other species. Effect: recall of the rare species with the curated images, minus recall with the "
        "best arm without a generator, in points, with a 95 % interval.",
        "",
        "The tables of routes are of the validation photographs, on which routes were chosen: the best of them looks better than it is. The test "
        "photographs were read for one route, once for each classifier.",
    ]
    headline = []
    for name, here in sorted(figures.items()):
        body += ["", f"## {name}", "", f"{here['about']['words']}. {here['about']['notice']}".rstrip()]
        for judge in JUDGES:
            found, last = here.get("routes", {}).get(judge, {}), here.get("finals", {}).get(judge)
            if found or last:
                body += ["", f"### {name}, classifier `{judge}`", "", f"{JUDGE_WORDS[judge][0].upper()}{JUDGE_WORDS[judge][1:]}."]
            if found:
                body += ["", *route_lines(found)]
            if last:
                body += ["", f"#### {name}, classifier `{judge}`, on the test photographs", "", *final_lines(last)]
                headline.append(
                    (f"{name}, `{judge}`: {renamed(last['route'])} against {last['competitor']['name']}", between(last["effects"]["primary"]))
                )
    words = [here["finals"][judge]["verdict"]["word"] for here in figures.values() for judge in here.get("finals", {})]
    said = ", ".join(f"“{word}” in {words.count(word)}" for word in dict.fromkeys(words))
    return Page(
        title="Which synthetic images help?",
        question="Which way to make synthetic images of rare species raises the recall of these species most, compared with what needs no generator?",
        answer=f"Of {len(words)} studies on test photographs the verdict was {said}."
        if words
        else "No route has been judged on test photographs yet.",
        headline=headline,
        body=body,
        method=[
            f"{SIZE} px. Each route fills up the species with fewer than {FILL_TO} training photographs, the rare ones, with images of its own, "
            f"which are then curated automatically. Every figure: `benchmarks/results/experiments.json`."
        ],
    )


def renamed(route: str) -> str:
    """A route's name with the present name of the family that it was made by."""
    return re.sub(r"\blent\b", "pose_transfer", route)


def route_lines(found: dict[str, dict]) -> list[str]:
    """The routes of a classifier on the validation photographs, the best first."""
    first = next(iter(found.values()))
    without = ", ".join(f"`{arm}` {cells(first['recall'][arm])}" for arm in COMPETITORS)
    rows = []
    for route in sorted(found, key=lambda route: -found[route]["effect"]["value"]):
        row = found[route]
        rival = f"`{row['rival']}` {cells(row['recall'][row['rival']])}"
        made = [str(row["images"]), f"{row['accepted']:.0%}"]
        rows.append([renamed(route), *made, cells(row["recall"][CURATED]), rival, between(row["effect"])])
    return [
        f"{first['seeds']} seeds. Recall without a generator, rare / other species: {without}.",
        "",
        *table(["route", "images", "accepted", "rare / other species", "best without", "effect"], rows),
    ]


def final_lines(one: dict) -> list[str]:
    """The study of the best route: its verdict and all arms."""
    primary, others = one["effects"]["primary"], one["effects"]["others"]
    lines = [
        f"Route: {renamed(one['route'])}; {one['seeds']} seeds. Verdict: **{one['verdict']['word']}**.",
        "",
        f"- Effect on the rare species: {between(primary)} points against `{one['competitor']['name']}`, the best arm without a generator, which "
        f"was chosen on the validation photographs. Minimum detectable effect: about {100 * primary['half_width']:.1f} points, with "
        f"{primary['num_images']} test photographs of {primary['num_groups']} individuals or tracks of {primary['num_species']} rare species.",
    ]
    if others:
        lines.append(f"- Effect on the {others['num_species']} other species: {between(others)} points.")
    rows = []
    for name, arm in one["arms"].items():
        figures = [arm[key] for key in ("recall_rare", "recall_others", "accuracy")]
        shown = ["–" if figure is None else f"{100 * figure:.1f}" for figure in figures]
        rows.append([name, *shown, between(one["effects"]["against"].get(name))])
    bins = [[name, str(effect["num_species"]), between(effect)] for name, effect in one["effects"]["bins"].items() if effect]
    lines += [
        "",
        f"Last column: recall of the rare species with `{CURATED}` minus recall with the arm; these intervals hold jointly in 95 % of studies.",
        "",
    ]
    lines += [*table(["arm", "rare species", "other species", "accuracy", "difference"], rows), ""]
    return [*lines, *table(["training photographs", "species", "effect"], bins)]


def cells(recalls: Sequence[float | None]) -> str:
    """Recalls side by side."""
    return " / ".join("–" if recall is None else f"{100 * recall:.1f}" for recall in recalls)


def between(effect: dict | None) -> str:
    """An effect and its interval."""
    return "–" if effect is None else f"{points(effect['value'])} ({points(effect['interval'][0])} to {points(effect['interval'][1])})"


if __name__ == "__main__":
    main()
