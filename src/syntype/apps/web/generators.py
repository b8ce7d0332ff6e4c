"""Descriptions of trained generators, read from ``generator.json`` only, so that the server does not import PyTorch."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from syntype.errors import CollectionError
from syntype.files import read_json_object

__all__ = ["describe_generator", "generator_species", "matching", "search_species"]


def _read(folder: Path) -> dict[str, Any]:
    info = read_json_object(folder / "generator.json")
    if isinstance(info.get("species"), list):
        return info
    raise CollectionError(f"generator {folder.name!r}: its generator.json is missing or damaged. Train or adapt it again.")


def generator_species(folder: Path) -> list[str]:
    """Species that a generator was trained on or adapted to, in its own order."""
    return [str(name) for name in _read(folder)["species"]]


def describe_generator(folder: Path) -> dict[str, Any]:
    """Identity, family, abilities, size of its images in pixels, species, those adapted to, training, licences and terms of its photographs."""
    info = _read(folder)
    adapters = [str(adapter.get("species")) for adapter in info.get("adapters", [])]
    return {
        "name": folder.name,
        "generator_id": info.get("generator_id"),
        "family": info.get("family"),
        "abilities": info.get("abilities", []),
        "size": info.get("config", {}).get("size"),
        "num_species": len(info["species"]),
        "adapted_to": adapters,
        "steps": info.get("steps"),
        "collection": info.get("collection"),
        "licences": info.get("licences", []),
        "terms": info.get("terms", []),
    }


def search_species(names: list[str], query: str, limit: int) -> list[str]:
    """Names that hold every word of the query, those that begin with it first; upper and lower case alike."""
    whole = " ".join(query.casefold().split())
    return sorted(matching(names, query), key=lambda name: (not name.casefold().startswith(whole), name))[:limit]


def matching(names: Iterable[str], query: str) -> list[str]:
    """Names that hold every word of the query, in their order; upper and lower case alike."""
    words = query.casefold().split()
    return [name for name in names if all(word in name.casefold() for word in words)]
