"""The exceptions that Syntype raises on purpose, in one tree.

    SyntypeError                      base class (exit code 1)
    ├── UserError                     the user can correct the input (exit code 2, one line, no traceback)
    │   ├── InputError                a file, row or folder cannot be used
    │   │   └── DiskError             the disk is full or read-only, or permission is missing
    │   ├── CollectionError           a collection is missing, damaged, or lacks what the stage needs
    │   ├── RecipeError               a setting does not exist or is out of range
    │   ├── UnknownNameError          a name is not among the known ones; the message lists them
    │   ├── UnsupportedError          this generator, backbone or machine does not support what was asked
    │   └── LeakageError              test images would be used for training (data leakage)
    └── TrainingError                 training failed (diverged, disk full); the last checkpoint is kept

Every message says what is wrong, where, and what to do next. It fits on a screen: lists are shown by their beginning (``shown_list``), long texts are
shortened in their middle (``shortened``).
"""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

__all__ = [
    "CollectionError",
    "DiskError",
    "InputError",
    "LeakageError",
    "RecipeError",
    "SyntypeError",
    "TrainingError",
    "UnknownNameError",
    "UnsupportedError",
    "UserError",
    "check_arguments",
    "checks_arguments",
    "percent",
    "plural",
    "require_kind",
    "require_known",
    "shortened",
    "shown_list",
]

P = ParamSpec("P")
T = TypeVar("T")

_LONGEST = 60
_MOST = 12


def shortened(text: object, most: int = _LONGEST) -> str:
    """A text of at most ``most`` characters: its middle is left out if it is longer, so that a path keeps its beginning and its file name.
    Characters that a terminal would obey instead of showing them become ``?``.

    Example:
        >>> shortened("a" * 40 + "/photographs/clownfish.jpg", 30)
        'aaaaaaaaaa…raphs/clownfish.jpg'
    """
    shown = str(text)
    if len(shown) > most:
        first = max(1, most // 3)
        shown = f"{shown[:first]}…{shown[len(shown) - most + first + 1 :]}"
    return "".join(letter if letter.isprintable() or letter in "\n\t" or "\ud800" <= letter <= "\udfff" else "?" for letter in shown)


def shown_list(items: Iterable[object], most: int = _MOST, longest: int = _LONGEST) -> str:
    """The first ``most`` items, each shortened, and how many more there are; ``none`` if there are none.

    Example:
        >>> shown_list(["file", "species", "licence", "locality"], most=2)
        'file, species, … (2 more)'
    """
    every = list(items)
    shown = ", ".join(shortened(item, longest) for item in every[:most])
    more = f", … ({len(every) - most:,} more)" if len(every) > most else ""
    return f"{shown}{more}" or "none"


def plural(number: float, one: str, several: str | None = None) -> str:
    """A number and what it counts. ``several``: the word for other numbers than one, where it is not ``one`` with an s.

    Example:
        >>> plural(1, "image"), plural(1200, "image"), plural(2, "species", "species")
        ('1 image', '1,200 images', '2 species')
    """
    return f"{int(number):,} {one if int(number) == 1 else several or f'{one}s'}"


def percent(share: float, *, certain: bool = False) -> str:
    """A share in whole percent, as text; ``less than 1 %`` and ``more than 99 %`` at the ends, since nothing that is estimated is certain.

    Args:
        share: from 0 to 1.
        certain: it was counted, so that all are 100 %.

    Example:
        >>> percent(0.456), percent(0.004), percent(1), percent(1, certain=True)
        ('46 %', 'less than 1 %', 'more than 99 %', '100 %')
    """
    if certain and share in (0, 1):
        return f"{100 * share:.0f} %"
    return "less than 1 %" if share < 0.01 else "more than 99 %" if share > 0.99 else f"{100 * share:.0f} %"


class SyntypeError(Exception):
    """Base class of every error that Syntype raises on purpose."""

    exit_code = 1
    """Exit code of the command line."""


class UserError(SyntypeError):
    """The input is wrong, and the user can correct it."""

    exit_code = 2


class InputError(UserError):
    """A file, row or folder cannot be used.

    Args:
        reason: What is wrong, as a clause without a full stop ("the header has no column 'species'").
        hint: What to do next, as a sentence ("Name it with --species-column.").
        file: The file or folder concerned.
        row: The row of a table, counted from 1 below the header.

    Example:
        >>> print(InputError("the header has no column 'species'", "Name it with --species-column.", file="fish.csv"))
        fish.csv: the header has no column 'species'. Name it with --species-column.
    """

    def __init__(self, reason: str, hint: str, *, file: Path | str | None = None, row: int | None = None) -> None:
        reason, hint = (" ".join(text.split()) if "\n" in text or "\r" in text else text for text in (reason, hint))  # names may hold line ends
        where = "" if file is None else " ".join(shortened(file, 300).splitlines()) + (f", row {row}" if row is not None else "") + ": "
        super().__init__(f"{where}{reason}. {hint}")
        self.reason, self.hint, self.file, self.row = reason, hint, file, row


class DiskError(InputError):
    """A file cannot be written or read because the disk is full or read-only, or permission is missing."""


class CollectionError(UserError):
    """A collection is missing, damaged, or lacks what the stage needs."""


class RecipeError(UserError):
    """A setting does not exist or is out of range."""


class UnknownNameError(UserError):
    """A name is not among the known ones. The message lists them (the first 20) and suggests the most similar one.

    Args:
        kind: What the name stands for ("species", "generator family").
        name: The unknown name.
        choices: Every valid name.
        details: A sentence to add.
    """

    def __init__(self, kind: str, name: str, choices: Iterable[str], details: str = "") -> None:
        known = sorted(choices)
        close = get_close_matches(name[:100], known, n=1)
        guess = f" Did you mean {shortened(close[0])!r}?" if close else ""
        more = f" {shortened(details, 400)}" if details else ""
        super().__init__(f"unknown {kind} {shortened(name, 80)!r}.{guess} Known: {shown_list(known, 20)}.{more}")
        self.name, self.choices = name, tuple(known)


def require_known(kind: str, names: Iterable[str], choices: Iterable[str]) -> None:
    """Raise ``UnknownNameError`` for the first of ``names`` that is not among ``choices``. Both may hold thousands of names."""
    choices = tuple(choices)
    known = set(choices)
    for name in names:
        if not isinstance(name, str) or name not in known:
            raise UnknownNameError(kind, str(name), choices)


_MENDS = {
    "Collection": "Open one with syntype.Collection.open(FOLDER).",
    "Generator": "Load one with syntype.load_generator(FOLDER).",
    "Classifier": "Load one with syntype.load_classifier(FOLDER).",
    "Run": "Leave it out, or give syntype.Run.silent().",
    "Path": "Give the path as a text.",
    "str": "Give a text.",
}
"""What to give for a parameter of a type, as public functions annotate it."""


def checks_arguments(function: Callable[P, T]) -> Callable[P, T]:
    """Let a public function refuse arguments of the wrong kind with ``InputError`` before it begins; see ``check_arguments``."""
    signature = inspect.signature(function)

    @functools.wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> T:
        check_arguments(signature, signature.bind(*args, **kwargs).arguments)
        return function(*args, **kwargs)

    return checked


def check_arguments(signature: inspect.Signature, arguments: Mapping[str, Any]) -> None:
    """Check that arguments are of the kinds that a function's annotations name: a collection, a generator, a classifier, settings, a path, a text.

    Raises:
        InputError: one is not; the message says which, what it is, and what to give.
    """
    for name, value in arguments.items():
        kinds = str(signature.parameters[name].annotation).split(" | ")
        known = [kind for kind in kinds if kind in _MENDS or kind.endswith("Config") or kind.startswith("Mapping[")]
        if (value is None and "None" in kinds) or (len(known) < len(set(kinds) - {"None"}) and value is not None):
            continue
        if known and not any(_is_kind(value, kind) for kind in known):
            mend = _MENDS.get(known[0], f"Give syntype.{known[0]}(), or one with other settings.")
            raise InputError(f"{name} is {_described(value)}, not a {known[0]}", mend)


def _is_kind(value: object, kind: str) -> bool:
    """Whether a value is of a type, by its name: so that this module needs to import none of them."""
    if kind == "Path":
        return isinstance(value, (str, os.PathLike))
    if kind.startswith("Mapping["):
        return isinstance(value, Mapping)
    return any(one.__name__ == kind for one in type(value).__mro__)


def require_kind(value: object, kind: type | tuple[type, ...], name: str, mend: str) -> None:
    """Raise ``InputError`` if a value is not of a kind. ``name`` is what the user calls it, ``mend`` what to give, as a sentence."""
    if not isinstance(value, kind):
        raise InputError(f"{name} is {_described(value)}", mend)


def _described(value: object) -> str:
    shape = getattr(value, "shape", None)
    told = f"an array of shape {tuple(shape)}" if isinstance(shape, tuple) else shortened(repr(value))
    return "None" if value is None else f"{told} ({type(value).__name__})"


class UnsupportedError(UserError):
    """This generator, backbone or machine does not support what was asked."""


class LeakageError(UserError):
    """Test or validation images would be used for training, so that results on them would be too good."""


class TrainingError(SyntypeError):
    """Training failed. The last checkpoint is kept."""
