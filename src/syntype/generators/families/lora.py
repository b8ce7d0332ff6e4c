"""LoRA: one adapter for all species on a pre-trained text-to-image model. Needs the model's weights; for large ones a graphics card.

Paper: Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models" (arXiv 2106.09685). Contexts from photographs of other species: "Beyond
Objects: Contextual Synthetic Data Generation for Fine-Grained Classification" 2025 (arXiv 2510.24078). Variations of photographs: Trabucco et al.
2023, "Effective Data Augmentation With Diffusion Models" (DA-Fusion, arXiv 2302.07944); Wang et al. 2024, "Enhance Image Classification via
Inter-Class Image Mixup with Diffusion Model" (Diff-Mix, arXiv 2403.19600). Rows of species from photographs (``species_tokens``): after Khurana et
al. 2026, "TaxaAdapter" (arXiv 2603.26128).
Code: written for Syntype; the networks, the adapter's layers and the solvers are diffusers' and peft's (Apache-2.0).
Weights: those of the model named by ``base``, under its own licence; with ``species_tokens`` also those of ``species_encoder``.

The layers of the denoiser's attention get an adapter each; nothing else is trained. A species is told to the model by its names, so what the model
knows of these helps. Each photograph is encoded once, when it first occurs, and each text before training. A generator's folder holds the adapter
alone; its ``weights.safetensors`` is a file that other programs load as a LoRA of the base.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from syntype.collection.prompts import prompt
from syntype.compute.runtime import Runtime
from syntype.compute.tensors import seeded_normals, slerp, to_uint8
from syntype.encoders import Encoder
from syntype.errors import InputError, RecipeError, UnsupportedError
from syntype.generators.contract import Batch, BlendOf, GenerativeModel, TrainingData
from syntype.generators.pretrained.adapters import adamw, adapted_layers, add_adapter, add_few_steps, read_adapter, read_tokens, use_few_steps
from syntype.generators.pretrained.bases import check_same_base, describe_base, resolve_base
from syntype.generators.pretrained.estimate import card_gb, estimate
from syntype.generators.pretrained.few_steps import KNOWN_FEW_STEPS, FewSteps, FewStepsDiffusion, resolve_few_steps
from syntype.generators.pretrained.lora_settings import LoRAConfig, LoRAControls
from syntype.generators.pretrained.processes import process_of
from syntype.generators.pretrained.species_tokens import NAME as TOKENS_NAME
from syntype.generators.pretrained.species_tokens import OtherPhotographs, SpeciesTokens, open_encoder
from syntype.generators.pretrained.text_to_image import TEXTS_KEPT, Embeddings, adapted_by, load_text_to_image
from syntype.generators.pretrained.texts import SpeciesTexts

__all__ = ["LoRA", "LoRAConfig", "LoRAControls"]

SPECIES_RANK, SPECIES_BYTES = 4, 20_000_000
"""Rank, at most, of the second adapter, which a species that is added later learns, and bytes that its file may take; the rank is lower if needed."""
_SPECIES = "species"
"""Name of the second adapter, and of its module in ``generator``."""
TEXTS_MEASURED = 64
"""Texts, at most, from which the typical size of the numbers in a text's tokens is measured."""


class LoRA(SpeciesTexts, GenerativeModel):
    """A pre-trained text-to-image model with an adapter; adapts to new species, blends, varies and inpaints."""

    Config = LoRAConfig
    Controls = LoRAControls
    config: LoRAConfig

    def __init__(self, config: LoRAConfig, species: Sequence[str]) -> None:
        super().__init__(config, species)
        base = resolve_base(config.base, config.base_revision)
        if config.base_fingerprint is not None:
            check_same_base(base, config.base_fingerprint)
        dtype = torch.bfloat16 if config.base_precision == "bf16" else torch.float32
        # not a submodule: the base is neither trained nor saved
        self.pretrained = load_text_to_image(base, dtype, config.prompt_tokens)
        if any(side % self.pretrained.multiple for side in config.shape):
            height, width = config.shape
            raise RecipeError(f"settings of lora: images of {height}x{width} pixels, but each side must be a multiple of {self.pretrained.multiple}.")
        self.latent_shape = self.pretrained.latent_shape(*config.shape)
        self.process = process_of(self.pretrained, config.min_snr)
        self.licences, self.built_on = (base.notice,), base.record()
        self._about: tuple[str, ...] = (f"Base: {base.name}, licence {base.licence_words}.",)
        few_steps = resolve_few_steps(config.few_steps, config.few_steps_solver, base, config.few_steps_sha256) if config.few_steps else None
        if config.start_from is not None and config.ranks is None:
            self.generator, ranks, left_out = read_adapter(self.pretrained, config.start_from)
            unknown = f"On which photographs {config.start_from} was trained is unknown: a study cannot tell whether test photographs are among them."
            self._about += (*left_out, unknown)
        else:
            ranks = config.ranks or adapted_layers(self.pretrained, config.rank)
            self.generator = add_adapter(self.pretrained, ranks)
        self.config = config
        self.tokens: SpeciesTokens | None = None
        self._encoder: Encoder | None = None
        if config.species_tokens:
            self.tokens = self._build_tokens()
            self.generator.add_module(TOKENS_NAME, self.tokens)
        if config.start_from is not None and config.ranks is None:
            self._about += read_tokens(self.tokens, config.start_from, self.config.species_weights)
        if few_steps is not None:
            self._add_few_steps(few_steps)
        if config.gradient_checkpointing:
            self.pretrained.denoiser.enable_gradient_checkpointing()
        place = base.name if base.revision else str(base.folder)
        found = {"base": place, "base_revision": base.revision, "base_fingerprint": base.fingerprint, "ranks": ranks}
        self.config = self.config.model_copy(update=found)
        self._added: tuple[str, ...] = ()
        self._latents: dict[int, Tensor] = {}  # of photographs and their mirror images, float16, shape (1 or 2, *latent_shape)

    def _add_few_steps(self, found: FewSteps) -> None:
        add_few_steps(self.pretrained, found)
        self.process = FewStepsDiffusion(self.pretrained.scheduler_config, self.config.min_snr, self.pretrained.base.name, found)
        self.licences, self.built_on = (*self.licences, found.notice), {**(self.built_on or {}), "few_steps": found.record()}
        self._about += (f"For few steps: {found.notice}, drawn with the solver {found.solver}.",)
        usual = {"sampling_steps": found.steps, "sampling_guidance": 1.0}
        new = {key: value for key, value in usual.items() if key not in self.config.model_fields_set}
        self.config = self.config.model_copy(update={**new, "few_steps_solver": found.solver, "few_steps_sha256": found.sha256})

    def train(self, mode: bool = True) -> LoRA:
        """The adapter for few steps is used in drawing alone."""
        if self.config.few_steps and mode != self.training:
            use_few_steps(self.pretrained, not mode)
        return super().train(mode)

    def offload(self, device: torch.device) -> None:
        """See ``Offloads``."""
        self.pretrained.offload(device)
        if self.tokens is not None:
            self.tokens.to(device)

    def _build_tokens(self) -> SpeciesTokens:
        config = self.config
        if config.species_features is None or config.species_weights is None:
            self._encoder = open_encoder(config.species_encoder)
            found = {"species_features": self._encoder.dim, "species_weights": self._encoder.backbone.weights}
            self.config = config = config.model_copy(update=found)
        return SpeciesTokens(len(self.species), config.species_features or 0, config.species_tokens, self.pretrained.text_features)

    @property
    def trained_with(self) -> str | None:
        """The network of the species' features, if there are any."""
        return self.config.species_encoder if self.config.species_tokens else None

    @classmethod
    def plan(cls, config: LoRAConfig, batch_size: int) -> dict[str, Any]:
        """The base, its licence and the memory that training needs; nothing large is downloaded. See ``Plans``."""
        description = describe_base(config.base, config.base_revision)
        needed = estimate(
            description,
            adapted=adapted_by(description.pipeline),
            rank=config.rank,
            shape=config.shape,
            images_at_once=min(batch_size, config.images_at_once or batch_size),
            gradient_checkpointing=config.gradient_checkpointing,
            precision=config.base_precision,
            text_tokens=config.prompt_tokens,
        )
        less = ["" if config.images_at_once == 1 else "--set model.images_at_once=1"]
        less += ["" if config.gradient_checkpointing else "--set model.gradient_checkpointing=true"]
        told = needed.plan(card_gb(), " ".join(filter(None, less)))
        if config.few_steps:
            known = KNOWN_FEW_STEPS.get(config.few_steps)
            told["few_steps"] = known.notice if known else f"{config.few_steps}, whose licence is told when training begins"
        return told

    def _apply(self, function: Callable[[Tensor], Tensor], recurse: bool = True) -> LoRA:
        """Move the base too (``to`` of ``torch.nn.Module``)."""
        for network in self.pretrained.networks():
            network._apply(function)
        return super()._apply(function, recurse)

    # training

    def prepare(self, data: TrainingData, runtime: Runtime) -> None:
        """Encode the texts of all photographs, free the text encoders, and build the optimiser."""
        self.runtime, self.remarks = runtime, self._about
        self.to(runtime.device)
        self.describe_species(data)
        self.keep_captions(data, without=self._added)
        texts, given = self.config.texts, data.captions or (None,) * len(data.labels)
        names = [texts[data.species[label]] for label in data.labels]
        said = [[name, ""] if self.tokens is not None else [name] for name in names]  # with rows, a text may also do without the names
        self._prompts = [tuple(prompt(name, told) for name in every for told in (None, caption)) for every, caption in zip(said, given, strict=True)]
        every = {"", self.config.prior_text, *(text for pair in self._prompts for text in pair)}
        self.pretrained.keep_text_encoders = len(every) > TEXTS_KEPT
        if self.pretrained.keep_text_encoders:
            self.remarks += (f"{len(every):,} different texts are too many to keep, so the text encoders stay loaded, which takes memory and time.",)
        else:
            self.pretrained.embed(sorted(every))
        if self.tokens is not None:
            self._look_at(data, self.tokens, sorted(every))
        weights, rate = list(self.generator.parameters()), self.config.learning_rate
        if self._added:
            rate = rate or LoRAConfig.model_fields["learning_rate"].default  # an adapter from elsewhere that was to stay as it is has 0
            weights = list(self.adaptable_parameters().values())
            for name, parameter in self.adaptable_parameters().items():
                if "lora_A" in name:
                    nn.init.kaiming_uniform_(parameter, a=5**0.5)  # peft's own start; the second matrices stay zero
        self.optimisers = {"adapter": adamw(weights, rate, self.config.weight_decay, eight_bit=self.config.eight_bit)}
        self._prior = self._draw_prior() if self.config.prior_text else None

    @torch.no_grad()
    def _draw_prior(self) -> Tensor:
        """Latents of images of ``prior_text`` as the model draws them before training: float16, shape (prior_images, *latent_shape)."""
        self.eval()
        chosen, parts = self.Controls(), []
        for seeds in torch.arange(self.config.prior_images).split(self.sampling_batch_size):
            predict = self._predictor(self.pretrained.embed([self.config.prior_text] * len(seeds)), chosen)
            parts.append(self.process.denoise(predict, self._noises(seeds.tolist(), chosen), self._steps(chosen)).half().cpu())
        return torch.cat(parts)

    def _look_at(self, data: TrainingData, tokens: SpeciesTokens, texts: Sequence[str]) -> None:
        """Compute the features of the photographs, and from them the rows of their species."""
        features = torch.from_numpy(self.encoder().encode(data.images))
        self._encoder = None  # it may be large
        if not tokens.spread:
            tokens.fit(features, self.pretrained.embed(texts[:TEXTS_MEASURED])["tokens"])
        tokens.store(features, data.labels)
        self._others = OtherPhotographs(features, data.labels, data.groups)

    def encoder(self) -> Encoder:
        """What computes the features of photographs, with ``species_tokens``.

        Raises:
            InputError: it has other weights than in training.
        """
        if self._encoder is None:
            self._encoder = open_encoder(self.config.species_encoder)
            if self._encoder.backbone.weights != self.config.species_weights:
                reason = f"the encoder {self.config.species_encoder} has other weights than when the generator was trained"
                raise InputError(reason, f"Use those of then ({self.config.species_weights}).")
        return self._encoder

    def training_step(self, batch: Batch) -> dict[str, float | Tensor]:
        """One step: noise is added to latents, and the error of the denoiser's prediction is reduced."""
        n, device = len(batch.indices), batch.indices.device
        views = self._views(batch)
        mirrored = (torch.rand(n, device=device) < 0.5).long() if self.config.flip else torch.zeros_like(batch.indices)
        clean = views[torch.arange(n, device=device), mirrored].float()
        captioned = torch.rand(n, device=device) >= self.config.caption_dropout
        noise = torch.randn(clean.shape, device=device)
        places = self.process.draw_times(clean)
        which, seen = captioned.long(), None
        if self.tokens is not None:
            which = which + 2 * (torch.rand(n, device=device) < self.config.name_dropout).long()
            seen = self.tokens.row_of(self._others.means(batch.indices))
        prompts = [self._prompts[row][text] for row, text in zip(batch.indices.tolist(), which.tolist(), strict=True)]
        images = torch.arange(n, device=device)
        chunks, weights = list(images.split(self.config.images_at_once or n)), torch.ones(n, device=device)
        if self._prior is not None:  # as many images again, of what is to stay as it was (DreamBooth, Ruiz et al. 2023, arXiv 2208.12242, eq. 2)
            old = self._prior[(torch.rand(n, device=device) * len(self._prior)).long().cpu()].to(device).float()
            clean, noise = torch.cat([clean, old]), torch.cat([noise, torch.randn(old.shape, device=device)])
            places, prompts = torch.cat([places, self.process.draw_times(old)]), prompts + [self.config.prior_text] * n
            chunks += [n + rows for rows in chunks]
            weights = torch.cat([weights, self.config.prior_weight * weights])
        texts = self.pretrained.embed(prompts)
        losses: list[Tensor] = []

        def parts() -> Iterator[Tensor]:
            for rows in chunks:
                part = {name: values[rows] for name, values in texts.items()}
                if self.tokens is not None and seen is not None and rows[0] < n:
                    part["tokens"] = self.tokens.tell(part["tokens"], seen[rows])
                loss = (weights[rows] * self.errors(clean[rows], noise[rows], places[rows], part)).sum() / n
                losses.append(loss.detach())
                yield loss

        stepped = self.runtime.backward_and_step(parts(), self.generator.parameters(), self.optimisers["adapter"])
        return {"loss": torch.stack(losses).sum(), "skipped": float(not stepped)}

    def errors(self, clean: Tensor, noise: Tensor, places: Tensor, texts: Embeddings) -> Tensor:
        """Weighted mean squared error of the denoiser's prediction for each image, shape (N,).

        Args:
            clean, noise: latents, shape (N, *latent_shape).
            places: noise levels in [0, 1), shape (N,).
            texts: what the images show.
        """
        noisy, times, target, weights = self.process.training_pair(clean, noise, places)
        with self.runtime.autocast():
            predicted = self.pretrained.predict(noisy, times, texts)
        return weights * (predicted - target).square().mean((1, 2, 3))

    @torch.no_grad()
    def _views(self, batch: Batch) -> Tensor:
        """Latents of a batch's photographs and, with ``flip``, of their mirror images: float16, shape (N, 1 or 2, *latent_shape).

        A photograph is encoded by itself, so that its latents do not depend on the batch in which it first occurs.
        """
        for row, image in zip(batch.indices.tolist(), batch.images_NCHW, strict=True):
            if row not in self._latents:
                views = [image[None], image[None].flip(3)] if self.config.flip else [image[None]]
                self._latents[row] = torch.cat([self.pretrained.encode(view.contiguous()) for view in views]).half().cpu()
        return torch.stack([self._latents[row] for row in batch.indices.tolist()]).to(batch.indices.device)

    # one more species

    def add_species(self, name: str, relative: str | None) -> None:
        """Add a species. A second adapter beside the first, shared by all added species, has its weights; zero, it leaves all images as they are.

        The first adapter is not changed, and what the model knows of the name is where the species starts, whatever its relative.
        """
        if _SPECIES not in self.generator._modules:
            tensors = {key: tensor for key, tensor in self.generator.state_dict().items() if not key.startswith(f"{TOKENS_NAME}.")}
            each = sum(tensor.numel() // tensor.shape[0 if "lora_A" in key else 1] for key, tensor in tensors.items())
            rank = max(1, min(SPECIES_RANK, SPECIES_BYTES // (4 * each)))
            self.generator.add_module(_SPECIES, add_adapter(self.pretrained, dict.fromkeys(self.config.ranks or (), rank), _SPECIES))
            for parameter in self.adaptable_parameters().values():
                parameter.data.zero_()
        rows = None if self.tokens is None else self.tokens.rows
        self._append(name, None if rows is None else rows.mean(0) if relative is None else rows[self._label_of[relative]])

    def _append(self, name: str, row: Tensor | None) -> None:
        """Add a species at the end of the vocabulary, with its row."""
        if self.tokens is not None and row is not None:
            self.tokens.add_species(row)
        self._added = (*self._added, name)
        self._label_of[name] = len(self.species)
        self.species = (*self.species, name)

    def encode_species(self, images_NCHW: Tensor) -> tuple[str, dict[str, Tensor]]:
        """The row of a species: the mean of its photographs' features. See ``Encodes``.

        Raises:
            UnsupportedError: the generator was trained without ``species_tokens``.
            InputError: the encoder has other weights than in training.
        """
        if self.tokens is None:
            reason = "this generator was trained without species_tokens, so it cannot learn a species without training (method encode)"
            raise UnsupportedError(f"{reason}. Use --method finetune, or train again with --set model.species_tokens=4.")
        row = self.tokens.row_of(torch.from_numpy(self.encoder().encode(to_uint8(images_NCHW))).mean(0))
        return self.species[self.tokens.nearest(row)], {f"{TOKENS_NAME}.rows": row[None]}

    def restore_species(self, name: str, rows: Mapping[str, Tensor], changed: Collection[str]) -> None:
        """Add a species that was encoded or learnt before. See ``Encodes``."""
        row = rows.get(f"{TOKENS_NAME}.rows")
        if not changed:
            self._append(name, None if row is None else row[0])
            return
        self.add_species(name, None)
        if self.tokens is not None and row is not None:
            self.tokens.rows[-1] = row[0]

    def adaptable_parameters(self) -> dict[str, nn.Parameter]:
        """The second adapter."""
        return {name: parameter for name, parameter in self.generator.named_parameters() if name.startswith(f"{_SPECIES}.")}

    def scale_learning_rates(self, factor: float) -> None:
        """Multiply the learning rate."""
        for group in self.optimisers["adapter"].param_groups:
            group["lr"] *= factor

    # sampling

    def sample(self, species: Sequence[str], seeds: Sequence[int], **controls: Any) -> Tensor:
        """Generate images; the initial noise and the context of an image are functions of its seed. See ``GenerativeModel``."""
        return self.blend([(name, name) for name in species], [(seed, seed) for seed in seeds], [0.0] * len(seeds), "latent", **controls)

    @torch.no_grad()
    def blend(
        self, species: Sequence[tuple[str, str]], seeds: Sequence[tuple[int, int]], amounts: Sequence[float], of: BlendOf,
        individuals: Sequence[float] | None = None, **controls: Any,
    ) -> Tensor:  # fmt: skip
        """Interpolate spherically between the two initial noises, and linearly between the embeddings of the two texts. See ``Blends``."""
        chosen = self.Controls.parse(controls, "controls of lora")

        def generate(rows: list[int]) -> Tensor:
            amount = torch.tensor([amounts[row] for row in rows])
            along = amount if individuals is None else torch.tensor([individuals[row] for row in rows])
            ends = [self._noises([seeds[row][end] for row in rows], chosen) for end in (0, 1)]
            noises = ends[0] if of == "species" else [slerp(one, other, along) for one, other in zip(*ends, strict=True)]
            told = [
                self._texts(
                    [species[row][0 if of == "latent" else end] for row in rows], [seeds[row][0 if of == "species" else end] for row in rows], chosen
                )
                for end in (0, 1)
            ]
            texts = {name: torch.lerp(first, told[1][name], _column(amount, first)) for name, first in told[0].items()}
            return self.pretrained.decode(self.process.denoise(self._predictor(texts, chosen), noises, self._steps(chosen)))

        return self.in_chunks(generate, len(species))

    @torch.no_grad()
    def vary(self, images_NCHW: Tensor, species: Sequence[str], seeds: Sequence[int], strength: float, **controls: Any) -> Tensor:
        """Add noise to the photographs' latents, as much as ``strength`` says, and denoise them (SDEdit; DA-Fusion, section 4). See ``Varies``.

        Strength 0 returns the autoencoder's reconstruction; strength 1 equals ``sample``.
        """
        chosen = self.Controls.parse(controls, "controls of lora")

        def generate(rows: list[int]) -> Tensor:
            noises = self._noises([seeds[row] for row in rows], chosen)
            clean = self.pretrained.encode(images_NCHW[rows].to(self.pretrained.device).contiguous())
            texts = self._texts([species[row] for row in rows], [seeds[row] for row in rows], chosen)
            predict = self._predictor(texts, chosen)
            return self.pretrained.decode(self.process.denoise(predict, noises, self._steps(chosen), clean=clean, strength=strength))

        return self.in_chunks(generate, len(species))

    @torch.no_grad()
    def inpaint(self, images_NCHW: Tensor, masks_N1HW: Tensor, species: Sequence[str], seeds: Sequence[int], **controls: Any) -> Tensor:
        """Inpaint: after each step latents outside the mask are replaced by the photograph's, with as much noise. See ``Inpaints``.

        Latents whose pixels or neighbours are masked are inpainted. In the result, pixels outside the mask are the photograph's.
        """
        chosen = self.Controls.parse(controls, "controls of lora")

        def generate(rows: list[int]) -> Tensor:
            noises = self._noises([seeds[row] for row in rows], chosen)
            images, masks = (pixels[rows].to(self.pretrained.device).contiguous() for pixels in (images_NCHW, masks_N1HW))
            # mean colour of the unmasked pixels, image by image, as the order of a batched sum depends on the batch
            colours = [image[:, ~mask[0]].mean(1).nan_to_num() for image, mask in zip(images, masks, strict=True)]
            clean = self.pretrained.encode(torch.where(masks, torch.stack(colours)[:, :, None, None], images))
            free = nn.functional.max_pool2d(masks.float(), self.pretrained.multiple)
            free = nn.functional.max_pool2d(free, 3, stride=1, padding=1) > 0
            texts = self._texts([species[row] for row in rows], [seeds[row] for row in rows], chosen)
            x = self.process.denoise(self._predictor(texts, chosen), noises, self._steps(chosen), clean=clean, free=free)
            return torch.where(masks, self.pretrained.decode(x), images)

        return self.in_chunks(generate, len(species))

    def _texts(self, species: Sequence[str], seeds: Sequence[int], chosen: LoRAControls) -> Embeddings:
        labels = self.labels_of(species)  # raises for unknown names
        texts = self.pretrained.embed([self.prompt_of(name, seed, context=chosen.context) for name, seed in zip(species, seeds, strict=True)])
        if self.tokens is not None:  # one by one, as a sum may depend on how many rows are computed at a time
            told = [self.tokens.tell(text[None], self.tokens.rows[[label]]) for text, label in zip(texts["tokens"], labels.tolist(), strict=True)]
            texts["tokens"] = torch.cat(told)
        return texts

    def _noises(self, seeds: Sequence[int], chosen: LoRAControls) -> list[Tensor]:
        """The noise in which images begin, and what the solver adds on its way: each of shape (N, *latent_shape)."""
        return [noise.to(self.pretrained.device) for noise in seeded_normals(seeds, self.latent_shape, self.process.noises(self._steps(chosen)))]

    def _steps(self, chosen: LoRAControls) -> int:
        return chosen.steps or self.config.sampling_steps

    def _predictor(self, texts: Embeddings, chosen: LoRAControls) -> Callable[[Tensor, Tensor], Tensor]:
        """The denoiser with classifier-free guidance: none + guidance * (text - none) (Ho & Salimans 2022, arXiv 2207.12598, eq. 6)."""
        guidance, predict = chosen.guidance or self.config.sampling_guidance, self.pretrained.predict
        if guidance == 1 or not self.pretrained.guides:
            return lambda x, times: predict(x, times, texts)
        nothing = self.pretrained.embed_nothing(len(texts["tokens"]))

        def guided(x: Tensor, times: Tensor) -> Tensor:
            without = predict(x, times, nothing)
            return without + guidance * (predict(x, times, texts) - without)

        return guided


def _column(amounts: Tensor, like: Tensor) -> Tensor:
    """One amount for each row of a tensor, in its number format and shape."""
    return amounts.to(like).view(-1, *[1] * (like.dim() - 1))
