"""Generators on disk, and the trained generator as later stages see it.

GENERATOR/
  generator.json         family, settings, species, provenance; for an adapted one: its base and its adapters
  weights.safetensors    the averaged weights that sampling uses (an adapted generator has none of its own)
  training_images.txt    sha256 of every image it was trained on
  adapters/              one .safetensors a species that was added, holding only what changed
  training/state.pt      everything for an exact resume (tensors and plain values; loaded with weights_only)
  previews/  tensorboard/  run.json  recipe.yaml  progress.jsonl
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from syntype.errors import CollectionError, require_known
from syntype.generators.contract import Adapts, GenerativeModel
from syntype.generators.modulation import plain_weights
from syntype.generators.registry import family
from syntype.run import replacing, write_json

__all__ = ["NEW_ROW", "Generator", "base_folder", "load_generator", "read_generator_info", "read_state", "save_generator", "save_state"]

SCHEMA_VERSION = 1
CHUNK = 32
"""Images drawn at a time. Every chunk has this size, so that an image does not depend on how many were asked for."""

NEW_ROW = "new_row."
"""Before the name of a tensor in an adapter's file: the one row that the new species adds to it."""


class Generator:
    """A trained generator: a model and, for species added later, the weights that each of them changed.

    Attributes:
        folder: where it lies.
        info: the content of ``generator.json``.
        trained_on: sha256 of every image that it or its adapters learnt from.
    """

    def __init__(self, folder: Path, model: GenerativeModel, info: dict[str, Any], trained_on: Iterable[str]) -> None:
        self.folder, self.model, self.info = folder, model, info
        self.trained_on = frozenset(trained_on)
        self._adapters: dict[str, dict[str, Tensor]] = {}

    @property
    def family(self) -> str:
        """Name of the family."""
        return str(self.info["family"])

    @property
    def species(self) -> tuple[str, ...]:
        """Species that it can draw; of a model that does not tell species apart, those that it was adapted to."""
        return self.model.species if self.model.is_conditional else tuple(self._adapters)

    @property
    def size(self) -> int:
        """Side of its images, in pixels; the height where they are not square."""
        return self.model.config.size

    @property
    def generator_id(self) -> str:
        """Family and the first digits of the weights' hash."""
        return str(self.info["generator_id"])

    @property
    def licences(self) -> list[str]:
        """Distinct licences of the training images."""
        return list(self.info.get("licences", []))

    def to(self, device: torch.device | str) -> Generator:
        """Move to a device."""
        self.model.to(device)
        return self

    def add_adapter(self, species: str, changed: dict[str, Tensor]) -> None:
        """Let the generator draw one more species, with weights that are used for this species alone."""
        if not isinstance(self.model, Adapts):
            raise CollectionError(f"{self.folder}: family {self.family} cannot be adapted.")
        self.model.add_species(species, None)
        own = self.model.generator.state_dict()
        for name in [name for name in changed if name.startswith(NEW_ROW)]:
            own[name.removeprefix(NEW_ROW)][-1:] = changed.pop(name)  # no other species reads this row
        self._adapters[species] = changed

    def sample(self, species: Sequence[str], seeds: Sequence[int], **controls: Any) -> Tensor:
        """Draw one image for each (species, seed) pair: float32, shape (N, 3, size, size), in [-1, 1], on the CPU.

        Raises:
            UnknownNameError: a species that the generator does not know.
        """
        require_known("species of this generator", species, self.model.species)
        result = torch.empty(len(species), 3, *self.model.config.shape)
        adapted: dict[str | None, list[int]] = {}
        for row, name in enumerate(species):
            adapted.setdefault(name if name in self._adapters else None, []).append(row)
        for adapter, rows in adapted.items():
            replaced = self._swap_in(self._adapters[adapter]) if adapter is not None else {}
            try:
                for start in range(0, len(rows), CHUNK):
                    part = rows[start : start + CHUNK]
                    filled = part + [part[-1]] * (CHUNK - len(part)) if self.model.learns else part
                    images = self.model.sample([species[row] for row in filled], [seeds[row] for row in filled], **controls)
                    result[part] = images[: len(part)].float().cpu()
            finally:
                self._swap_in(replaced)
        return result

    def _swap_in(self, changed: dict[str, Tensor]) -> dict[str, Tensor]:
        """Put an adapter's weights in place; returns those that were there. Kernels are made of their factors only now, so that
        thousands of adapters fit into memory."""
        own = self.model.generator.state_dict()
        tensors = plain_weights(changed, own)
        replaced = {name: own[name].clone() for name in tensors}
        for name, tensor in tensors.items():
            own[name].copy_(tensor)
        return replaced


def save_generator(folder: Path, model: GenerativeModel, weights: dict[str, Tensor], info: dict[str, Any], trained_on: Iterable[str]) -> str:
    """Write ``generator.json``, ``weights.safetensors`` and ``training_images.txt``; returns the generator_id."""
    family_name = type(model).__module__.rpartition(".")[2]
    with replacing(folder / "weights.safetensors") as temporary:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}, temporary)
        digest = hashlib.sha256(temporary.read_bytes()).hexdigest()
    (folder / "training_images.txt").write_text("".join(f"{sha}\n" for sha in sorted(trained_on)), encoding="utf-8")
    generator_id = f"{family_name}-{digest[:12]}"
    write_json(
        folder / "generator.json",
        {
            "schema_version": SCHEMA_VERSION,
            "generator_id": generator_id,
            "family": family_name,
            "config": model.config.model_dump(mode="json"),
            "species": list(model.species),
            "weights_sha256": digest,
            **info,
        },
    )
    return generator_id


def load_generator(folder: Path | str) -> Generator:
    """Load a generator, adapted or not.

    Raises:
        CollectionError: the folder is not a generator, or the base of an adapted one is not where it was.
    """
    folder = Path(folder)
    info, trained_on = read_generator_info(folder)
    if "base" not in info:
        kind = family(info["family"])
        model = kind(kind.Config.parse(info["config"], str(folder / "generator.json")), info["species"])
        model.generator.load_state_dict(load_file(folder / "weights.safetensors"))
        model.eval()
        return Generator(folder, model, info, trained_on)
    base = load_generator(base_folder(folder, info))
    if base.info["weights_sha256"] != info["base"]["weights_sha256"]:
        raise CollectionError(
            f"{folder}: its base generator at {base.folder} has been trained further since. Adapt again with: syntype adapt {base.folder}"
        )
    result = Generator(folder, base.model, info, trained_on)
    for adapter in info["adapters"]:
        result.add_adapter(adapter["species"], load_file(folder / adapter["file"]))
    return result


def base_folder(folder: Path, info: dict[str, Any]) -> Path:
    """Where the weights of a generator lie: its own folder, or that of the generator it was adapted from.

    Raises:
        CollectionError: the base is no longer where it was.
    """
    if "base" not in info:
        return folder
    for path in (folder / info["base"]["relative"], Path(info["base"]["absolute"])):
        if (path / "generator.json").is_file():
            return path
    raise CollectionError(
        f"{folder}: its base generator is not at {info['base']['absolute']}. Move it back there, or adapt again from where it is now."
    )


def read_generator_info(folder: Path) -> tuple[dict[str, Any], list[str]]:
    """The content of ``generator.json`` and of ``training_images.txt``.

    Raises:
        CollectionError: the folder is not a generator, or of another schema.
    """
    if not (folder / "generator.json").is_file():
        raise CollectionError(
            f"{folder}: is not a trained generator (no generator.json). Train one with: syntype train FAMILY COLLECTION --out {folder}"
        )
    info = json.loads((folder / "generator.json").read_text(encoding="utf-8"))
    if info.get("schema_version") != SCHEMA_VERSION:
        raise CollectionError(f"{folder}: has schema version {info.get('schema_version')}; this Syntype reads {SCHEMA_VERSION}. Update Syntype.")
    return info, (folder / "training_images.txt").read_text(encoding="utf-8").split()


def save_state(folder: Path, state: dict[str, Any]) -> None:
    """Write the training state so that a crash leaves the old one or the new one."""
    path = folder / "training" / "state.pt"
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary, temporary.open("wb") as handle:
        torch.save(state, handle)
        handle.flush()
        os.fsync(handle.fileno())


def read_state(folder: Path) -> dict[str, Any] | None:
    """The training state, or None where there is none yet."""
    path = folder / "training" / "state.pt"
    return torch.load(path, map_location="cpu", weights_only=True) if path.is_file() else None
