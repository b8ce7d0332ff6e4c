"""How fast does the classifier train a timm network beside timm's own way of training it? At 128 px, batch 32, in both precisions.

    python benchmarks/classifier_speed.py [--data FOLDER | --collection FOLDER] [--out FOLDER] [--rounds 3] [--steps 30]

timm's training script is not in its package, so its loop is put together here from the package's parts as that script does with its
defaults: its loader with its augmentation, its optimiser, its loss, autocast around network and loss; channels last, which it offers and is
the faster. Both train in turns in one run, on the same photographs. What is known is not measured again; other settings or other code
need another --out. Without the photographs nothing is measured.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from common.fish import NOTICE, open_photographs, photograph_options
from common.results import Page, kept, met, publish, rewrite, table
from common.timing import ratio, rounds
from PIL import Image
from timm.data import create_dataset, create_loader, resolve_data_config
from timm.loss import LabelSmoothingCrossEntropy
from timm.optim import create_optimizer_v2
from torch import Tensor, nn

from syntype.collection import Collection
from syntype.encoders import build_classifier_backbone
from syntype.identification import ClassifierConfig
from syntype.identification.classifier import LabelledImages
from syntype.identification.network import fit_network
from syntype.run import Run

NETWORKS = ("resnet18", "tf_efficientnet_lite0", "convnext_atto")
PRECISIONS = ("fp32", "bf16")
SIZE, BATCH, AIM = 128, 32, 1.0


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
    photographs = saved(collection.training(), arguments.out / "photographs")
    turns: dict[str, Callable[[], float]] = {}
    for network in arguments.networks:
        for precision in PRECISIONS:
            turns[f"{network}, {precision}, syntype"] = partial(ours, collection, network, precision, arguments.steps, arguments.out)
            turns[f"{network}, {precision}, timm"] = partial(timms, photographs, len(collection.species), network, precision, arguments.steps)
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


def saved(photographs: Collection, folder: Path) -> Path:
    """The photographs as files, a folder a species, as timm's loader reads them."""
    if not folder.is_dir():
        for number, (image, label) in enumerate(zip(photographs.pixels(SIZE), photographs.labels(), strict=True)):
            path = folder / f"{label:03d}" / f"{number:05d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path)
    return folder


def ours(collection: Collection, network: str, precision: str, steps: int, out: Path) -> float:
    """Images a second of fine-tuning: the time that more steps take beyond a few, so that what is done once cancels."""
    weights = out / f"{network}.pth"
    if not weights.exists():
        torch.save(timm.create_model(network).state_dict(), weights)
    photographs = collection.training()
    train = LabelledImages(photographs.pixels(SIZE), photographs.labels())
    counts = np.bincount(train.labels, minlength=len(collection.species))
    taken = []
    for number in (3, 3 + steps):
        settings = {"backbone": f"timm:{network}:{weights}", "tune": "all", "size": SIZE, "encoder_size": SIZE, "batch_size": BATCH, "steps": number}
        config = ClassifierConfig.parse({**settings, "precision": precision, "device": "cpu"})
        backbone = build_classifier_backbone(config.backbone)
        backbone.network.to(memory_format=torch.channels_last)
        began = time.monotonic()
        fit_network(train, counts, config, 0, backbone, None, None, config.runtime(), Run.silent())
        taken.append(time.monotonic() - began)
    return steps * BATCH / (taken[1] - taken[0])


def timms(photographs: Path, num_species: int, network: str, precision: str, steps: int) -> float:
    """Images a second of timm's loop, its data loader included, after three steps."""
    model = timm.create_model(network, num_classes=num_species).to(memory_format=torch.channels_last).train()
    optimiser = create_optimizer_v2(model, opt="sgd", lr=0.05, weight_decay=2e-5, momentum=0.9)
    config = resolve_data_config({"input_size": (3, SIZE, SIZE)}, model=model)
    loader = create_loader(
        create_dataset("", root=str(photographs)),
        input_size=config["input_size"],
        batch_size=BATCH,
        is_training=True,
        use_prefetcher=False,
        interpolation="random",
        mean=config["mean"],
        std=config["std"],
        num_workers=torch.get_num_threads(),
    )
    loss_of = LabelSmoothingCrossEntropy(0.1)
    batches = forever(loader)
    for number in range(3 + steps):
        if number == 3:
            began = time.monotonic()
        one_step(model, optimiser, loss_of, *next(batches), precision)
    return steps * BATCH / (time.monotonic() - began)


def forever(loader: torch.utils.data.DataLoader) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches, epoch after epoch."""
    while True:
        yield from loader


def one_step(model: nn.Module, optimiser: torch.optim.Optimizer, loss_of: nn.Module, images: Tensor, labels: Tensor, precision: str) -> None:
    """A step as timm's script takes it."""
    half = torch.autocast("cpu", dtype=torch.bfloat16) if precision == "bf16" else contextlib.nullcontext()
    with half:
        loss = loss_of(model(images.contiguous(memory_format=torch.channels_last)), labels)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    loss.item()  # it logs the mean


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
            f"{SIZE} px, batch {BATCH}, all weights trained, from random ones; {settings['rounds']} rounds of {settings['steps']} steps, in turns. "
            f"timm's loop "
            "is that of its training script, put together from its package, with its default loader, augmentation, optimiser and loss, and channels "
            "last. Syntype's loop has its own augmentation, keeps a moving average of the weights, and does not update the batch statistics.",
            "",
            NOTICE,
        ],
    )


if __name__ == "__main__":
    main()
