"""Every error a user can meet, in one tree.

    SyntypeError                      something Syntype can explain (exit code 1)
    ├── UserError                     the caller can mend it (exit code 2, one line, no traceback)
    │   ├── InputError                a file, row or folder that cannot be used
    │   ├── CollectionError           a collection that is missing, damaged, or lacks what the verb needs
    │   ├── RecipeError               a setting that does not exist or is out of range
    │   ├── UnknownNameError          a name that is not in a list; the message gives the list
    │   ├── UnsupportedError          this generator, backbone or machine cannot do what was asked
    │   └── LeakageError              test images have reached a place where they would spoil the verdict
    └── TrainingError                 training went wrong (diverged, ran out of disk); the last checkpoint is kept

Every message names what is wrong, where, and what to do next.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

__all__ = [
    "CollectionError",
    "InputError",
    "LeakageError",
    "RecipeError",
    "SyntypeError",
    "TrainingError",
    "UnknownNameError",
    "UnsupportedError",
    "UserError",
    "require_known",
]


class SyntypeError(Exception):
    """Base of every error that Syntype raises on purpose."""

    exit_code = 1


class UserError(SyntypeError):
    """The caller's input is at fault and can be mended."""

    exit_code = 2


class InputError(UserError):
    """A file, row or folder cannot be used.

    Args:
        reason: what is wrong, as a clause ("the header has no column 'species'").
        mend: what to do next, as a sentence ("Name it with --species-column.").
        file: the file concerned.
        row: its row, counted from 1 below the header.

    Example:
        >>> print(InputError("the header has no column 'species'", "Name it with --species-column.", file="fish.csv"))
        fish.csv: the header has no column 'species'. Name it with --species-column.
    """

    def __init__(self, reason: str, mend: str, *, file: Path | str | None = None, row: int | None = None) -> None:
        where = "" if file is None else f"{file}" + (f", row {row}" if row is not None else "") + ": "
        super().__init__(f"{where}{reason}. {mend}")
        self.reason, self.mend, self.file, self.row = reason, mend, file, row


class CollectionError(UserError):
    """A collection is missing, damaged, or lacks what the verb needs."""


class RecipeError(UserError):
    """A setting does not exist or is out of range."""


class UnknownNameError(UserError):
    """A name is not among the known ones; the message lists them and guesses what was meant.

    Args:
        kind: what the name should have named ("species", "generator family").
        name: what was asked for.
        choices: every valid name.
    """

    def __init__(self, kind: str, name: str, choices: Iterable[str]) -> None:
        known = sorted(choices)
        close = get_close_matches(name, known, n=1)
        guess = f" Did you mean {close[0]!r}?" if close else ""
        shown = ", ".join(known[:30]) + (f", … ({len(known) - 30} more)" if len(known) > 30 else "")
        super().__init__(f"unknown {kind} {name!r}.{guess} Known: {shown or 'none'}.")
        self.name, self.choices = name, tuple(known)


def require_known(kind: str, names: Iterable[str], choices: Iterable[str]) -> None:
    """Raise ``UnknownNameError`` for the first name that is not among the choices; thousands of either are looked up at once."""
    choices = tuple(choices)
    known = set(choices)
    for name in names:
        if name not in known:
            raise UnknownNameError(kind, name, choices)


class UnsupportedError(UserError):
    """This generator, backbone or machine cannot do what was asked."""


class LeakageError(UserError):
    """Test images have reached a place where they would spoil the verdict."""


class TrainingError(SyntypeError):
    """Training went wrong; the last good checkpoint is kept."""
