"""The array-level core: labelled images in, a fitted classifier out. ``train.py`` and the study stand on it.

Every fit takes ``config.steps`` gradient steps of ``config.batch_size`` images, whatever the data, so that arms of a study are comparable.
Equal arguments and seed give equal weights (on one machine with one number of threads).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from syntype.encoders import BUNDLED, SCRATCH, build_classifier_backbone, load_encoder
from syntype.errors import CollectionError
from syntype.identification.classifier import ClassifierConfig, FittedClassifier, LabelledImages, Refit
from syntype.identification.features import FeatureCache
from syntype.identification.head import fit_head, normalise_head
from syntype.identification.network import fit_network
from syntype.run import Run

__all__ = ["fit", "refit"]


def fit(train: LabelledImages, counts_real: np.ndarray, num_species: int, config: ClassifierConfig, seed: int,
        val: LabelledImages | None = None, run: Run | None = None, cache: FeatureCache | None = None) -> FittedClassifier:  # fmt: skip
    """Fit a classifier; its probabilities are not calibrated yet.

    Args:
        train: what it learns from, real and synthetic.
        counts_real: int, shape (num_species,), *real* training images a species: the prior of balanced softmax.
        num_species: length of the vocabulary, C.
        seed: of the batches, the augmentation and the initial weights; ``config.seed`` is not used here.
        val: where given (and not empty), the weights of the step with the highest macro recall on these are kept
            (of equals the latest); otherwise those of the last step.
        run: for progress.
        cache: features that are already known; give the same one to all fits of a study. Only a frozen backbone uses it.

    Raises:
        CollectionError: no training images.
        UnknownNameError, UnsupportedError: see ``build_classifier_backbone``.
    """
    if not len(train):
        raise CollectionError("the classifier has no training images. Give a collection with images in the split 'train'.")
    if len(counts_real) != num_species:
        raise ValueError(f"counts_real: {len(counts_real)} values for {num_species} species")
    way = config.refit or _usual_refit(train, config)
    config = config.model_copy(update={"refit": way})  # what is saved says what was done
    run, runtime = run or Run.silent(), config.runtime()
    val = val if val is not None and len(val) else None
    # A frozen backbone is shared by every fit of the process; one that is trained belongs to this fit alone.
    backbone = (
        load_encoder(config.backbone).backbone if config.backbone in BUNDLED and config.frozen else build_classifier_backbone(config.backbone, seed)
    )
    backbone.network.to(device=runtime.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    backbone.network.eval()
    cache = cache if cache is not None else FeatureCache()
    common = (val, runtime, run)
    if config.backbone == SCRATCH:
        fitted = fit_network(train, counts_real, config, seed, backbone, None, *common)
    elif config.frozen:
        fitted = fit_head(train, counts_real, config, seed, backbone, *common, cache, config.steps, config.views)
    else:  # linear probing, then fine-tuning (Kumar et al. 2022, arXiv 2202.10054)
        fitted = fit_head(train, counts_real, config, seed, backbone, *common, cache, _head_steps(config), min(2, config.views))
        fitted = fit_network(train, counts_real, config, seed, backbone, fitted, *common)
    return refit(fitted, train, counts_real, way, seed, val, run, cache)


def refit(fitted: FittedClassifier, train: LabelledImages, counts_real: np.ndarray, way: Refit, seed: int,
          val: LabelledImages | None = None, run: Run | None = None, cache: FeatureCache | None = None) -> FittedClassifier:  # fmt: skip
    """Give a fitted classifier another head, the backbone as it is: the second stage of a fit, for one whose first stage is known.

    Args:
        way: see ``ClassifierConfig.refit``.

    The other arguments are those of ``fit``; equal ones give what ``fit`` gives with ``way`` among its settings.
    """
    if way == "none":
        return fitted
    config, run = ClassifierConfig.parse({**fitted.config.model_dump(), "refit": way}), run or Run.silent()
    fitted, val = replace(fitted, config=config), val if val is not None and len(val) else None
    cache = cache if cache is not None and config.frozen else FeatureCache()  # a backbone that was trained is known to nobody else
    if way == "tau_norm":
        return replace(fitted, head=normalise_head(fitted, train, val, run, cache).to(fitted.runtime.device))
    second = config
    if way == "balanced":
        second = config.model_copy(update={"loss": "cross_entropy", "sampler": "balanced", "head": "cosine" if config.has_cosines else "linear"})
    else:
        train = train.chosen(~train.synthetic)
    found = fit_head(train, counts_real, second, seed, fitted.backbone, val, fitted.runtime, run, cache, _head_steps(config), min(2, config.views))
    return replace(fitted, head=found.head.to(fitted.runtime.device))


def _usual_refit(train: LabelledImages, config: ClassifierConfig) -> Refit:
    """See ``ClassifierConfig.refit``. A species that has synthetic images alone would be forgotten again."""
    synthetic = train.labels[train.synthetic]
    return "real" if not config.frozen and len(synthetic) and np.isin(synthetic, train.labels[~train.synthetic]).all() else "none"


def _head_steps(config: ClassifierConfig) -> int:
    """Of a head that has a stage to itself: at least 500, which cost next to nothing where the features are known."""
    return max(500, config.steps // 5)
