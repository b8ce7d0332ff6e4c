"""What a classifier is made of: its settings, the images it learns from, and the fitted result."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, Self

import numpy as np
import torch
from pydantic import Field, model_validator

from syntype.compute.runtime import Precision, Runtime
from syntype.compute.tensors import to_tensor
from syntype.encoders import SCRATCH, Backbone, Head
from syntype.identification.augment import AugmentConfig
from syntype.identification.calibration import Calibration
from syntype.identification.features import FeatureCache, embed
from syntype.identification.losses import Loss, LossConfig
from syntype.identification.mixing import Mix
from syntype.identification.sampling import Sampler
from syntype.recipe import Settings

__all__ = ["ClassifierConfig", "FittedClassifier", "LabelledImages", "Refit"]

Refit = Literal["none", "balanced", "real", "tau_norm"]


class ClassifierConfig(Settings):
    """Settings of a classifier."""

    backbone: str = "lite2"
    """``lite2`` (bundled), ``timm:NAME``, ``timm:NAME:FILE``, or ``scratch``: a small network trained from nothing."""
    tune: Literal["head", "all"] = "head"
    """``head`` keeps the backbone as it is; ``all`` trains it too after a fit of the head. ``scratch`` always trains everything."""
    head: Literal["linear", "cosine", "prototype"] | None = None
    """``prototype`` is a cosine head whose rows are the means of the species' features, nothing learnt. Without a word: ``linear``, and
    ``cosine`` for the loss ``ldam_drw``."""
    loss: Loss = "balanced_softmax"
    loss_settings: LossConfig = LossConfig()
    sampler: Sampler = "natural"
    refit: Refit | None = None
    """What becomes of the head at the end, the backbone as it is by then. ``balanced``: learnt again with cross-entropy, species drawn equally
    often (cRT, Kang et al. 2020, arXiv 1910.09217, section 4.1); ``real``: learnt again from the real images alone; ``tau_norm``: its rows
    divided by a power of their lengths (section 4.3), the power chosen on the validation images. Without a word: ``real`` where the backbone
    was trained, and on synthetic images too; else ``none``. The prior is that of the real images, which such batches do not show."""
    steps: int = Field(default=2000, ge=1)
    batch_size: int = Field(default=64, ge=2)
    learning_rate: float = Field(default=1e-3, gt=0)
    """Highest learning rate (AdamW; short warm-up, then cosine to 0)."""
    backbone_learning_rate_factor: float = Field(default=0.1, ge=0)
    """Learning rate of a pre-trained backbone's last layer, as a share of ``lr``."""
    layer_decay: float = Field(default=1.0, gt=0, le=1)
    """Each layer of a pre-trained backbone learns this much slower than the next one (Clark et al. 2020, arXiv 2003.10555); 1 all alike."""
    weight_decay: float = Field(default=0.01, ge=0)
    size: int = Field(default=64, ge=8)
    """Side of the collection's decoded images, in pixels."""
    encoder_size: int = Field(default=128, ge=32)
    """Side to which images are scaled for a pre-trained backbone; ``scratch`` takes them as they are."""
    views: int = Field(default=4, ge=1)
    """Views of each training image that a head learns from: itself, its mirror image, and augmented versions."""
    augment: AugmentConfig = AugmentConfig()
    synthetic_share: float = Field(default=0.5, ge=0, le=1)
    """Highest share of synthetic images in a batch."""
    mix: Mix = "none"
    mix_alpha: float = Field(default=1.0, gt=0)
    """Mixed images keep a share drawn from Beta(mix_alpha, mix_alpha)."""
    seed: int = Field(default=0, ge=0)
    device: str = "auto"
    precision: Precision = "auto"

    @model_validator(mode="after")
    def _head_fits(self) -> Self:
        if self.head == "prototype" and not self.frozen:
            raise ValueError("head 'prototype' learns nothing, so it needs a backbone that stays as it is. Use tune 'head' and a pre-trained one.")
        if self.loss == "ldam_drw" and self.head == "linear":
            raise ValueError("loss 'ldam_drw' has margins between cosines. Leave head out, or use head 'cosine'.")
        if self.refit == "tau_norm" and self.has_cosines:
            raise ValueError("refit 'tau_norm' changes the lengths of a head's rows, and cosines have none. Use head 'linear', or another refit.")
        return self

    @property
    def has_cosines(self) -> bool:
        """Whether the head gives cosines."""
        return self.head in ("cosine", "prototype") or (self.head is None and self.loss == "ldam_drw")

    @property
    def frozen(self) -> bool:
        """Whether the backbone stays as it is."""
        return self.tune == "head" and self.backbone != SCRATCH

    @property
    def input_size(self) -> int:
        """Side to which the network's input is scaled; 0 means not at all."""
        return 0 if self.backbone == SCRATCH else self.encoder_size

    def runtime(self, *, training: bool = False) -> Runtime:
        """Where it runs, and where the whole network is trained. ``auto`` means fp32 on a CPU, but for training ``scratch`` where the CPU has
        bfloat16: its convolutions took two thirds of the time there, and those of the bundled backbone nearly twice as long. It is not decided
        by timing, so that all arms of a study get the same."""
        if self.precision != "auto":
            return Runtime(self.device, self.precision)
        plain = Runtime(self.device, "fp32")
        if plain.device.type != "cpu":
            return Runtime(self.device)
        faster = training and self.backbone == SCRATCH and torch.cpu._is_avx512_bf16_supported()
        return Runtime(self.device, "bf16") if faster else plain


@dataclass(frozen=True)
class LabelledImages:
    """Images and what they show.

    Attributes:
        images: uint8, shape (N, S, S, 3), RGB; a memory map is fine.
        labels: int64, shape (N,), positions in the vocabulary.
        is_synthetic: bool, shape (N,); None means that all are real.
        weights: float32, shape (N,), how much each image counts in the loss; None means all the same.
    """

    images: np.ndarray
    labels: np.ndarray
    is_synthetic: np.ndarray | None = None
    weights: np.ndarray | None = None

    def __post_init__(self) -> None:
        for name in ("labels", "is_synthetic", "weights"):
            values = getattr(self, name)
            if values is not None and len(values) != len(self.images):
                raise ValueError(f"{name}: {len(values)} values for {len(self.images)} images")

    def __len__(self) -> int:
        return len(self.images)

    def chosen(self, which: np.ndarray) -> LabelledImages:
        """Those that a mask chooses."""
        keep = lambda values: None if values is None else values[which]  # noqa: E731
        return LabelledImages(self.images[which], self.labels[which], keep(self.is_synthetic), keep(self.weights))

    @property
    def synthetic(self) -> np.ndarray:
        """``is_synthetic``, filled in: bool, shape (N,)."""
        return np.zeros(len(self.images), bool) if self.is_synthetic is None else np.asarray(self.is_synthetic, bool)


@dataclass(frozen=True)
class FittedClassifier:
    """A backbone and a head.

    Attributes:
        config: the settings it was fitted with.
        backbone: gives the features; in inference mode.
        head: features -> logits.
        calibration: from logits to probabilities.
        best_step: the gradient step whose weights these are.
        history: one entry a look at the validation images: step, loss, val_macro_recall, val_accuracy.
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
        """Logits without any prior (their softmax is the balanced estimate): images uint8 (N, S, S, 3) -> float32 (N, C)."""
        head = self.head.to(self.runtime.device)
        if self.cache is not None and self.config.frozen:
            config = self.config
            stored = self.cache.features(self.backbone, images, 0, size=config.input_size, config=config.augment, runtime=self.runtime)
            return head(torch.from_numpy(stored).to(head.weight)).cpu().numpy()
        rows = [np.empty((0, len(head.weight)), np.float32)]
        for start in range(0, len(images), 128):
            features = embed(self.backbone, to_tensor(images[start : start + 128]), self.config.input_size, self.runtime)
            rows.append(head(features).cpu().numpy())
        return np.concatenate(rows)

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Probabilities: images uint8 (N, S, S, 3) -> float32 (N, C), rows that sum to 1."""
        return self.calibration.probabilities(self.predict_logits(images))
