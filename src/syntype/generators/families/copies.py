"""``copies``: the training photographs themselves, unchanged. The study's negative control.

It adds no information, so a study in which it seems to help has measured something other than the images (more
gradient steps on rare species, a leak); and a copy detector must refuse every image that comes from here.

Origin: Syntype. Nothing is learnt; there are no weights.
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
    """Returns a training photograph of the species asked for.

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
        """Keep the training photographs."""
        self.generator.fill(data)
        self.generator.to(runtime.device)

    def training_step(self, batch: Batch) -> dict[str, float | Tensor]:
        """There is nothing to learn: raises ``UnsupportedError``."""
        raise UnsupportedError("copies: has no training steps; prepare does all.")

    def sample(self, species: Sequence[str], seeds: Sequence[int], **controls: Any) -> Tensor:
        """Training photograph number ``seed`` (modulo their number) of each species: float32, (N, 3, size, size), in [-1, 1].

        Raises:
            UnknownNameError: a species that the generator does not know.
            UnsupportedError: a species without a training photograph.
        """
        rows = self.generator.choose(self.labels_of(species), seeds, self.species)
        pixels = self.generator.pixels
        return pixels[torch.tensor(rows, dtype=torch.int64, device=pixels.device)].to(torch.float32).div(127.5).sub(1.0)
