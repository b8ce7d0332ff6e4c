"""The folder is the registry: a family's name is its file's name, and nothing is imported until it is asked for."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from syntype.errors import UnknownNameError

if TYPE_CHECKING:
    from syntype.generators.contract import GenerativeModel

__all__ = ["families_that", "family", "family_folders", "list_families"]

family_folders: list[Path] = [Path(__file__).parent]
"""Folders that are searched for families; append one to add families of your own."""

_MACHINERY = {"augment", "checkpoint", "contract", "data", "ema", "modulation", "previews", "registry", "runtime", "trained", "training"}


def list_families() -> dict[str, str]:
    """Names of all families with the first line of their file's docstring; imports none of them.

    Example:
        >>> import syntype
        >>> "projected" in syntype.list_families()
        True
    """
    found = {}
    for folder in family_folders:
        for path in sorted(folder.glob("*.py")):
            if path.stem not in _MACHINERY and not path.stem.startswith("_"):
                documentation = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
                found[path.stem] = documentation.partition("\n")[0]
    return found


def family(name: str) -> type[GenerativeModel]:
    """The model class of a family.

    Raises:
        UnknownNameError: no such file; the message lists the families.
    """
    from syntype.generators.contract import GenerativeModel

    if name not in list_families():
        raise UnknownNameError("generator family", name, list_families())
    module = _load(name)
    models = [
        value
        for value in vars(module).values()
        if inspect.isclass(value)
        and issubclass(value, GenerativeModel)
        and value.__module__ == module.__name__
        and not value.__name__.startswith("_")
    ]
    if len(models) != 1:
        raise TypeError(f"generators/{name}.py must define exactly one public GenerativeModel; it defines {len(models)}")
    return models[0]


def families_that(ability: type) -> list[str]:
    """Names of the families that have an ability, one of the contract's protocols; imports all families."""
    return [name for name in list_families() if issubclass(family(name), ability)]


def _load(name: str) -> ModuleType:
    folder = next(folder for folder in family_folders if (folder / f"{name}.py").is_file())
    full = f"syntype.generators.{name}"
    if folder == family_folders[0] or full in sys.modules:
        return importlib.import_module(full)
    spec = importlib.util.spec_from_file_location(full, folder / f"{name}.py")
    if spec is None or spec.loader is None:
        raise ImportError(f"{folder / name}.py cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[full] = module
    spec.loader.exec_module(module)
    return module
