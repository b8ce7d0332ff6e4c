"""Saving and loading classifiers: weights as safetensors, everything else as JSON, never a pickle.

``encoders/classifiers.py`` describes the folder and reads it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from syntype.collection.relatives import RANKS
from syntype.encoders import BUNDLED, CLASSIFIER_SCHEMA, read_classifier
from syntype.errors import InputError, checks_arguments
from syntype.files import write_json
from syntype.identification.calibration import Calibration
from syntype.identification.classifier import ClassifierConfig, FittedClassifier
from syntype.identification.ranks import Ranks

__all__ = ["Classifier", "load_classifier", "save_classifier"]


@dataclass(frozen=True)
class Classifier:
    """A classifier with the names of its species, as ``load_classifier`` returns it.

    Attributes:
        fitted: Backbone, head and calibration.
        species: Names of the species, in the order of the columns of ``predict``.
        record: The record of the training in ``classifier.json`` (fingerprint, numbers of images, metrics).
        ranks: Genus, family and order of the species; None if they are not known, or not stored by the version that trained it.
    """

    fitted: FittedClassifier
    species: tuple[str, ...]
    record: dict[str, Any] = field(default_factory=dict)
    ranks: Ranks | None = None

    @property
    def size(self) -> int:
        """Side of the square images that ``predict`` takes, in pixels."""
        return self.fitted.config.size

    def identify(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities and out-of-distribution scores of images.

        Args:
            images: uint8, shape (N, size, size, 3), RGB.

        Returns:
            Probabilities as in ``predict``, and scores, float, shape (N,), in [0, 1]: from about 0.95 on, the image may show none of the species
            (see ``Calibration.out_of_distribution_score``).
        """
        logits = self.fitted.predict_logits(images)
        return self.fitted.calibration.probabilities(logits), self.fitted.calibration.out_of_distribution_score(logits)

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Probabilities of the species.

        Args:
            images: uint8, shape (N, size, size, 3), RGB.

        Returns:
            float32, shape (N, len(species)); each row sums to 1.
        """
        return self.fitted.predict(images)


def save_classifier(classifier: Classifier, folder: Path) -> None:
    """Write ``weights.safetensors`` and ``classifier.json`` into a folder. A missing folder is created."""
    folder.mkdir(parents=True, exist_ok=True)
    fitted = classifier.fitted
    config, backbone = fitted.config, fitted.backbone
    tensors = {f"head.{name}": value for name, value in fitted.head.state_dict().items()}
    if not (config.frozen and config.backbone in BUNDLED):
        tensors |= {f"backbone.{name}": value for name, value in backbone.network.state_dict().items()}
    save_file({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, folder / "weights.safetensors")
    facts = {"name": backbone.name, "weights": backbone.weights, "num_features": backbone.num_features, "mean": backbone.mean, "std": backbone.std,
             "architecture": backbone.architecture}  # fmt: skip
    record = {
        "species": list(classifier.species),
        **({} if classifier.ranks is None else {"ranks": {rank: list(names) for rank, names in classifier.ranks.names.items()}}),
        "calibration": asdict(fitted.calibration),
        "config": config.model_dump(mode="json"),
        "backbone": facts,
        **classifier.record,
    }
    write_json(folder / "classifier.json", {"schema_version": CLASSIFIER_SCHEMA, **record})


@checks_arguments
def load_classifier(folder: Path | str, device: str = "auto") -> Classifier:
    """Load a classifier that ``train_classifier`` saved. It needs neither the internet nor the training images.

    Args:
        folder: Folder of the classifier.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.

    Raises:
        InputError: The folder holds no classifier, or its files are damaged or of a newer version.
        UnsupportedError: The device is not available.
    """
    saved = read_classifier(folder)
    config = ClassifierConfig.parse({**saved.config, "device": device}, source=str(Path(folder) / "classifier.json"))
    runtime = config.runtime()
    saved.backbone.network.to(device=runtime.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    calibration = _calibration(saved.record.pop("calibration", None) or {}, Path(folder) / "classifier.json")
    ranks = _ranks(saved.record.pop("ranks", None), len(saved.species), Path(folder) / "classifier.json")
    return Classifier(FittedClassifier(config, saved.backbone, saved.head, runtime, calibration), saved.species, saved.record, ranks)


def _ranks(values: Any, num_species: int, file: Path) -> Ranks | None:
    if values is None:
        return None
    fits = isinstance(values, dict) and values.keys() <= set(RANKS)
    if not fits or not all(isinstance(names, list) and len(names) == num_species for names in values.values()):
        raise InputError("is damaged: 'ranks' does not hold one name for each species", "Train the classifier again.", file=file)
    if not all(name is None or isinstance(name, str) for names in values.values() for name in names):
        raise InputError("is damaged: 'ranks' holds something that is no name", "Train the classifier again.", file=file)
    return Ranks({rank: tuple(values[rank]) for rank in RANKS if rank in values}) if values else None


def _calibration(values: dict[str, Any], file: Path) -> Calibration:
    temperature, quantiles = values.get("temperature", 1.0), values.get("energy_quantiles", [])
    numbers = [temperature, *quantiles] if isinstance(quantiles, list) else [None]
    if not all(isinstance(number, (int, float)) and not isinstance(number, bool) for number in numbers) or not temperature > 0:
        raise InputError("is damaged: 'calibration' does not hold numbers", "Train the classifier again.", file=file)
    return Calibration(float(temperature), tuple(map(float, quantiles)))
