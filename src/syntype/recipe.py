"""Recipes: frozen, strict settings, read from YAML and overridden with ``--set a.b=c``.

Each stage keeps its own settings class beside the function it configures; this module holds what they share.
A recipe file is the YAML form of one such class. Named recipes live in ``recipes/`` of the source tree and are
installed with the package.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from syntype.errors import RecipeError, UnknownNameError

__all__ = ["Settings", "apply_overrides", "find_recipe", "list_recipes", "read_yaml", "write_yaml"]


class Settings(BaseModel):
    """Base of every settings class: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def parse(cls, values: Mapping[str, Any], source: str = "settings") -> Self:
        """Validate ``values``; a fault raises ``RecipeError`` naming the key, the fault and the known keys."""
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(part) for part in first["loc"]) or "(whole)"
            known = ", ".join(cls.model_fields)
            raise RecipeError(f"{source}: {key}: {first['msg']}. Known settings: {known}.") from None


def apply_overrides(values: Mapping[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """Return ``values`` with each ``a.b=c`` applied; the right side is read as YAML (so ``1e-3`` and ``[1, 2]`` work).

    Raises:
        RecipeError: an override has no ``=``, or walks through something that is not a mapping.

    Example:
        >>> apply_overrides({"steps": 100, "model": {"width": 8}}, ["model.width=16", "rate=1e-3"])
        {'steps': 100, 'model': {'width': 16}, 'rate': 0.001}
    """
    result = _deep_copy(values)
    for override in overrides:
        path, equals, text = override.partition("=")
        if not equals or not path:
            raise RecipeError(f"--set {override}: expected KEY=VALUE, for example --set training.batch_size=32.")
        *parents, leaf = path.split(".")
        target = result
        for parent in parents:
            target = target.setdefault(parent, {})
            if not isinstance(target, dict):
                raise RecipeError(f"--set {override}: {parent!r} holds a single value, not a group of settings.")
        target[leaf] = _scalar(text)
    return result


def _deep_copy(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _deep_copy(value) if isinstance(value, Mapping) else value for key, value in values.items()}


def _scalar(text: str) -> Any:
    value = yaml.safe_load(text)
    if isinstance(value, str):  # YAML 1.1 reads 1e-3 as text: a user means the number
        try:
            return float(value)
        except ValueError:
            return value
    return value


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a recipe file. Raises ``RecipeError`` when it is missing, not YAML, or not a mapping."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RecipeError(f"{path}: cannot be read ({error.strerror}). Check the path.") from None
    except yaml.YAMLError as error:
        raise RecipeError(f"{path}: is not valid YAML ({error}).") from None
    if not isinstance(values, dict):
        raise RecipeError(f"{path}: a recipe is a mapping of settings, one 'key: value' a line.")
    return values


def write_yaml(path: Path, settings: Settings) -> None:
    """Write settings as YAML, in the order in which the class declares them; a reader sees the old file or the new one."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False, allow_unicode=True), encoding="utf-8")
    os.replace(temporary, path)


def _recipe_folder() -> Path:
    packaged = Path(__file__).parent / "recipes"  # in a wheel
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "recipes"  # in a source tree


def list_recipes() -> dict[str, Path]:
    """Names of the recipes that come with Syntype, and their files."""
    return {path.stem: path for path in sorted(_recipe_folder().glob("*.yaml"))}


def find_recipe(name_or_path: str) -> dict[str, Any]:
    """Read a recipe by its name or by the path of a YAML file.

    Raises:
        UnknownNameError: neither a known recipe nor a file that ends in .yaml or .yml.
    """
    if name_or_path.endswith((".yaml", ".yml")):
        return read_yaml(Path(name_or_path))
    recipes = list_recipes()
    if name_or_path not in recipes:
        raise UnknownNameError("recipe", name_or_path, recipes)
    return read_yaml(recipes[name_or_path])
