"""Syntype: synthetic photographs for rare species, and an honest answer to whether they help."""

from __future__ import annotations

from importlib import import_module, metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from syntype.collection import Collection
    from syntype.run import Run

__all__ = ["Collection", "Run", "__version__"]

__version__ = metadata.version("syntype")

_HOMES = {"Collection": "syntype.collection", "Run": "syntype.run"}


def __getattr__(name: str) -> Any:
    """Import the public names when they are first used, so that ``import syntype`` stays fast."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'syntype' has no attribute {name!r}")
