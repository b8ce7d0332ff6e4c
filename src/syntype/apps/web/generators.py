"""Descriptions of trained generators, read from ``generator.json`` only, so that the server does not import PyTorch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from syntype.apps.web.languages import gettext, ngettext, number
from syntype.errors import CollectionError
from syntype.files import load_json

__all__ = ["describe_generator", "generator_species", "matching", "search_species", "unfinished"]


_AGAIN = "Copy the generator's folder again from where it came, or train it again."
_VERSION = 1


def _read(folder: Path) -> dict[str, Any]:
    info = load_json(folder / "generator.json", _AGAIN, {"species": list}, {"config": dict, "adapters": list, "schema_version": int})
    if info.get("schema_version", _VERSION) != _VERSION:
        raise CollectionError(
            gettext(
                "{folder}: has schema version {version}; this Syntype reads {known}. Update Syntype.",
                folder=folder,
                version=info["schema_version"],
                known=_VERSION,
            )
        )
    return info


def generator_species(folder: Path) -> list[str]:
    """Species that a generator was trained on or adapted to, in its own order."""
    return [str(name) for name in _read(folder)["species"]]


def describe_generator(folder: Path) -> dict[str, Any]:
    """Identity, family, abilities, size of its images in pixels, species, those adapted to, training, licences and terms of its photographs."""
    info = _read(folder)
    adapters = [str(adapter.get("species")) for adapter in info.get("adapters", []) if isinstance(adapter, dict)]
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


def unfinished(manifest: Mapping[str, Any], steps: Any) -> str | None:
    """What a generator's training lacks, from its ``run.json``: ``unfinished: 3 of 5,000 steps``; None if nothing, or without ``run.json``.

    Args:
        steps: that its weights have taken.
    """
    status, settings, result = manifest.get("status"), manifest.get("settings"), manifest.get("result")
    if status in (None, "finished"):
        return None
    settings, result = settings if isinstance(settings, dict) else {}, result if isinstance(result, dict) else {}
    planned, minutes, taken = settings.get("steps"), settings.get("minutes"), result.get("minutes")
    if isinstance(steps, int) and isinstance(planned, int):
        told = ngettext("{steps} of {n} step", "{steps} of {n} steps", planned, steps=steps)
    elif isinstance(minutes, int | float) and isinstance(taken, int | float):
        values = {"taken": number(float(f"{taken:.3g}")), "minutes": number(minutes)}
        told = ngettext("{taken} of {minutes} minute", "{taken} of {minutes} minutes", 1 if minutes == 1 else 2, **values)
    else:
        told = ngettext("{n} step", "{n} steps", steps) if isinstance(steps, int) else gettext("some steps")
    return gettext("unfinished: {told}, still in training", told=told) if status == "running" else gettext("unfinished: {told}", told=told)
