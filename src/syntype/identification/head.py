"""Training of a linear or cosine head on frozen features of several views of each training image."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Self

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from syntype.compute.runtime import Runtime
from syntype.compute.tensors import to_tensor
from syntype.encoders import Backbone, CacheHead, Head
from syntype.identification.calibration import Calibration
from syntype.identification.classifier import ClassifierConfig, FittedClassifier, LabelledImages
from syntype.identification.features import FeatureCache
from syntype.identification.loop import BestWeights, batches_of, learning_rate_factor, objective_of, validation_steps
from syntype.identification.metrics import measure
from syntype.identification.mixing import Targets, cutmix, mixup
from syntype.run import Run

__all__ = ["fit_head", "normalise_head", "tau_normalised"]

_Encode = Callable[[np.ndarray, int], Tensor]

_ALPHAS, _BETAS = (0.0, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0), (1.0, 2.5, 5.5, 11.0, 22.0)
"""Settings among which the head ``tip_adapter`` chooses."""
_NUM_COMPOSITES = 2  # CutMix images per training image; their number is fixed because they are encoded beforehand


def fit_head(train: LabelledImages, counts_real: np.ndarray, config: ClassifierConfig, seed: int, backbone: Backbone,
             val: LabelledImages | None, runtime: Runtime, run: Run, cache: FeatureCache, steps: int, views: int,
             names: Tensor | None = None) -> FittedClassifier:  # fmt: skip
    """Train the head only, with AdamW.

    The features are standardised to mean 0 and standard deviation 1 over all views of the real training images. For a linear head the
    standardisation is folded into the weights, so that it applies to raw features. Mixup mixes features (manifold mixup, Verma et al. 2019,
    arXiv 1806.05236, at the last layer). CutMix mixes pixels before encoding.

    A cosine head is initialised with the means of the species' standardised, L2-normalised features (Qi et al. 2018, arXiv 1712.07136). The
    head ``prototype`` is not trained further: a nearest-centroid classifier, as in SimpleShot (Wang et al. 2019, arXiv 1911.04623), whose "CL2N"
    only centres the features, and takes Euclidean distances. On 360 validation photographs of 60 species of butterflies both recall as much:
    70.8 % and 70.6 % at 128 px, 76.1 % and 76.4 % at 224 px.

    The head ``tip_adapter`` is not trained either; see ``CacheHead``. Its alpha and beta are those of a grid with the highest macro recall on the
    validation images, or without these 1 and 5.5.

    Args:
        backbone: Computes the features; it is not changed.
        runtime: Device and precision of the backbone.
        steps: Number of steps.
        views: Number of views of each training image.
        names: As for ``fit``.

    The other arguments are those of ``fit``.
    """
    num_species = len(counts_real)
    pool = _FeaturePool.encode_views(train, num_species, backbone, config, views, runtime, run, cache)
    mean, std = pool.mean_and_std()
    val_features = None if val is None else pool.encode(val.images, 0).float()
    if config.head == "tip_adapter":
        assert names is not None
        kept = _cache_head(pool, names, val_features, None if val is None else val.labels, run)
        return FittedClassifier(config, backbone, kept.requires_grad_(False), runtime, Calibration(), cache=cache)
    if config.has_cosines:
        head = Head(pool.prototypes(mean, std), None, mean, std)
    else:
        head = Head(torch.zeros(num_species, backbone.num_features), torch.zeros(num_species))
    best, validated_after = BestWeights(None if val is None else val.labels, num_species, run), validation_steps(steps)

    def validate(step: int, loss: float) -> None:
        with torch.no_grad():
            logits = None if val_features is None else head(val_features if head.is_cosine else (val_features - mean) / std).numpy()
        best.record(step, loss, logits, dict(head.named_parameters()))

    if config.head == "prototype":
        validate(0, 0.0)
    else:
        if config.mix == "cutmix":
            pool.add_composites()
        batches = batches_of(train, config, steps, seed)
        random = np.random.default_rng([seed, 2])
        objective = objective_of(train, counts_real, config, head.scale)
        parameters = list(head.parameters())
        optimiser = torch.optim.AdamW(parameters, lr=config.learning_rate, weight_decay=config.weight_decay, fused=True)
        with run.progress("classifier head", steps) as bar:
            for step, rows in enumerate(batches):
                features, targets = pool.batch(rows, random, config)
                loss = objective(head(features if head.is_cosine else (features - mean) / std), targets, step / steps)
                for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
                    parameter.grad = gradient
                optimiser.param_groups[0]["lr"] = config.learning_rate * learning_rate_factor(step, steps)
                optimiser.step()
                if step + 1 in validated_after:
                    validate(step + 1, loss.item())
                    bar.set(step + 1)
    weight, bias = best.best["weight"], best.best.get("bias")
    if bias is None:
        head = Head(weight, None, mean, std)
    else:
        head = Head(weight / std, bias - (weight / std) @ mean)
    return FittedClassifier(config, backbone, head.requires_grad_(False), runtime, Calibration(), best.best_step, tuple(best.history), cache)


def _cache_head(pool: _FeaturePool, names: Tensor, val_features: Tensor | None, val_labels: np.ndarray | None, run: Run) -> CacheHead:
    """See ``CacheHead`` and ``fit_head``. A key is the mean of the views of an image."""
    chosen = pool.representative
    keys = F.normalize(torch.stack([F.normalize(view[chosen].float()) for view in pool.features]).mean(dim=0))

    def made(alpha: float, beta: float) -> CacheHead:
        return CacheHead(names, keys, pool.labels[chosen], torch.tensor(alpha), torch.tensor(beta))

    if val_features is None or val_labels is None:
        return made(1.0, 5.5)
    recalls = {}
    for settings in product(_ALPHAS, _BETAS):
        with torch.no_grad():
            said = made(*settings)(val_features).argmax(1).numpy()
        recalls[settings] = measure(val_labels, said, np.zeros(pool.num_species, np.int64)).macro_recall
    alpha, beta = max(recalls, key=recalls.__getitem__)  # the first of equal ones: the smallest alpha
    run.event("tip_adapter", alpha=alpha, beta=beta, val_macro_recall=recalls[alpha, beta])
    return made(alpha, beta)


def normalise_head(fitted: FittedClassifier, train: LabelledImages, val: LabelledImages | None, run: Run, cache: FeatureCache) -> Head:
    """Tau-normalisation: the head with its rows divided by their norms to the power tau (Kang et al. 2020, arXiv 1910.09217, equation 3).

    It applies to the weights for standardised features, without bias, as in the paper. Tau is the value of 0, 0.05, ..., 1 with the highest macro
    recall on the validation images (the smallest, if several are equal), or 1 without validation images.
    """
    config, head = fitted.config, fitted.head
    assert head.bias is not None
    pool = _FeaturePool.encode_views(train, len(head.weight), fitted.backbone, config, 1, fitted.runtime, run, cache)
    mean, std = pool.mean_and_std()
    choices = {power: tau_normalised(head.weight.detach().cpu() * std, power) / std for power in np.arange(21) / 20}
    best = 1.0
    if val is not None:
        features = pool.encode(val.images, 0).float() - mean
        recall = {p: measure(val.labels, (features @ w.T).argmax(1).numpy(), np.zeros(len(w), np.int64)).macro_recall for p, w in choices.items()}
        best = max(recall, key=lambda power: (recall[power], -power))
    run.event("tau_norm", tau=float(best))
    return Head(choices[best], -(choices[best] @ mean)).requires_grad_(False)


def tau_normalised(weight: Tensor, tau: float) -> Tensor:
    """Divide each row by its L2 norm to the power tau: 0 changes nothing, 1 gives all rows the norm 1."""
    return weight / weight.norm(dim=1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny) ** tau


class _FeaturePool:
    """Features of all views of the training images, and batches of them."""

    def __init__(self, train: LabelledImages, num_species: int, encode: _Encode, num_views: int) -> None:
        self.train, self.num_species, self.encode = train, num_species, encode
        self.features = torch.stack([encode(train.images, view) for view in range(num_views)])  # (num_views, N, D), float16
        self.labels = torch.from_numpy(np.asarray(train.labels, np.int64))
        self.composites: Tensor | None = None

    @classmethod
    def encode_views(cls, train: LabelledImages, num_species: int, backbone: Backbone, config: ClassifierConfig, num_views: int, runtime: Runtime,
           run: Run, cache: FeatureCache) -> Self:  # fmt: skip
        """Encode ``num_views`` views of every training image."""

        def encode(images: np.ndarray, view: int) -> Tensor:
            found = cache.features(backbone, images, view, size=config.input_size, config=config.augment, runtime=runtime, run=run)
            return torch.from_numpy(found)

        return cls(train, num_species, encode, num_views)

    @property
    def real_images(self) -> Tensor:
        """Mask of the images used for statistics: the real ones, or all if none is real; bool, shape (N,)."""
        return torch.from_numpy(~self.train.synthetic if not self.train.synthetic.all() else self.train.synthetic)

    @property
    def representative(self) -> Tensor:
        """Mask of the images that stand for their species: the real ones, and the synthetic ones of a species without any; bool, shape (N,)."""
        return self.real_images | ~torch.isin(self.labels, self.labels[self.real_images])

    def mean_and_std(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of every feature over all views of ``real_images``: shape (D,) each."""
        views = [view[self.real_images].float() for view in self.features]
        mean = torch.stack([view.mean(dim=0) for view in views]).mean(dim=0)
        variance = torch.stack([(view - mean).square().mean(dim=0) for view in views]).mean(dim=0)
        scale = variance.sqrt()
        return mean, scale.clamp_min(1e-2 * float(scale.mean()) + 1e-6)  # a nearly constant feature must not be amplified

    def prototypes(self, mean: Tensor, std: Tensor) -> Tensor:
        """Mean standardised, L2-normalised features of each species, shape (C, D); of its synthetic images if it has no real ones."""
        chosen = self.representative
        sums = torch.zeros(self.num_species, len(mean))
        for view in self.features:
            sums.index_add_(0, self.labels[chosen], F.normalize((view[chosen].float() - mean) / std))
        return F.normalize(sums)

    def add_composites(self) -> None:
        """Encode CutMix composites of every image. They depend on the images only, so that all seeds share their features."""
        images, features, partners, kept = self.train.images, [], [], []
        for number in range(_NUM_COMPOSITES):
            random = np.random.default_rng([3, number])
            partner = random.permutation(len(images))
            mixed, share = cutmix(to_tensor(images), to_tensor(images[partner]), random.random(len(images)), random.random((len(images), 2)))
            pixels = mixed.add(1).mul(127.5).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
            features.append(self.encode(pixels, 0))
            partners.append(torch.from_numpy(partner))
            kept.append(share)
        self.composites, self.partners, self.kept = torch.stack(features), torch.stack(partners), torch.stack(kept)

    def batch(self, rows: np.ndarray, random: np.random.Generator, config: ClassifierConfig) -> tuple[Tensor, Targets]:
        """Features (float32, shape (B, D)) and targets of the images at the positions ``rows``."""
        chosen = torch.from_numpy(rows)
        features = self.features[torch.from_numpy(random.integers(len(self.features), size=len(rows))), chosen].float()
        targets = self.train.targets(rows, config)
        if config.mix == "mixup":
            share = torch.from_numpy(random.beta(config.mix_alpha, config.mix_alpha, size=len(rows)).astype(np.float32))
            other = torch.from_numpy(random.permutation(len(rows)))
            return mixup(features, features[other], share), targets.mixed_with(targets.rows(other), share)
        if self.composites is not None:  # half the images of a batch, on average, are composites
            number = torch.from_numpy(random.integers(len(self.composites), size=len(rows)))
            use = torch.from_numpy(random.random(len(rows)) < 0.5)
            features = torch.where(use[:, None], self.composites[number, chosen].float(), features)
            share = torch.where(use, self.kept[number, chosen], 1.0)
            return features, targets.mixed_with(self.train.targets(self.partners[number, chosen].numpy(), config), share)
        return features, targets
