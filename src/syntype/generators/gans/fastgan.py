"""Base of the families with FastGAN's generator: sampling and abilities, hinge loss, and adding a species.

A family adds its discriminator: ``prepare`` builds it and fills ``optimisers``; ``training_step`` computes logits and calls ``hinge_step``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from syntype.compute.runtime import Runtime
from syntype.compute.tensors import seeded_normal, slerp
from syntype.generators.augmentation import mirror
from syntype.generators.contract import Batch, BlendOf, GenerativeModel, GeneratorConfig
from syntype.generators.gans.diversity import pair_distance
from syntype.generators.gans.latent_search import LatentSearchControls, inpaint_by_search, invert
from syntype.generators.networks.fastgan_generator import FastGANGenerator

__all__ = ["FastGANBase", "FastGANBaseConfig"]

RANGE_PENALTY_WEIGHT = 10.0
"""Weight of the mean squared distance by which pixels lie outside [-1, 1]; keeps nearly all of them inside."""


class FastGANBaseConfig(GeneratorConfig):
    """Settings of every family with FastGAN's generator."""

    latent_dim: int = 128
    """Length of the latent vector."""
    embedding_dim: int = 64
    """Length of a species' embedding."""
    width: int = 24
    """Channels of the generator at 64 px; all others follow."""
    flip: bool = True
    """Mirror photographs at random (switch off for taxa with asymmetric sides, such as flatfish)."""


class FastGANBase(GenerativeModel):
    """A generator of images from latents and species. Subclasses add the training.

    Attributes:
        optimisers: ``generator`` and, if any, the discriminator's; set by ``prepare``, as is ``runtime``.
    """

    Controls = LatentSearchControls
    validation_controls: ClassVar[dict[str, Any]] = {"search_steps": 40}

    config: FastGANBaseConfig
    generator: FastGANGenerator
    runtime: Runtime

    def __init__(self, config: FastGANBaseConfig, species: Sequence[str]) -> None:
        super().__init__(config, species)
        self.generator = self.build_generator()

    def build_generator(self) -> FastGANGenerator:
        """The generator with its initial weights."""
        c = self.config
        return FastGANGenerator(c.size, self.num_embeddings, c.latent_dim, c.embedding_dim, c.width)

    @property
    def num_embeddings(self) -> int:
        """Number of species embeddings; 1 for an unconditional generator."""
        return len(self.species) if self.is_conditional else 1

    def embedding_indices(self, labels: Tensor) -> Tensor:
        """Index of each label's embedding: int64, shape (N,)."""
        return labels if self.is_conditional else torch.zeros_like(labels)

    def real_and_fake(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The batch's photographs, mirrored at random, and as many generated images of the same species."""
        real, _ = mirror(batch.images_NCHW, self.config.flip)
        latents = torch.randn(len(real), self.config.latent_dim, device=real.device)
        with self.runtime.autocast():
            fake = self.generator(latents, self.embedding_indices(batch.labels)).float()
        return real, fake

    def hinge_step(
        self,
        real: Tensor,
        fake: Tensor,
        logits_real: Sequence[Tensor],
        logits_fake: Sequence[Tensor],
        discriminator_name: str,
        *,
        extra_generator_loss: Tensor | float = 0.0,
        extra_discriminator_loss: Tensor | float = 0.0,
    ) -> dict[str, float | Tensor]:
        """One step of generator and discriminator with the hinge loss (Lim & Ye 2017, arXiv 1705.02894), summed over the outputs.

        Both networks are updated from the same forward pass (simultaneous, not alternating, gradients), which saves one pass through the
        discriminator.

        Args:
            real, fake: as ``real_and_fake`` returns them.
            logits_real, logits_fake: of each output; positive means real.
            discriminator_name: name of the discriminator's attribute and optimiser.
            extra_generator_loss, extra_discriminator_loss: added to each network's loss.

        Returns:
            figures for the progress log.
        """
        loss_d = _sum(F.relu(1 - r).mean() + F.relu(1 + f).mean() for r, f in zip(logits_real, logits_fake, strict=True))
        loss_g = -_sum(x.mean() for x in logits_fake)
        outside = F.relu(fake.abs() - 1).square().mean()
        # the generator first: its gradient needs the discriminator's weights as they were in the forward pass
        stepped = self.runtime.backward_and_step(
            loss_g + RANGE_PENALTY_WEIGHT * outside + extra_generator_loss, self.generator.parameters(), self.optimisers["generator"], keep_graph=True
        )
        stepped &= self.runtime.backward_and_step(
            loss_d + extra_discriminator_loss, self.get_submodule(discriminator_name).parameters(), self.optimisers[discriminator_name]
        )
        return {
            "loss_discriminator": loss_d.detach(),
            "loss_generator": loss_g.detach(),
            "logit_real": _sum(x.mean() for x in logits_real).detach() / len(logits_real),
            "logit_fake": _sum(x.mean() for x in logits_fake).detach() / len(logits_fake),
            "diversity": (pair_distance(fake) / pair_distance(real)).detach(),
            "skipped": float(not stepped),
        }

    @torch.inference_mode()
    def sample(self, species: Sequence[str], seeds: Sequence[int], **controls: Any) -> Tensor:
        """Generate images; the latent of an image is a function of its species and seed alone. See ``GenerativeModel``."""
        return self.generate(species, seeds).clamp_(-1, 1).cpu()

    @torch.inference_mode()
    def blend(
        self, species: Sequence[tuple[str, str]], seeds: Sequence[tuple[int, int]], amounts: Sequence[float], of: BlendOf,
        individuals: Sequence[float] | None = None, **controls: Any,
    ) -> Tensor:  # fmt: skip
        """Interpolate latents and condition vectors spherically (``slerp``), as each kind has about one length in training. See ``Blends``."""
        t = torch.tensor(amounts, dtype=torch.float32)
        still = torch.zeros_like(t)
        along = t if individuals is None else torch.tensor(individuals, dtype=torch.float32)
        ends = [self.generator_inputs([pair[side] for pair in species], [pair[side] for pair in seeds]) for side in (0, 1)]
        (first, first_rows), (second, second_rows) = ends
        latents = self.interpolate_latents(first, second, still if of == "species" else along)
        conditions = slerp(
            self.generator.condition_vectors(first_rows), self.generator.condition_vectors(second_rows), still if of == "latent" else t
        )
        return self.generator.synthesise(latents, conditions).float().clamp_(-1, 1).cpu()

    def interpolate_latents(self, first: Tensor, second: Tensor, amounts: Tensor) -> Tensor:
        """Latents between ``first`` and ``second``, shape (N, the generator's latent_dim); exactly ``first`` at 0 and ``second`` at 1."""
        return slerp(first, second, amounts)

    def vary(self, images_NCHW: Tensor, species: Sequence[str], seeds: Sequence[int], strength: float, **controls: Any) -> Tensor:
        """Interpolate from the photograph's latent (strength 0) to the seed's latent (strength 1, equal to ``sample``). See ``Varies``."""
        start, rows = self.generator_inputs(species, seeds)
        own = self.find_latents(images_NCHW, species, seeds, **controls)
        with torch.no_grad():
            latents = self.interpolate_latents(own, start, torch.full((len(start),), strength))
            return self.generator(latents, rows).float().clamp_(-1, 1).cpu()

    def find_latents(self, images_NCHW: Tensor, species: Sequence[str], seeds: Sequence[int], **controls: Any) -> Tensor:
        """Latents whose images are nearest to the photographs (GAN inversion), searched from the seeds' latents: shape (N, the generator's
        latent_dim)."""
        start, rows = self.generator_inputs(species, seeds)
        nowhere = torch.zeros_like(images_NCHW[:, :1], dtype=torch.bool)
        steps, learning_rate = controls["search_steps"], controls["search_learning_rate"]
        return invert(lambda latents: self.generator(latents, rows), start, images_NCHW, nowhere, steps=steps, learning_rate=learning_rate)

    def inpaint(self, images_NCHW: Tensor, masks_N1HW: Tensor, species: Sequence[str], seeds: Sequence[int], **controls: Any) -> Tensor:
        """Inpaint from the latent whose image fits the unmasked pixels best, searched from the seed's latent. See ``Inpaints``."""
        start, rows = self.generator_inputs(species, seeds)
        steps, learning_rate = controls["search_steps"], controls["search_learning_rate"]
        return inpaint_by_search(
            lambda latents: self.generator(latents, rows), start, images_NCHW, masks_N1HW, steps=steps, learning_rate=learning_rate
        )

    def generator_inputs(self, species: Sequence[str], seeds: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Latents of the seeds and embedding indices of the species, on the generator's device. Switches the generator to evaluation mode."""
        self.generator.eval()
        labels, device = self.labels_of(species), next(self.generator.parameters()).device
        return self.seeded_latents(labels, seeds).to(device), self.embedding_indices(labels).to(device)

    def generate(self, species: Sequence[str], seeds: Sequence[int]) -> Tensor:
        """The images of ``sample``, differentiable in the generator's weights and not clamped."""
        return self.generator(*self.generator_inputs(species, seeds)).float()

    def seeded_latents(self, labels: Tensor, seeds: Sequence[int]) -> Tensor:
        """Latents as a function of species and seed alone: shape (N, the generator's latent_dim)."""
        return seeded_normal(seeds, (self.config.latent_dim,))

    def add_species(self, name: str, relative: str | None) -> None:
        """Add a species, whose embedding starts as the relative's (or the mean of all). An unconditional generator has one for all."""
        if self.is_conditional:
            old = self.generator.embedding.weight.data
            row = old.mean(0) if relative is None else old[self._label_of[relative]]
            self.generator.embedding = nn.Embedding.from_pretrained(torch.cat([old, row[None]]), freeze=False)
        self._label_of[name] = len(self.species)
        self.species = (*self.species, name)

    def restore_submodule(self, part: str, state: dict[str, Tensor], relative: str | None) -> None:
        """Load a trained submodule; tensors with one row a species get one more row for the species added last."""
        for name, tensor in self.get_submodule(part).state_dict().items():
            trained = state[f"{part}.{name}"]
            if trained.shape != tensor.shape:
                row = trained.mean(0, keepdim=True) if relative is None else trained[self._label_of[relative]][None]
                trained = torch.cat([trained, row])
            tensor.copy_(trained)

    def scale_learning_rates(self, factor: float) -> None:
        """Multiply the learning rates of all optimisers."""
        for optimiser in self.optimisers.values():
            for group in optimiser.param_groups:
                group["lr"] *= factor

    def adaptable_parameters(self) -> dict[str, nn.Parameter]:
        """All parameters of the generator."""
        return dict(self.generator.named_parameters())


def _sum(terms: Iterable[Tensor]) -> Tensor:
    """Sum of scalars."""
    return torch.stack(list(terms)).sum()
