"""Training of backbone and head together: from scratch, or fine-tuning of a pre-trained backbone with a fitted head."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from syntype.compute.ema import MovingAverage, warmup_decay
from syntype.compute.runtime import Runtime
from syntype.compute.tensors import to_tensor
from syntype.encoders import SCRATCH, Backbone, Head
from syntype.identification.adapters import add_adapters
from syntype.identification.augment import augment
from syntype.identification.calibration import Calibration
from syntype.identification.classifier import ClassifierConfig, FittedClassifier, LabelledImages
from syntype.identification.features import embed
from syntype.identification.layers import freeze_early_layers, layer_numbers, parameter_groups
from syntype.identification.loop import BestWeights, batches_of, learning_rate_factor, objective_of, validation_steps
from syntype.identification.mixing import Targets, cutmix, mixup
from syntype.run import Run

__all__ = ["fit_network"]

_EMA = 0.998
"""Decay per step of the exponential moving average of the weights, which corresponds to an average over about 500 steps."""


def fit_network(train: LabelledImages, counts_real: np.ndarray, config: ClassifierConfig, seed: int, backbone: Backbone,
                start: FittedClassifier | None, val: LabelledImages | None, runtime: Runtime, run: Run) -> FittedClassifier:  # fmt: skip
    """Train backbone and head together.

    The optimiser is AdamW with warm-up and cosine decay, and with weight decay on matrices and convolution kernels only. An exponential moving
    average of the weights is validated and kept. A pre-trained backbone keeps its batch-normalisation statistics, and its learning rate
    is ``learning_rate * backbone_learning_rate_factor``.

    Args:
        backbone: Is trained in place.
        start: A fitted head to start from; None to initialise the head at random.
        runtime: Device and precision of validation and of the result. Those of training come from ``config``.

    The other arguments are those of ``fit``.

    Raises:
        TrainingError: The loss is not finite.
    """
    num_species, scratch, training = len(counts_real), config.backbone == SCRATCH, config.runtime(training=True)
    head = (_head(backbone.num_features, num_species, seed, config) if start is None else start.head.requires_grad_(True)).to(runtime.device)
    adapted = add_adapters(backbone.network, config.lora_rank, seed) if config.tune == "lora" else None
    if config.tune == "last":
        freeze_early_layers(backbone)
    model = nn.ModuleDict({"backbone": backbone.network, "head": head})
    averaged = MovingAverage(model)
    optimiser = torch.optim.AdamW(_groups(backbone, head, config), fused=True)
    batches = batches_of(train, config, config.steps, seed)
    objective = objective_of(train, counts_real, config, head.scale, runtime.device)
    best, validated_after = BestWeights(None if val is None else val.labels, num_species, run), validation_steps(config.steps)
    with run.progress("classifier", config.steps) as bar:
        for step, rows in enumerate(batches):
            model.train(scratch)
            images, targets = _batch(train, rows, config, np.random.default_rng([seed, 4, step]), runtime)
            loss = objective(head(embed(backbone, images, config.input_size, training)), targets, step / config.steps)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            for group in optimiser.param_groups:
                group["lr"] = group["highest"] * learning_rate_factor(step, config.steps)
            optimiser.step()
            averaged.update(warmup_decay(step, _EMA))
            if step + 1 in validated_after:
                logits = None if val is None else _validation_logits(model, averaged, backbone, val, config, runtime)
                best.record(step + 1, loss.item(), logits, averaged.average)
            bar.advance()
    model.load_state_dict(best.best)
    if adapted is not None:
        adapted.merge_and_unload()
    model.eval()
    return FittedClassifier(config, backbone, head.requires_grad_(False), runtime, Calibration(), best.best_step, tuple(best.history))


def _head(num_features: int, num_species: int, seed: int, config: ClassifierConfig) -> Head:
    weight = torch.empty(num_species, num_features).normal_(0.0, 0.01, generator=torch.Generator().manual_seed(seed))
    if config.has_cosines:
        return Head(weight, None, torch.zeros(num_features), torch.ones(num_features))
    return Head(weight, torch.zeros(num_species))


def _groups(backbone: Backbone, head: Head, config: ClassifierConfig) -> list[dict[str, Any]]:
    """Parameter groups of the optimiser, each with its highest learning rate; weight decay on matrices and convolution kernels only."""
    highest, scales = config.learning_rate, None
    if config.backbone != SCRATCH:
        assert config.backbone_learning_rate_factor is not None  # the settings fill it in
        highest *= config.backbone_learning_rate_factor
        if config.layer_decay < 1:
            numbers = layer_numbers(backbone)
            scales = {name: config.layer_decay ** (max(numbers.values()) - number) for name, number in numbers.items()}
    return [
        *parameter_groups(backbone.network, config.weight_decay, highest, scales),
        *parameter_groups(head, config.weight_decay, config.learning_rate),
    ]


def _batch(train: LabelledImages, rows: np.ndarray, config: ClassifierConfig, random: np.random.Generator,
           runtime: Runtime) -> tuple[Tensor, Targets]:  # fmt: skip
    images = to_tensor(train.images[rows], runtime.device)
    images = augment(images, torch.from_numpy(random.random((len(rows), config.augment.num_uniform), dtype=np.float32)), config.augment)
    targets = train.targets(rows, config).to(runtime.device)
    if config.mix == "none":
        return images, targets
    other = torch.from_numpy(random.permutation(len(rows))).to(runtime.device)
    share = random.beta(config.mix_alpha, config.mix_alpha, size=len(rows))
    if config.mix == "mixup":
        remaining = torch.from_numpy(share.astype(np.float32)).to(runtime.device)
        images = mixup(images, images[other], remaining)
    else:
        share = np.where(random.random(len(rows)) < 0.5, share, 1.0)  # on average, half the images of a batch stay unmixed
        images, remaining = cutmix(images, images[other], share, random.random((len(rows), 2)))
    return images, targets.mixed_with(targets.rows(other), remaining.to(runtime.device))


@torch.no_grad()
def _validation_logits(model: nn.ModuleDict, averaged: MovingAverage, backbone: Backbone, val: LabelledImages, config: ClassifierConfig,
          runtime: Runtime) -> np.ndarray:  # fmt: skip
    """Logits of the validation images with the averaged weights. The model's own weights are restored afterwards."""
    averaged.swap()
    model.eval()
    rows = []
    for first in range(0, len(val), 128):
        features = embed(backbone, to_tensor(val.images[first : first + 128], runtime.device), config.input_size, runtime)
        rows.append(model["head"](features).cpu().numpy())
    averaged.swap()
    return np.concatenate(rows)
