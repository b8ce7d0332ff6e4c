"""How like photographs, and how varied, is what each generator draws after the same time on the same photographs? At 64 px.

    python benchmarks/fidelity.py [--data FOLDER | --collection FOLDER] [--out FOLDER] [--minutes 45] [--rows real,noise,...]

Every contestant draws as many images as there are test photographs, of the same species (``lightweight-gan`` knows no species and is
judged on the mixture), and is compared with them by the referee. The trained ones see the same photographs for the same time: the training
split without the one species that is left for adaptation. A row that is known is not measured again, so that the command may
be given in pieces (``--rows``) or continue where it was stopped; after a change of the code, give a new --out. All trained rows must have the
same number of threads; with one each (OMP_NUM_THREADS=1), as many may be trained side by side as there are cores. Page and picture show all
rows that are known. Without the photographs nothing is measured.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from common.fish import NEW, NOTICE, SIZE, open_photographs, photograph_options, without_new
from common.judging import NEIGHBOURS, WHAT, Referee, ask_rows, best_of, cell, picture, trained, untrained
from common.results import Page, kept, publish, rewrite, table
from peer_lightweight_gan import SMALL, VERSION, Peer, save_photographs
from peer_process import train_for

PEERS = {"lightweight-gan": 512, "lightweight-gan-small": SMALL}
"""Its most channels of a feature map: its default, and fewer."""
TRAINED = ("fastgan", "projected", *PEERS)
ROWS = ("real", "copies", "collage", *TRAINED, "noise")
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
    parser = photograph_options("fidelity", __doc__)
    arguments, wanted = ask_rows(parser, ROWS, minutes=45)
    if arguments.page:
        rewrite("fidelity", report, arguments)
        return
    collection = open_photographs(arguments)
    if collection is None:
        return
    referee = Referee(without_new(collection))
    known, images = {}, {}
    for row in ROWS:
        place = arguments.out / f"{arguments.minutes:g}-minutes" if row in TRAINED else arguments.out
        path = place / f"{row}.json"
        if row in wanted or path.exists():
            place.mkdir(exist_ok=True)
            known[row] = kept(path, lambda row=row, place=place: measure(row, referee, place, arguments.minutes))
            with np.load(path.with_suffix(".npz")) as file:
                images[row] = file["images"]
    if shown := [row for row in ("collage", *TRAINED) if row in known]:
        picture(shown, images, referee.species, arguments.docs / "images" / "fidelity.png", PEERS)
    publish("fidelity", {"minutes": arguments.minutes, "test": len(referee.test)}, known, report, arguments)


def measure(row: str, referee: Referee, place: Path, minutes: float) -> dict[str, Any]:
    """Figures of a contestant; its images are saved."""
    if row in PEERS:
        images, figures = peer(row, referee, place, minutes)
    elif row in TRAINED:
        images, result = trained(row, referee, place, ["--minutes", minutes, "--resume"])
        speed = {key: result[key] for key in ("images_per_second", "steps", "num_parameters", "minutes")}
        figures = {**referee.judge(images), **speed}
    else:
        images, figures = untrained(row, referee, place)
    np.savez_compressed(place / f"{row}.npz", images=images)
    return {**figures, "threads": torch.get_num_threads()}


def peer(row: str, referee: Referee, place: Path, minutes: float) -> tuple[np.ndarray, dict]:
    """``lightweight-gan``, trained and judged."""
    save_photographs(referee.training.pixels(SIZE), place / "photographs")
    with Peer(place / row, place / "photographs", PEERS[row]) as trainer:
        result = train_for(trainer, minutes)
        images, figures = best_of(trainer.sample(len(referee.test)), referee)
    return images, {**result, **figures, "minutes": result["seconds"] / 60}


def report(settings: dict[str, Any], figures: dict[str, Any]) -> Page:
    """The page."""
    known = {row: figures[row] for row in ROWS if row in figures}
    missing = [row for row in ROWS if row not in known]
    threads = sorted({known[row]["threads"] for row in TRAINED if row in known})
    body = [
        "KID: distance between synthetic images and test photographs (all pairs, cubic kernel; 0 is best); ± is the standard error (jackknife over "
        "video tracks and images), which does not include how much another seed of training would change. Precision, recall, density, coverage: "
        f"shares of images near photographs and of photographs near images (k = {NEIGHBOURS} nearest neighbours); precision is high for noise too, "
        f"because the wide neighbourhood of one outlying photograph is enough for it, coverage is not (Naeem et al. 2020, section 3). Vendi ratio: "
        f"variety within species, synthetic over real. Copies: share of images that the copy detector refuses. Parameters: of the generator.",
        "",
        *table(["", *COLUMNS.values()], [[WHAT.get(row, f"`{row}`"), *(cell(one, key) for key in COLUMNS)] for row, one in known.items()]),
    ]
    if missing:
        body += ["", f"Not measured yet: {', '.join(f'`{row}`' for row in missing)}."]
    body += ["", "## Aims", "", *aims(known)]
    if shown := [row for row in ("collage", *TRAINED) if row in known]:
        body += [
            "",
            "![Rows of synthetic fish](../images/fidelity.png)",
            "",
            f"Two lines each, from the top: {', '.join(f'`{row}`' for row in shown)}. The first images, not the best; a species a column"
            + (", except for `lightweight-gan`." if set(shown) & set(PEERS) else "."),
        ]
    method = [
        f"{SIZE} px, batch 16; {settings['minutes']:g} minutes of training each ({' or '.join(map(str, threads)) or 'no'} thread(s)), on the same "
        f"photographs: the training split without *{NEW}*. {settings['test']} images of each contestant against {settings['test']} test photographs "
        f"with the same mix of species, in features of EfficientNet-Lite0 at 128 px, which trains nothing here. One run of each, seed 0.",
        "",
    ]
    if any(row in known for row in PEERS):
        method += [
            f"The peer: `lightweight-gan` {VERSION}, its own `Trainer` taking every step with the defaults of its command line, but for size, "
            f"batch, one batch a step and, in the row that says so, the most channels of a feature map; on the CPU, from a folder of the same "
            f"photographs at {SIZE} px; its previews and checkpoints left out of the time. It knows no species, so it was judged on the mixture as "
            f"it draws it. It ran in the faster of two precisions in a trial before training (bf16: all of a step within PyTorch's autocast). "
            "Its averaged weights are until step 20,000 a copy taken every 1,000 steps: of these and the weights in training, the table has those "
            "with the lower KID.",
            "",
        ]
        for row in PEERS:
            if found := known.get(row):
                tried = ", ".join(f"{name} {speed:.2f} images/s" for name, speed in found["tried"].items())
                both = ", ".join(f"{name} {value:.3f}" for name, value in found["kid_of_both"].items())
                method += [f"- `{row}`: {tried} in the trial; ran in {found['arithmetic']}. KID by {both}.", ""]
    ours = known.get("projected")
    theirs = min((known[row]["kid"] for row in PEERS if row in known), default=None)
    answer = "`projected` has not been measured yet."
    if ours:
        answer = f"`projected` reaches KID {ours['kid']:.3f} and coverage {ours['coverage']:.2f}"
        answer += f"; `lightweight-gan`, trained by its own code, KID {theirs:.3f}." if theirs is not None else "."
    return Page(
        title="How like photographs are the images?",
        question=f"How near to test photographs, and how varied, are the images of each generator after {settings['minutes']:g} minutes of training?",
        answer=answer,
        headline=[("KID, `projected`", cell(ours, "kid")), *([("KID, `lightweight-gan`", f"{theirs:.3f}")] if theirs is not None else [])]
        if ours
        else [],
        body=body,
        method=[*method, NOTICE],
    )


def aims(known: dict[str, dict]) -> list[str]:
    """Whether ``projected`` reaches its aims, line by line."""
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
