"""How long a classifier takes on this machine, measured on a few images before it is trained."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch

from syntype.encoders import build_classifier_backbone
from syntype.identification.adapters import add_adapters
from syntype.identification.classifier import ClassifierConfig
from syntype.identification.features import embed
from syntype.identification.fit import head_steps
from syntype.identification.layers import freeze_early_layers

__all__ = ["Speed", "measure_speed"]

_NUM_IMAGES = 8
_HEAD_STEP = 0.002
"""Seconds of a step of a head on cached features, on one core."""


@dataclass(frozen=True)
class Speed:
    """Seconds that a classifier's network takes for an image.

    Attributes:
        forward: features of an image.
        training: an image in a training step; 0 if the network is not trained.
    """

    forward: float
    training: float

    def seconds(self, config: ClassifierConfig, num_train: int, num_held_out: int) -> float:
        """Seconds of a ``fit`` of ``num_train`` images, in which ``num_held_out`` others are validated or predicted."""
        if config.frozen:
            return self.forward * (config.views * num_train + num_held_out) + config.steps * _HEAD_STEP
        heads = self.forward * 2 * num_train + 2 * head_steps(config) * _HEAD_STEP  # before the network, and refitted afterwards
        return config.steps * config.batch_size * self.training + 10 * num_held_out * self.forward + heads


def measure_speed(config: ClassifierConfig) -> Speed:
    """Time the network of ``config`` on eight images: one pass without gradients, and one with. Equal networks are timed once.

    Raises:
        UnknownNameError, UnsupportedError: See ``build_classifier_backbone``.
    """
    matters = ("backbone", "tune", "lora_rank", "size", "encoder_size", "device", "precision")
    return _measured(ClassifierConfig.parse({name: getattr(config, name) for name in matters}))


@cache
def _measured(config: ClassifierConfig) -> Speed:
    backbone, runtime = build_classifier_backbone(config.backbone), config.runtime(training=True)
    backbone.network.to(device=runtime.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    backbone.network.eval()
    images = torch.zeros(_NUM_IMAGES, 3, config.size, config.size)
    with torch.inference_mode():
        embed(backbone, images[:1], config.input_size, runtime)  # the first call also sets things up
        forward = _seconds(lambda: embed(backbone, images, config.input_size, runtime), runtime.device)
    if config.frozen:
        return Speed(forward / _NUM_IMAGES, 0.0)
    if config.tune == "last":
        freeze_early_layers(backbone)
    if config.tune == "lora":
        add_adapters(backbone.network, config.lora_rank, config.seed)
    step = _seconds(lambda: embed(backbone, images, config.input_size, runtime).sum().backward(), runtime.device)
    return Speed(forward / _NUM_IMAGES, step / _NUM_IMAGES)


def _seconds(call: Callable[[], object], device: torch.device) -> float:
    start = time.perf_counter()
    call()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start
