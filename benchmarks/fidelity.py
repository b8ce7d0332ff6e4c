"""How like photographs, and how varied, is what each generator draws after the same time on the same photographs? At 64 px.

    python benchmarks/fidelity.py [--data FOLDER | --collection FOLDER] [--out FOLDER] [--minutes 45] [--rows real,noise,...]

Every contestant draws as many images as there are test photographs, of the same species (``lightweight-gan`` knows no species and is
judged on the mixture), and is compared with them by the referee. The trained ones see the same photographs for the same time: the training
split without the one species that fish4knowledge.py leaves for adaptation. A row that is known is not measured again, so that the command may
be given in pieces (``--rows``) or go on where it was stopped; after a change of the code, give a new --out. All trained rows must have the
same number of threads; with one each (OMP_NUM_THREADS=1), as many may be trained side by side as there are cores. The page
docs/benchmarks/fidelity.md and the picture docs/images/fidelity.png are written from all rows that are known. Without the photographs nothing
is measured.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Container, Sequence
from pathlib import Path

import numpy as np
import torch
from fish4knowledge import NEW, NOTICE, SHOWN, add_arguments, machine, open_photographs, save_grid, syntype, write_page
from peer_lightweight_gan import SMALL, VERSION, Peer, save_photographs
from peer_process import train_for

from syntype.collection import Collection
from syntype.compute.tensors import to_uint8
from syntype.curation.curate import copy_detector
from syntype.encoders import encode_collection, load_encoder
from syntype.generators import load_generator
from syntype.run import Run, write_json
from syntype.study.fidelity import EvaluateConfig, density_coverage, kid, precision_recall, vendi_ratio

SIZE, NEIGHBOURS, FOLDS = 64, 5, 20
PEERS = {"lightweight-gan": 512, "lightweight-gan-small": SMALL}
"""Its most channels of a feature map: its default, and fewer."""
TRAINED = ("fastgan", "projected", *PEERS)
ROWS = ("real", "copies", "collage", *TRAINED, "noise")
WHAT = {"real": "training photographs", "copies": "training photographs as `copies` gives them", "noise": "every pixel drawn evenly from all colours"}
COLUMNS = {
    "kid": "KID",
    "precision": "precision",
    "recall": "recall",
    "density": "density",
    "coverage": "coverage",
    "vendi_ratio": "Vendi ratio",
    "copy_rate": "copies",
    "images_per_second": "images/s",
    "steps": "steps",
    "num_parameters": "parameters",
    "minutes": "minutes",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser, "fidelity")
    arguments, wanted = ask(parser, ROWS, minutes=45)
    out, minutes = arguments.out, arguments.minutes
    collection = open_photographs(arguments)
    if collection is None:
        return
    referee = Referee(without_new(collection))
    known = {}
    for row in ROWS:
        place = out / f"{minutes:g}-minutes" if row in TRAINED else out
        kept = place / f"{row}.json"
        if row in wanted and not kept.exists():
            place.mkdir(exist_ok=True)
            images, result = contestant(row, referee, place, minutes)
            np.savez_compressed(kept.with_suffix(".npz"), images=images)
            write_json(kept, {**result, "threads": torch.get_num_threads()})
        if kept.exists():
            with np.load(kept.with_suffix(".npz")) as file:
                known[row] = (file["images"], json.loads(kept.read_text(encoding="utf-8")))
    write_page(report({row: result for row, (_, result) in known.items()}, minutes, len(referee.test)), "fidelity", arguments.docs)
    if shown := [row for row in ("collage", *TRAINED) if row in known]:
        picture(shown, {row: known[row][0] for row in shown}, referee.species, arguments.docs / "images" / "fidelity.png")


def ask(parser: argparse.ArgumentParser, rows: Sequence[str], minutes: float) -> tuple[argparse.Namespace, list[str]]:
    """What was asked for on the command line, --minutes and --rows included, and the rows to measure now."""
    parser.add_argument("--minutes", type=float, default=minutes, help="training time of each trained row")
    parser.add_argument("--rows", default=",".join(rows), help="rows to measure now, if they are not known (all: %(default)s)")
    arguments = parser.parse_args()
    wanted = arguments.rows.split(",")
    if unknown := set(wanted) - set(rows):
        parser.error(f"unknown rows: {', '.join(sorted(unknown))}. There are {', '.join(rows)}.")
    return arguments, wanted


def without_new(collection: Collection) -> Collection:
    """All but the species that fish4knowledge.py leaves for adaptation."""
    return collection.where(collection.table["species"].ne(NEW))


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


def contestant(row: str, referee: Referee, place: Path, minutes: float) -> tuple[np.ndarray, dict]:
    """The images of a contestant, in the order of the test photographs, and its figures."""
    number = len(referee.test)
    if row == "real":
        images = referee.training.pixels(SIZE)[drawn_like(referee.species, referee.training)]
        return images, referee.judge(images)
    if row == "noise":
        images = np.random.default_rng(0).integers(0, 256, (number, SIZE, SIZE, 3), dtype=np.uint8)
        return images, referee.judge(images)
    if row in PEERS:
        return peer(row, referee, place, minutes)
    learning = ["--minutes", minutes, "--resume"] if row in TRAINED else []
    leaving = ["--except", NEW] if NEW in referee.collection.species else []
    result = syntype(["train", row, referee.collection.root, *leaving, "--size", SIZE, *learning, "--out", place / row])
    images = to_uint8(load_generator(place / row).sample(referee.species.tolist(), referee.seeds))
    speed = {key: result[key] for key in ("images_per_second", "steps", "num_parameters", "minutes")} if row in TRAINED else {}
    return images, {**referee.judge(images), **speed}


def drawn_like(species: np.ndarray, collection: Collection) -> np.ndarray:
    """Rows of a collection, one of each species given, none twice as long as there are enough."""
    names, rows = collection.table["species"].to_numpy(dtype=object), np.empty(len(species), dtype=np.int64)
    for number, name in enumerate(np.unique(species)):
        places, found = np.flatnonzero(species == name), np.flatnonzero(names == name)
        rows[places] = np.resize(np.random.default_rng([0, number]).permutation(found), len(places))
    return rows


def peer(row: str, referee: Referee, place: Path, minutes: float) -> tuple[np.ndarray, dict]:
    """``lightweight-gan``, trained and judged."""
    save_photographs(referee.training.pixels(SIZE), place / "photographs")
    with Peer(place / row, place / "photographs", PEERS[row]) as trainer:
        result = train_for(trainer, minutes)
        images, figures = best_of(trainer.sample(len(referee.test)), referee)
    return images, {**result, **figures, "minutes": result["seconds"] / 60}


def best_of(drawn: dict[str, np.ndarray], referee: Referee) -> tuple[np.ndarray, dict]:
    """A peer's images and figures, by its weights or by their average, whichever have the lower KID."""
    judged = {name: referee.judge(images, with_species=False) for name, images in drawn.items()}
    best = min(judged, key=lambda name: judged[name]["kid"])
    return drawn[best], {**judged[best], "drawn_by": best, "kid_of_both": {name: figures["kid"] for name, figures in judged.items()}}


def picture(rows: list[str], images: dict[str, np.ndarray], species: np.ndarray, path: Path, nameless: Container[str] = PEERS) -> None:
    """Two lines of images a contestant, its first: a species a column, but for those that know none (``nameless``). No photographs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = [name for name in SHOWN if (species == name).sum() >= 2] or list(np.unique(species))[:12]
    shown = []
    for row in rows:
        if row in nameless:
            shown += list(images[row][: 2 * len(columns)])
        else:
            shown += [images[row][np.flatnonzero(species == name)[line]] for line in range(2) for name in columns]
    save_grid(shown, len(columns), path, f"Synthetic images, two lines a contestant: {', '.join(rows)}; not occurrence evidence.")


def report(known: dict[str, dict], minutes: float, number: int) -> str:
    """What was measured, as Markdown."""
    missing = [row for row in ROWS if row not in known]
    threads = sorted({result["threads"] for row, result in known.items() if row in TRAINED})
    lines = [
        "# Fidelity and variety, side by side",
        "",
        f"Written by `python benchmarks/fidelity.py --minutes {minutes:g}`. "
        f"Machine: {machine()}; {' or '.join(map(str, threads))} thread(s) each; PyTorch {torch.__version__}. One run of each, seed 0.",
        "",
        NOTICE,
        "",
        f"{SIZE} px, batch 16; {minutes:g} minutes of training each, on the same photographs: the training split "
        f"but for *{NEW}*. {number} images of each contestant against {number} test photographs with the same mix of species, in features of "
        "EfficientNet-Lite0 at 128 px, which trains nothing here. KID: all pairs, cubic kernel, 0 is best; ± is the standard error (jackknife over "
        f"video tracks and images), which does not hold what another seed of training would change. k = {NEIGHBOURS}. Vendi ratio: variety within "
        "species, synthetic over real. Copies: share of images that the copy detector refuses. Parameters: of the generator. Precision is high for "
        "noise too, as one outlying photograph's wide neighbourhood is enough for it; coverage is not deceived (Naeem et al. 2020, section 3).",
        "",
        "| | " + " | ".join(COLUMNS.values()) + " |",
        "| --- |" + " --- |" * len(COLUMNS),
    ]
    lines += [f"| {WHAT.get(row, f'`{row}`')} | " + " | ".join(cell(known[row], key) for key in COLUMNS) + " |" for row in ROWS if row in known]
    if missing:
        lines += ["", f"Not measured yet: {', '.join(f'`{row}`' for row in missing)}."]
    lines += ["", "## Aims", "", *aims(known)]
    if any(row in known for row in PEERS):
        lines += [
            "",
            "## How the peer was run",
            "",
            f"`lightweight-gan` {VERSION}, its own `Trainer` taking every step with the defaults of its command line, but for size, batch, one "
            "batch a step and, in the row that says so, the most channels of a feature map; on the CPU, from a folder of the same photographs at "
            f"{SIZE} px; its previews and checkpoints left out of the time. It knows no species, so it was judged on the mixture as it draws it. "
            "It ran in the faster of two precisions in a trial before training (bf16: all of a step within PyTorch's autocast). "
            "Its averaged weights are until step 20,000 a copy taken every 1,000 steps: of these and the weights in training, the table has those "
            "with the lower KID.",
            "",
        ]
        for row in PEERS:
            if found := known.get(row):
                tried = ", ".join(f"{name} {speed:.2f} images/s" for name, speed in found["tried"].items())
                both = ", ".join(f"{name} {value:.3f}" for name, value in found["kid_of_both"].items())
                lines.append(f"- {WHAT.get(row, f'`{row}`')}: {tried} in the trial; ran in {found['arithmetic']}. KID by {both}.")
    if shown := [row for row in ("collage", *TRAINED) if row in known]:
        lines += [
            "",
            "![Rows of synthetic fish](../images/fidelity.png)",
            "",
            f"Two lines each, from the top: {', '.join(f'`{row}`' for row in shown)}. The first images, not the best; a species a column"
            + (", but for `lightweight-gan`." if set(shown) & set(PEERS) else "."),
        ]
    return "\n".join([*lines, ""])


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


def aims(known: dict[str, dict]) -> list[str]:
    """Whether ``projected`` is where it is meant to be, line by line."""
    ours, theirs = known.get("projected"), min((known[row]["kid"] for row in PEERS if row in known), default=None)
    if ours is None:
        return ["`projected` has not been measured yet."]
    found = [("KID at most 0.06", ours["kid"], 0.06 - ours["kid"])]
    if theirs is not None:
        found.append((f"KID at most a third of the (better) peer's, {theirs / 3:.3f}", ours["kid"], theirs / 3 - ours["kid"]))
    found += [
        ("coverage at least 0.6", ours["coverage"], ours["coverage"] - 0.6),
        ("Vendi ratio at least 0.5", ours["vendi_ratio"], ours["vendi_ratio"] - 0.5),
    ]
    return [f"- {aim}: {value:.3f}, " + ("**met**." if margin >= 0 else f"**missed by {-margin:.3f}**.") for aim, value, margin in found]


if __name__ == "__main__":
    main()
