"""A head on frozen features, fitted to several views of each training image: linear (multinomial logistic regression), or cosines."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from syntype.compute.runtime import Runtime
from syntype.compute.tensors import to_tensor
from syntype.encoders import Backbone, Head
from syntype.identification.calibration import Calibration
from syntype.identification.classifier import ClassifierConfig, FittedClassifier, LabelledImages
from syntype.identification.features import FeatureCache
from syntype.identification.loop import BestWeights, validation_steps, rate
from syntype.identification.losses import Objective
from syntype.identification.metrics import measure
from syntype.identification.mixing import Targets, cutmix, mixup
from syntype.identification.sampling import SAMPLER_POWER, sample_batches
from syntype.run import Run

__all__ = ["fit_head", "normalise_head", "tau_normalised"]

_Encode = Callable[[np.ndarray, int], Tensor]

_COMPOSITES = 2  # CutMix pictures an image: they are encoded beforehand, so there is a fixed number of them


def fit_head(train: LabelledImages, counts_real: np.ndarray, config: ClassifierConfig, seed: int, backbone: Backbone,
             val: LabelledImages | None, runtime: Runtime, run: Run, cache: FeatureCache, steps: int, views: int) -> FittedClassifier:  # fmt: skip
    """Fit the head in so many steps on so many views of each image; see ``fit`` for the other arguments.

    The features are scaled to mean 0 and standard deviation 1 over all views of the real training images; a linear head has the scaling
    folded into it, so that it applies to raw features. Mixup mixes features (manifold mixup, Verma et al. 2019, arXiv 1806.05236, at the last
    layer); CutMix mixes pixels before encoding.

    A cosine head starts from the means of the species' standardised, unit-length features (Qi et al. 2018, arXiv 1712.07136); as a
    ``prototype`` it stays there, a nearest-centroid classifier (Wang et al. 2019, arXiv 1911.04623, "CL2N").
    """
    num_species = len(counts_real)
    pool = _Pool.of(train, num_species, backbone, config, views, runtime, run, cache)
    mean, spread = pool.moments()
    val_features = None if val is None else pool.encode(val.images, 0).float()
    if config.has_cosines:
        head = Head(pool.prototypes(mean, spread), None, mean, spread)
    else:
        head = Head(torch.zeros(num_species, backbone.num_features), torch.zeros(num_species))
    keeper, looked = BestWeights(None if val is None else val.labels, num_species, run), validation_steps(steps)

    def look(step: int, loss: float) -> None:
        with torch.no_grad():
            logits = None if val_features is None else head(val_features if head.is_cosine else (val_features - mean) / spread).numpy()
        keeper.look(step, loss, logits, dict(head.named_parameters()))

    if config.head == "prototype":
        look(0, 0.0)
    else:
        if config.mix == "cutmix":
            pool.add_composites()
        batches = sample_batches(train.labels, train.synthetic, steps=steps, batch_size=config.batch_size, sampler=config.sampler,
                           cap=config.synthetic_share, seed=seed)  # fmt: skip
        random = np.random.default_rng([seed, 2])
        objective = Objective(config.loss, config.loss_settings, counts_real, SAMPLER_POWER[config.sampler], head.scale)
        parameters = list(head.parameters())
        optimiser = torch.optim.AdamW(parameters, lr=config.learning_rate, weight_decay=config.weight_decay, fused=True)
        with run.progress("classifier head", steps) as bar:
            for step, rows in enumerate(batches):
                features, targets, weights = pool.batch(rows, random, config)
                loss = objective(head(features if head.is_cosine else (features - mean) / spread), targets, weights, step / steps)
                for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
                    parameter.grad = gradient
                optimiser.param_groups[0]["lr"] = config.learning_rate * learning_rate_factor(step, steps)
                optimiser.step()
                if step + 1 in looked:
                    look(step + 1, loss.item())
                    bar.set(step + 1)
    weight, bias = keeper.best["weight"], keeper.best.get("bias")
    if bias is None:
        head = Head(weight, None, mean, spread)
    else:
        head = Head(weight / spread, bias - (weight / spread) @ mean)
    return FittedClassifier(config, backbone, head.requires_grad_(False), runtime, Calibration(), keeper.best_step, tuple(keeper.history), cache)


def normalise_head(fitted: FittedClassifier, train: LabelledImages, val: LabelledImages | None, run: Run, cache: FeatureCache) -> Head:
    """The head with its rows divided by a power of their lengths, tau (Kang et al. 2020, arXiv 1910.09217, equation 3).

    This is done to the head on standardised features, whose bias is dropped, as in the paper. Of the powers 0, 0.05, ..., 1 that one is taken
    which gives the highest macro recall on the validation images (of equals the least); without any, 1.
    """
    config, head = fitted.config, fitted.head
    assert head.bias is not None
    pool = _Pool.of(train, len(head.weight), fitted.backbone, config, 1, fitted.runtime, run, cache)
    mean, spread = pool.moments()
    choices = {power: tau_normalised(head.weight.detach().cpu() * spread, power) / spread for power in np.arange(21) / 20}
    best = 1.0
    if val is not None:
        features = pool.encode(val.images, 0).float() - mean
        recall = {p: measure(val.labels, (features @ w.T).argmax(1).numpy(), np.zeros(len(w), np.int64)).macro_recall for p, w in choices.items()}
        best = max(recall, key=lambda power: (recall[power], -power))
    run.event("tau_norm", tau=float(best))
    return Head(choices[best], -(choices[best] @ mean)).requires_grad_(False)


def tau_normalised(weight: Tensor, tau: float) -> Tensor:
    """Each row divided by its length to the power tau: 0 leaves it, 1 makes all rows equally long."""
    return weight / weight.norm(dim=1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny) ** tau


class _Pool:
    """Features of every view of the training images, and batches of them."""

    def __init__(self, train: LabelledImages, num_species: int, encode: _Encode, num_views: int) -> None:
        self.train, self.num_species, self.encode = train, num_species, encode
        self.features = torch.stack([encode(train.images, view) for view in range(num_views)])  # (num_views, N, D), float16
        self.labels = torch.from_numpy(np.asarray(train.labels, np.int64))
        self.composites: Tensor | None = None

    @classmethod
    def of(cls, train: LabelledImages, num_species: int, backbone: Backbone, config: ClassifierConfig, num_views: int, runtime: Runtime,
           run: Run, cache: FeatureCache) -> Self:  # fmt: skip
        """Encode the images."""

        def encode(images: np.ndarray, view: int) -> Tensor:
            found = cache.features(backbone, images, view, size=config.input_size, config=config.augment, runtime=runtime, run=run)
            return torch.from_numpy(found)

        return cls(train, num_species, encode, num_views)

    @property
    def counted(self) -> Tensor:
        """Which images statistics are taken of: the real ones (all, where none is real); bool, shape (N,)."""
        return torch.from_numpy(~self.train.synthetic if not self.train.synthetic.all() else self.train.synthetic)

    def moments(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of every feature over all views of the real images (of all, where none is real): (D,) each."""
        views = [view[self.counted].float() for view in self.features]
        mean = torch.stack([view.mean(dim=0) for view in views]).mean(dim=0)
        variance = torch.stack([(view - mean).square().mean(dim=0) for view in views]).mean(dim=0)
        scale = variance.sqrt()
        return mean, scale.clamp_min(1e-2 * float(scale.mean()) + 1e-6)  # a feature that hardly varies must not be blown up

    def prototypes(self, mean: Tensor, spread: Tensor) -> Tensor:
        """Means of each species' standardised, unit-length features over all views; of one without a counted image, of its other images: (C, D)."""
        chosen = self.counted | ~torch.isin(self.labels, self.labels[self.counted])
        sums = torch.zeros(self.num_species, len(mean))
        for view in self.features:
            sums.index_add_(0, self.labels[chosen], F.normalize((view[chosen].float() - mean) / spread))
        return F.normalize(sums)

    def add_composites(self) -> None:
        """CutMix pictures of every image; a function of the images alone, so that all seeds share their features."""
        images, features, partners, kept = self.train.images, [], [], []
        for number in range(_COMPOSITES):
            random = np.random.default_rng([3, number])
            partner = random.permutation(len(images))
            mixed, share = cutmix(to_tensor(images), to_tensor(images[partner]), random.random(len(images)), random.random((len(images), 2)))
            pixels = mixed.add(1).mul(127.5).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
            features.append(self.encode(pixels, 0))
            partners.append(self.labels[partner])
            kept.append(share)
        self.composites, self.partners, self.kept = torch.stack(features), torch.stack(partners), torch.stack(kept)

    def batch(self, rows: np.ndarray, random: np.random.Generator, config: ClassifierConfig) -> tuple[Tensor, Targets, Tensor | None]:
        """Features (B, D) float32, targets, and weights of the images at ``rows``."""
        chosen = torch.from_numpy(rows)
        features = self.features[torch.from_numpy(random.integers(len(self.features), size=len(rows))), chosen].float()
        labels = self.labels[chosen]
        weights = None if self.train.weights is None else torch.from_numpy(np.asarray(self.train.weights[rows], np.float32))
        if config.mix == "mixup":
            share = torch.from_numpy(random.beta(config.mix_alpha, config.mix_alpha, size=len(rows)).astype(np.float32))
            other = torch.from_numpy(random.permutation(len(rows)))
            return mixup(features, features[other], share), Targets(labels, labels[other], share), weights
        if self.composites is not None:  # half the images of a batch, on average, are composites
            number = torch.from_numpy(random.integers(len(self.composites), size=len(rows)))
            use = torch.from_numpy(random.random(len(rows)) < 0.5)
            features = torch.where(use[:, None], self.composites[number, chosen].float(), features)
            share = torch.where(use, self.kept[number, chosen], 1.0)
            return features, Targets(labels, self.partners[number, chosen], share), weights
        return features, Targets(labels), weights
