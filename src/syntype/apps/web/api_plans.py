"""How long a job will take, told before it is begun."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Body
from pydantic import BaseModel, Field

from syntype.apps.web.classify_request import ClassifyRequest
from syntype.apps.web.languages import gettext, ngettext
from syntype.apps.web.requests import StudyRequest
from syntype.apps.web.studio import PROBLEMS, CurrentStudio, Studio
from syntype.apps.web.words import num_images
from syntype.collection.columns import TABLE
from syntype.errors import UserError

__all__ = ["minutes_in_words", "router"]

router = APIRouter(prefix="/api/plans", tags=["jobs"], responses=PROBLEMS)
Planned = Annotated[ClassifyRequest | StudyRequest, Field(discriminator="kind")]


class Plan(BaseModel):
    """What a job would do. ``sentence``: how long it takes, or why it cannot be done; ``minutes`` is null then."""

    possible: bool
    minutes: float | None
    sentence: str


@router.post("")
def plan_job(studio: CurrentStudio, request: Annotated[Planned, Body()]) -> Plan:
    """How long an identifier or a study will take on this machine; nothing is begun. The first answer takes some seconds, as the network is timed."""
    try:
        told = studio.answers.plan(
            [*request.command(studio.workspace), f"--out={studio.workspace.place(request.place, request.slug)}"],
            _read(studio, request), studio.config.limits.answers,
        )  # fmt: skip
    except UserError as error:
        return Plan(possible=False, minutes=None, sentence=studio.workspace.show(str(error)))
    minutes = float(told["estimated_minutes"])
    return Plan(possible=True, minutes=minutes, sentence=_sentence(minutes_in_words(minutes), told))


def _read(studio: Studio, request: ClassifyRequest | StudyRequest) -> tuple[Any, ...]:
    """What changes when the collections that a request reads do."""
    folders: list[Path] = [studio.workspace.find("collections", name) for name in request.reads()]
    return tuple((folder / TABLE).stat().st_mtime_ns for folder in folders)


def minutes_in_words(minutes: float) -> str:
    """A time as people say it.

    Example:
        >>> [minutes_in_words(value) for value in (0.4, 12.3, 100, 200, 4000)]
        ['About a minute', 'About 12 minutes', 'About 1 hour 40 minutes', 'About 3 hours', 'About 3 days']
    """
    whole = max(1, round(minutes))
    if whole == 1:
        return gettext("About a minute")
    if whole < 60:
        return ngettext("About {n} minute", "About {n} minutes", whole)
    if whole < 180:
        hours, rest = divmod(round(whole / 10) * 10, 60)
        if rest:
            return ngettext("About {n} hour {minutes} minutes", "About {n} hours {minutes} minutes", hours, minutes=rest)
        return ngettext("About {n} hour", "About {n} hours", hours)
    if whole < 48 * 60:
        return ngettext("About {n} hour", "About {n} hours", round(whole / 60))
    return ngettext("About {n} day", "About {n} days", round(whole / 1440))


def _sentence(time: str, told: dict[str, Any]) -> str:
    """The time, and what is done in it."""
    if "classifiers" not in told:
        return gettext("{time} on this machine, for {images}.", time=time, images=num_images(told["images"]))
    identifiers = ngettext("{n} identifier", "{n} identifiers", told["classifiers"])
    values = {"time": time, "identifiers": identifiers, "size": str(told["size"]), "arms": told["arms"]}
    return ngettext(
        "{time} on this machine: {identifiers} of {size} pixels, {arms} methods {n} time each.",
        "{time} on this machine: {identifiers} of {size} pixels, {arms} methods {n} times each.", told["seeds"], **values,
    )  # fmt: skip
