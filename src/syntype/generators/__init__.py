"""Generator families, one file each, with one contract and one training loop."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from syntype.generators.registry import family, family_folders, list_families

if TYPE_CHECKING:
    from syntype.generators.engine.checkpoint import load_generator
    from syntype.generators.engine.generator import Generator
    from syntype.generators.engine.training import TrainConfig, TrainResult, train

__all__ = ["Generator", "TrainConfig", "TrainResult", "family", "family_folders", "list_families", "load_generator", "train"]

_HOMES = {
    "Generator": "engine.generator",
    "load_generator": "engine.checkpoint",
    "TrainConfig": "engine.training",
    "TrainResult": "engine.training",
    "train": "engine.training",
}


def __getattr__(name: str) -> Any:
    """Import names that need torch at first use, so that listing the families is quick."""
    if name in _HOMES:
        return getattr(import_module(f"syntype.generators.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'syntype.generators' has no attribute {name!r}")
