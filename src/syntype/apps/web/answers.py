"""What is asked of PyTorch while somebody waits: what a photograph shows, how long a job will take, and the report of a study in
another language.

All of it happens in a process beside the server, which keeps the identifiers that were used last. A photograph goes there in memory, and is forgotten
when it is answered: it is never written to a disk.
"""

from __future__ import annotations

import io
import json
from collections import OrderedDict
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import lru_cache
from pathlib import Path
from typing import Any

from syntype.apps.web.aside import Aside, attempt
from syntype.apps.web.languages import in_language, marked, marked_plural
from syntype.collection.columns import TABLE

__all__ = ["Answers"]

_KEPT_IDENTIFIERS = 2
_KEPT_PLANS = 64
_KEPT_REPORTS = 8


class Answers(Aside):
    """The questions, and the process that answers them. Safe to use from several threads.

    Args:
        seconds: longest time for one answer.
    """

    busy = "many people are asking just now. Try again in a moment."
    slow = "the answer takes more than {seconds:.0f} s. Try again when no job runs, or with another identifier."
    dead = "the process that answers has ended, perhaps for want of memory. Try again, or a smaller identifier."

    def __init__(self, seconds: float) -> None:
        super().__init__(_carry_out, seconds)
        self._plans: OrderedDict[tuple[Any, ...], dict[str, Any]] = OrderedDict()

    def identify(self, folder: Path, photographs: Path | None, photograph: bytes, most: int) -> dict[str, Any]:
        """What an identifier says of a photograph.

        Args:
            folder: of the identifier.
            photographs: the collection in which to look for similar ones; None leaves them out.
            photograph: the content of an image file.
            most: questions that may be asked at the same time.

        Returns:
            The fields of ``Identification``, as plain values.

        Raises:
            UserError: the file is no photograph, or the identifier cannot be used.
            HTTPException: 503, as too many questions were asked, or this one took too long.
        """
        stamps = (_stamp(folder, "classifier.json"), None if photographs is None else _stamp(photographs, TABLE))
        task = ("identify", str(folder), stamps, None if photographs is None else str(photographs), photograph)
        return dict(self._answer(task, most))

    def report(self, folder: Path, code: str, most: int) -> str:
        """The report of a study in a language; otherwise as ``identify``."""
        return str(self._answer(("report", str(folder), code, _stamp(folder, "results.json")), most))

    def plan(self, command: list[str], key: tuple[Any, ...], most: int) -> dict[str, Any]:
        """What ``--dry-run`` says of a command; remembered.

        Args:
            command: of Syntype, without ``--dry-run``.
            key: changes when what the command reads does.

        Raises:
            UserError: the command refuses, with its own message.
            HTTPException: as for ``identify``.
        """
        whole = (*command, *key)
        if (known := self._plans.get(whole)) is not None:
            return known
        found = dict(self._answer(("plan", command), most))
        self._plans[whole] = found
        while len(self._plans) > _KEPT_PLANS:
            self._plans.pop(next(iter(self._plans)), None)
        return found

    def _answer(self, task: tuple[Any, ...], most: int) -> Any:
        with self._counted(most), self._turn:
            return self._result(task)


def _stamp(folder: Path, name: str) -> int:
    """Changes when a thing does."""
    return (folder / name).stat().st_mtime_ns


def _carry_out(what: str, *task: Any) -> tuple[bool, Any]:
    questions: dict[str, Callable[..., Any]] = {"identify": _identify, "plan": _plan, "report": _report}
    return attempt(lambda: questions[what](*task), "this", "there is no answer ({error}). Try again.")


def _identify(folder: str, stamps: tuple[int, int | None], photographs: str | None, photograph: bytes) -> dict[str, Any]:
    from syntype.collection.decoding import decode
    from syntype.identification.identify import identify

    pixels = decode(photograph)
    found = identify(_classifier(folder, stamps[0]), pixels, None if photographs is None else _nearest(folder, photographs, stamps))
    return {
        "species": found.species, "rank": found.answer.rank, "name": found.answer.name, "probability": found.answer.probability,
        "strangeness": found.strangeness, "none_of_these": found.none_of_these,
        "nearest": [(one.image_id, one.species, one.similarity) for one in found.nearest],
    }  # fmt: skip


@lru_cache(_KEPT_IDENTIFIERS)
def _classifier(folder: str, _stamp: int) -> Any:
    from syntype.identification import load_classifier

    return load_classifier(folder)


@lru_cache(_KEPT_IDENTIFIERS)
def _nearest(folder: str, photographs: str, stamps: tuple[int, int | None]) -> Any:
    from syntype.collection import Collection
    from syntype.identification.identify import NearestPhotographs

    classifier, collection = _classifier(folder, stamps[0]), Collection.open(photographs, hashes=False)
    own = not classifier.fitted.config.frozen  # a trained network has features of its own; those of others were kept when it was trained
    return NearestPhotographs(classifier, collection, Path(folder) / ".cache" if own else collection.root / ".cache" / "views")


@lru_cache(_KEPT_REPORTS)
def _report(folder: str, code: str, _stamp: int) -> str:
    from syntype.apps.web.translated import translated
    from syntype.study.report import Words, report_page

    with in_language(code):
        return report_page(Path(folder), Words(code, marked, marked_plural, translated))


def _plan(command: list[str]) -> dict[str, Any]:
    from syntype.apps.cli_classify import classify
    from syntype.apps.cli_study import study

    name, *arguments = command
    said = io.StringIO()
    with redirect_stdout(said):
        {"classify": classify, "study": study}[name].main([*arguments, "--dry-run", "--json"], standalone_mode=False)
    return dict(json.loads(said.getvalue()))
