"""Copies: the training photographs, unchanged. Needs no training. For studies, as the negative control.

Copies add no information. A study in which they seem to help has measured something else, such as more gradient steps on rare species, or a leak; and
the copy detector must reject all of them.

Paper: none.
Code: written for Syntype.
Weights: none; the generator's file contains the photographs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from syntype.compute.runtime import Runtime
from syntype.errors import UnsupportedError
from syntype.generators.contract import Batch, GenerativeModel, GeneratorConfig, TrainingData
from syntype.generators.copy_paste.image_store import ImageStore

__all__ = ["Copies"]


class Copies(GenerativeModel):
    """Returns training photographs of the requested species.

    ``generator`` is an ``ImageStore``: uint8 pixels, sorted by species.
    """

    Config = GeneratorConfig
    learns: ClassVar[bool] = False
    digital_source_type: ClassVar[str] = "digitalCapture"
    """IPTC: captured from a real-life source using a digital camera."""

    generator: ImageStore

    def __init__(self, config: GeneratorConfig, species: Sequence[str]) -> None:
        super().__init__(config, species)
        self.generator = ImageStore(len(self.species), config.size)

    def prepare(self, data: TrainingData, runtime: Runtime) -> None:
        """Store the training photographs."""
        self.generator.fill(data)
        self.generator.to(runtime.device)

    def training_step(self, batch: Batch) -> dict[str, float | Tensor]:
        """Not available, as there is nothing to train.

        Raises:
            UnsupportedError: always.
        """
        raise UnsupportedError("copies: has no training steps; use prepare alone.")

    def sample(self, species: Sequence[str], seeds: Sequence[int], **controls: Any) -> Tensor:
        """Training photograph number ``seed`` (modulo their number) of each species: float32, shape (N, 3, size, size), in [-1, 1].

        Raises:
            UnknownNameError: a species that is not in the generator's vocabulary.
            UnsupportedError: a species without a training photograph.
        """
        rows = self.generator.choose(self.labels_of(species), seeds, self.species)
        pixels = self.generator.pixels
        return pixels[torch.tensor(rows, dtype=torch.int64, device=pixels.device)].to(torch.float32).div(127.5).sub(1.0)
