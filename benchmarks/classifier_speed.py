"""How fast does the classifier train a timm network beside timm's own way of training it? At 128 px, batch 32, in both precisions.

    python benchmarks/classifier_speed.py [--data FOLDER | --collection FOLDER] [--out FOLDER] [--rounds 3] [--steps 30]

timm's training script is not in its package; common/classifier_loops.py says how its loop is put together here. Both train in turns in one run, on
the same photographs. What is known is not measured again; other settings or other code need another --out. Without the photographs nothing is
measured.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from common.classifier_loops import ours, saved, timms
from common.fish import NOTICE, open_photographs, photograph_options
from common.results import Page, kept, met, publish, rewrite, table
from common.timing import ratio, rounds

from syntype.identification import LabelledImages

NETWORKS = ("resnet18", "tf_efficientnet_lite0", "convnext_atto")
PRECISIONS = ("fp32", "bf16")
SIZE, AIM = 128, 1.0


def main() -> None:
    parser = photograph_options("classifier_speed", __doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=30, help="of each turn")
    parser.add_argument("--networks", nargs="+", default=NETWORKS, help="names of timm networks (%(default)s)")
    arguments = parser.parse_args()
    if arguments.page:
        rewrite("classifier_speed", report, arguments)
        return
    collection = open_photographs(arguments)
    if collection is None:
        return
    training = collection.training()
    images = LabelledImages(training.pixels(SIZE), training.labels())
    photographs = saved(images, arguments.out / "photographs")
    turns: dict[str, Callable[[], float]] = {}
    for network in arguments.networks:
        for precision in PRECISIONS:
            turns[f"{network}, {precision}, syntype"] = partial(ours, images, network, precision, arguments.steps, arguments.out)
            turns[f"{network}, {precision}, timm"] = partial(timms, photographs, images, network, precision, arguments.steps)
    found = kept(arguments.out / "speeds.json", lambda: summary(rounds(arguments.out / "rounds.json", turns, arguments.rounds), arguments.networks))
    publish("classifier_speed", {"rounds": arguments.rounds, "steps": arguments.steps}, found, report, arguments)


def summary(found: dict[str, list[float]], networks: list[str]) -> dict[str, dict[str, Any]]:
    """Median speeds of both, and their ratio with its interval, by network and precision."""
    result: dict[str, dict[str, Any]] = {}
    for network in networks:
        for precision in PRECISIONS:
            mine, theirs = (found[f"{network}, {precision}, {who}"] for who in ("syntype", "timm"))
            one = {"syntype": float(np.median(mine)), "timm": float(np.median(theirs)), "ratio": list(ratio(mine, theirs)), "speeds": [mine, theirs]}
            result[f"{network}, {precision}"] = {"network": network, "precision": precision, **one}
    return result


def report(settings: dict[str, Any], figures: dict[str, Any]) -> Page:
    """The page."""
    known = [one for one in figures.values() if "ratio" in one]
    rows = [
        [
            one["network"],
            one["precision"],
            f"{one['syntype']:.3g}",
            f"{one['timm']:.3g}",
            "{:.2f} ({:.2f} to {:.2f})".format(*one["ratio"]),
            met(one["ratio"][0], AIM, ".2f"),
        ]
        for one in known
    ]
    low, high = min(one["ratio"][0] for one in known), max(one["ratio"][0] for one in known)
    return Page(
        title="Training speed of the classifier",
        question="How fast does Syntype train a timm network, compared with timm's own training loop?",
        answer=f"Syntype reaches {low:.2f} to {high:.2f} times the images a second of timm's loop, over {len(known)} combinations of network and "
        f"precision.",
        headline=[("images a second over timm's", f"{low:.2f} to {high:.2f}")],
        body=[
            "Images/s: median over the rounds. Ratio: Syntype over timm, with its 95 % interval over the rounds. Aim: a ratio of at least 1.",
            "",
            *table(["network", "precision", "Syntype, images/s", "timm, images/s", "ratio (95 % interval)", "aim 1"], rows),
        ],
        method=[
            f"{SIZE} px, batch 32, all weights trained, from random ones; {settings['rounds']} rounds of {settings['steps']} steps, in turns. "
            f"timm's loop "
            "is that of its training script, put together from its package, with its default loader, augmentation, optimiser and loss, and channels "
            "last. Syntype's loop has its own augmentation, keeps a moving average of the weights, and does not update the batch statistics.",
            "",
            NOTICE,
        ],
    )


if __name__ == "__main__":
    main()
