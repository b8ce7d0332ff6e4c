"""Settings of the family ``lora``, and its controls."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from syntype.encoders import may_generate
from syntype.generators.contract import OblongConfig
from syntype.generators.pretrained.bases import DEFAULT_BASE
from syntype.generators.pretrained.few_steps import FewStepsSolver
from syntype.recipe import Settings

__all__ = ["LoRAConfig", "LoRAControls"]


class LoRAConfig(OblongConfig):
    """Settings of ``lora``."""

    size: int = 512
    """Side of the square images, in pixels. Models draw best at about the size that they were trained with."""
    base: str = DEFAULT_BASE
    """The pre-trained model: its name on the Hugging Face hub, or its folder in diffusers' layout."""
    base_revision: str | None = None
    """Version of the model on the hub: a branch, tag or commit. If left out, the newest."""
    base_precision: Literal["bf16", "fp32"] = "bf16"
    """Number format of the model's own weights; ``fp32`` needs twice the memory. The adapter is kept in fp32."""
    rank: int = Field(16, ge=1, le=1024)
    """Rank of the adapter: how much it can change. More needs more photographs and a larger file."""
    start_from: str | None = None
    """An adapter (LoRA) of the same model to begin with, instead of a new one: a file of diffusers, peft or kohya, or a folder with one."""
    learning_rate: float = Field(1e-4, ge=0)
    """AdamW's learning rate. 0 leaves the adapter named by ``start_from`` as it is."""
    weight_decay: float = Field(1e-4, ge=0)
    """AdamW's weight decay."""
    eight_bit: bool = False
    """Keep AdamW's two averages in 8 bits, with the package bitsandbytes: saves 6 bytes a parameter of the adapter, 0.1 GB with the default base."""
    prior_text: str = ""
    """What the photographs show in general, such as "a photo of a fish". If given, the model draws images of this text before training, and keeps
    drawing them as before (prior preservation); a step then takes twice as long. Useful for few photographs, on which an adapter is soon trained too
    much."""
    prior_images: int = Field(100, ge=1)
    """With ``prior_text``: number of these images."""
    prior_weight: float = Field(1.0, gt=0)
    """With ``prior_text``: weight of their loss."""
    min_snr: float | None = Field(5.0, gt=0)
    """Upper limit of the signal-to-noise ratio in the loss weights, for models that predict noise; none gives all noise levels the same weight."""
    flip: bool = True
    """Mirror photographs at random (switch off for taxa whose sides differ, such as flatfish)."""
    caption_dropout: float = Field(0.3, ge=0, le=1)
    """Probability with which a photograph's caption is left out of its text in training, so that the species' names alone also mean the species."""
    species_tokens: int = Field(0, ge=0, le=16)
    """Number of tokens of a text that also tell what a species looks like, by the mean features of its photographs; then ``adapt --method encode``
    adds species without training. 4 is a number to begin with. 0: texts alone, and the adapter's file is all that other programs need."""
    species_encoder: str = "lite1"
    """With ``species_tokens``: the frozen network of these features, not the one that curates, identifies or judges (``encoders/duties.py``)."""
    name_dropout: float = Field(0.3, ge=0, le=1)
    """With ``species_tokens``: probability with which the species' names are left out of a text in training, so that the features alone mean it."""
    prompt_tokens: int = Field(512, ge=16, le=1024)
    """Length of a text for models of the FLUX.2 family, in tokens; shorter needs less time and memory. Others have a fixed length."""
    images_at_once: int | None = Field(1, ge=1)
    """Images of a batch that are computed at a time; the result is the same. 1 needs the least memory: the default base at 512 pixels then fits on a
    card of 24 GB by estimate. A card with room for more, or a small base, is faster with more at a time; none computes the whole batch at once."""
    gradient_checkpointing: bool = False
    """Compute parts of the network twice instead of keeping them, which saves memory; a step then has half as many operations again."""
    sampling_steps: int = Field(28, ge=1, le=1000)
    """Number of denoising steps, unless another is asked for when generating. Distilled models need few."""
    sampling_guidance: float = Field(4.0, ge=1)
    """Guidance, unless another is asked for when generating: more follows the text more closely and varies less; 1 does without."""

    few_steps: str | None = None
    """A further adapter with which Stable Diffusion or SDXL draws in few steps, beside the own one: a name of ``KNOWN_FEW_STEPS`` such as
    ``latent-consistency/lcm-lora-sdxl``, another on the hub (OWNER/NAME:FILE), or a file. Training does not change; ``sampling_steps`` and
    ``sampling_guidance`` are then those of its makers (4 and 1) unless they are set."""
    few_steps_solver: FewStepsSolver | None = None
    """With ``few_steps``: how it draws, where that is not known: ``lcm``, ``ddim`` or ``euler``."""

    base_fingerprint: str | None = None
    """Checksum of the model's files; set when training, so that a generator is never used with another model."""
    few_steps_sha256: str | None = None
    """Checksum of the file of ``few_steps``; set when training, so that a generator is never used with another one."""
    ranks: dict[str, int] | None = None
    """Rank of the adapter in each layer, by its name; set when training."""
    texts: dict[str, str] = {}
    """Names of each species in the texts, from the collection; set when training."""
    captions: dict[str, list[str]] = {}
    """Captions of each species' photographs, which are contexts for other species; set when training."""
    species_features: int | None = None
    """Number of features of a photograph; set when training."""
    species_weights: str | None = None
    """Source of the weights of ``species_encoder``; set when training, so that features are never compared with another network's."""

    _has_no_other_duty = field_validator("species_encoder")(may_generate)

    @classmethod
    def tiny(cls, size: int = 32) -> LoRAConfig:
        """Settings that train in seconds on a small base."""
        return cls(size=size, base_precision="fp32", rank=2, prompt_tokens=32, sampling_steps=2)


class LoRAControls(Settings):
    """Further arguments of ``sample`` and of the abilities of ``lora``."""

    steps: int | None = Field(None, ge=1, le=1000)
    """Number of denoising steps; if left out, as set in training."""
    guidance: float | None = Field(None, ge=1)
    """Classifier-free guidance: 1 does without, more follows the text more closely and varies less; if left out, as set in training."""
    context: bool = True
    """Complete the text with the caption of a photograph of another species, drawn by the seed, if the collection has captions."""
