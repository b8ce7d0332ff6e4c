"""Settings of the stages: immutable pydantic models, read from YAML files ("recipes") and overridden with ``--set a.b=c``.

Each stage defines its own settings class beside its function. This module holds what they share.
A recipe file is the YAML form of one settings class. Named recipes are in ``recipes/`` of the source tree and are installed
with the package.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, ClassVar, Self, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic._internal._model_construction import ModelMetaclass

from syntype.errors import RecipeError, UnknownNameError, shortened, shown_list
from syntype.files import atomic_write

__all__ = ["RENAMED", "Seed", "Settings", "apply_overrides", "find_recipe", "list_recipes", "read_yaml", "write_yaml"]

RENAMED = {
    "s1-pretrain": "fewshot-fish-fastgan-128",
    "s1-ewc": "fewshot-fish-ewc",
    "s1-dcgan": "fewshot-fish-dcgan-128",
    "s1-wgan-gp": "great-white-shark-wgan-gp-128",
    "s1-diffusion": "fewshot-fish-ddpm-128",
    "s2-guided": "birds-butterflies-guided-cgan",
    "s2-efficientnet": "birds-butterflies-efficientnet",
    "s3-dcgan": "animal-faces-dcgan",
    "s3-wgan-gp": "animal-faces-wgan-gp",
    "s3-cgan": "animal-faces-cgan",
    "s3-cwgan-gp": "animal-faces-cwgan-gp",
    "s4-pixel": "jellyfish-ddpm-64",
    "s4-latent-256": "jellyfish-latent-256",
    "s4-latent-640x1024": "jellyfish-latent-640x1024",
    "s5-swin": "fish-vista-swin",
}
"""Recipes' former names, which still work."""


Seed = Annotated[int, Field(ge=0, lt=2**63)]
"""A random seed: what NumPy, PyTorch and a table's column of 64 bits all accept."""


class _InvalidSettings(RecipeError, ValueError):
    """Settings that a program makes itself. Also a ``ValueError``, as pydantic's error is."""


class _SettingsType(ModelMetaclass):
    """Lets settings that a program makes itself raise ``RecipeError``, as those of recipes do. Nested settings are validated with the outer ones."""

    def __call__(cls, *args: Any, **values: Any) -> Any:
        """Make an instance."""
        try:
            return super().__call__(*args, **values)
        except ValidationError as error:
            raise _InvalidSettings(*_recipe_error(cls, error, f"{cls.__name__}, validation error").args) from None


class Settings(BaseModel, metaclass=_SettingsType):
    """Base class of all settings. Instances are immutable, and an unknown key is an error.

    Raises:
        RecipeError: A setting is unknown, missing or out of range.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    may_change: ClassVar[frozenset[str]] = frozenset()
    """Names of the settings with which a stopped run may be continued although they differ from those of its first session."""

    @classmethod
    def parse(cls, values: Any, source: str = "settings") -> Self:
        """Validate ``values``.

        Args:
            values: Setting names and values, nested as in a YAML file; anything but a mapping is refused.
            source: Where the values come from, for the error message.

        Raises:
            RecipeError: A setting is unknown, missing or out of range. The message names it and lists the known settings.
        """
        try:
            return cls.model_validate(dict(values) if isinstance(values, Mapping) else values)
        except ValidationError as error:
            raise _recipe_error(cls, error, source) from None


def _recipe_error(kind: Any, error: ValidationError, source: str) -> RecipeError:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"]) or "(whole)"
    known, told = shown_list(kind.model_fields, 40), shortened(first["msg"], 300)
    return RecipeError(f"{shortened(source, 100)}: {shortened(key)}: {told}. Known settings: {known}.")


def apply_overrides(values: Mapping[str, Any], overrides: Iterable[str], kind: type[Settings] | None = None) -> dict[str, Any]:
    """Return a copy of ``values`` with each override ``a.b=c`` applied.

    The right side is read as YAML, so ``1e-3`` and ``[1, 2]`` work. Where ``kind`` has a text, it is taken as it is: ``2024`` and ``no`` are names.

    Args:
        values: Setting names and values.
        overrides: Texts ``a.b=c``.
        kind: The settings that the values are for.

    Raises:
        RecipeError: An override has no ``=``, or its key leads through a setting that is not a group.

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
        wanted = _type_at(kind, path.split("."))
        if _is_text(wanted):
            target[leaf] = text if text or wanted is str else None
        else:
            try:
                target[leaf] = _typed(_parse(text, _Loader), _parse(text, yaml.BaseLoader), wanted)
            except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: 2026-13-45 looks like a date
                reason = f"{text[:80]!r} is not a value in YAML ({_brief(error)})"
                raise RecipeError(f"--set {path}: {reason}. Put text with special characters into quotes.") from None
    return result


def _deep_copy(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _deep_copy(value) if isinstance(value, Mapping) else value for key, value in values.items()}


def _parse(text: str, loader: Any) -> Any:
    value = yaml.load(text, loader)
    if loader is _Loader and isinstance(value, str):  # YAML 1.1 reads 1e-3 as text, but the user means the number
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _type_at(kind: Any, path: Sequence[str]) -> Any:
    """The type of the setting at a path of names, None where it is not known."""
    for name in path:
        kind = _fields(kind).get(name)
    return kind


def _fields(kind: Any) -> dict[str, Any]:
    """Names (and aliases) of the settings in a group, with their types."""
    if not (isinstance(kind, type) and issubclass(kind, Settings)):
        return {}
    return {key: field.annotation for name, field in kind.model_fields.items() for key in (name, field.alias) if key}


def _is_text(kind: Any) -> bool:
    """Whether a setting takes a text or a path, perhaps also nothing."""
    return kind in (str, Path) or (get_origin(kind) in (Union, UnionType) and set(get_args(kind)) in ({str, type(None)}, {Path, type(None)}))


def _typed(value: Any, text: Any, kind: Any) -> Any:
    """``value`` as YAML reads it, with the ``text`` as it is written wherever ``kind`` takes a text: YAML has other ideas of ``no`` and ``2024``."""
    if isinstance(value, dict) and isinstance(text, dict):
        fields = _fields(kind)
        read = zip(text, value.values(), text.values(), strict=True) if len(text) == len(value) else ((key, value[key], value[key]) for key in value)
        return {key: _typed(inner, written, fields.get(key)) for key, inner, written in read}
    if isinstance(value, list) and isinstance(text, list):
        lists = next((one for one in (kind, *get_args(kind)) if get_origin(one) in (tuple, list)), None)
        item = get_args(lists)[0] if lists else None
        return [_typed(inner, written, item) for inner, written in zip(value, text, strict=True)]
    takes_text = _is_text(kind) and isinstance(text, str) and not (value is None and type(None) in get_args(kind))
    return text if takes_text else value


def read_yaml(path: Path, kind: type[Settings] | None = None) -> dict[str, Any]:
    """Read a recipe file. Where ``kind`` has a text, it is taken as it is written: ``2024`` and ``no`` are names.

    Raises:
        RecipeError: The file is missing, is not YAML in UTF-8, is not a mapping, or has a setting twice.
    """
    try:
        written = path.read_text(encoding="utf-8")
        values = _parse(written, _Loader)
    except OSError as error:
        raise RecipeError(f"{path}: cannot be read ({error.strerror}). Check the path.") from None
    except UnicodeDecodeError:
        raise RecipeError(f"{path}: is not a text file in UTF-8. Save it as UTF-8.") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: 2026-13-45 looks like a date
        raise RecipeError(f"{path}: is not a valid recipe ({_brief(error)}). Indent with spaces, and give each setting once.") from None
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise RecipeError(f"{path}: a recipe must be a mapping of settings, with one 'key: value' per line.")
    return values if kind is None else _typed(values, _parse(written, yaml.BaseLoader), kind)  # type: ignore[no-any-return]


class _Loader(yaml.SafeLoader):
    """Reads plain values only, and refuses a key that stands twice in a mapping: YAML itself would silently take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for number, key in enumerate(keys):
            if key in keys[:number]:
                raise yaml.constructor.ConstructorError(None, None, f"{key!r} stands twice", node.start_mark)
        return super().construct_mapping(node, deep)


def _brief(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]


def write_yaml(path: Path, settings: Settings) -> None:
    """Write settings as YAML, in the order of declaration. The write is atomic: a reader sees the old file or the new one."""
    with atomic_write(path) as temporary:
        temporary.write_text(yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False, allow_unicode=True), encoding="utf-8")


def _recipe_folder() -> Path:
    packaged = Path(__file__).parent / "recipes"  # in a wheel
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "recipes"  # in a source tree


def list_recipes() -> dict[str, Path]:
    """The recipes that are installed with Syntype: name -> file."""
    return {path.stem: path for path in sorted(_recipe_folder().glob("*.yaml"))}


def find_recipe(name_or_path: str, kind: type[Settings] | None = None) -> dict[str, Any]:
    """Read a recipe by name, or from a file whose name ends in .yaml or .yml; ``kind`` as for ``read_yaml``.

    Raises:
        UnknownNameError: There is no recipe of this name, and it does not end in .yaml or .yml.
        RecipeError: The file cannot be read.
    """
    if name_or_path.endswith((".yaml", ".yml")):
        return read_yaml(Path(name_or_path), kind)
    recipes, name = list_recipes(), RENAMED.get(name_or_path, name_or_path)
    if name not in recipes:
        raise UnknownNameError("recipe", name, recipes)
    return read_yaml(recipes[name], kind)
