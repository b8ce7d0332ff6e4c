"""What the adversarial families on ``SkipGenerator`` have in common: drawing and its abilities, the hinge loss, a new species.

A family adds what judges its images: ``prepare`` builds it and fills ``optimisers``, ``training_step`` asks it and hands its logits to
``hinge_step``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from syntype.generators._latent import LatentControls, fill_in, invert
from syntype.generators._skip_generator import SkipGenerator
from syntype.generators.contract import Batch, BlendOf, GenerativeModel, GeneratorConfig, seeded_normal, slerp
from syntype.generators.runtime import Runtime

__all__ = ["SkipGAN", "SkipGANConfig"]

OUTSIDE_WEIGHT = 10.0
"""Weight of the mean square by which pixels lie outside [-1, 1]: enough to keep nearly all of them inside."""


class SkipGANConfig(GeneratorConfig):
    """Settings of every family on ``SkipGenerator``."""

    latent_dim: int = 128
    """Length of the latent vector."""
    embedding_dim: int = 64
    """Length of a species' embedding."""
    width: int = 24
    """Channels of the generator at 64 px; all others follow."""
    flip: bool = True
    """Mirror photographs at random (switch off for taxa whose sides differ, such as flatfish)."""


class SkipGAN(GenerativeModel):
    """A generator of images from latents and species, and whatever judges them.

    Attributes:
        optimisers: ``generator`` and that of the family's judge; set by ``prepare``, as is ``runtime``.
    """

    Controls = LatentControls
    quick_controls: ClassVar[dict[str, Any]] = {"inpaint_steps": 40}

    config: SkipGANConfig
    generator: SkipGenerator
    runtime: Runtime
    optimisers: dict[str, torch.optim.Optimizer]

    def __init__(self, config: SkipGANConfig, species: Sequence[str]) -> None:
        super().__init__(config, species)
        self.generator = self.build_generator()

    def build_generator(self) -> SkipGenerator:
        """The generator, not yet trained."""
        c = self.config
        return SkipGenerator(c.size, self.num_rows, c.latent_dim, c.embedding_dim, c.width)

    @property
    def num_rows(self) -> int:
        """Rows of the species' embeddings."""
        return len(self.species) if self.is_conditional else 1

    def rows(self, labels: Tensor) -> Tensor:
        """The row of each label in the embeddings."""
        return labels if self.is_conditional else torch.zeros_like(labels)

    def real_and_fake(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The batch's photographs, mirrored at random, and as many generated images of the same species."""
        real, _ = self.mirror(batch.images_NCHW)
        latents = torch.randn(len(real), self.config.latent_dim, device=real.device)
        with self.runtime.autocast():
            fake = self.generator(latents, self.rows(batch.labels)).float()
        return real, fake

    def mirror(self, images_NCHW: Tensor) -> tuple[Tensor, Tensor]:
        """The images, every other mirrored at random where the settings allow it; and which were: int64, shape (N,), 0 or 1."""
        if not self.config.flip:
            return images_NCHW, torch.zeros(len(images_NCHW), dtype=torch.int64, device=images_NCHW.device)
        mirrored = torch.rand(len(images_NCHW), device=images_NCHW.device) < 0.5
        return torch.where(mirrored[:, None, None, None], images_NCHW.flip(3), images_NCHW), mirrored.long()

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
        sides = [(self.labels_of([pair[side] for pair in species]), [pair[side] for pair in seeds]) for side in (0, 1)]
        t = torch.tensor(amounts, dtype=torch.float32)
        still = torch.zeros_like(t)
        self.generator.eval()
        device = next(self.generator.parameters()).device
        latents = self.between(*(self.seeded_latents(labels, own).to(device) for labels, own in sides), still if of == "species" else t)
        first, second = (self.generator.species_code(self.rows(labels).to(device)) for labels, _ in sides)
        codes = slerp(first, second, still if of == "latent" else t)
        return self.generator.synthesise(latents, codes).float().clamp_(-1, 1).cpu()

    def between(self, first: Tensor, second: Tensor, amounts: Tensor) -> Tensor:
        """Latents between those of two draws, shape (N, the generator's latent_dim); exactly the first at 0 and the second at 1."""
        return slerp(first, second, amounts)

    def vary(self, images_NCHW: Tensor, species: Sequence[str], seeds: Sequence[int], strength: float, **controls: Any) -> Tensor:
        """Look for each photograph's latent, then go from there towards the seed's own: 1 arrives, and draws what ``sample`` does."""
        draw, start = self.searched(species, seeds)
        everything = torch.zeros_like(images_NCHW[:, :1], dtype=torch.bool)
        steps = controls["inpaint_steps"] if strength < 1 else 0
        found = invert(draw, start, images_NCHW, everything, steps=steps, rate=controls["inpaint_rate"])
        with torch.no_grad():
            latents = self.between(found, start, torch.full((len(found),), strength))
            return draw(latents).clamp_(-1, 1).cpu()

    def inpaint(self, images_NCHW: Tensor, masks_N1HW: Tensor, species: Sequence[str], seeds: Sequence[int], **controls: Any) -> Tensor:
        """Look for the latent whose image agrees with what is known of each photograph; another seed begins elsewhere and fills in otherwise."""
        draw, start = self.searched(species, seeds)
        return fill_in(draw, start, images_NCHW, masks_N1HW, steps=controls["inpaint_steps"], rate=controls["inpaint_rate"])

    def searched(self, species: Sequence[str], seeds: Sequence[int]) -> tuple[Callable[[Tensor], Tensor], Tensor]:
        """For a search for latents: what draws the named species from them, and the latents of the seeds, where it starts."""
        labels = self.labels_of(species)
        self.generator.eval()
        device = next(self.generator.parameters()).device
        rows = self.rows(labels).to(device)
        return lambda latents: self.generator(latents, rows).float(), self.seeded_latents(labels, seeds).to(device)

    def draw(self, species: Sequence[str], seeds: Sequence[int]) -> Tensor:
        """The images of ``sample``, neither clamped nor cut off from the weights."""
        labels = self.labels_of(species)
        self.generator.eval()
        device = next(self.generator.parameters()).device
        return self.generator(self.seeded_latents(labels, seeds).to(device), self.rows(labels).to(device)).float()

    def seeded_latents(self, labels: Tensor, seeds: Sequence[int]) -> Tensor:
        """The latent of each image to draw, a function of its species and seed alone: shape (N, the generator's latent_dim)."""
        return seeded_normal(seeds, (self.config.latent_dim,))

    def training_state(self) -> dict[str, Any]:
        """State of both optimisers."""
        return {name: optimiser.state_dict() for name, optimiser in self.optimisers.items()}

    def load_training_state(self, state: dict[str, Any]) -> None:
        """Restore both optimisers."""
        for name, optimiser in self.optimisers.items():
            optimiser.load_state_dict(state[name])

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
