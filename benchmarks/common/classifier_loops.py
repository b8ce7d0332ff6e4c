"""A timm network that is trained by the classifier's loop, and by timm's own: what ``classifier_speed`` and ``gpu`` compare.

timm's training script is not in its package, so its loop is put together here from the package's parts as that script does with its defaults: its
loader with its augmentation, its optimiser, its loss, autocast around network and loss; channels last, which it offers and is the faster.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import timm
import torch
from PIL import Image
from timm.data import create_dataset, create_loader, resolve_data_config
from timm.loss import LabelSmoothingCrossEntropy
from timm.optim import create_optimizer_v2
from torch import Tensor, nn

from syntype.encoders import build_classifier_backbone
from syntype.identification import ClassifierConfig, LabelledImages
from syntype.identification.network import fit_network
from syntype.run import Run

__all__ = ["finish", "ours", "saved", "timms"]


def saved(photographs: LabelledImages, folder: Path) -> Path:
    """The photographs as files, a folder a species, as timm's loader reads them."""
    if not folder.is_dir():
        for number, (image, label) in enumerate(zip(photographs.images, photographs.labels, strict=True)):
            path = folder / f"{label:03d}" / f"{number:05d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path)
    return folder


def ours(
    photographs: LabelledImages, network: str, precision: str, steps: int, out: Path, *, batch: int = 32, device: str = "cpu", warm: int = 3,
    compiled: bool = False,
) -> float:  # fmt: skip
    """Images a second of fine-tuning: the time that more steps take beyond a few, so that what is done once cancels.

    Args:
        photographs: square images and their labels.
        network: a timm model's name; its weights are random.
        precision: ``fp32`` or ``bf16``.
        steps: number of steps that are timed.
        out: where the random weights are kept.
        batch: images a step.
        device: ``cpu`` or ``cuda``.
        warm: steps that are taken before.
        compiled: with ``torch.compile``; the time that compiling takes is left out.
    """
    weights = out / f"{network}.pth"
    if not weights.exists():
        out.mkdir(parents=True, exist_ok=True)
        torch.save(timm.create_model(network).state_dict(), weights)
    counts, size = np.bincount(photographs.labels), photographs.images.shape[1]
    taken = []
    for number in (*[warm] * compiled, warm, warm + steps):  # the first time fills the compiler's cache
        settings = {"backbone": f"timm:{network}:{weights}", "tune": "all", "size": size, "encoder_size": size, "batch_size": batch, "steps": number}
        config = ClassifierConfig.parse({**settings, "precision": precision, "device": device})
        backbone, runtime = build_classifier_backbone(config.backbone), config.runtime()
        backbone.network.to(runtime.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        if compiled:
            backbone.network.compile()
        finish(device)
        began = time.monotonic()
        fit_network(photographs, counts, config, 0, backbone, None, None, runtime, Run.silent())
        finish(device)
        taken.append(time.monotonic() - began)
    return steps * batch / (taken[-1] - taken[-2])


def timms(
    folder: Path, photographs: LabelledImages, network: str, precision: str, steps: int, *, batch: int = 32, device: str = "cpu", warm: int = 3
) -> float:
    """Images a second of timm's loop, its data loader included, after the first steps. Arguments as for ``ours``; ``folder`` is that of ``saved``."""
    size = photographs.images.shape[1]
    model = timm.create_model(network, num_classes=len(np.bincount(photographs.labels))).to(device, memory_format=torch.channels_last).train()
    optimiser = create_optimizer_v2(model, opt="sgd", lr=0.05, weight_decay=2e-5, momentum=0.9)
    config = resolve_data_config({"input_size": (3, size, size)}, model=model)
    loader = create_loader(
        create_dataset("", root=str(folder)),
        input_size=config["input_size"],
        batch_size=batch,
        is_training=True,
        use_prefetcher=device != "cpu",
        interpolation="random",
        mean=config["mean"],
        std=config["std"],
        num_workers=torch.get_num_threads() if device == "cpu" else os.cpu_count() or 1,
        device=torch.device(device),
    )
    loss_of = LabelSmoothingCrossEntropy(0.1)
    batches = _forever(loader)
    for number in range(warm + steps):
        if number == warm:
            finish(device)
            began = time.monotonic()
        _one_step(model, optimiser, loss_of, *next(batches), precision, device)
    finish(device)
    return steps * batch / (time.monotonic() - began)


def finish(device: str) -> None:
    """Wait until the device has done what it was given."""
    if device == "cuda":
        torch.cuda.synchronize()


def _forever(loader: torch.utils.data.DataLoader) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches, epoch after epoch."""
    while True:
        yield from loader


def _one_step(
    model: nn.Module, optimiser: torch.optim.Optimizer, loss_of: nn.Module, images: Tensor, labels: Tensor, precision: str, device: str
) -> None:
    """A step as timm's script takes it."""
    half = torch.autocast(device, dtype=torch.bfloat16) if precision == "bf16" else contextlib.nullcontext()
    with half:
        loss = loss_of(model(images.contiguous(memory_format=torch.channels_last)), labels)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    if device == "cpu":
        loss.item()  # it logs the mean; on a GPU only now and then
