"""Pre-trained text-to-image models in their parts, and how each kind of pipeline uses them: texts, latents, and the denoiser's prediction.

Rombach et al. 2022, "High-Resolution Image Synthesis with Latent Diffusion Models" (arXiv 2112.10752); Podell et al. 2023, "SDXL" (arXiv 2307.01952);
Esser et al. 2024, "Scaling Rectified Flow Transformers for High-Resolution Image Synthesis" (arXiv 2403.03206), whose transformer FLUX.2 develops
further. The networks, the encoding of texts and the loading of files are diffusers' (Apache-2.0). A further pipeline is one more class here and one
more line in ``_CLASSES``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from syntype.errors import InputError, UnsupportedError, shortened
from syntype.generators.pretrained.bases import Base

__all__ = ["TEXTS_KEPT", "Embeddings", "TextToImage", "adapted_by", "load_text_to_image"]

Embeddings = dict[str, Tensor]
"""What the denoiser is told about texts: ``tokens``, shape (N, tokens, features), and for some pipelines ``pooled``, shape (N, features)."""

TEXTS_KEPT = 1000
"""Texts, at most, whose embeddings are kept (FLUX.2: 8 MB each) while the text encoders are there to compute others again."""

_TEXT_PARTS = ("text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2")
_UNUSED_PARTS = ("safety_checker", "feature_extractor", "image_encoder")


class TextToImage(ABC):
    """A pre-trained model: denoiser and autoencoder are loaded at once, the text encoders when a text is first encoded.

    Args:
        base: where the files are.
        dtype: number format of the weights.
        prompt_tokens: length to which texts are padded or cut, for pipelines that let it be chosen.

    Attributes:
        denoiser: the network to which an adapter is added; frozen.
        vae: the autoencoder; frozen.
        scheduler_config: settings of the base's own noise schedule.
        keep_text_encoders: keep the text encoders after use. If not, they are loaded again when a text is not yet known.
    """

    denoiser_part: ClassVar[str]
    """Name of the denoiser's folder, with which the names of an adapter's tensors begin."""
    adapted: ClassVar[tuple[str, ...]]
    """Ends of the names of the layers that an adapter changes unless something else is said: the projections of the attention."""
    patch: ClassVar[int] = 1
    """Latents, by side, that the denoiser takes as one."""

    def __init__(self, base: Base, dtype: torch.dtype, prompt_tokens: int) -> None:
        self.base, self.dtype, self.prompt_tokens, self.keep_text_encoders = base, dtype, prompt_tokens, True
        pipeline = self._load(_TEXT_PARTS)
        self.denoiser: Any = getattr(pipeline, self.denoiser_part).requires_grad_(False).eval()
        self.vae: Any = pipeline.vae.requires_grad_(False).eval()
        self.scheduler_config = dict(pipeline.scheduler.config)
        self._pipeline_class = type(pipeline)
        self._index = dict(self._pipeline_class.load_config(base.folder))
        self._texts: Any = None
        self._offloads_to: torch.device | None = None
        self._known: dict[str, dict[str, Tensor]] = {}

    @property
    def multiple(self) -> int:
        """Number of pixels of which the sides of an image must be a multiple."""
        return self.patch * self.downsampling

    @property
    def downsampling(self) -> int:
        """Ratio of the sides of an image and of what the autoencoder makes of it."""
        return int(2 ** (len(self.vae.config.block_out_channels) - 1))

    @property
    def device(self) -> torch.device:
        """Where the networks compute."""
        return self._offloads_to or next(self.denoiser.parameters()).device

    def offload(self, device: torch.device) -> None:
        """From now on compute on ``device``, where only the network in use is; the others wait in the computer's memory."""
        self._offloads_to = device

    def bring(self, *networks: nn.Module) -> None:
        """Move networks to the device before they are used, and the others away, if ``offload`` was called."""
        if self._offloads_to is None:
            return
        for network in self.networks():
            if network not in networks:
                network.to("cpu")
        for network in networks:
            network.to(self._offloads_to)

    @property
    def text_features(self) -> int:
        """Numbers in a token of a text, as the denoiser is told of it."""
        config = self.denoiser.config
        return int(config.cross_attention_dim if "cross_attention_dim" in config else config.joint_attention_dim)

    @property
    def guides(self) -> bool:
        """Whether guidance changes anything: not for models that were distilled to do without."""
        return True

    def networks(self) -> list[nn.Module]:
        """All networks that are loaded now."""
        encoders = [] if self._texts is None else [getattr(self._texts, part, None) for part in _TEXT_PARTS]
        return [self.denoiser, self.vae, *(network for network in encoders if isinstance(network, nn.Module))]

    @abstractmethod
    def latent_shape(self, height: int, width: int) -> tuple[int, int, int]:
        """Channels, height and width of an image's latents, as the denoiser uses them."""

    @abstractmethod
    def encode(self, images_NCHW: Tensor) -> Tensor:
        """Latents of images in [-1, 1]: float32, shape (N, *latent_shape), without sampling (the posterior's mean)."""

    @abstractmethod
    def decode(self, latents: Tensor) -> Tensor:
        """Images from latents: float32, shape (N, 3, height, width), in [-1, 1]."""

    @abstractmethod
    def predict(self, latents: Tensor, times: Tensor, texts: Embeddings) -> Tensor:
        """The denoiser's prediction, float32, of the latents' shape.

        Args:
            latents: noisy ones.
            times: noise level of each, shape (N,), on the scheduler's scale of 0 to 1000.
            texts: what the images show.
        """

    @abstractmethod
    def _encode_texts(self, pipeline: Any, prompts: list[str]) -> Embeddings:
        """What the pipeline makes of texts."""

    @abstractmethod
    def read_adapter(self, path: str, name: str = "default") -> dict[str, Tensor]:
        """Add the adapter in a file to the denoiser, under a name; returns the file's tensors that concern the denoiser."""

    def embed(self, prompts: Sequence[str]) -> Embeddings:
        """What the denoiser is told about texts, one row a text, on the device. Each text is encoded once, by itself, so that its row does not depend
        on the others."""
        new = [prompt for prompt in dict.fromkeys(prompts) if prompt not in self._known]
        if new:
            pipeline = self._text_pipeline()
            with torch.no_grad():
                for prompt in new:
                    found = self._encode_texts(pipeline, [prompt])
                    self._known[prompt] = {name: rows[0].to("cpu", self.dtype) for name, rows in found.items()}
            del pipeline
            if not self.keep_text_encoders:
                self._texts = None
        rows = [self._known[prompt] for prompt in prompts]
        while self.keep_text_encoders and len(self._known) > TEXTS_KEPT:
            self._known.pop(next(iter(self._known)))
        return {name: torch.stack([row[name] for row in rows]).to(self.device) for name in rows[0]}

    def embed_nothing(self, count: int) -> Embeddings:
        """Embeddings of ``count`` empty texts, for guidance."""
        return self.embed([""] * count)

    def _text_pipeline(self) -> Any:
        if self._texts is None:
            self._texts = self._load((self.denoiser_part, "vae"))
            for network in self.networks()[2:]:
                network.requires_grad_(False).eval()
                if self._offloads_to is None:
                    network.to(self.device)
        self.bring(*self.networks()[2:])
        return self._texts

    def _load(self, without: Sequence[str]) -> Any:
        """The base's pipeline without some of its parts."""
        import diffusers

        kind = getattr(diffusers, self.base.pipeline, None)
        if kind is None:
            raise UnsupportedError(f"{self.base.name}: its {self.base.pipeline} needs a newer diffusers. Install it with: pip install -U diffusers")
        try:
            with _quiet():
                index = kind.load_config(self.base.folder)
                left_out: dict[str, Any] = {part: None for part in (*without, *_UNUSED_PARTS) if part in index}
                if "requires_safety_checker" in index:
                    left_out["requires_safety_checker"] = False
                return kind.from_pretrained(self.base.folder, dtype=self.dtype, use_safetensors=True, local_files_only=True, **left_out)
        except Exception as error:  # the libraries raise anything on damaged or missing files
            reason = shortened(" ".join(str(error).split()), 200)
            raise InputError(f"cannot be loaded ({reason})", "Copy or download the base again.", file=self.base.folder) from None


class _StableDiffusion(TextToImage):
    """A U-Net that predicts noise, told about the text by one CLIP encoder."""

    denoiser_part = "unet"
    adapted = ("to_q", "to_k", "to_v", "to_out.0")

    def latent_shape(self, height: int, width: int) -> tuple[int, int, int]:
        return int(self.denoiser.config.in_channels), height // self.downsampling, width // self.downsampling

    def encode(self, images_NCHW: Tensor) -> Tensor:
        self.bring(self.vae)
        mean = self.vae.encode(images_NCHW.to(self.dtype)).latent_dist.mode()
        return mean.float() * self.vae.config.scaling_factor

    def decode(self, latents: Tensor) -> Tensor:
        self.bring(self.vae)
        return self.vae.decode((latents / self.vae.config.scaling_factor).to(self.dtype)).sample.float().clamp(-1, 1)

    def predict(self, latents: Tensor, times: Tensor, texts: Embeddings) -> Tensor:
        self.bring(self.denoiser)
        more = self._more(latents, texts)
        return self.denoiser(latents.to(self.dtype), times, encoder_hidden_states=texts["tokens"], added_cond_kwargs=more).sample.float()

    def read_adapter(self, path: str, name: str = "default") -> dict[str, Tensor]:
        tensors, alphas, about = self._pipeline_class.lora_state_dict(
            path, use_safetensors=True, local_files_only=True, unet_config=self.denoiser.config, return_lora_metadata=True
        )
        self.denoiser.load_lora_adapter(tensors, prefix="unet", network_alphas=alphas, metadata=about, adapter_name=name)
        return {name: tensor for name, tensor in tensors.items() if name.startswith("unet.")}

    def _more(self, latents: Tensor, texts: Embeddings) -> dict[str, Tensor] | None:
        """What the U-Net is told besides the text's tokens."""
        return None

    def _encode_texts(self, pipeline: Any, prompts: list[str]) -> Embeddings:
        return {"tokens": pipeline.encode_prompt(prompts, self.device, 1, False)[0]}


class _StableDiffusionXL(_StableDiffusion):
    """The same with two text encoders; the U-Net is also told the image's size (Podell et al. 2023, section 2.2)."""

    def embed_nothing(self, count: int) -> Embeddings:
        empty = self.embed([""] * count)
        if self._index.get("force_zeros_for_empty_prompt", True):
            return {name: torch.zeros_like(rows) for name, rows in empty.items()}
        return empty

    def _more(self, latents: Tensor, texts: Embeddings) -> dict[str, Tensor] | None:
        height, width = (side * self.downsampling for side in latents.shape[2:])
        sizes = torch.tensor([height, width, 0, 0, height, width], device=latents.device, dtype=self.dtype)  # before cropping, crop, wanted
        return {"text_embeds": texts["pooled"], "time_ids": sizes.expand(len(latents), -1)}

    def _encode_texts(self, pipeline: Any, prompts: list[str]) -> Embeddings:
        tokens, _, pooled, _ = pipeline.encode_prompt(prompts, device=self.device, do_classifier_free_guidance=False)
        return {"tokens": tokens, "pooled": pooled}


class _Flux2Klein(TextToImage):
    """A transformer that predicts the velocity of a rectified flow, told about the text by hidden layers of Qwen3.

    Four neighbouring latents of the autoencoder are one latent here, normalised by the statistics of the autoencoder's batch normalisation.
    """

    denoiser_part = "transformer"
    adapted = (
        *("attn.to_q", "attn.to_k", "attn.to_v", "attn.to_out.0", "attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj", "attn.to_add_out"),
        *("attn.to_qkv_mlp_proj", "attn.to_out"),
    )
    patch = 2

    @property
    def guides(self) -> bool:
        return not self._index.get("is_distilled", False)

    def latent_shape(self, height: int, width: int) -> tuple[int, int, int]:
        return int(self.denoiser.config.in_channels), height // self.multiple, width // self.multiple

    def encode(self, images_NCHW: Tensor) -> Tensor:
        self.bring(self.vae)
        mean, std = self._statistics()
        latents = nn.functional.pixel_unshuffle(self.vae.encode(images_NCHW.to(self.dtype)).latent_dist.mode().float(), self.patch)
        return (latents - mean) / std

    def decode(self, latents: Tensor) -> Tensor:
        self.bring(self.vae)
        mean, std = self._statistics()
        latents = nn.functional.pixel_shuffle(latents * std + mean, self.patch)
        return self.vae.decode(latents.to(self.dtype)).sample.float().clamp(-1, 1)

    def predict(self, latents: Tensor, times: Tensor, texts: Embeddings) -> Tensor:
        self.bring(self.denoiser)
        height, width = latents.shape[2:]
        found = self.denoiser(
            hidden_states=latents.flatten(2).transpose(1, 2).to(self.dtype),
            timestep=times.to(self.dtype) / 1000,
            encoder_hidden_states=texts["tokens"],
            txt_ids=_places(1, 1, texts["tokens"].shape[1]).to(latents.device),
            img_ids=_places(height, width, 1).to(latents.device),
        ).sample
        return found.transpose(1, 2).unflatten(2, (height, width)).float()

    def read_adapter(self, path: str, name: str = "default") -> dict[str, Tensor]:
        tensors, about = self._pipeline_class.lora_state_dict(path, use_safetensors=True, local_files_only=True, return_lora_metadata=True)
        self.denoiser.load_lora_adapter(tensors, metadata=about, adapter_name=name)
        return {name: tensor for name, tensor in tensors.items() if name.startswith("transformer.")}

    def _statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the autoencoder's latents, shape (1, channels, 1, 1)."""
        norm = self.vae.bn
        return norm.running_mean.float().view(1, -1, 1, 1), (norm.running_var.float() + self.vae.config.batch_norm_eps).sqrt().view(1, -1, 1, 1)

    def _encode_texts(self, pipeline: Any, prompts: list[str]) -> Embeddings:
        return {"tokens": pipeline.encode_prompt(prompts, device=self.device, max_sequence_length=self.prompt_tokens)[0]}


def _places(rows: int, columns: int, words: int) -> Tensor:
    """Where each token is: always 0, its row and column in the image, its place in the text; int64, shape (tokens, 4)."""
    return torch.cartesian_prod(torch.arange(1), torch.arange(rows), torch.arange(columns), torch.arange(words))


_CLASSES: dict[str, type[TextToImage]] = {
    "StableDiffusionPipeline": _StableDiffusion,
    "StableDiffusionXLPipeline": _StableDiffusionXL,
    "Flux2KleinPipeline": _Flux2Klein,
}


def adapted_by(pipeline: str) -> tuple[str, ...]:
    """Ends of the names of the denoiser's layers that an adapter changes, for a pipeline of ``bases.PIPELINES``."""
    return _CLASSES[pipeline].adapted


def load_text_to_image(base: Base, dtype: torch.dtype, prompt_tokens: int = 512) -> TextToImage:
    """Load a base's denoiser and autoencoder.

    Args:
        base: as from ``resolve_base``.
        dtype: number format of the weights.
        prompt_tokens: length to which texts are padded or cut, for pipelines that let it be chosen.

    Raises:
        UnsupportedError: peft or transformers is not installed.
        InputError: a file is missing or damaged.
    """
    try:
        import peft  # noqa: F401
        import transformers  # noqa: F401
    except ModuleNotFoundError as error:
        raise UnsupportedError(f"pre-trained generators need the package {error.name}. Install it with: pip install 'syntype[diffusion]'") from None
    return _CLASSES[base.pipeline](base, dtype, prompt_tokens)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the libraries' own progress bars."""
    import diffusers.utils.logging as diffusers_logging
    import transformers.utils.logging as transformers_logging

    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        diffusers_logging.enable_progress_bar()
        transformers_logging.enable_progress_bar()
