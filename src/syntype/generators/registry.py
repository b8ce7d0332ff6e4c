"""Registry of generator families: a family's name is its file's name in ``families/``. A family is imported at first use."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import sys
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, TypeGuard

from syntype.errors import UnknownNameError

if TYPE_CHECKING:
    from syntype.generators.contract import GenerativeModel

__all__ = ["families_that", "family", "family_folders", "is_family", "list_families"]

family_folders: list[Path] = [Path(__file__).parent / "families"]
"""Folders that are searched for families; append a folder to add your own families."""


def list_families() -> dict[str, str]:
    """Names of all families, with the first line of their file's docstring; imports none of them.

    Example:
        >>> import syntype
        >>> "projected" in syntype.list_families()
        True
    """
    return {name: _first_line(path, path.stat().st_mtime_ns) for name, path in _files().items()}


@cache
def _first_line(path: Path, changed: int) -> str:
    """First line of a file's docstring. Each version of a file is read once: all families together take a tenth of a second."""
    documentation = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return documentation.partition("\n")[0]


def is_family(name: object) -> TypeGuard[str]:
    """Whether there is a family of this name; reads and imports none."""
    return name in _files()


def family(name: str) -> type[GenerativeModel]:
    """The model class of a family.

    Raises:
        UnknownNameError: there is no such family; the message lists the families.
        TypeError: the file does not define exactly one public ``GenerativeModel``.
    """
    from syntype.generators.contract import GenerativeModel

    if name not in _files():
        raise UnknownNameError("generator family", name, _files())
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
        raise TypeError(f"families/{name}.py must define exactly one public GenerativeModel; it defines {len(models)}")
    return models[0]


def families_that(ability: type) -> list[str]:
    """Names of the families with an ability, given as one of the contract's protocols; imports all families."""
    return [name for name in _files() if issubclass(family(name), ability)]


def _files() -> dict[str, Path]:
    """The file of each family, by its name; of two with the same name, the one in the earlier folder."""
    files: dict[str, Path] = {}
    for folder in family_folders:
        for path in sorted(folder.glob("*.py")):
            if not path.stem.startswith("_"):
                files.setdefault(path.stem, path)
    return files


def _load(name: str) -> ModuleType:
    path = _files()[name]
    full = f"syntype.generators.families.{name}"
    if path.parent == family_folders[0] or full in sys.modules:
        return importlib.import_module(full)
    spec = importlib.util.spec_from_file_location(full, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[full] = module
    spec.loader.exec_module(module)
    return module
