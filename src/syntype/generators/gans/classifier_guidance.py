"""A frozen, differentiable classifier: the probability of the requested species in a generated image.

Either a linear layer is fitted here to frozen features of the training photographs, or a trained classifier is read from its folder. The backbone is
EfficientNet-Lite1 by default. Lite0 is refused, as the study's referee measures fidelity with it. Lite2 is possible but not the default, as the
curation filters and the classifier use it on generated images.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from syntype.compute.tensors import to_tensor
from syntype.encoders import BUNDLED, DUTIES, SCRATCH, Backbone, Head, build_backbone, fold_batch_norm, is_backbone, read_classifier, same_encoder
from syntype.errors import UnsupportedError, require_known
from syntype.generators.contract import TrainingData

__all__ = ["GuidanceClassifier", "build_guidance_classifier"]

MAX_FIT_IMAGES = 2048
"""Photographs, at most, to which the linear layer is fitted; their mirror images are used as well."""
ENCODING_BATCH = 64
"""Photographs encoded at a time."""
WEIGHT_DECAY = 1e-3
"""L2 penalty of the linear layer's weights, on standardised features: half of it times their sum of squares is added to the loss."""


class GuidanceClassifier(nn.Module):
    """Images -> logits of species; all parameters are frozen.

    Args:
        backbone: the feature extractor.
        image_size: side to which images are scaled for it, in pixels.
        head: features -> logits.
        class_indices: class of each of the generator's labels, int64, shape (num_species,).
    """

    def __init__(self, backbone: Backbone, image_size: int, head: Head, class_indices: Tensor) -> None:
        super().__init__()
        self.image_size = backbone.fixed_size or image_size
        self._backbone, self.network, self.head = backbone, backbone.network, head
        self.class_indices: Tensor
        self.register_buffer("class_indices", class_indices)
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> GuidanceClassifier:
        """Stay in evaluation mode whatever the mode asked for."""
        return super().train(False)

    def features(self, images_NCHW: Tensor) -> Tensor:
        """Features of images in [-1, 1], shape (N, num_features)."""
        x = images_NCHW
        if x.shape[-1] != self.image_size:
            x = F.interpolate(
                x, size=(self.image_size, self.image_size), mode="bicubic", antialias=x.shape[-1] > self.image_size, align_corners=False
            ).clamp(-1, 1)
        return self.network(self._backbone.normalise(x).contiguous(memory_format=torch.channels_last))

    def forward(self, images_NCHW: Tensor) -> Tensor:
        """Logits without prior, shape (N, num_classes), differentiable in the images."""
        logits: Tensor = self.head(self.features(images_NCHW))
        return logits

    def log_probability(self, images_NCHW: Tensor, labels: Tensor) -> Tensor:
        """Log-probability of the generator's labels, shape (N,)."""
        return self(images_NCHW).log_softmax(dim=1).gather(1, self.class_indices[labels][:, None])[:, 0]


def build_guidance_classifier(name: str, image_size: int, data: TrainingData, flip: bool, device: torch.device) -> GuidanceClassifier:
    """Fit a guidance classifier to the training photographs, or read a trained one.

    Args:
        name: a backbone, as for ``build_backbone``, to whose features a linear layer is fitted; or the folder of a trained classifier.
        image_size: side to which images are scaled for the backbone, in pixels; a trained classifier has its own.
        flip: fit to mirror images too.

    Raises:
        UnsupportedError: the classifier uses the referee's backbone.
        UnknownNameError: a species of ``data`` is not among the classifier's.
        InputError: ``name`` is neither a backbone nor the folder of a classifier.
    """
    if is_backbone(name):
        backbone = build_backbone(name)
        if name in BUNDLED:
            fold_batch_norm(backbone.network)
        empty = torch.zeros(len(data.species), backbone.num_features)
        classifier = GuidanceClassifier(backbone, image_size, Head(empty, empty[:, 0]), torch.arange(len(data.species)))
        return _fit(_on_device(classifier, device), data, flip)
    saved = read_classifier(name)
    if same_encoder(saved.backbone.name, DUTIES["judge"]):
        raise UnsupportedError(
            f"{name}: uses {saved.backbone.name}, which is reserved for the referee of generated images. Train a classifier on another backbone."
        )
    require_known(f"species of the classifier in {name}", data.species, saved.species)
    class_indices = torch.tensor([saved.species.index(species) for species in data.species])
    own_size = saved.config["size" if saved.backbone.name == SCRATCH else "encoder_size"]
    return _on_device(GuidanceClassifier(saved.backbone, int(own_size), saved.head, class_indices), device)


def _on_device(classifier: GuidanceClassifier, device: torch.device) -> GuidanceClassifier:
    return classifier.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]


def _fit(classifier: GuidanceClassifier, data: TrainingData, flip: bool) -> GuidanceClassifier:
    """Fit the linear layer: balanced softmax (Ren et al. 2020, arXiv 2007.10740, eq. 4) on frozen features, minimised by L-BFGS."""
    indices = _balanced_subset(data, MAX_FIT_IMAGES)
    device, labels = classifier.class_indices.device, torch.from_numpy(data.labels[indices])
    flips: Sequence[bool] = (False, True) if flip else (False,)
    with torch.no_grad():
        chunks = [to_tensor(data.images[indices[start : start + ENCODING_BATCH]], device) for start in range(0, len(indices), ENCODING_BATCH)]
        features = torch.cat([classifier.features(chunk.flip(3) if mirrored else chunk) for mirrored in flips for chunk in chunks]).cpu()
    labels = labels.repeat(len(flips))
    prior = torch.bincount(labels, minlength=len(data.species)).clamp(min=1).log()
    mean, scale = features.mean(0), features.std(0)
    scale = scale.clamp(min=1e-2 * float(scale.mean()) + 1e-6)  # do not amplify features of almost no variance
    features = (features - mean) / scale
    weight = torch.zeros(len(data.species), features.shape[1], requires_grad=True)
    bias = torch.zeros(len(data.species), requires_grad=True)
    optimiser = torch.optim.LBFGS([weight, bias], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        value = F.cross_entropy(F.linear(features, weight, bias) + prior, labels) + WEIGHT_DECAY / 2 * weight.square().sum()
        weight.grad, bias.grad = torch.autograd.grad(value, [weight, bias])
        return value

    optimiser.step(loss)  # type: ignore[arg-type]  # torch accepts a closure that returns a tensor
    classifier.head = Head(weight / scale, bias - (weight / scale) @ mean).requires_grad_(False).to(device)
    return classifier


def _balanced_subset(data: TrainingData, limit: int) -> np.ndarray:
    """Sorted indices of at most ``limit`` photographs: the first of every species, then the second of every species that has one, and so on, in a
    fixed random order."""
    shuffled = np.random.default_rng(len(data.labels)).permutation(len(data.labels))
    by_species = shuffled[np.argsort(data.labels[shuffled], kind="stable")]
    starts = np.cumsum(data.counts) - data.counts
    rank = np.arange(len(by_species)) - starts[data.labels[by_species]]
    return np.sort(by_species[np.argsort(rank, kind="stable")][:limit])
