"""Generators on disk.

GENERATOR/
  generator.json         family, settings, species, provenance; of an adapted generator: its base and its adapters
  weights.safetensors    the averaged weights used in sampling (an adapted generator has none of its own)
  training_images.txt    sha256 of every image that it was trained on
  adapters/              one .safetensors file for each added species, with changed tensors only; or one for many (engine/packed.py)
  training/state.pt      everything for an exact resume (tensors and plain values; loaded with weights_only)
  previews/  losses.png  progress.webp  tensorboard/  run.json  recipe.yaml  progress.jsonl
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from syntype.errors import CollectionError, InputError, checks_arguments, shortened
from syntype.files import atomic_write, check_keys, inside, load_json, sha256_of, write_json
from syntype.generators.contract import ABILITIES, GenerativeModel
from syntype.generators.engine.generator import Generator
from syntype.generators.engine.packed import AGAIN, Shards, fitting
from syntype.generators.networks.kernel_modulation import full_weights
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
_OPTIONAL = {"weights_sha256": str, "abilities": list, "licences": list, "terms": list, "steps": int, "collection": dict, "built_on": dict}


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


@checks_arguments
def load_generator(folder: Path | str) -> Generator:
    """Load a generator, adapted or not.

    Args:
        folder: as written by ``train`` or ``adapt``; the base of an adapted generator must not have been moved.

    Returns:
        a generator on the CPU (``.to("cuda")`` moves it). Its ``sample(species, seeds)`` gives float32 images, shape (N, 3, height, width), in [-1,
        1].

    Raises:
        CollectionError: the folder is not a generator, its weights are damaged, or the base of an adapted one was moved or changed.
        InputError: one of its other files is damaged.

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
        config = kind.Config.parse(info["config"], str(folder / "generator.json"))
        with fitting(folder / "weights.safetensors"):
            model = kind(config, info["species"])
            model.generator.load_state_dict(_read_weights(folder / "weights.safetensors", info["weights_sha256"]))
        model.eval()
        return Generator(folder, model, info, trained_on, load_generator)
    place = base_folder(folder, info)
    base_info, _ = read_generator_info(place)
    if "base" in base_info:
        raise InputError("is damaged: its base is an adapted generator itself", AGAIN, file=folder / "generator.json")
    if base_info.get("weights_sha256") != info["base"]["weights_sha256"]:
        raise CollectionError(f"{folder}: its base generator at {place} has been trained further since. Adapt again with: syntype adapt {place}")
    base = load_generator(place)
    result = Generator(folder, base.model, info, trained_on, load_generator)
    for adapter in info["adapters"]:
        if adapter.get("packed"):
            continue
        file = inside(folder, adapter["file"])
        with fitting(file):
            changed = _read_weights(file, adapter["sha256"])
            result.add_adapter(adapter["species"], changed, adapter.get("description"))
            own = base.model.generator.state_dict()
            shapes = full_weights(*({name: tensor.to("meta") for name, tensor in tensors.items()} for tensors in (changed, own)))
            if wrong := [name for name, tensor in shapes.items() if own[name].shape != tensor.shape]:
                raise KeyError(wrong[0])
    result.add_shards(Shards(folder, [adapter for adapter in info["adapters"] if adapter.get("packed")]))
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
            f"{path}: is missing, or not a valid safetensors file ({shortened(error, 200)}). Train the generator again, or copy it again."
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
        InputError: a file is missing or damaged.
    """
    if not (folder / "generator.json").is_file():
        raise CollectionError(
            f"{folder}: is not a trained generator (no generator.json). Train one with: syntype train FAMILY COLLECTION --out {folder}"
        )
    file = folder / "generator.json"
    info = load_json(file, AGAIN, {})
    if info.get("schema_version") != SCHEMA_VERSION:
        raise CollectionError(f"{folder}: has schema version {info.get('schema_version')}; this Syntype reads {SCHEMA_VERSION}. Update Syntype.")
    adapted = "base" in info
    more: dict[str, type] = {"base": dict, "adapters": list} if adapted else {"weights_sha256": str}
    check_keys(file, info, AGAIN, {"generator_id": str, "family": str, "config": dict, "species": list, **more}, _OPTIONAL)
    if not _are_texts(info["species"]) or not all(_are_texts(info.get(name) or []) for name in ("abilities", "licences", "terms")):
        raise InputError("is damaged: 'species', 'abilities', 'licences' or 'terms' holds something else than text", AGAIN, file=file)
    if adapted and not _are_texts([info["base"].get(name) for name in ("relative", "absolute", "weights_sha256")]):
        raise InputError("is damaged: 'base' is not complete", AGAIN, file=file)
    entries = info["adapters"] if adapted else []
    if not all(map(_is_adapter, entries)):
        raise InputError("is damaged: 'adapters' is not complete", AGAIN, file=file)
    return info, _read_learnt(folder / "training_images.txt")


def _is_adapter(entry: Any) -> bool:
    """Whether an entry of 'adapters' names a species and its file, and describes the species in words, if at all."""
    if not isinstance(entry, dict) or not isinstance(entry.get("description", {}), dict):
        return False
    return _are_texts([*(entry.get(key) for key in ("species", "file", "sha256")), *entry.get("description", {}).values()])


def _are_texts(values: list[Any]) -> bool:
    return all(isinstance(value, str) for value in values)


def _read_learnt(path: Path) -> list[str]:
    """The sha256 of every training image. The study needs the whole list to find test photographs that were learnt from."""
    try:
        digests = path.read_text(encoding="utf-8").split()
    except (OSError, ValueError):
        raise InputError("is missing or damaged, so nobody can tell what the generator was trained on", AGAIN, file=path) from None
    if not digests or not all(re.fullmatch("[0-9a-f]{64}", digest) for digest in digests):
        raise InputError("is damaged, so nobody can tell what the generator was trained on", AGAIN, file=path)
    return digests


def save_state(folder: Path, state: dict[str, Any]) -> None:
    """Write the training state atomically: after a crash the file is the old or the new one."""
    path = folder / "training" / "state.pt"
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary, temporary.open("wb") as handle:  # a path would put its name, with this process's number, into the file
        torch.save(state, handle)


def read_state(folder: Path) -> dict[str, Any] | None:
    """The training state, or None if there is none. Only tensors and plain values are read, as a pickle could run code.

    Raises:
        CollectionError: the file contains anything else, or is damaged.
    """
    path = folder / "training" / "state.pt"
    try:
        if not path.is_file():
            return None
        state = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(state, dict):
            raise ValueError("it holds something else")
        return state
    except Exception as error:  # torch raises anything on damaged bytes; the error concerns this file only
        reason = shortened(str(error).partition("\n")[0], 200)
        raise CollectionError(f"{path}: is not a training state of Syntype, or is damaged ({reason}). Train again without --resume.") from None
