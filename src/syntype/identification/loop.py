"""What both ways of training share: the learning learning_rate_factor, and which step's weights are kept."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from torch import Tensor

from syntype.errors import TrainingError
from syntype.identification.metrics import measure
from syntype.run import Run

__all__ = ["BestWeights", "validation_steps", "learning_rate_factor"]

_LOOKS = 10


def learning_rate_factor(step: int, steps: int) -> float:
    """Share of the highest learning rate at ``step`` (from 0): linear warm-up over 5 % of the steps, then cosine to 0."""
    warm = max(1, steps // 20)
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def validation_steps(steps: int) -> frozenset[int]:
    """Numbers of steps taken after which the validation images are looked at: ten, evenly spread, the last step among them."""
    return frozenset(math.ceil(steps * (look + 1) / _LOOKS) for look in range(_LOOKS))


class BestWeights:
    """Keeps the weights of the step with the highest macro recall on the validation images; of equals the latest.

    Args:
        labels: true species of the validation images, or None without any: then the last weights are kept.
        num_species: length of the vocabulary.
    """

    def __init__(self, labels: np.ndarray | None, num_species: int, run: Run) -> None:
        self.labels, self.num_species, self.run = labels, num_species, run
        self.best_step = 0
        self.best: dict[str, Tensor] = {}
        self.history: list[dict[str, Any]] = []
        self._highest = -1.0

    def look(self, step: int, loss: float, logits: np.ndarray | None, weights: dict[str, Tensor]) -> None:
        """Record a look after ``step`` steps; ``logits`` of the validation images, shape (N, C), or None without any.

        Raises:
            TrainingError: the loss is no longer a number.
        """
        if not math.isfinite(loss):
            raise TrainingError(f"the classifier's loss was {loss} after {step} steps. Try a lower learning rate (lr).")
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
