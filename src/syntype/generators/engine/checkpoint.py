"""Generators on disk.

GENERATOR/
  generator.json         family, settings, species, provenance; of an adapted generator: its base and its adapters
  weights.safetensors    the averaged weights used in sampling (an adapted generator has none of its own)
  training_images.txt    sha256 of every image that it was trained on
  adapters/              one .safetensors file for each added species, with changed tensors only
  training/state.pt      everything for an exact resume (tensors and plain values; loaded with weights_only)
  previews/  losses.png  progress.webp  tensorboard/  run.json  recipe.yaml  progress.jsonl
"""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from syntype.errors import CollectionError
from syntype.files import atomic_write, inside, sha256_of, write_json
from syntype.generators.contract import ABILITIES, GenerativeModel
from syntype.generators.engine.generator import Generator
from syntype.generators.registry import family

__all__ = [
    "base_folder",
    "learnt_before",
    "load_generator",
    "read_generator_info",
    "read_state",
    "save_generator",
    "save_state",
    "write_learnt",
    "write_weights",
]

SCHEMA_VERSION = 1


def save_generator(folder: Path, model: GenerativeModel, weights: dict[str, Tensor], info: dict[str, Any], trained_on: Iterable[str]) -> str:
    """Write ``generator.json``, ``weights.safetensors`` and ``training_images.txt``; returns the generator_id."""
    family_name = type(model).__module__.rpartition(".")[2]
    digest = write_weights(folder / "weights.safetensors", weights)
    write_learnt(folder, trained_on)
    generator_id = f"{family_name}-{digest[:12]}"
    write_json(
        folder / "generator.json",
        {
            "schema_version": SCHEMA_VERSION,
            "generator_id": generator_id,
            "family": family_name,
            "config": model.config.model_dump(mode="json"),
            "species": list(model.species),
            "abilities": [name for name, ability in ABILITIES.items() if isinstance(model, ability)],
            "weights_sha256": digest,
            **info,
        },
    )
    return generator_id


def write_weights(path: Path, weights: dict[str, Tensor]) -> str:
    """Write tensors as a safetensors file; returns its sha256."""
    with atomic_write(path) as temporary:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}, temporary)
        return sha256_of(temporary)


def write_learnt(folder: Path, trained_on: Iterable[str]) -> None:
    """Write ``training_images.txt``: the sha256 of every image that the generator was trained on, in any session."""
    with atomic_write(folder / "training_images.txt") as temporary:
        temporary.write_text("".join(f"{sha}\n" for sha in sorted(trained_on)), encoding="utf-8")


def learnt_before(folder: Path) -> list[str]:
    """The sha256 of every image that earlier sessions in this folder were trained on."""
    path = folder / "training_images.txt"
    return path.read_text(encoding="utf-8").split() if path.is_file() else []


def load_generator(folder: Path | str) -> Generator:
    """Load a generator, adapted or not.

    Args:
        folder: as written by ``train`` or ``adapt``; the base of an adapted generator must not have been moved.

    Returns:
        a generator on the CPU (``.to("cuda")`` moves it). Its ``sample(species, seeds)`` gives float32 images, shape (N, 3, height, width), in [-1,
        1].

    Raises:
        CollectionError: the folder is not a generator, or the base of an adapted one was moved or changed.

    Example:
        >>> import syntype
        >>> generator = syntype.load_generator("out/generator")
        >>> generator.family, generator.size
        ('fastgan', 32)
        >>> generator.sample(["Pictopiscis primus"], seeds=[7]).shape
        torch.Size([1, 3, 32, 32])
    """
    folder = Path(folder)
    info, trained_on = read_generator_info(folder)
    if "base" not in info:
        kind = family(info["family"])
        model = kind(kind.Config.parse(info["config"], str(folder / "generator.json")), info["species"])
        model.generator.load_state_dict(_read_weights(folder / "weights.safetensors", info["weights_sha256"]))
        model.eval()
        return Generator(folder, model, info, trained_on)
    place = base_folder(folder, info)
    if read_generator_info(place)[0].get("weights_sha256") != info["base"]["weights_sha256"]:
        raise CollectionError(f"{folder}: its base generator at {place} has been trained further since. Adapt again with: syntype adapt {place}")
    base = load_generator(place)
    result = Generator(folder, base.model, info, trained_on)
    for adapter in info["adapters"]:
        result.add_adapter(adapter["species"], _read_weights(inside(folder, adapter["file"]), adapter["sha256"]))
    return result


def _read_weights(path: Path, sha256: str) -> dict[str, Tensor]:
    """Tensors of a safetensors file with this sha256. (Pickle files are not read, as they could run code.)"""
    try:
        if sha256_of(path) != sha256:
            raise CollectionError(
                f"{path}: has changed since it was written (its sha256 is not the one in generator.json). Copy it again, or train again."
            )
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise CollectionError(
            f"{path}: is missing, or not a valid safetensors file ({error}). Train the generator again, or copy it again."
        ) from None


def base_folder(folder: Path, info: dict[str, Any]) -> Path:
    """The folder with a generator's weights: its own, or that of the generator from which it was adapted.

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
        CollectionError: the folder is not a generator, or has another schema version.
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
    """Write the training state atomically: after a crash the file is the old or the new one."""
    path = folder / "training" / "state.pt"
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary, temporary.open("wb") as handle:
        torch.save(state, handle)
        handle.flush()
        os.fsync(handle.fileno())


def read_state(folder: Path) -> dict[str, Any] | None:
    """The training state, or None if there is none. Only tensors and plain values are read, as a pickle could run code.

    Raises:
        CollectionError: the file contains anything else, or is damaged.
    """
    path = folder / "training" / "state.pt"
    try:
        return torch.load(path, map_location="cpu", weights_only=True) if path.is_file() else None
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        reason = str(error).partition("\n")[0]
        raise CollectionError(f"{path}: is not a training state of Syntype, or is damaged ({reason}). Train again without --resume.") from None
