"""What does each step of copy-paste contribute: how many images are accepted, and how many show the right species?

    python benchmarks/pasting.py [--butterflies FOLDER] [--data FOLDER] [--rows "all steps" ...] [--out FOLDER]

Generator family `pose_transfer` at 128 px, with all steps and with one of them taken away. Photographs: 60 species of butterflies and moths, 40 of
them with six training photographs; images of these 40 are judged by the filters of `curate`, fitted to the training photographs. Drawn reef: images
of the rarest species are judged by a classifier that was fitted to many drawings of the true distribution. Segmentation runs once for
each of the two. Row `quantiles`: the butterflies with all steps, and wrong images of several kinds, judged by stricter and laxer filters.
Writes the result and the page ``pasting``. Where the butterflies are not, nothing is measured. No image is kept.
"""

from __future__ import annotations

import argparse
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import cv2
import numpy as np
import torch
from common.butterflies import BUTTERFLIES, without_test
from common.fish import DATA, open_photographs
from common.results import Page, kept, met, options, publish, rate, read_result, rewrite, table
from common.timing import syntype
from sklearn.linear_model import LogisticRegression

from syntype.collection import Collection
from syntype.collection.reef import ReefConfig, draw_images
from syntype.compute.runtime import Runtime
from syntype.compute.tensors import to_uint8
from syntype.curation.curate import copy_detector, group_names
from syntype.curation.filters import SpeciesMargin, Typicality
from syntype.encoders import encode_collection, load_encoder
from syntype.generators.copy_paste import emptying, light, pasting
from syntype.generators.copy_paste.segmentation import Outlines, segment
from syntype.generators.engine.batches import training_data
from syntype.generators.families import pose_transfer
from syntype.generators.families.pose_transfer import PoseTransfer, PoseTransferConfig
from syntype.run import Run
from syntype.synthesis.generate import image_seed

SIZE = 128
NUM_EACH = 6
"""Images of each rare species."""
RARE = 10
"""Species with at most so many training photographs are rare."""
NUM_TRUE = 40
"""Drawings of each species of the reef to which the judge is fitted."""
REEF = ReefConfig(size=SIZE, max_images=60)
ALL, COLOURS, PLAIN = "all steps", "outlines from the colours of single photographs", "none of these steps"
PHOTOGRAPHS = "photographs of these species, for comparison"
OF_SPECIES, OF_DISTRIBUTION = (0.1, 0.05, 0.03), (0.05, 0.025, 0.01)
"""Quantiles of the filters: shares of real photographs that they may refuse. The first of each are the defaults."""
PASTED, UNSEEN = "pasted butterflies", "photographs of the split val"
NUM_OTHERS = 5
"""Other species under whose names an image is judged."""
ENOUGH, MORE = 0.9, 0.02
"""Laxer filters are taken if so many pasted butterflies pass them, and of no kind of wrong images more than so many more."""


def unsegmented(known: Outlines) -> Callable[[Any, np.ndarray, torch.device], Outlines]:
    """In place of ``PoseTransfer.segment_animals``: what it found before."""
    return lambda model, images, device: known


def good_anyway(images: np.ndarray, cleared: torch.Tensor, labels: np.ndarray, device: torch.device) -> np.ndarray:
    return np.ones(len(images), bool)


def only_smooth(image: np.ndarray, cleared: np.ndarray) -> np.ndarray:
    """In place of ``empty_place``: the interpolation alone."""
    with patch.object(emptying, "_TEXTURE", 1e-3):  # structures smaller than an eighth of a pixel: there are none
        return emptying.empty_place(image, cleared)


def photographed(image: np.ndarray, alpha: np.ndarray, radii: tuple[int, int]) -> np.ndarray:
    """In place of ``foreground_colours``: the photograph's colours, mixed with the old background along the edge."""
    return image


@dataclass(frozen=True)
class Way:
    """What is changed for a row: functions of modules, and settings."""

    patches: tuple[tuple[Any, str, Any], ...] = ()
    settings: tuple[tuple[str, Any], ...] = ()


PLACES, ONE = ((pose_transfer, "emptied_well", good_anyway),), (("num_places", 1),)
SMOOTH, EDGE = ((pasting, "empty_place", only_smooth),), ((pasting, "foreground_colours", photographed),)
UNBOUNDED = ((light, "_LARGEST_SHIFT", np.float32([100, 100, 100])), (light, "_LARGEST_RATIO", 4.0))
WAYS = {
    ALL: Way(),
    "no check of what is left in a place": Way(PLACES),
    "any donor, not the best-fitting of eight": Way(settings=ONE),
    "holes filled smoothly, without texture": Way(SMOOTH),
    "the photograph's colours at the animal's edge": Way(EDGE),
    "no adjustment to the light": Way(settings=(("harmonisation", 0.0),)),
    "full adjustment to the light, unbounded": Way(UNBOUNDED, (("harmonisation", 1.0),)),
    COLOURS: Way(),
    PLAIN: Way((*PLACES, *SMOOTH, *EDGE, *UNBOUNDED), (*ONE, ("harmonisation", 1.0))),
}


def main() -> None:
    parser = options("pasting", __doc__)
    parser.add_argument("--butterflies", type=Path, default=BUTTERFLIES, help="folder of the butterfly photographs (images.csv)")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the Fish4Knowledge photographs, which are wrong images here")
    rows = [*WAYS, "quantiles"]
    parser.add_argument("--rows", nargs="+", choices=rows, default=rows, help="rows to measure now; the others are those of the last result (all)")
    arguments = parser.parse_args()
    if arguments.page:
        rewrite("pasting", report, arguments)
        return
    if not (arguments.butterflies / "images.csv").is_file():
        print(f"{arguments.butterflies} has no images.csv: nothing measured. Give --butterflies or set SYNTYPE_BUTTERFLIES.", file=sys.stderr)
        return
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    arguments.out.mkdir(parents=True, exist_ok=True)
    last = arguments.results / "pasting.json"
    figures: dict[str, Any] = read_result(last)["figures"] if last.is_file() else {}
    for subject, judge in ((Butterflies, "butterflies"), (Reef, "reef")):
        ways = [name for name in WAYS if name in arguments.rows]
        one = subject(arguments) if ways or (judge == "butterflies" and "quantiles" in arguments.rows) else None
        for name in ways:
            file = arguments.out / judge / f"{'-'.join(name.replace(',', '').split())}.json"
            figures.setdefault(judge, {})[name] = kept(file, lambda one=one, name=name: one.measure(name, WAYS[name]))
            print(judge, name, figures[judge][name], flush=True)
        if judge == "butterflies" and ways:
            figures["photographs"] = kept(arguments.out / judge / "photographs.json", one.photographs)
        if judge == "butterflies" and "quantiles" in arguments.rows:
            figures["quantiles"] = kept(arguments.out / judge / "quantiles.json", lambda one=one: one.quantiles(arguments))
    publish("pasting", {"num_each": NUM_EACH}, figures, report, arguments)


class Subject(ABC):
    """A collection, its outlines, and how its images are judged."""

    def __init__(self, collection: Collection, name: str, out: Path) -> None:
        self.collection, self.training = collection, collection.training()
        self.data = training_data(self.training, SIZE)
        counts = self.data.counts
        rare = [species for species, count in zip(self.data.species, counts, strict=True) if count <= RARE]
        self.asked = [(species, image_seed(0, species, index)) for species in rare for index in range(NUM_EACH)]
        self._file = out / f"{name}.npz"
        self.encoder = load_encoder("lite2")

    def outlines(self, name: str) -> Outlines:
        """Outlines of all photographs, found now or by an earlier call."""
        if name == COLOURS:
            return segment(self.data.images)
        if not self._file.exists():
            began = time.process_time()
            found = PoseTransfer(PoseTransferConfig(size=SIZE), self.data.species).segment_animals(self.data.images, torch.device("cpu"))
            seconds = time.process_time() - began
            np.savez(self._file, masks=found.masks.numpy(), cleared=found.cleared.numpy(), seconds=seconds)
        saved = np.load(self._file)
        return Outlines(torch.from_numpy(saved["masks"]), torch.from_numpy(saved["cleared"]))

    def measure(self, name: str, way: Way) -> dict[str, Any]:
        """Figures of the images of a way."""
        images, labels, seconds = self.pasted(name, way)
        return {"num_images": len(images), "seconds": seconds, **self.judge(images, labels)}

    def pasted(self, name: str, way: Way) -> tuple[np.ndarray, np.ndarray, float]:
        """The images of a way, their labels, and the seconds that one takes."""
        with changed(way), patch.object(PoseTransfer, "segment_animals", unsegmented(self.outlines(name))):
            model = PoseTransfer(PoseTransferConfig(size=SIZE, **dict(way.settings)), self.data.species)
            model.prepare(self.data, Runtime("cpu"))
            model.sample(*zip(*self.asked[:2], strict=True))
            began = time.process_time()
            images = to_uint8(model.sample(*zip(*self.asked, strict=True)))
            seconds = (time.process_time() - began) / len(images)
        labels = np.array([self.collection.species.index(species) for species, _ in self.asked])
        return images, labels, seconds

    @abstractmethod
    def judge(self, images: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
        """The figures of images with these labels."""


class Butterflies(Subject):
    """Photographs. Images are judged by the filters of ``curate`` with their defaults."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        super().__init__(without_test(arguments.butterflies, arguments.out / "collection"), "butterflies", arguments.out)
        self._known = encode_collection(self.encoder, self.training, pixels=SIZE), self.training.labels(), group_names(self.training)
        self._species, self._typical = SpeciesMargin(*self._known), Typicality(*self._known)
        self._copies = copy_detector(self.training, SIZE, 0.015, 0, Run.silent())

    def photographs(self) -> dict[str, Any]:
        """Shares of photographs of the rare species that neither the filters nor the generator have seen (split ``val``)."""
        unseen = self.collection.select(split="val", species=sorted({species for species, _ in self.asked}))
        return {"num_images": len(unseen), **self.judge(unseen.pixels(SIZE), unseen.labels())}

    def judge(self, images: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
        """Shares of images by the first objection, as in ``curate``."""
        features = self.encoder.encode(images)
        copy = self._copies.nearest(images).is_copy
        species, typical = ~self._species.accepts(features, labels), ~self._typical.accepts(features, labels)
        return {
            "accepted": float((~copy & ~species & ~typical).mean()),
            "copy": float(copy.mean()),
            "species": float((~copy & species).mean()),
            "distribution": float((~copy & ~species & typical).mean()),
        }

    def quantiles(self, arguments: argparse.Namespace) -> dict[str, Any]:
        """Shares of right and of wrong images that pass filters of several quantiles; copies are not asked for."""
        kinds = {name: (self.encoder.encode(images), labels) for name, (images, labels) in self._right_and_wrong(arguments).items()}
        rare, random = np.unique(kinds[PASTED][1]), np.random.default_rng(0xF11)
        for name in (PASTED, UNSEEN):
            features, labels = kinds[name]
            others = np.stack([random.permutation(rare[rare != label])[:NUM_OTHERS] for label in labels]).ravel()
            kinds[f"{name}, under the name of another rare species"] = np.repeat(features, NUM_OTHERS, axis=0), others
        features, labels = kinds[UNSEEN]
        kinds[f"{UNSEEN}, under the name of the species that it resembles most"] = features, self._species.rivals(features, labels)
        rows = []
        for of_species in OF_SPECIES:
            species = SpeciesMargin(*self._known, quantile=of_species)
            fits = {name: species.accepts(*one) for name, one in kinds.items()}
            for of_distribution in OF_DISTRIBUTION:
                typical = Typicality(*self._known, quantile=of_distribution)
                passed = {name: float((fits[name] & typical.accepts(*one)).mean()) for name, one in kinds.items()}
                rows.append({"species": of_species, "distribution": of_distribution, "passed": passed})
        return {"num": {name: len(labels) for name, (_, labels) in kinds.items()}, "rows": rows}

    def _right_and_wrong(self, arguments: argparse.Namespace) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Images of several kinds, uint8, and the labels under which they are judged."""
        names, random = sorted({species for species, _ in self.asked}), np.random.default_rng(0xBAD)
        pasted, labels, _ = self.pasted(ALL, WAYS[ALL])
        unseen = self.collection.select(split="val", species=names)
        photographs, own = unseen.pixels(SIZE), unseen.labels()
        noisy = np.clip(photographs + random.normal(scale=80, size=photographs.shape), 0, 255).astype(np.uint8)
        rows = np.flatnonzero(np.isin(self.training.labels(), own))
        outlines, seen = self.outlines(ALL), self.training.pixels(SIZE)
        empty = np.stack([emptying.empty_place(seen[row].astype(np.float32) / 255, outlines.cleared[row].numpy().astype(bool)) for row in rows])
        fish = fish_photographs(arguments)
        kinds = {
            PASTED: (pasted, labels),
            UNSEEN: (photographs, own),
            "photographs, blurred by 6 px": (np.stack([cv2.GaussianBlur(one, (0, 0), 6) for one in photographs]), own),
            "photographs under strong noise": (noisy, own),
            "backgrounds without the animal": ((255 * empty).round().astype(np.uint8), self.training.labels()[rows]),
            "photographs of fish": (fish[random.permutation(len(fish))[: len(labels)]], labels),
            "drawn fish": (draw_images(REEF, np.arange(len(labels)) % REEF.num_species, np.arange(len(labels))), labels),
        }
        return kinds


def fish_photographs(arguments: argparse.Namespace) -> np.ndarray:
    """Training photographs of Fish4Knowledge, as squares."""
    return open_photographs(argparse.Namespace(data=arguments.data, collection=None, out=arguments.out / "fish")).training().pixels(SIZE)


class Reef(Subject):
    """Drawings. Images are judged by a classifier that was fitted to drawings of the true distribution."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        folder = arguments.out / "reef-collection"
        if not (folder / "collection.json").exists():
            sizes = ["--set", f"size={SIZE}", "--set", f"max_images={REEF.max_images}"]
            syntype(["reef", "--out", folder, *sizes])
        super().__init__(Collection.open(folder), "reef", arguments.out)
        labels = np.repeat(np.arange(REEF.num_species), NUM_TRUE)
        features = self.encoder.encode(draw_images(REEF, labels, np.arange(len(labels)) % NUM_TRUE))
        self._mean, self._scale = features.mean(0), features.std(0) + 1e-3
        self._judge = LogisticRegression(C=1e-3, max_iter=2000, tol=1e-3).fit((features - self._mean) / self._scale, labels)

    def judge(self, images: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
        """Share of images in which the judge sees the species asked for."""
        seen = self._judge.predict((self.encoder.encode(images) - self._mean) / self._scale)
        return {"right": float((seen == labels).mean())}


@contextmanager
def changed(way: Way) -> Iterator[None]:
    with ExitStack() as stack:
        for where, name, value in way.patches:
            stack.enter_context(patch.object(where, name, value))
        yield


def report(settings: dict[str, Any], figures: dict[str, Any]) -> Page:
    """The page."""
    butterflies, reef, photographs = figures["butterflies"], figures["reef"], figures["photographs"]
    shares = ("accepted", "species", "distribution", "copy")
    rows = [
        [
            name,
            *(f"{100 * one[key]:.0f} %" for key in shares),
            f"{100 * reef[name]['right']:.0f} %" if name in reef else "–",
            f"{1000 * one['seconds']:.0f}",
        ]
        for name, one in butterflies.items()
    ]
    rows.append([PHOTOGRAPHS, *(f"{100 * photographs[key]:.0f} %" for key in shares), "–", "–"])
    best, plain = butterflies[ALL], butterflies.get(PLAIN)
    error = 100 * (best["accepted"] * (1 - best["accepted"]) / best["num_images"]) ** 0.5
    heads = ["images", "accepted", "refused: another species", "refused: unlike photographs", "refused: copies", "right species, reef", "ms an image"]
    before = f", against {100 * plain['accepted']:.0f} % without these steps" if plain else ""
    return Page(
        title="Copy-paste, step by step",
        question="What does each step of copy-paste contribute to images of rare species at 128 pixels?",
        answer=f"With all steps, {100 * best['accepted']:.0f} % of pasted butterflies are accepted{before}. "
        f"Of photographs of the same species that neither the generator nor the filters have seen, {100 * photographs['accepted']:.0f} % are.",
        headline=[
            ("accepted butterflies, all steps", f"{100 * best['accepted']:.0f} %"),
            ("accepted photographs of the same species", f"{100 * photographs['accepted']:.0f} %"),
        ],
        body=[
            f"Each row but the first changes one thing. Accepted, refused: {best['num_images']} images of 40 species of butterflies and moths with "
            f"six training photographs each, by the filters of `curate`; the standard error is about {error:.0f} points. Right species, reef: share "
            "of the images of rare species of the drawn reef in which a classifier fitted to many drawings of the true distribution sees the "
            "species asked for. Time: one processor core, without segmentation.",
            "",
            *table(heads, rows),
            "",
            "The filters are set to refuse about a tenth of a species' own photographs for the species, and a twentieth for the distribution. "
            f"Of photographs that were not seen (last row, {photographs['num_images']} photographs) {100 * photographs['accepted']:.0f} % pass. "
            "Images that show the animals of the training photographs are more like these, so more of them pass.",
            "",
            f"- Aim: {ENOUGH:.0%} of the pasted butterflies are accepted: {met(best['accepted'], ENOUGH, '.1%')} "
            f"{rate(round(best['accepted'] * best['num_images']), best['num_images'])} are.",
            *(of_quantiles(figures["quantiles"]) if "quantiles" in figures else []),
        ],
        method=[
            f"`pose_transfer` at {SIZE} px, {settings['num_each']} images a species. Butterflies: images are made from the split `train`, to which "
            "the filters are fitted, and photographs of `val` are judged too; the photographs are not part of this repository. Reef: "
            f"{REEF.num_species} species, rare with at most {RARE} training images; fitted to {NUM_TRUE} drawings of each species. `none of these "
            "steps` keeps the outlines and changes all other things at once."
        ],
    )


def of_quantiles(found: dict[str, Any]) -> list[str]:
    """Lines on stricter and laxer filters."""
    first, rows = found["rows"][0]["passed"], found["rows"]
    right = (PASTED, UNSEEN)
    rise = [max(one["passed"][name] - first[name] for name in first if name not in right) for one in rows]
    good = [one for one, more in zip(rows, rise, strict=True) if one["passed"][PASTED] >= ENOUGH and more <= MORE]
    pairs = [f"{one['species']} / {one['distribution']}" for one in rows]
    lines = [
        "",
        "## Laxer filters",
        "",
        "`margin_quantile` and `distribution_quantile` are the shares of real photographs that the filters may refuse for the species and for the "
        "distribution. Each column is a pair of them; the first pair are the defaults. Rows: share of images that pass both; copies are not looked "
        f"for. The rule, fixed before the run: a laxer pair becomes the default if {ENOUGH:.0%} of the pasted butterflies pass, and of no kind of "
        f"wrong images more than {100 * MORE:.0f} points more than now. Only the splits train and val are used.",
        "",
        *table(
            ["images", "number", *pairs],
            [[name, str(found["num"][name]), *(f"{one['passed'][name]:.1%}" for one in rows)] for name in first]
            + [["*largest rise of wrong images, points*", "", *(f"{100 * more:.1f}" for more in rise)]],
        ),
        "",
    ]
    if good:
        return [*lines, f"Pairs that keep the rule: {', '.join(pairs[rows.index(one)] for one in good)}."]
    return [*lines, "No pair keeps the rule, so the defaults stay as they are."]


if __name__ == "__main__":
    main()
