"""A classifier on disk: weights as safetensors, the rest as JSON; never a pickle.

``encoders/classifiers.py`` says what lies in its folder, and reads it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from syntype.encoders import BUNDLED, CLASSIFIER_SCHEMA, read_classifier
from syntype.identification.calibration import Calibration
from syntype.identification.classifier import ClassifierConfig, FittedClassifier
from syntype.run import write_json

__all__ = ["Classifier", "load_classifier", "save_classifier"]


@dataclass(frozen=True)
class Classifier:
    """A fitted classifier and the names of its species.

    Attributes:
        species: names, in the order of the columns of ``predict``.
        record: what ``classifier.json`` says of its training (fingerprint, counts, figures).
    """

    fitted: FittedClassifier
    species: tuple[str, ...]
    record: dict[str, Any] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Side of the square images that ``predict`` takes, in pixels."""
        return self.fitted.config.size

    def identify(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities as ``predict`` gives them, and how unlike the known species each image is: float (N,), see ``Calibration.unlike``."""
        logits = self.fitted.predict_logits(images)
        return self.fitted.calibration.probabilities(logits), self.fitted.calibration.unlike(logits)

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Probabilities: images uint8 (N, size, size, 3), RGB -> float32 (N, len(species)), rows that sum to 1."""
        return self.fitted.predict(images)


def save_classifier(classifier: Classifier, folder: Path) -> None:
    """Write ``weights.safetensors`` and ``classifier.json`` into a folder, which is made where needed."""
    folder.mkdir(parents=True, exist_ok=True)
    fitted = classifier.fitted
    config, backbone = fitted.config, fitted.backbone
    tensors = {f"head.{name}": value for name, value in fitted.head.state_dict().items()}
    if not (config.frozen and config.backbone in BUNDLED):
        tensors |= {f"backbone.{name}": value for name, value in backbone.network.state_dict().items()}
    save_file({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, folder / "weights.safetensors")
    facts = {"name": backbone.name, "weights": backbone.weights, "num_features": backbone.num_features, "mean": backbone.mean, "std": backbone.std}
    record = {
        "species": list(classifier.species),
        "calibration": asdict(fitted.calibration),
        "config": config.model_dump(mode="json"),
        "backbone": facts,
        **classifier.record,
    }
    write_json(folder / "classifier.json", {"schema_version": CLASSIFIER_SCHEMA, **record})


def load_classifier(folder: Path | str, device: str = "auto") -> Classifier:
    """Load a classifier that ``train_classifier`` saved; needs neither the internet nor the training images. Raises as ``read_classifier``.

    Args:
        folder: what ``train_classifier`` wrote.
        device: ``auto`` (CUDA, then MPS, then CPU), ``cpu``, ``cuda`` or ``mps``.

    Returns:
        a classifier; its ``predict(images)`` takes uint8 NHWC images and gives probabilities, shape (N, species).
    """
    saved = read_classifier(folder)
    config = ClassifierConfig.parse({**saved.config, "device": device}, source=str(Path(folder) / "classifier.json"))
    runtime = config.runtime()
    saved.backbone.network.to(device=runtime.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    calibration = Calibration(**saved.record.pop("calibration", {}))
    return Classifier(FittedClassifier(config, saved.backbone, saved.head, runtime, calibration), saved.species, saved.record)
