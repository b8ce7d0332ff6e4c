"""Fitting a classifier to arrays of labelled images. ``train_classifier`` and the study use it.

Every fit takes ``config.steps`` gradient steps of ``config.batch_size`` images, whatever the amount of data, so that arms of a study are
comparable. Equal arguments and an equal seed give equal weights (on one machine, with the same number of threads).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from syntype.encoders import BUNDLED, SCRATCH, build_classifier_backbone, load_encoder
from syntype.errors import CollectionError, UnsupportedError
from syntype.identification.adapters import require_peft
from syntype.identification.classifier import ClassifierConfig, FittedClassifier, LabelledImages, Refit
from syntype.identification.features import FeatureCache
from syntype.identification.head import fit_head, normalise_head
from syntype.identification.network import fit_network
from syntype.run import Run

__all__ = ["fit", "head_steps", "refit"]


def fit(train: LabelledImages, counts_real: np.ndarray, num_species: int, config: ClassifierConfig, seed: int,
        val: LabelledImages | None = None, run: Run | None = None, cache: FeatureCache | None = None,
        names: np.ndarray | None = None) -> FittedClassifier:  # fmt: skip
    """Fit a classifier. Its probabilities are not calibrated yet.

    Args:
        train: Training images, real and synthetic.
        counts_real: Number of *real* training images per species, int, shape (C,): the prior of balanced softmax.
        num_species: Number of species in the vocabulary, C.
        config: Settings.
        seed: Seed of batches, augmentation and initial weights. ``config.seed`` is not used here.
        val: Validation images. The weights with the highest macro recall on them are kept (the latest, if equal). Without them, the weights of
            the last step are kept.
        run: Shows progress and records events.
        cache: Cache of features, which all fits of a study should share. Only frozen backbones use it.
        names: Embeddings of the species' names times the scale of the backbone, float32, shape (C, num_features): the rows of a classifier by names
            alone. Only the head ``tip_adapter`` needs them.

    Returns:
        The classifier, with temperature 1.

    Raises:
        CollectionError: There are no training images.
        UnknownNameError, UnsupportedError: See ``build_classifier_backbone``, ``require_peft`` and ``layer_numbers``.
        TrainingError: The loss became infinite or NaN.
    """
    if not len(train):
        raise CollectionError("the classifier has no training images. Give a collection with images in the split 'train'.")
    if len(counts_real) != num_species:
        raise ValueError(f"counts_real: {len(counts_real)} values for {num_species} species")
    if config.head == "tip_adapter" and names is None:
        raise UnsupportedError(
            "head 'tip_adapter' needs the embedded names of the species, which only the training of a single classifier gives. Set head to 'linear'."
        )
    if config.tune == "lora":
        require_peft()  # now, before the features are computed
    method = config.refit or _default_refit(train, config)
    config = config.model_copy(update={"refit": method})  # so that the method is saved
    run, runtime = run or Run.silent(), config.runtime()
    val = val if val is not None and len(val) else None
    # All fits of the process share a frozen backbone. A backbone that is trained is built anew.
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
        embedded = None if names is None else torch.from_numpy(names)
        fitted = fit_head(train, counts_real, config, seed, backbone, *common, cache, config.steps, config.views, embedded)
    else:  # linear probing, then fine-tuning (Kumar et al. 2022, arXiv 2202.10054)
        fitted = fit_head(train, counts_real, config, seed, backbone, *common, cache, head_steps(config), min(2, config.views))
        fitted = fit_network(train, counts_real, config, seed, backbone, fitted, *common)
    return refit(fitted, train, counts_real, method, seed, val, run, cache)


def refit(fitted: FittedClassifier, train: LabelledImages, counts_real: np.ndarray, method: Refit, seed: int,
          val: LabelledImages | None = None, run: Run | None = None, cache: FeatureCache | None = None) -> FittedClassifier:  # fmt: skip
    """Refit the head of a classifier on the backbone as it is: the second training stage.

    With the arguments of the first stage the result is that of ``fit`` with ``config.refit`` set to ``method``.

    Args:
        fitted: Result of the first stage.
        train: As for ``fit``.
        counts_real: As for ``fit``.
        method: See ``ClassifierConfig.refit``.
        seed: As for ``fit``.
        val: As for ``fit``.
        run: As for ``fit``.
        cache: As for ``fit``.

    Returns:
        A classifier with the same backbone and a new head; ``fitted`` itself for the method ``none``.
    """
    if method == "none":
        return fitted
    config, run = ClassifierConfig.parse({**fitted.config.model_dump(), "refit": method}), run or Run.silent()
    fitted, val = replace(fitted, config=config), val if val is not None and len(val) else None
    cache = cache if cache is not None and config.frozen else FeatureCache()  # features of a backbone that was trained are of no use to other fits
    if method == "tau_norm":
        return replace(fitted, head=normalise_head(fitted, train, val, run, cache).to(fitted.runtime.device))
    second = config
    if method == "balanced":
        second = config.model_copy(update={"loss": "cross_entropy", "sampler": "balanced", "head": "cosine" if config.has_cosines else "linear"})
    else:
        train = train.where(~train.synthetic)
    found = fit_head(train, counts_real, second, seed, fitted.backbone, val, fitted.runtime, run, cache, head_steps(config), min(2, config.views))
    return replace(fitted, head=found.head.to(fitted.runtime.device))


def _default_refit(train: LabelledImages, config: ClassifierConfig) -> Refit:
    """See ``ClassifierConfig.refit``. It is ``none`` if a species has synthetic images only, because refitting on real ones would forget it."""
    synthetic = train.labels[train.synthetic]
    if train.seconds is not None:
        synthetic = np.concatenate([synthetic, train.seconds[train.seconds >= 0]])
    return "real" if not config.frozen and len(synthetic) and np.isin(synthetic, train.labels[~train.synthetic]).all() else "none"


def head_steps(config: ClassifierConfig) -> int:
    """Number of steps of a stage that trains the head only. At least 500, which cost little because the features are cached."""
    return max(500, config.steps // 5)
