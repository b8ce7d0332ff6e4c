"""Settings of a classifier, its training images, and the fitted result."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, Self

import numpy as np
import torch
from pydantic import Field, model_validator
from scipy.special import expit

from syntype.compute.runtime import Precision, Runtime
from syntype.compute.tensors import to_tensor
from syntype.encoders import SCRATCH, Backbone, Head
from syntype.errors import InputError
from syntype.identification.augment import AugmentConfig
from syntype.identification.calibration import Calibration
from syntype.identification.features import FeatureCache, embed
from syntype.identification.losses import Loss, LossConfig
from syntype.identification.mixing import Mix, Targets
from syntype.identification.sampling import Sampler
from syntype.recipe import Seed, Settings

__all__ = ["ClassifierConfig", "FittedClassifier", "LabelledImages", "Refit"]

Refit = Literal["none", "balanced", "real", "tau_norm"]


class ClassifierConfig(Settings):
    """Settings of a classifier."""

    backbone: str = "lite2"
    """``lite2`` (bundled, pre-trained on ImageNet), ``timm:NAME[:FILE]``, ``open_clip:NAME[:FILE]`` (the images' side), or ``scratch``: a
    small ResNet trained from scratch."""
    tune: Literal["head", "last", "all", "lora"] = "head"
    """``head`` keeps the backbone frozen. ``all`` first fits the head and then fine-tunes everything. ``last`` does the same, but keeps the first
    three quarters of the backbone's layers as they are. ``lora`` does the same with low-rank adapters (Hu et al. 2021, arXiv 2106.09685) and keeps
    all weights as they are; at the end the adapters are added to them, so that the classifier is saved whole. It needs the package peft (pip install
    'syntype[diffusion]'). ``scratch`` always trains everything."""
    lora_rank: int = Field(default=8, ge=1)
    """Rank of the adapters, with ``tune`` ``lora``: more can learn more from many photographs."""
    head: Literal["linear", "cosine", "prototype", "tip_adapter"] | None = None
    """Type of the classification layer. ``prototype`` is a cosine head whose rows are the mean features of the species; it is not trained.
    ``tip_adapter`` compares with the names of the species and with the training photographs, and is not trained either; it needs a backbone
    ``open_clip:NAME``, which knows texts (Zhang et al. 2022, arXiv 2207.09519; see ``CacheHead``).
    Default: ``linear``, or ``cosine`` with the loss ``ldam_drw``."""
    loss: Loss = "balanced_softmax"
    """See ``Objective``."""
    loss_settings: LossConfig = LossConfig()
    """Settings of the loss."""
    sampler: Sampler = "natural"
    """How often the species are drawn: ``natural`` (in proportion to their images), ``square_root`` of that, or ``balanced`` (equally often)."""
    refit: Refit | None = None
    """Second stage, which changes the head only. ``none``: no second stage. ``balanced``: train the head again with cross-entropy and balanced
    sampling (cRT, Kang et al. 2020, arXiv 1910.09217, section 4.1). ``real``: train it again on the real images only. ``tau_norm``: divide its
    rows by a power of their norms (section 4.3), chosen on the validation images. Default: ``real`` if the backbone was trained, and on
    synthetic images too; else ``none``. The reason for ``real``: the loss corrects for the class frequencies of the real images, and batches
    with synthetic images have other frequencies."""
    steps: int = Field(default=2000, ge=1)
    """Number of gradient steps."""
    batch_size: int = Field(default=64, ge=2)
    """Images per step."""
    learning_rate: float = Field(default=1e-3, gt=0)
    """Highest learning rate of AdamW (linear warm-up over 5 % of the steps, then cosine decay to 0)."""
    backbone_learning_rate_factor: float | None = Field(default=None, ge=0)
    """Learning rate of a pre-trained backbone, as a fraction of ``learning_rate`` (with ``layer_decay``: of its last layer). Default: 1 with
    ``tune`` ``lora``, as adapters start from nothing; else 0.1."""
    layer_decay: float = Field(default=1.0, gt=0, le=1)
    """Factor on the learning rate from each layer of a pre-trained backbone to the layer before it (Clark et al. 2020, arXiv 2003.10555). 1: the
    same rate for all layers."""
    weight_decay: float = Field(default=0.01, ge=0)
    """Weight decay of AdamW."""
    size: int = Field(default=64, ge=8)
    """Side in pixels of the squares to which the images are cropped and scaled."""
    encoder_size: int = Field(default=128, ge=32)
    """Side in pixels to which these are scaled for a pre-trained backbone. ``scratch`` uses them at ``size``."""
    views: int = Field(default=4, ge=1)
    """Views of each training image for a head on frozen features: the image, its mirror image, and augmented versions."""
    augment: AugmentConfig = AugmentConfig()
    """Augmentation of the training images."""
    synthetic_share: float = Field(default=0.5, ge=0, le=1)
    """Largest share of synthetic images in a batch. If there are fewer, a synthetic image is drawn as often as a photograph, never more often."""
    synthetic_until: float = Field(default=1.0, ge=0, le=1)
    """Fraction of the steps after which the batches hold photographs only. 0.67: synthetic images in the first two thirds of the training."""
    synthetic_weight: float = Field(default=1.0, ge=0)
    """Weight of a synthetic image in the loss; a photograph has the weight 1."""
    synthetic_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Label smoothing of synthetic images only: this part of a label is spread evenly over all species (Szegedy et al. 2016, arXiv 1512.00567,
    section 7)."""
    background_label: float = Field(default=0.0, ge=0, le=0.5)
    """Part of the label of a synthetic image that goes to another species of which it has pixels: that of the photograph into which the animal was
    pasted (column ``parents``)."""
    margin_weights: bool = False
    """Weigh each synthetic image by the probability of its species against the most probable other one, 1 / (1 + exp(-margin)), with the margin that
    curation found. Images without a margin have the weight 1."""
    mix: Mix = "none"
    """Mixing of training images: ``none``, ``mixup`` or ``cutmix``."""
    mix_alpha: float = Field(default=1.0, gt=0)
    """The mixing ratio is drawn from Beta(mix_alpha, mix_alpha)."""
    sure: float = Field(default=0.8, gt=0, le=1)
    """Probability from which an answer counts as sure. Below it the genus, family or order is named, if the collection has these columns (genus also
    from names of two words); see ``lowest_sure``."""
    seed: Seed = 0
    """Seed of batches, augmentation and initial weights."""
    device: str = "auto"
    """``auto``, ``cpu``, ``cuda`` or ``mps``."""
    precision: Precision = "auto"
    """``fp32``, ``bf16``, or ``auto``; see ``runtime``."""

    @model_validator(mode="after")
    def _head_fits(self) -> Self:
        if self.tune == "lora" and self.backbone == SCRATCH:
            raise ValueError("tune 'lora' adapts a pre-trained backbone. Set backbone to another than 'scratch', or tune to 'all'.")
        if self.head == "prototype" and not self.frozen:
            raise ValueError("head 'prototype' needs a frozen pre-trained backbone. Set tune to 'head', and a backbone other than 'scratch'.")
        if self.head == "tip_adapter" and not (self.frozen and self.backbone.startswith("open_clip:")):
            raise ValueError(
                "head 'tip_adapter' needs a frozen backbone that knows texts. Set tune to 'head' and backbone to 'open_clip:NAME', or leave head out."
            )
        if self.head == "tip_adapter" and self.refit not in (None, "none"):
            raise ValueError("head 'tip_adapter' is not trained, so it has no second stage. Leave refit out, or set head to 'linear' or 'cosine'.")
        if self.loss == "ldam_drw" and self.head in ("linear", "tip_adapter"):
            raise ValueError(
                "loss 'ldam_drw' needs a cosine head, because its margins are differences of cosines. Leave head out, or set it to 'cosine'."
            )
        if self.refit == "tau_norm" and self.has_cosines:
            raise ValueError(
                "refit 'tau_norm' rescales the rows of the head, which has no effect on cosines. Set head to 'linear', or choose another refit."
            )
        return self

    @model_validator(mode="after")
    def _fill_in(self) -> Self:
        """Resolve what depends on ``tune``, so that recipes hold the number. It does not count as set: another ``tune`` gives another number."""
        if self.backbone_learning_rate_factor is None:
            object.__setattr__(self, "backbone_learning_rate_factor", 1.0 if self.tune == "lora" else 0.1)
        return self

    @property
    def has_cosines(self) -> bool:
        """Whether the head is a cosine head."""
        return self.head in ("cosine", "prototype") or (self.head is None and self.loss == "ldam_drw")

    @property
    def frozen(self) -> bool:
        """Whether the backbone is not trained."""
        return self.tune == "head" and self.backbone != SCRATCH

    @property
    def input_size(self) -> int:
        """Side in pixels to which the network's input is scaled; 0 if it is not scaled."""
        return 0 if self.backbone == SCRATCH else self.encoder_size

    def runtime(self, *, training: bool = False) -> Runtime:
        """Device and precision.

        On a CPU, ``auto`` means fp32, except for training ``scratch`` on a CPU with bfloat16 instructions (AVX-512 BF16). There bf16 took two
        thirds of the time for ``scratch``, but nearly twice the time for the bundled backbone. The choice does not depend on a timing, so
        that all arms of a study use the same precision.

        Args:
            training: Whether the whole network is to be trained.
        """
        if self.precision != "auto":
            return Runtime(self.device, self.precision)
        plain = Runtime(self.device, "fp32")
        if plain.device.type != "cpu":
            return Runtime(self.device)
        faster = training and self.backbone == SCRATCH and torch.cpu._is_avx512_bf16_supported()
        return Runtime(self.device, "bf16") if faster else plain


_OPTIONAL: tuple[tuple[str, float, type], ...] = (
    ("is_synthetic", 0, np.bool_), ("weights", 1, np.float32), ("partners", -1, np.int64), ("margins", np.nan, np.float32),
    ("seconds", -1, np.int64), ("second_shares", 0, np.float32),
)  # fmt: skip
"""Arrays of ``LabelledImages`` that may be None, the value that None stands for, and their type."""


@dataclass(frozen=True)
class LabelledImages:
    """Images with labels.

    Attributes:
        images: uint8, shape (N, S, S, 3), RGB; may be a memory map.
        labels: Positions in the vocabulary, int64, shape (N,).
        is_synthetic: bool, shape (N,); None if all are real.
        weights: Weight of each image in the loss, float32, shape (N,); None for equal weights.
        partners: Position of another species of which an image has pixels (see ``ClassifierConfig.background_label``), -1 for none:
            int64, shape (N,); None if no image has any.
        margins: Species margin of each image by curation, float32, shape (N,), NaN if it is not known; None if none is known.
        seconds: Position of the second species of an image between two species, -1 for none: int64, shape (N,); None if there is no such image.
        second_shares: Weight of the second species in the image's label, in [0, 1], 0 for none: float32, shape (N,); None as ``seconds``.

    Raises:
        ValueError: The arrays differ in length.
    """

    images: np.ndarray
    labels: np.ndarray
    is_synthetic: np.ndarray | None = None
    weights: np.ndarray | None = None
    partners: np.ndarray | None = None
    margins: np.ndarray | None = None
    seconds: np.ndarray | None = None
    second_shares: np.ndarray | None = None

    def __post_init__(self) -> None:
        for name in ("labels", *(name for name, _, _ in _OPTIONAL)):
            values = getattr(self, name)
            if values is not None and len(values) != len(self.images):
                raise ValueError(f"{name}: {len(values)} values for {len(self.images)} images")

    def __len__(self) -> int:
        return len(self.images)

    def where(self, which: np.ndarray) -> LabelledImages:
        """The images for which ``which`` (bool, shape (N,)) is true."""
        return self.rows(np.flatnonzero(which))

    def rows(self, chosen: np.ndarray) -> LabelledImages:
        """The images at the positions ``chosen``, int64, shape (M,)."""
        extra = {name: None if (values := getattr(self, name)) is None else values[chosen] for name, _, _ in _OPTIONAL}
        return LabelledImages(self.images[chosen], self.labels[chosen], **extra)

    def followed_by(self, other: LabelledImages) -> LabelledImages:
        """These images, and after them those of ``other``. What one of them lacks is filled in: not synthetic, weight 1, no partner, margin or
        second species."""

        def joined(name: str, missing: float, kind: type) -> np.ndarray | None:
            values = [getattr(one, name) for one in (self, other)]
            if all(value is None for value in values):
                return None
            filled = [np.full(len(one), missing, kind) if value is None else value for one, value in zip((self, other), values, strict=True)]
            return np.concatenate(filled)

        images, labels = np.concatenate([self.images, other.images]), np.concatenate([self.labels, other.labels])
        extra = {name: joined(name, missing, kind) for name, missing, kind in _OPTIONAL}
        return LabelledImages(images, labels, **extra)

    def targets(self, chosen: np.ndarray, config: ClassifierConfig) -> Targets:
        """Target labels of images. Those of synthetic images follow the settings ``synthetic_...``, ``background_label`` and ``margin_weights``.

        An image between two species has the label of both, in parts; ``background_label`` does not change it.

        Args:
            chosen: Positions of the images, int64, shape (M,).
            config: Settings.
        """
        labels = np.asarray(self.labels[chosen], np.int64)
        weights = np.ones(len(chosen), np.float32) if self.weights is None else np.asarray(self.weights[chosen], np.float32)
        if self.is_synthetic is None or not self.is_synthetic.any():
            return Targets(torch.from_numpy(labels)[:, None], torch.from_numpy(weights)[:, None])
        synthetic = self.synthetic[chosen]
        weights = np.where(synthetic, np.float32(config.synthetic_weight) * weights, weights)
        if config.margin_weights and self.margins is not None:
            margins = np.asarray(self.margins[chosen], np.float64)
            weights = np.where(synthetic & np.isfinite(margins), weights * expit(margins), weights).astype(np.float32)
        columns, shares = labels[:, None], weights[:, None]
        partners = self.partners if config.background_label else None
        if partners is not None or self.seconds is not None:
            second, part = np.full(len(chosen), -1, np.int64), np.zeros(len(chosen), np.float32)
            if partners is not None:
                second = np.where(synthetic, np.asarray(partners[chosen], np.int64), -1)
                part = np.where(second >= 0, np.float32(config.background_label), np.float32(0))
            if self.seconds is not None and self.second_shares is not None:
                mixed = self.seconds[chosen] >= 0
                second, part = np.where(mixed, self.seconds[chosen], second), np.where(mixed, self.second_shares[chosen], part)
            columns = np.stack([labels, np.where(second >= 0, second, labels)], axis=1)
            shares = np.stack([weights * (1 - part), weights * part], axis=1)
        smoothing = None
        if config.synthetic_smoothing:
            each = torch.from_numpy(np.where(synthetic, np.float32(config.synthetic_smoothing), np.float32(0)))
            smoothing = each[:, None].expand(columns.shape)
        return Targets(torch.from_numpy(columns), torch.from_numpy(shares), smoothing)

    @property
    def synthetic(self) -> np.ndarray:
        """``is_synthetic`` as an array, all false if it is None: bool, shape (N,)."""
        return np.zeros(len(self.images), bool) if self.is_synthetic is None else np.asarray(self.is_synthetic, bool)


@dataclass(frozen=True)
class FittedClassifier:
    """A fitted classifier: backbone and head.

    Attributes:
        config: Its settings.
        backbone: Computes the features; in inference mode.
        head: Features -> logits.
        runtime: Device and precision.
        calibration: Logits -> probabilities.
        best_step: Number of training steps after which the weights were kept.
        history: One entry per validation: ``step``, ``loss``, ``val_macro_recall``, ``val_accuracy``.
        cache: Cache of features, used if the backbone is frozen.
    """

    config: ClassifierConfig
    backbone: Backbone
    head: Head
    runtime: Runtime = field(repr=False)
    calibration: Calibration = field(default_factory=Calibration)
    best_step: int = 0
    history: tuple[dict[str, Any], ...] = ()
    cache: FeatureCache | None = field(default=None, repr=False)

    @torch.inference_mode()
    def predict_logits(self, images: np.ndarray) -> np.ndarray:
        """Logits without a class prior: their softmax assumes that all species are equally frequent.

        Args:
            images: uint8, shape (N, S, S, 3), RGB, S = ``config.size``.

        Returns:
            float32, shape (N, C).

        Raises:
            InputError: The images have another type or shape.
        """
        side = self.config.size
        if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.shape[1:] != (side, side, 3):
            told = (
                f"have the type {images.dtype} and the shape {images.shape}" if isinstance(images, np.ndarray) else f"are a {type(images).__name__}"
            )
            raise InputError(f"the images {told}", f"Give a numpy array of uint8, 0 to 255, of the shape (N, {side}, {side}, 3).")
        head = self.head.to(self.runtime.device)
        if self.cache is not None and self.config.frozen:
            config = self.config
            stored = self.cache.features(self.backbone, images, 0, size=config.input_size, config=config.augment, runtime=self.runtime)
            return head(torch.from_numpy(stored).to(head.weight)).cpu().numpy()
        rows = [np.empty((0, len(head.weight)), np.float32)]
        for start in range(0, len(images), 128):
            features = embed(self.backbone, to_tensor(images[start : start + 128], self.runtime.device), self.config.input_size, self.runtime)
            rows.append(head(features).cpu().numpy())
        return np.concatenate(rows)

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Calibrated probabilities.

        Args:
            images: uint8, shape (N, S, S, 3), RGB, S = ``config.size``.

        Returns:
            float32, shape (N, C); each row sums to 1.
        """
        return self.calibration.probabilities(self.predict_logits(images))
