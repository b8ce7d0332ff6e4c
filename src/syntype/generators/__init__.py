"""Generator families: one file each, one contract, one training loop."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from syntype.generators.registry import family, family_folders, list_families

if TYPE_CHECKING:
    from syntype.generators.engine.checkpoint import load_generator
    from syntype.generators.engine.generator import Generator
    from syntype.generators.engine.training import TrainConfig, TrainResult, train

__all__ = ["Generator", "TrainConfig", "TrainResult", "family", "family_folders", "list_families", "load_generator", "train"]

_HOMES = {"Generator": "trained", "load_generator": "checkpoint", "TrainConfig": "training", "TrainResult": "training", "train": "training"}


def __getattr__(name: str) -> Any:
    """Names that need torch are imported when they are first used, so that listing the families is quick."""
    if name in _HOMES:
        return getattr(import_module(f"syntype.generators.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'syntype.generators' has no attribute {name!r}")
