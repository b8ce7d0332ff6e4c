"""Images compared with test photographs by a referee, whatever drew them; and classifiers that judge generators without having trained them."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Container, Sequence
from pathlib import Path

import numpy as np

from common.fish import NEW, SHOWN, SIZE, save_grid
from common.timing import syntype
from syntype.collection import Collection
from syntype.compute.tensors import to_uint8
from syntype.curation.curate import copy_detector
from syntype.encoders import encode_collection, load_encoder
from syntype.generators import Generator, load_generator
from syntype.identification import Classifier, load_classifier
from syntype.run import Run
from syntype.study.distances import density_coverage, kid, precision_recall, vendi_ratio
from syntype.study.fidelity import EvaluateConfig

__all__ = [
    "NEIGHBOURS",
    "WHAT",
    "Referee",
    "ask_rows",
    "asked_of",
    "best_of",
    "cell",
    "fitted_to",
    "outsider",
    "picture",
    "refuse_partner",
    "standard_error",
    "trained",
    "untrained",
]

NEIGHBOURS, FOLDS = 5, 20
WHAT = {"real": "training photographs", "copies": "training photographs as `copies` gives them", "noise": "random pixels"}
TUNED = ("--set", "size=64", "--set", "tune=all", "--set", "encoder_size=96", "--set", "batch_size=32", "--steps", "600")
"""Options that fit a whole backbone: a head alone names too many photographs wrongly to be a judge of what lies between species."""


def ask_rows(parser: argparse.ArgumentParser, rows: Sequence[str], minutes: float) -> tuple[argparse.Namespace, list[str]]:
    """What was asked for on the command line, --minutes and --rows included, and the rows to measure now."""
    parser.add_argument("--minutes", type=float, default=minutes, help="training time of each trained row")
    parser.add_argument("--rows", default=",".join(rows), help="rows to measure now, if they are not known (all: %(default)s)")
    arguments = parser.parse_args()
    wanted = arguments.rows.split(",")
    if unknown := set(wanted) - set(rows):
        parser.error(f"unknown rows: {', '.join(sorted(unknown))}. There are {', '.join(rows)}.")
    return arguments, wanted


class Referee:
    """Compares images with the test photographs of a collection."""

    def __init__(self, collection: Collection) -> None:
        self.collection, self.training, self.test = collection, collection.training(), collection.select(split="test")
        self.species = self.test.table["species"].to_numpy(dtype=object)
        self.groups = self.test.table["group"].to_numpy(dtype=object)
        self.seeds = self.test.table.groupby("species").cumcount().tolist()  # no two images of a species have the same one
        self.encoder = load_encoder("lite0")
        self.features = encode_collection(self.encoder, self.test, pixels=SIZE)

    def judge(self, images: np.ndarray, *, with_species: bool = True) -> dict:
        """Figures of images, uint8, shape (N, 64, 64, 3), N the number of test photographs.

        Args:
            with_species: image i shows the species of test photograph i.
        """
        real, fake = self.features, self.encoder.encode(images)
        k = min(NEIGHBOURS, len(real) - 1)
        precision, recall = precision_recall(real, fake, k)
        density, coverage = density_coverage(real, fake, k)
        detector = copy_detector(self.training, SIZE, EvaluateConfig().copy_quantile, 0, Run.silent())  # calibrated once
        return {
            "kid": kid(real, fake),
            "kid_error": kid_error(real, self.groups, fake),
            "precision": precision,
            "recall": recall,
            "density": density,
            "coverage": coverage,
            "vendi_ratio": vendi_ratio(real, self.species, fake, self.species) if with_species else None,
            "copy_rate": float(detector.nearest(images).is_copy.mean()),
        }


def kid_error(real: np.ndarray, groups: np.ndarray, fake: np.ndarray) -> float:
    """Standard error of ``kid``. How much the training itself varies from seed to seed is not in it."""
    return standard_error(lambda photographs, images: kid(real[photographs], fake[images]), groups, len(fake))


def standard_error(figure: Callable[[np.ndarray, np.ndarray], float], groups: np.ndarray, number: int) -> float:
    """Standard error by the jackknife over ``FOLDS`` parts of either side (Efron & Tibshirani 1993, equation 11.5).

    Photographs of one group (video track) fall into one part, as they are not independent.

    Args:
        figure: of the photographs and the images that two masks choose.
        groups: of the photographs.
        number: of images.
    """
    _, tracks = np.unique(groups.astype(str), return_inverse=True)
    photographs, images = np.ones(len(groups), dtype=bool), np.ones(number, dtype=bool)
    variance = 0.0
    for units, without in (
        (tracks, lambda left_out: figure(~left_out, images)),
        (np.arange(number), lambda left_out: figure(photographs, ~left_out)),
    ):
        count = units.max() + 1
        folds = min(FOLDS, count)
        fold = np.random.default_rng(0).permutation(count)[units] % folds
        variance += (folds - 1) * np.var([without(fold == part) for part in range(folds)])
    return float(np.sqrt(variance))


def asked_of(generator: Generator, referee: Referee) -> tuple[list[str], list[int]]:
    """Species and seed of an image for each test photograph."""
    # without species, equal seeds would be equal images
    return referee.species.tolist(), referee.seeds if generator.model.is_conditional else list(range(len(referee.test)))


def untrained(row: str, referee: Referee, place: Path) -> tuple[np.ndarray, dict]:
    """The images of what needs no training, in the order of the test photographs, and their figures: ``real``, ``noise``, or a family."""
    number = len(referee.test)
    if row == "real":
        images = referee.training.pixels(SIZE)[drawn_like(referee.species, referee.training)]
    elif row == "noise":
        images = np.random.default_rng(0).integers(0, 256, (number, SIZE, SIZE, 3), dtype=np.uint8)
    else:
        images, _ = trained(row, referee, place, [])
    return images, referee.judge(images)


def trained(row: str, referee: Referee, place: Path, options: list[object]) -> tuple[np.ndarray, dict]:
    """The images of a family that is trained now, or was before, and the command's result."""
    leaving = ["--except", NEW] if NEW in referee.collection.species else []
    result = syntype(["train", row, referee.collection.root, *leaving, "--size", SIZE, *options, "--out", place / row])
    return to_uint8(load_generator(place / row).sample(referee.species.tolist(), referee.seeds)), result


def drawn_like(species: np.ndarray, collection: Collection) -> np.ndarray:
    """Rows of a collection, one of each species given, none twice as long as there are enough."""
    names, rows = collection.table["species"].to_numpy(dtype=object), np.empty(len(species), dtype=np.int64)
    for number, name in enumerate(np.unique(species)):
        places, found = np.flatnonzero(species == name), np.flatnonzero(names == name)
        rows[places] = np.resize(np.random.default_rng([0, number]).permutation(found), len(places))
    return rows


def best_of(drawn: dict[str, np.ndarray], referee: Referee) -> tuple[np.ndarray, dict]:
    """A peer's images and figures, by its weights or by their average, whichever have the lower KID."""
    judged = {name: referee.judge(images, with_species=False) for name, images in drawn.items()}
    best = min(judged, key=lambda name: judged[name]["kid"])
    return drawn[best], {**judged[best], "drawn_by": best, "kid_of_both": {name: figures["kid"] for name, figures in judged.items()}}


def picture(rows: list[str], images: dict[str, np.ndarray], species: np.ndarray, path: Path, nameless: Container[str]) -> None:
    """Two lines of images a contestant, its first: a species a column, but for those that know none (``nameless``). No photographs."""
    columns = [name for name in SHOWN if (species == name).sum() >= 2] or list(np.unique(species))[:12]
    shown = []
    for row in rows:
        if row in nameless:
            shown += list(images[row][: 2 * len(columns)])
        else:
            shown += [images[row][np.flatnonzero(species == name)[line]] for line in range(2) for name in columns]
    save_grid(shown, len(columns), path, f"Synthetic images, two lines a contestant: {', '.join(rows)}; not occurrence evidence.")


def cell(result: dict, key: str) -> str:
    value = result.get(key)
    if value is None:
        return "–"
    if key == "kid":
        return f"{value:.3f} ± {result['kid_error']:.3f}"
    if key == "copy_rate":
        return f"{value:.1%}"
    if key in ("steps", "num_parameters"):
        return f"{value:,}"
    return f"{value:.1f}" if key in ("images_per_second", "minutes") else f"{value:.2f}"


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
