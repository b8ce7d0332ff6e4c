"""Which photographs make good places: those in which nothing of the animal is left once the place is emptied.

An outline that misses a wing leaves it in the place, beside the animal that is pasted there. Such places are found without outlines: a classifier
still recognises the species in them.
"""

from __future__ import annotations

import numpy as np
import torch
from sklearn.linear_model import RidgeClassifier
from torch import Tensor

from syntype.encoders import build_backbone
from syntype.generators.copy_paste.emptying import empty_place
from syntype.generators.networks.projection import FrozenFeatures

__all__ = ["emptied_well"]

_MIN_PHOTOGRAPHS = 50
"""With fewer photographs no classifier is fitted, and all places count as good."""
_BACKBONE_SIZE = 96  # px, input size of the frozen network
_FOLDS = 5
_REGULARISATION = 1.0  # of standardised features, a photograph
_CHUNK = 64


def emptied_well(images: np.ndarray, cleared: Tensor, labels: np.ndarray, device: torch.device) -> np.ndarray:
    """Whether an emptied place no longer shows the species: bool, shape (N,).

    A ridge classifier learns the species from the photographs, by the features of a frozen EfficientNet-Lite1, and is asked about the emptied places
    of photographs that it was not fitted to. A place is good if the species is not among the likeliest quarter. About 30 ms a photograph.

    Args:
        images: uint8, shape (N, S, S, 3), RGB.
        cleared: as in ``Outlines``, shape (N, S, S).
        labels: species of each photograph, int64, shape (N,). If there is only one, or if photographs are few, all places count as good.
    """
    good = np.ones(len(images), bool)
    if len(np.unique(labels)) < 2 or len(images) < _MIN_PHOTOGRAPHS:
        return good
    network = FrozenFeatures(build_backbone("lite1"), _BACKBONE_SIZE, 1, 0).to(device)
    holes = cleared.numpy() > 127
    photographs = _features(network, images.astype(np.float32) / 255)
    places = _features(network, np.stack([empty_place(image.astype(np.float32) / 255, hole) for image, hole in zip(images, holes, strict=True)]))
    mean, scale = photographs.mean(0), photographs.std(0) + 1e-3
    photographs, places = (photographs - mean) / scale, (places - mean) / scale
    folds = np.random.default_rng(0).permutation(len(images)) % _FOLDS
    for fold in range(_FOLDS):
        learn = folds != fold
        if len(np.unique(labels[learn])) < 2 or learn.all():
            continue
        classifier = RidgeClassifier(alpha=_REGULARISATION * float(learn.sum()), class_weight="balanced").fit(photographs[learn], labels[learn])
        good[~learn] = ~_among_likeliest(classifier, places[~learn], labels[~learn])
    return good


def _among_likeliest(classifier: RidgeClassifier, places: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Whether the species is among the likeliest quarter of the classifier's species, or is the likeliest of fewer than eight: bool, shape (N,)."""
    scores = classifier.decision_function(places)
    scores = np.stack([-scores, scores], 1) if scores.ndim == 1 else scores
    position = np.searchsorted(classifier.classes_, labels).clip(max=len(classifier.classes_) - 1)
    own = np.take_along_axis(scores, position[:, None], 1)
    likelier = (scores > own).sum(1)
    return np.asarray((likelier < max(1, len(classifier.classes_) // 4)) & (classifier.classes_[position] == labels))


@torch.no_grad()
def _features(network: FrozenFeatures, images: np.ndarray) -> np.ndarray:
    """Means of the two coarsest maps, float64, shape (N, channels)."""
    found = []
    for at in range(0, len(images), _CHUNK):
        batch = torch.from_numpy(images[at : at + _CHUNK]).permute(0, 3, 1, 2).to(network.gain.device) * 2 - 1
        found.append(torch.cat([one.mean((2, 3)) for one in network(batch)[-2:]], 1).double().cpu().numpy())
    return np.concatenate(found)
