"""Every family that learns, with its defaults at 64 px, each for the same minutes of one processor core on the same photographs.

    python benchmarks/families.py [--data FOLDER | --collection FOLDER] [--out FOLDER] [--minutes 20] [--rows real,dcgan,...]

Beside them: photographs, ``copies``, ``collage``, noise, and ``lightweight-gan`` and ``denoising-diffusion-pytorch`` trained by their own code.
Training is done first, each in a process of its own with one thread, so that this command may run twice at once on two cores with other
``--rows`` and the same --out; then a referee compares what each draws with test photographs. A row that is known is not measured again; training
that was stopped begins anew (a peer's continues); after a change of the code, give a new --out. Page and picture show all rows that are known.
Families that need a model from elsewhere are left out. Without the photographs nothing is measured.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common.fish import NEW, NOTICE, SIZE, open_photographs, photograph_options, without_new
from common.judging import WHAT, Referee, ask_rows, asked_of, best_of, cell, picture, untrained
from common.results import Page, kept, publish, rewrite, table
from common.timing import stage, syntype
from peer_denoising_diffusion import SAMPLING_STEPS, SMALL_DIM, DiffusionPeer
from peer_denoising_diffusion import VERSION as DIFFUSION_VERSION
from peer_lightweight_gan import SMALL, VERSION, Peer
from peer_process import PeerProcess, save_photographs, train_for

from syntype.collection import Collection
from syntype.compute.tensors import to_uint8
from syntype.generators import family, list_families, load_generator
from syntype.generators.contract import Plans

LIGHTWEIGHT, DIFFUSION = "lightweight-gan", "denoising-diffusion-pytorch"
PEERS: dict[str, Callable[[Path, Path], PeerProcess]] = {
    LIGHTWEIGHT: lambda folder, photographs: Peer(folder, photographs, SMALL),
    DIFFUSION: lambda folder, photographs: DiffusionPeer(folder, photographs, SMALL_DIM),
}
UNTRAINED = ("real", "copies", "collage", "noise")
PHOTOGRAPHS_OR_NOISE = ("real", "copies", "noise")
"""Rows that the picture leaves out."""
COLUMNS = {
    "kid": "KID",
    "precision": "precision",
    "recall": "recall",
    "density": "density",
    "coverage": "coverage",
    "copy_rate": "copies",
    "vendi_ratio": "Vendi ratio",
    "images_per_second": "images/s, training",
    "sampled_per_second": "images/s, sampling",
    "steps": "steps",
    "num_parameters": "parameters",
    "megabytes": "peak memory, MB",
    "cpu_minutes": "CPU minutes",
}
BATCH = 16
DISTURBED = 0.98
"""Share of a core below which a training did not have one to itself."""
LEAST_COVERAGE = 0.1
"""Coverage below which a family is called unusable in this time."""


def main() -> None:
    names = rows()
    parser = photograph_options("families", __doc__)
    arguments, wanted = ask_rows(parser, names, minutes=20)
    if arguments.page:
        rewrite("families", report, arguments)
        return
    os.environ["OMP_NUM_THREADS"] = "1"  # for the processes that are started
    torch.set_num_threads(1)
    collection = open_photographs(arguments)
    if collection is None:
        return
    place = arguments.out / f"{arguments.minutes:g}-minutes"
    folder = {row: arguments.out if row in UNTRAINED else place for row in names}
    missing = [row for row in names if row in wanted and not (folder[row] / f"{row}.json").exists()]
    training = {row: train(row, collection, place, arguments.minutes) for row in missing if row not in UNTRAINED}
    referee = Referee(without_new(collection))  # after training: Linux counts this process's memory towards the peak of those that it starts

    def measure(row: str) -> dict[str, Any]:
        images, figures = untrained(row, referee, folder[row]) if row in UNTRAINED else judge(row, referee, place, training[row])
        np.savez_compressed(folder[row] / f"{row}.npz", images=images)
        return figures

    known = {}
    for row in names:
        path = folder[row] / f"{row}.json"
        if row in missing or path.exists():
            known[row] = kept(path, lambda row=row: measure(row))
    if shown := [row for row in known if row not in PHOTOGRAPHS_OR_NOISE]:
        images = {row: np.load(folder[row] / f"{row}.npz")["images"] for row in shown}
        nameless = [row for row in shown if known[row]["vendi_ratio"] is None]
        picture(shown, images, referee.species, arguments.docs / "images" / "families.png", nameless)
    numbers = {"test": len(referee.test), "training": len(referee.training), "species": len(np.unique(referee.training.table["species"].astype(str)))}
    publish("families", {"minutes": arguments.minutes, **numbers}, known, report, arguments)


def rows() -> list[str]:
    """Names of all rows, in the order of the table."""
    return [
        "real",
        "copies",
        "collage",
        *(name for name in list_families() if family(name).learns and not issubclass(family(name), Plans)),
        *PEERS,
        "noise",
    ]


def train(row: str, collection: Collection, place: Path, minutes: float) -> dict:
    """What training a family or a peer gave and took; not done again where it is known."""
    trained = place / "trained" / row
    trained.parent.mkdir(parents=True, exist_ok=True)
    if row not in PEERS:
        leaving = ["--except", NEW] if NEW in collection.species else []
        command = ["train", row, collection.root, *leaving, "--size", SIZE, "--minutes"]
        found = stage(trained, [*command, minutes])
        share, result = found["processor_seconds"] / found["seconds"], found["result"]
        lacking = minutes * (1 / share - 1) if share < DISTURBED else 0.0  # something else ran beside it: make up for what that took
        if lacking:
            result = syntype([*command, minutes + lacking, "--out", trained, "--resume"])
        spent = share * (minutes + lacking)
        speed = result["steps"] * BATCH / (60 * spent)
        return {**result, "megabytes": found["megabytes"], "cpu_minutes": spent, "images_per_second": speed}
    photographs = place / "trained" / f"{row}-photographs"
    save_photographs(without_new(collection).training().pixels(SIZE), photographs)
    with PEERS[row](trained, photographs) as trainer:
        result = train_for(trainer, minutes, "processor_seconds")
    spent = result["processor_seconds"] / 60
    return {**result, "cpu_minutes": spent, "images_per_second": result["steps"] * BATCH / (60 * spent)}


def judge(row: str, referee: Referee, place: Path, training: dict) -> tuple[np.ndarray, dict]:
    """The images of what was trained, in the order of the test photographs, and all figures."""
    trained, number = place / "trained" / row, len(referee.test)
    if row in PEERS:
        with PEERS[row](trained, place / "trained" / f"{row}-photographs") as trainer:
            drawn = trainer.sample(number)
            speed = trainer.sampled_per_second
        images, figures = best_of(drawn, referee)
        return images, {**training, **figures, "sampled_per_second": speed}
    generator = load_generator(trained)
    asked, seeds = asked_of(generator, referee)
    generator.sample(asked[:1], seeds[:1])  # what is read and built only once
    began = time.process_time()
    images = to_uint8(generator.sample(asked, seeds))
    speed = number / (time.process_time() - began)
    return images, {**training, **referee.judge(images, with_species=generator.model.is_conditional), "sampled_per_second": speed}


def report(settings: dict[str, Any], figures: dict[str, Any]) -> Page:
    """The page."""
    missing = [row for row in rows() if row not in figures]
    known = {row: figures[row] for row in rows() if row in figures}
    learning = {row: one for row, one in known.items() if row not in UNTRAINED and row not in PEERS}
    body = [
        "KID: distance between synthetic images and test photographs (all pairs, cubic kernel; 0 is best); ± is the standard error (jackknife over "
        "video tracks and images), which does not include how much another seed of training would change. Precision, recall, density, coverage: "
        "shares of images near photographs and of photographs near images (k nearest neighbours); precision is high for noise too, coverage is not "
        "(Naeem et al. 2020, section 3). Copies: share of images that the copy detector refuses. Vendi ratio: variety within species, synthetic "
        "over real; families without one know no species: they were judged on the mixture as they draw it, and cannot be asked for a species. "
        "Sampling: with default settings, one thread. Parameters: of the generator. Memory: peak of the training process, Python and PyTorch "
        "included. CPU minutes: where another process ran beside a training, training continued until it had had its time.",
        "",
        *table(["", *COLUMNS.values()], [[WHAT.get(row, f"`{row}`"), *(figure(one, key) for key in COLUMNS)] for row, one in known.items()]),
    ]
    if missing:
        body += ["", f"Not measured yet: {', '.join(f'`{row}`' for row in missing)}."]
    if shown := [row for row in known if row not in PHOTOGRAPHS_OR_NOISE]:
        body += [
            "",
            "![Rows of synthetic fish](../images/families.png)",
            "",
            f"Two lines each, from the top: {', '.join(f'`{row}`' for row in shown)}. The first images, not the best; one species a column, except "
            f"for families that know none.",
        ]
    body += ["", "## Which family to use when", "", *advice(known)]
    best = min(learning, key=lambda row: learning[row]["kid"], default=None)
    useful = [f"`{row}`" for row, one in learning.items() if one["coverage"] >= LEAST_COVERAGE]
    said = (
        f"`{best}` comes nearest to test photographs: KID {learning[best]['kid']:.3f}, coverage {learning[best]['coverage']:.2f}. Families that "
        f"cover at least a tenth of the test photographs: {', '.join(useful) or 'none'}."
        if best
        else "No family has been measured yet."
    )
    return Page(
        title="All generator families, side by side",
        question=f"What do the families that learn draw after the same {settings['minutes']:g} minutes on one processor core, and what do they cost?",
        answer=said,
        headline=[(f"best KID (`{best}`)", cell(learning[best], "kid"))] if best else [],
        body=body,
        method=[
            f"{SIZE} px, batch {BATCH}, each family with its default settings; {settings['minutes']:g} minutes of training each, in a process of "
            f"one thread, on the same {settings['training']:,} photographs of {settings['species']} species: the training split without *{NEW}*. "
            f"{settings['test']} images of each against {settings['test']} test photographs with the same mix of species, in features of "
            f"EfficientNet-Lite0 at 128 px, which trains nothing here. One run of each, seed 0.",
            "",
            f"The peers: `{LIGHTWEIGHT}` {VERSION} with `fmap_max` {SMALL} and `{DIFFUSION}` {DIFFUSION_VERSION} with `dim` {SMALL_DIM}: smaller "
            f"than their defaults, which take too few steps in the time. Their own trainers took every step, on batches of 16 of their own data "
            f"loaders, with their other settings as they come, but without previews; in the faster of two precisions in a trial before training. "
            f"The first drew by its weights or by their average, whichever had the lower KID; the second by its average, as it does itself, by its "
            f"own DDIM in {SAMPLING_STEPS} steps. Their memory includes the trial, but not the worker processes of their data loaders.",
            "",
            NOTICE,
        ],
    )


def figure(result: dict, key: str) -> str:
    value = result.get(key)
    if value is not None and key == "megabytes":
        return f"{value:,.0f}"
    if value is not None and key in ("sampled_per_second", "images_per_second"):
        return f"{value:.3g}"
    return cell(result, key)


def advice(known: dict[str, dict]) -> list[str]:
    """Rules that follow from the figures."""
    families = {row: result for row, result in known.items() if row not in UNTRAINED and row not in PEERS}
    if not families:
        return ["No family has been measured yet."]
    useful = {row: result for row, result in families.items() if result["coverage"] >= LEAST_COVERAGE}
    lines = []
    for found, title in ((useful, "Any images"), ({row: one for row, one in useful.items() if one["vendi_ratio"] is not None}, "A species by name")):
        if not found:
            lines.append(f"- {title}: no family covers a tenth of the test photographs.")
            continue
        most, nearest = max(found, key=lambda row: found[row]["coverage"]), min(found, key=lambda row: found[row]["kid"])
        quickest = max(found, key=lambda row: found[row]["sampled_per_second"])
        lines.append(
            f"- {title}: most of the photographs are covered by `{most}` ({found[most]['coverage']:.2f}); nearest to them is `{nearest}` (KID "
            f"{found[nearest]['kid']:.3f}); quickest to draw `{quickest}` ({found[quickest]['sampled_per_second']:.3g} images/s)."
        )
    if named := [row for row, result in useful.items() if result["vendi_ratio"] is not None]:
        varied = max(named, key=lambda row: useful[row]["vendi_ratio"])
        lines.append(f"- Most varied within species: `{varied}` (Vendi ratio {useful[varied]['vendi_ratio']:.2f}; photographs have 1).")
    if copying := [f"`{row}` ({result['copy_rate']:.1%})" for row, result in families.items() if result["copy_rate"] > 0.05]:
        lines.append(f"- More than one image in twenty is a copy of a photograph, so curate before use: {', '.join(copying)}.")
    if "collage" in known and useful:
        bar = known["collage"]["coverage"]
        below = [f"`{row}`" for row, result in useful.items() if result["coverage"] < bar]
        more = f"more than {', '.join(below)}." if below else "less than every family that is of use."
        lines.append(f"- `collage`, which trains nothing, covers {bar:.2f}: {more}")
    for peer in PEERS:
        if peer in known and useful:
            better = [f"`{row}`" for row, result in useful.items() if result["kid"] < known[peer]["kid"]]
            lines.append(f"- Nearer to the photographs than `{peer}` (KID {known[peer]['kid']:.3f}): {', '.join(better) or 'no family'}.")
    if useless := [f"`{row}` ({result['coverage']:.2f})" for row, result in families.items() if row not in useful]:
        lines.append(f"- Unusable with so few photographs and so little training (coverage below {LEAST_COVERAGE:g}): {', '.join(useless)}.")
    return lines


if __name__ == "__main__":
    main()
