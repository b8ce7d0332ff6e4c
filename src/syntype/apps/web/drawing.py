"""Draws hybrids while somebody looks, in a process beside the server, which keeps the generators that were used last.

What was drawn is remembered, so that a class that opens one link asks for one drawing.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from syntype.apps.web.aside import Aside, attempt

__all__ = ["Allowance", "Drawings"]

_KEPT_GENERATORS = 2
_KEPT_BYTES = 64_000_000
"""Of drawings that are remembered."""


@dataclass(frozen=True)
class Allowance:
    """How much somebody may ask for.

    Attributes:
        most: drawings of all people, at most, that may be asked for at the same time, the new one among them.
        take_turn: called before each drawing that is not remembered; raises if it may not be.
    """

    most: int
    take_turn: Callable[[], None] = lambda: None


class Drawings(Aside):
    """What was drawn, and the process that draws. Safe to use from several threads.

    Args:
        seconds: longest time for one drawing.
    """

    busy = "many people are drawing just now. Try again in a moment."
    slow = "this generator takes more than {seconds:.0f} s for one picture. Draw them as a job instead, under “Draw a strip or a board”."
    dead = "the process that draws has ended, perhaps for want of memory. Try again, or a smaller generator."

    def __init__(self, seconds: float) -> None:
        super().__init__(_carry_out, seconds)
        self._known: OrderedDict[tuple[Any, ...], Any] = OrderedDict()

    def draw(self, folder: Path, what: str, hybrid: dict[str, Any], allowed: Allowance, **options: Any) -> Any:
        """Draw something with a generator.

        Args:
            folder: of the generator.
            what: ``sheet``, ``image`` or ``animation``: the function of ``syntype.synthesis.hybrids``.
            hybrid: fields of its ``HybridConfig``.
            allowed: how much may be asked for.
            options: of the function.

        Returns:
            what the function returns; a ``Sheet`` as a dictionary.

        Raises:
            HTTPException: 503, as too many drawings have been asked for, or this one took too long; or what ``allowed`` says.
            UserError: the generator cannot be used, with its own message.
        """
        key = (folder, _stamp(folder), what, tuple(sorted(hybrid.items())), tuple(sorted(options.items())))
        if (known := self._remembered(key)) is not None:
            return known
        allowed.take_turn()
        with self._counted(allowed.most), self._turn:
            if (known := self._remembered(key)) is not None:  # somebody else has just asked for the same
                return known
            result = self._result((str(folder), key[1], what, hybrid, options))
            with self._lock:
                self._known[key] = result
                while len(self._known) > 1 and sum(map(_size, self._known.values())) > _KEPT_BYTES:
                    self._known.popitem(last=False)
            return result

    def _remembered(self, key: tuple[Any, ...]) -> Any:
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
            return self._known.get(key)


def _stamp(folder: Path) -> int:
    """Changes when the generator does."""
    return (folder / "generator.json").stat().st_mtime_ns


def _size(result: Any) -> int:
    return len(result["content"] if isinstance(result, dict) else result)


def _carry_out(folder: str, stamp: int, what: str, hybrid: dict[str, Any], options: dict[str, Any]) -> tuple[bool, Any]:
    def drawn() -> Any:
        from syntype.synthesis import hybrids

        draw: Any = {"sheet": hybrids.hybrid_sheet, "image": hybrids.hybrid_image, "animation": hybrids.hybrid_animation}[what]
        result = draw(_generator(folder, stamp), hybrids.HybridConfig(**hybrid), **options)
        return vars(result) if isinstance(result, hybrids.Sheet) else result

    return attempt(drawn, "this generator", "it could not be drawn ({error}). Train the generator again.")


@lru_cache(_KEPT_GENERATORS)
def _generator(folder: str, _stamp: int) -> Any:
    from syntype.compute.runtime import Runtime
    from syntype.generators import load_generator

    return load_generator(folder).to(Runtime("auto").device)
