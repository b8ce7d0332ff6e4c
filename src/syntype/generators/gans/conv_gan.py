"""What the convolutional GANs have in common: drawing from latents, blending, filling in, and their two networks and optimisers.

A family says what its networks are told of the species (``build_condition``) and how they are built; ``non_saturating.py`` and ``wasserstein.py``
train them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Self

import torch
from pydantic import Field
from torch import Tensor, nn

from syntype.compute.runtime import Runtime
from syntype.compute.tensors import seeded_normal, slerp
from syntype.generators.contract import BlendOf, GenerativeModel, GeneratorConfig
from syntype.generators.gans.latent_search import LatentSearchControls, inpaint_by_search
from syntype.generators.networks.conv import ConvDiscriminator, ConvGenerator, NoCondition, initialise_weights

__all__ = ["ConvGAN", "ConvGANConfig"]


class ConvGANConfig(GeneratorConfig):
    """Settings of every convolutional GAN."""

    size: int = Field(64, ge=32, le=256)
    """Side of the square images, in pixels."""
    latent_dim: int = Field(128, ge=1)
    """Length of the latent vector."""
    width: int = Field(32, ge=4)
    """Channels of both networks at half the images' side; twice that at a quarter, at most eight times."""
    generator_learning_rate: float = Field(2e-4, gt=0)
    """Adam's learning rate of the generator."""
    flip: bool = True
    """Mirror photographs at random (switch off for taxa whose sides differ, such as flatfish)."""

    @classmethod
    def tiny(cls, size: int = 32) -> Self:
        """A model that trains in seconds."""
        return cls(size=size, latent_dim=16, width=8)


class ConvGAN(GenerativeModel):
    """A generator of images from latents and, where the family says so, species; and a network that judges them.

    Attributes:
        critic: what judges; set by ``prepare``, as are ``optimisers`` (named ``generator`` and ``critic``) and ``runtime``.
    """

    Controls = LatentSearchControls
    validation_controls: ClassVar[dict[str, Any]] = {"search_steps": 40}
    transposed: ClassVar[bool]
    """Whether the generator's side doubles by transposed convolutions."""
    normalised: ClassVar[bool]
    """Whether the critic has batch normalisation."""
    initial_std: ClassVar[float | None]
    """Of the weights at first, as for ``initialise_weights``."""
    betas: ClassVar[tuple[float, float]]
    """Of Adam."""
    config: ConvGANConfig
    generator: ConvGenerator
    runtime: Runtime

    def __init__(self, config: ConvGANConfig, species: Sequence[str]) -> None:
        super().__init__(config, species)
        species_encoder, self.condition_dim = self.build_condition()
        self.generator = ConvGenerator(config.size, config.latent_dim, config.width, species_encoder, self.condition_dim, transposed=self.transposed)
        initialise_weights(self.generator, self.initial_std)

    def build_condition(self) -> tuple[nn.Module, int]:
        """What a network is told of the labels, and its length: nothing, unless the family says otherwise. Called for each network."""
        return NoCondition(), 0

    @property
    def is_conditional(self) -> bool:
        """Whether the networks are told the species, or there is only one."""
        return self.condition_dim > 0 or len(self.species) == 1

    def build_discriminator(self) -> ConvDiscriminator:
        """The discriminator (in a Wasserstein GAN: the critic), with its initial weights."""
        network = ConvDiscriminator(self.config.size, self.config.width, *self.build_condition(), normalised=self.normalised)
        initialise_weights(network, self.initial_std)
        return network

    def build_optimisers(self, runtime: Runtime, learning_rates: dict[str, float]) -> None:
        """Move the networks to the device and give each an Adam optimiser.

        Args:
            learning_rates: by the name of the attribute that holds the network, which is also the optimiser's name.
        """
        self.runtime = runtime
        self.to(runtime.device).to(memory_format=torch.channels_last)
        self.optimisers = {
            name: torch.optim.Adam(self.get_submodule(name).parameters(), lr=rate, betas=self.betas, fused=True)
            for name, rate in learning_rates.items()
        }

    def generate_fakes(self, labels: Tensor) -> Tensor:
        """One image of each label from a new latent, float32, for a training step."""
        latents = torch.randn(len(labels), self.config.latent_dim, device=labels.device)
        with self.runtime.autocast():
            return self.generator(latents, self.generator.species_encoder(labels)).float()

    @torch.inference_mode()
    def sample(self, species: Sequence[str], seeds: Sequence[int], **controls: Any) -> Tensor:
        """Draw images; the latent of an image is a function of its seed alone."""
        return self._generate(self._latents(seeds), self._conditions(species))

    @torch.inference_mode()
    def blend(
        self, species: Sequence[tuple[str, str]], seeds: Sequence[tuple[int, int]], amounts: Sequence[float], of: BlendOf, **controls: Any
    ) -> Tensor:
        """Draw from latents on the great circle between two, and from what the generator is told of two species, mixed in a straight line."""
        latents, conditions = self._latents([pair[0] for pair in seeds]), self._conditions([pair[0] for pair in species])
        amount = torch.tensor(amounts, dtype=torch.float32, device=latents.device)
        if of in ("latent", "both"):
            latents = slerp(latents, self._latents([pair[1] for pair in seeds]), amount)
        if of in ("species", "both"):
            conditions = torch.lerp(conditions, self._conditions([pair[1] for pair in species]), amount[:, None])
        return self._generate(latents, conditions)

    def inpaint(self, images_NCHW: Tensor, masks_N1HW: Tensor, species: Sequence[str], seeds: Sequence[int], **controls: Any) -> Tensor:
        """Draw what is masked from the latent whose image agrees best with the rest; the search begins at the seed's own latent."""
        search = LatentSearchControls.parse(controls, "controls")
        conditions = self._conditions(species).detach()
        self.generator.eval()
        return inpaint_by_search(
            lambda latents: self.generator(latents, conditions),
            self._latents(seeds),
            images_NCHW,
            masks_N1HW,
            steps=search.search_steps,
            learning_rate=search.search_learning_rate,
        )

    def _latents(self, seeds: Sequence[int]) -> Tensor:
        return seeded_normal(seeds, (self.config.latent_dim,)).to(self._device)

    def _conditions(self, species: Sequence[str]) -> Tensor:
        return self.generator.species_encoder(self.labels_of(species).to(self._device))

    @property
    def _device(self) -> torch.device:
        return self.generator.start.weight.device

    def _generate(self, latents: Tensor, conditions: Tensor) -> Tensor:
        self.generator.eval()
        return self.generator(latents, conditions).float().cpu()
