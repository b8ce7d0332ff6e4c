"""What the adversarial families on ``FastGANGenerator`` have in common: drawing and its abilities, the hinge loss, a new species.

A family adds what judges its images: ``prepare`` builds it and fills ``optimisers``, ``training_step`` asks it and hands its logits to
``hinge_step``.
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
from syntype.generators.gans.latent_search import LatentControls, fill_in, invert
from syntype.generators.networks.fastgan_generator import FastGANGenerator

__all__ = ["FastGANBase", "FastGANBaseConfig"]

OUTSIDE_WEIGHT = 10.0
"""Weight of the mean square by which pixels lie outside [-1, 1]: enough to keep nearly all of them inside."""


class FastGANBaseConfig(GeneratorConfig):
    """Settings of every family on ``FastGANGenerator``."""

    latent_dim: int = 128
    """Length of the latent vector."""
    embedding_dim: int = 64
    """Length of a species' embedding."""
    width: int = 24
    """Channels of the generator at 64 px; all others follow."""
    flip: bool = True
    """Mirror photographs at random (switch off for taxa whose sides differ, such as flatfish)."""


class FastGANBase(GenerativeModel):
    """A generator of images from latents and species, and whatever judges them.

    Attributes:
        optimisers: ``generator`` and that of the family's judge; set by ``prepare``, as is ``runtime``.
    """

    Controls = LatentControls
    quick_controls: ClassVar[dict[str, Any]] = {"search_steps": 40}

    config: FastGANBaseConfig
    generator: FastGANGenerator
    runtime: Runtime

    def __init__(self, config: FastGANBaseConfig, species: Sequence[str]) -> None:
        super().__init__(config, species)
        self.generator = self.build_generator()

    def build_generator(self) -> FastGANGenerator:
        """The generator, not yet trained."""
        c = self.config
        return FastGANGenerator(c.size, self.num_rows, c.latent_dim, c.embedding_dim, c.width)

    @property
    def num_rows(self) -> int:
        """Rows of the species' embeddings."""
        return len(self.species) if self.is_conditional else 1

    def rows(self, labels: Tensor) -> Tensor:
        """The row of each label in the embeddings."""
        return labels if self.is_conditional else torch.zeros_like(labels)

    def real_and_fake(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The batch's photographs, mirrored at random, and as many generated images of the same species."""
        real, _ = mirror(batch.images_NCHW, self.config.flip)
        latents = torch.randn(len(real), self.config.latent_dim, device=real.device)
        with self.runtime.autocast():
            fake = self.generator(latents, self.rows(batch.labels)).float()
        return real, fake

    def hinge_step(
        self,
        real: Tensor,
        fake: Tensor,
        on_real: Sequence[Tensor],
        on_fake: Sequence[Tensor],
        judge: str,
        *,
        for_generator: Tensor | float = 0.0,
        for_judge: Tensor | float = 0.0,
    ) -> dict[str, float | Tensor]:
        """Step both networks by the hinge loss (Lim & Ye 2017, arXiv 1705.02894), summed over the judge's outputs; figures for the progress log.

        Both were judged once and step from there (simultaneous, not alternating, gradients): a pass through the discriminators less.

        Args:
            real, fake: as ``real_and_fake`` gives them.
            on_real, on_fake: logits of each output; positive means real.
            judge: name of the part that judged, and of its optimiser.
            for_generator, for_judge: what else each is to lower.
        """
        loss_d = total(F.relu(1 - r).mean() + F.relu(1 + f).mean() for r, f in zip(on_real, on_fake, strict=True))
        loss_g = -total(x.mean() for x in on_fake)
        outside = F.relu(fake.abs() - 1).square().mean()
        # the generator first: its gradient runs through the judge's weights, which must still be those that judged
        stepped = self.runtime.update(
            loss_g + OUTSIDE_WEIGHT * outside + for_generator, self.generator.parameters(), self.optimisers["generator"], keep_graph=True
        )
        stepped &= self.runtime.update(loss_d + for_judge, self.get_submodule(judge).parameters(), self.optimisers[judge])
        return {
            "loss_discriminator": loss_d.detach(),
            "loss_generator": loss_g.detach(),
            "logit_real": total(x.mean() for x in on_real).detach() / len(on_real),
            "logit_fake": total(x.mean() for x in on_fake).detach() / len(on_fake),
            "spread": (pair_distance(fake) / pair_distance(real)).detach(),
            "skipped": float(not stepped),
        }

    @torch.inference_mode()
    def sample(self, species: Sequence[str], seeds: Sequence[int], **controls: Any) -> Tensor:
        """Draw images; the latent of an image is a function of its species and seed alone."""
        return self.draw(species, seeds).clamp_(-1, 1).cpu()

    @torch.inference_mode()
    def blend(
        self, species: Sequence[tuple[str, str]], seeds: Sequence[tuple[int, int]], amounts: Sequence[float], of: BlendOf, **controls: Any
    ) -> Tensor:
        """Latents and species' codes move on great circles (``slerp``): where the generator was trained, all of them have about one length."""
        t = torch.tensor(amounts, dtype=torch.float32)
        still = torch.zeros_like(t)
        ends = [self.ready([pair[side] for pair in species], [pair[side] for pair in seeds]) for side in (0, 1)]
        (first, first_rows), (second, second_rows) = ends
        latents = self.between(first, second, still if of == "species" else t)
        codes = slerp(self.generator.species_code(first_rows), self.generator.species_code(second_rows), still if of == "latent" else t)
        return self.generator.synthesise(latents, codes).float().clamp_(-1, 1).cpu()

    def between(self, first: Tensor, second: Tensor, amounts: Tensor) -> Tensor:
        """Latents between those of two draws, shape (N, the generator's latent_dim); exactly the first at 0 and the second at 1."""
        return slerp(first, second, amounts)

    def vary(self, images_NCHW: Tensor, species: Sequence[str], seeds: Sequence[int], strength: float, **controls: Any) -> Tensor:
        """Go from each photograph's own latent (strength 0) to the seed's, which draws what ``sample`` does (1)."""
        start, rows = self.ready(species, seeds)
        own = self.latents_of(images_NCHW, species, seeds, **controls)
        with torch.no_grad():
            latents = self.between(own, start, torch.full((len(start),), strength))
            return self.generator(latents, rows).float().clamp_(-1, 1).cpu()

    def latents_of(self, images_NCHW: Tensor, species: Sequence[str], seeds: Sequence[int], **controls: Any) -> Tensor:
        """The latents that draw these photographs as nearly as can be, shape (N, the generator's latent_dim): a search from those of the seeds."""
        start, rows = self.ready(species, seeds)
        nowhere = torch.zeros_like(images_NCHW[:, :1], dtype=torch.bool)
        steps, rate = controls["search_steps"], controls["search_rate"]
        return invert(lambda latents: self.generator(latents, rows), start, images_NCHW, nowhere, steps=steps, rate=rate)

    def inpaint(self, images_NCHW: Tensor, masks_N1HW: Tensor, species: Sequence[str], seeds: Sequence[int], **controls: Any) -> Tensor:
        """Look for the latent whose image agrees with what is known of each photograph; another seed begins elsewhere and fills in otherwise."""
        start, rows = self.ready(species, seeds)
        steps, rate = controls["search_steps"], controls["search_rate"]
        return fill_in(lambda latents: self.generator(latents, rows), start, images_NCHW, masks_N1HW, steps=steps, rate=rate)

    def ready(self, species: Sequence[str], seeds: Sequence[int]) -> tuple[Tensor, Tensor]:
        """To draw: latents of the seeds, and rows of the species in the embeddings, both on the generator's device; no statistics are gathered."""
        self.generator.eval()
        labels, device = self.labels_of(species), next(self.generator.parameters()).device
        return self.seeded_latents(labels, seeds).to(device), self.rows(labels).to(device)

    def draw(self, species: Sequence[str], seeds: Sequence[int]) -> Tensor:
        """The images of ``sample``, neither clamped nor cut off from the weights."""
        return self.generator(*self.ready(species, seeds)).float()

    def seeded_latents(self, labels: Tensor, seeds: Sequence[int]) -> Tensor:
        """The latent of each image to draw, a function of its species and seed alone: shape (N, the generator's latent_dim)."""
        return seeded_normal(seeds, (self.config.latent_dim,))

    def add_species(self, name: str, relative: str | None) -> None:
        """Add a species whose embedding starts as its relative's (or the mean of all); an unconditional generator has one for all."""
        if self.is_conditional:
            old = self.generator.embedding.weight.data
            row = old.mean(0) if relative is None else old[self._position[relative]]
            self.generator.embedding = nn.Embedding.from_pretrained(torch.cat([old, row[None]]), freeze=False)
        self._position[name] = len(self.species)
        self.species = (*self.species, name)

    def restore_part(self, part: str, state: dict[str, Tensor], relative: str | None) -> None:
        """Take over a trained part; tensors with a row a species gain one for the species added last."""
        for name, tensor in self.get_submodule(part).state_dict().items():
            trained = state[f"{part}.{name}"]
            if trained.shape != tensor.shape:
                row = trained.mean(0, keepdim=True) if relative is None else trained[self._position[relative]][None]
                trained = torch.cat([trained, row])
            tensor.copy_(trained)

    def scale_rates(self, factor: float) -> None:
        """Multiply the learning rates of both optimisers."""
        for optimiser in self.optimisers.values():
            for group in optimiser.param_groups:
                group["lr"] *= factor

    def adaptable_parameters(self) -> dict[str, nn.Parameter]:
        """Everything that the generator learns."""
        return dict(self.generator.named_parameters())


def total(terms: Iterable[Tensor]) -> Tensor:
    """Sum of scalars."""
    return torch.stack(list(terms)).sum()


def pair_distance(images_NCHW: Tensor) -> Tensor:
    """Mean absolute difference of the images 2i and 2i + 1, which show one species, at an eighth of their side: layout and light."""
    small = F.avg_pool2d(images_NCHW, 8)
    return (small[::2] - small[1::2]).abs().mean()
