"""A linear head on frozen features: multinomial logistic regression on several views of each training image."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from syntype.encoders import Backbone
from syntype.generators.contract import to_tensor
from syntype.generators.runtime import Runtime
from syntype.identification.classifier import ClassifierConfig, FittedClassifier, LabelledImages
from syntype.identification.features import FeatureCache
from syntype.identification.loop import Keeper, looks, rate
from syntype.identification.losses import classification_loss, log_prior
from syntype.identification.mixing import cutmix, mixup, soft_targets
from syntype.identification.sampling import SAMPLER_POWER, schedule
from syntype.run import Run

__all__ = ["fit_head"]

_Encode = Callable[[np.ndarray, int], Tensor]

_COMPOSITES = 2  # CutMix pictures an image: they are encoded beforehand, so there is a fixed number of them


def fit_head(train: LabelledImages, counts_real: np.ndarray, config: ClassifierConfig, seed: int, backbone: Backbone,
             val: LabelledImages | None, runtime: Runtime, run: Run, cache: FeatureCache) -> FittedClassifier:  # fmt: skip
    """Fit the head; see ``fit`` for the arguments.

    The features are scaled to mean 0 and standard deviation 1 over all views of the real training images; the scaling is folded into the head,
    so that the result applies to raw features. Mixup mixes features (manifold mixup, Verma et al. 2019, arXiv 1806.05236, at the last
    layer); CutMix mixes pixels before encoding. When everything is to be trained afterwards, this is a first phase of a fifth of the
    steps on two views (linear probing, then fine-tuning: Kumar et al. 2022, arXiv 2202.10054).
    """
    steps = config.steps if config.frozen else max(1, config.steps // 5)
    num_views = config.views if config.frozen else min(2, config.views)
    num_species = len(counts_real)

    def encode(images: np.ndarray, view: int) -> Tensor:
        found = cache.features(backbone, images, view, size=config.input_size, config=config.augment, runtime=runtime, run=run)
        return torch.from_numpy(found)

    pool = _Pool([encode(train.images, view) for view in range(num_views)], train, num_species)
    if config.mix == "cutmix":
        pool.add_composites(encode)
    mean, scale = pool.moments()
    val_features = None if val is None else (encode(val.images, 0).float() - mean) / scale

    batches = schedule(train.labels, train.synthetic, steps=steps, batch_size=config.batch_size, sampler=config.sampler,
                       cap=config.synthetic_share, seed=seed)  # fmt: skip
    random = np.random.default_rng([seed, 2])
    prior = log_prior(counts_real, SAMPLER_POWER[config.sampler]) if config.loss == "balanced_softmax" else None
    weight = torch.zeros(num_species, backbone.num_features, requires_grad=True)
    bias = torch.zeros(num_species, requires_grad=True)
    optimiser = torch.optim.AdamW([weight, bias], lr=config.lr, weight_decay=config.weight_decay, fused=True)
    keeper, looked = Keeper(None if val is None else val.labels, num_species, run), looks(steps)
    with run.progress("classifier head", steps) as bar:
        for step, rows in enumerate(batches):
            features, targets, weights = pool.batch(rows, random, config)
            loss = classification_loss(torch.addmm(bias, (features - mean) / scale, weight.T), targets, prior, weights)
            weight.grad, bias.grad = torch.autograd.grad(loss, [weight, bias])
            optimiser.param_groups[0]["lr"] = config.lr * rate(step, steps)
            optimiser.step()
            if step + 1 in looked:
                with torch.no_grad():
                    logits = None if val_features is None else (val_features @ weight.T + bias).numpy()
                keeper.look(step + 1, loss.item(), logits, {"weight": weight, "bias": bias})
                bar.set(step + 1)
    folded = keeper.best["weight"] / scale
    return FittedClassifier(config, backbone, folded, keeper.best["bias"] - folded @ mean, runtime, keeper.best_step, tuple(keeper.history), cache)


class _Pool:
    """Features of every view of the training images, and batches of them."""

    def __init__(self, views: list[Tensor], train: LabelledImages, num_species: int) -> None:
        self.features = torch.stack(views)  # (num_views, N, D), float16
        self.train, self.num_species = train, num_species
        self.labels = torch.from_numpy(np.asarray(train.labels, np.int64))
        self.composites: Tensor | None = None

    def moments(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of every feature over all views of the real images (of all, where none is real): (D,) each."""
        chosen = torch.from_numpy(~self.train.synthetic if not self.train.synthetic.all() else self.train.synthetic)
        views = [view[chosen].float() for view in self.features]
        mean = torch.stack([view.mean(dim=0) for view in views]).mean(dim=0)
        variance = torch.stack([(view - mean).square().mean(dim=0) for view in views]).mean(dim=0)
        scale = variance.sqrt()
        return mean, scale.clamp_min(1e-2 * float(scale.mean()) + 1e-6)  # a feature that hardly varies must not be blown up

    def add_composites(self, encode: _Encode) -> None:
        """CutMix pictures of every image; a function of the images alone, so that all seeds share their features."""
        images, features, partners, kept = self.train.images, [], [], []
        for number in range(_COMPOSITES):
            random = np.random.default_rng([3, number])
            partner = random.permutation(len(images))
            mixed, share = cutmix(to_tensor(images), to_tensor(images[partner]), random.random(len(images)), random.random((len(images), 2)))
            pixels = mixed.add(1).mul(127.5).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
            features.append(encode(pixels, 0))
            partners.append(self.labels[partner])
            kept.append(share)
        self.composites, self.partners, self.kept = torch.stack(features), torch.stack(partners), torch.stack(kept)

    def batch(self, rows: np.ndarray, random: np.random.Generator, config: ClassifierConfig) -> tuple[Tensor, Tensor, Tensor | None]:
        """Features (B, D) float32, targets, and weights of the images at ``rows``."""
        chosen = torch.from_numpy(rows)
        features = self.features[torch.from_numpy(random.integers(len(self.features), size=len(rows))), chosen].float()
        targets = self.labels[chosen]
        weights = None if self.train.weights is None else torch.from_numpy(np.asarray(self.train.weights[rows], np.float32))
        if config.mix == "mixup":
            share = torch.from_numpy(random.beta(config.mix_alpha, config.mix_alpha, size=len(rows)).astype(np.float32))
            other = torch.from_numpy(random.permutation(len(rows)))
            return mixup(features, features[other], share), soft_targets(targets, targets[other], share, self.num_species), weights
        if self.composites is not None:  # half the images of a batch, on average, are composites
            number = torch.from_numpy(random.integers(len(self.composites), size=len(rows)))
            use = torch.from_numpy(random.random(len(rows)) < 0.5)
            features = torch.where(use[:, None], self.composites[number, chosen].float(), features)
            share = torch.where(use, self.kept[number, chosen], 1.0)
            return features, soft_targets(targets, self.partners[number, chosen], share, self.num_species), weights
        return features, targets, weights
