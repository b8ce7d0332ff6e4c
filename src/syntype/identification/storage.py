"""A classifier on disk: weights as safetensors, the rest as JSON; never a pickle.

FOLDER/
  weights.safetensors   the head; the backbone too, unless it is a bundled one that was left as it is
  classifier.json       species, settings, backbone, what it was trained on, figures
  MODEL_CARD.md, confusion.png, worst_pairs.csv
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from syntype.encoders import BUNDLED
from syntype.errors import InputError
from syntype.identification.backbones import build_classifier_backbone, empty_backbone
from syntype.identification.classifier import ClassifierConfig, FittedClassifier
from syntype.run import write_json

__all__ = ["Classifier", "load_classifier", "save_classifier"]

_SCHEMA = 1


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

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Probabilities: images uint8 (N, size, size, 3), RGB -> float32 (N, len(species)), rows that sum to 1."""
        return self.fitted.predict(images)


def save_classifier(classifier: Classifier, folder: Path) -> None:
    """Write ``weights.safetensors`` and ``classifier.json`` into a folder, which is made where needed."""
    folder.mkdir(parents=True, exist_ok=True)
    fitted = classifier.fitted
    config, backbone = fitted.config, fitted.backbone
    tensors = {"head.weight": fitted.weight, "head.bias": fitted.bias}
    if not (config.frozen and config.backbone in BUNDLED):
        tensors |= {f"backbone.{name}": value for name, value in backbone.network.state_dict().items()}
    save_file({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, folder / "weights.safetensors")
    facts = {"name": backbone.name, "weights": backbone.weights, "num_features": backbone.num_features, "mean": backbone.mean, "std": backbone.std}
    record = {"species": list(classifier.species), "config": config.model_dump(mode="json"), "backbone": facts, **classifier.record}
    write_json(folder / "classifier.json", {"schema_version": _SCHEMA, **record})


def load_classifier(folder: Path | str, device: str = "auto") -> Classifier:
    """Load a classifier that ``train_classifier`` saved; needs neither the internet nor the training images.

    Raises:
        InputError: the folder does not hold a classifier, or its files are damaged or from a newer version.
    """
    folder = Path(folder)
    mend = "Give the --out folder of: syntype classify train"
    if not (folder / "classifier.json").is_file() or not (folder / "weights.safetensors").is_file():
        raise InputError("is not a classifier (no classifier.json and weights.safetensors)", mend, file=folder)
    try:
        record = json.loads((folder / "classifier.json").read_text(encoding="utf-8"))
        tensors = load_file(folder / "weights.safetensors")
        version, species = record.pop("schema_version"), tuple(record.pop("species"))
        values, facts = record.pop("config"), record.pop("backbone")
        weight, bias = tensors.pop("head.weight"), tensors.pop("head.bias")
    except (ValueError, KeyError, AttributeError, OSError, SafetensorError) as error:
        raise InputError(f"is damaged ({type(error).__name__}: {error})", "Train the classifier again.", file=folder) from None
    if version != _SCHEMA:
        raise InputError(f"has schema version {version}, this Syntype reads {_SCHEMA}", "Update Syntype.", file=folder)
    config = ClassifierConfig.parse({**values, "device": device}, source=str(folder / "classifier.json"))
    runtime = config.runtime()
    if tensors:
        backbone = empty_backbone(config.backbone, facts)
        try:
            backbone.network.load_state_dict({name.removeprefix("backbone."): value for name, value in tensors.items()})
        except RuntimeError as error:
            raise InputError(f"holds weights that do not fit {config.backbone} ({error})", "Train the classifier again.", file=folder) from None
    else:
        backbone = build_classifier_backbone(config.backbone)
    backbone.network.to(device=runtime.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    backbone.network.eval()
    return Classifier(FittedClassifier(config, backbone, weight, bias, runtime), species, record)
