"""How long a job will take, told before it is begun."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Body
from pydantic import BaseModel, Field

from syntype.apps.web.classify_request import ClassifyRequest
from syntype.apps.web.requests import StudyRequest
from syntype.apps.web.studio import PROBLEMS, CurrentStudio, Studio
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
    return Plan(possible=True, minutes=minutes, sentence=f"{minutes_in_words(minutes)} on this machine{_work(told)}.")


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
        return "About a minute"
    if whole < 60:
        return f"About {whole} minutes"
    if whole < 180:
        hours, rest = divmod(round(whole / 10) * 10, 60)
        return f"About {_many(hours, 'hour')}{f' {rest} minutes' if rest else ''}"
    if whole < 48 * 60:
        return f"About {round(whole / 60)} hours"
    return f"About {round(whole / 1440)} days"


def _work(told: dict[str, Any]) -> str:
    """What is done in that time."""
    if "classifiers" not in told:
        return f", for {_many(told['images'], 'image')}"
    return f": {_many(told['classifiers'], 'identifier')} of {told['size']} pixels, {told['arms']} methods {_many(told['seeds'], 'time')} each"


def _many(number: int, one: str) -> str:
    return f"{number:,} {one if number == 1 else f'{one}s'}"
