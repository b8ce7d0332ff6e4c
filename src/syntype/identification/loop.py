"""Shared by both training loops: the learning-rate schedule, the batches, the loss, and the choice of the best weights by validation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from syntype.errors import TrainingError
from syntype.identification.classifier import ClassifierConfig, LabelledImages
from syntype.identification.losses import Objective
from syntype.identification.metrics import measure
from syntype.identification.sampling import SAMPLER_POWER, sample_batches, synthetic_frequencies
from syntype.run import Run

__all__ = ["BestWeights", "batches_of", "learning_rate_factor", "objective_of", "validation_steps"]

_NUM_VALIDATIONS = 10


def learning_rate_factor(step: int, steps: int) -> float:
    """Learning rate at ``step`` (from 0), as a fraction of the highest: linear warm-up over 5 % of the steps, then cosine decay to 0."""
    warm = max(1, steps // 20)
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def validation_steps(steps: int) -> frozenset[int]:
    """Numbers of completed steps after which to validate: ten, evenly spaced, including the last step."""
    return frozenset(math.ceil(steps * (number + 1) / _NUM_VALIDATIONS) for number in range(_NUM_VALIDATIONS))


def batches_of(train: LabelledImages, config: ClassifierConfig, steps: int, seed: int) -> np.ndarray:
    """The images of every batch of a training run, as ``sample_batches`` returns them.

    Args:
        train: Training images, real and synthetic.
        config: Settings.
        steps: Number of batches.
        seed: Seed of the draw.
    """
    return sample_batches(train.labels, train.synthetic, steps=steps, seed=seed, **_drawing(config))


def objective_of(
    train: LabelledImages, counts_real: np.ndarray, config: ClassifierConfig, scale: float, device: torch.device | str = "cpu"
) -> Objective:
    """The loss of a training run, with the class frequencies of its batches.

    Args:
        train: Training images, real and synthetic.
        counts_real: Number of *real* training images per species, int, shape (C,).
        config: Settings.
        scale: Factor on the cosines of a cosine head.
        device: Device of the logits.
    """
    added = synthetic_frequencies(train.labels, train.synthetic, num_species=len(counts_real), weight=config.synthetic_weight,
                                  seconds=train.seconds, second_shares=train.second_shares, **_drawing(config))  # fmt: skip
    return Objective(config.loss, config.loss_settings, counts_real, SAMPLER_POWER[config.sampler], scale, device, added)


def _drawing(config: ClassifierConfig) -> dict[str, Any]:
    """The settings by which batches are drawn, as ``sample_batches`` and ``synthetic_frequencies`` take them."""
    return {
        "batch_size": config.batch_size,
        "sampler": config.sampler,
        "max_synthetic": config.synthetic_share,
        "synthetic_until": config.synthetic_until,
    }


class BestWeights:
    """Keeps the weights with the highest macro recall on the validation images. If several are equal, it keeps the latest.

    Args:
        labels: True species of the validation images; None if there are none. Then the last weights are kept.
        num_species: Number of species in the vocabulary.
        run: Receives an event per validation.

    Attributes:
        best: The kept weights, name -> tensor.
        best_step: Number of steps after which they were recorded.
        history: One entry per validation: ``step``, ``loss``, and with validation images ``val_macro_recall`` and ``val_accuracy``.
    """

    def __init__(self, labels: np.ndarray | None, num_species: int, run: Run) -> None:
        self.labels, self.num_species, self.run = labels, num_species, run
        self.best_step = 0
        self.best: dict[str, Tensor] = {}
        self.history: list[dict[str, Any]] = []
        self._highest = -1.0

    def record(self, step: int, loss: float, logits: np.ndarray | None, weights: dict[str, Tensor]) -> None:
        """Validate after ``step`` steps.

        Args:
            step: Number of completed steps.
            loss: Training loss of the last batch.
            logits: Logits of the validation images, shape (N, C); None if there are none.
            weights: Current weights; they are copied if they are kept.

        Raises:
            TrainingError: The loss is not finite.
        """
        if not math.isfinite(loss):
            raise TrainingError(
                f"the classifier's loss was {loss} after {step} steps. Try a lower learning rate, for example --set learning_rate=3e-4."
            )
        entry: dict[str, Any] = {"step": step, "loss": loss}
        score = self._highest
        if logits is not None and self.labels is not None:
            found = measure(self.labels, logits.argmax(axis=1), np.zeros(self.num_species, np.int64))
            score = found.macro_recall
            entry.update(val_macro_recall=score, val_accuracy=found.accuracy)
        self.history.append(entry)
        self.run.event("classifier", **entry)
        if score >= self._highest:
            self._highest, self.best_step = score, step
            self.best = {name: value.detach().clone() for name, value in weights.items()}
