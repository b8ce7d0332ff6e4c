"""What a training needs, told before it begins by families that can."""

from __future__ import annotations

from typing import Any

from syntype.generators.contract import Plans
from syntype.generators.engine.training import TrainConfig
from syntype.generators.registry import family

__all__ = ["plan_of"]


def plan_of(config: TrainConfig) -> dict[str, Any]:
    """Names and values that ``--dry-run`` prints besides images and minutes: what the family tells (``contract.Plans``); nothing of other families.

    Raises:
        UnknownNameError: there is no such family.
        RecipeError: a setting of the family does not exist or is out of range.
    """
    kind = family(config.family)
    if not issubclass(kind, Plans):
        return {}
    settings = kind.Config.parse({**config.model, "size": config.size}, f"settings of {config.family}")
    return dict(kind.plan(settings, config.batch_size))
