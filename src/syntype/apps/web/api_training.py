"""What a training would take and give, for the collection that is chosen, before it is asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel

from syntype.apps.web.api_collections import index_of
from syntype.apps.web.catalogue import Index
from syntype.apps.web.expectations import lacks, quality
from syntype.apps.web.languages import N_, gettext, ngettext, number
from syntype.apps.web.requests import MOST_TESTED, MOST_TUNED, Minutes, Slug, Steps
from syntype.apps.web.sizes import free_room, told_size
from syntype.apps.web.studio import PROBLEMS, CurrentStudio, Studio
from syntype.apps.web.words import listed, num_photographs
from syntype.collection.splits import splits_without_pictures
from syntype.generators.engine.expected import UNTRAINED, expected, images_per_second, suggested_size
from syntype.generators.registry import list_families

__all__ = ["FIRST", "TrainingPlan", "router", "show_training"]

router = APIRouter(prefix="/api/collections/{name}/training", tags=["generators"], responses=PROBLEMS)
FIRST = {
    "pose_transfer": (N_("Cut-outs recombined"), N_("minutes, looks real, best to begin with")),
    "projected": (N_("Learns shapes"), N_("an hour")),
    "lora": (N_("Pre-trained model"), N_("a GPU")),
}
"""Families to choose from at once, what the Studio calls them, and what to know first."""
MINUTES = 60.0
"""That a training takes if nothing else is chosen."""


class FamilyPlan(BaseModel):
    """What is expected of a training of one family.

    ``time``, ``room`` and ``quality``: in words. ``size``: in pixels. ``lacks``: what is missing on this machine, null if nothing is.
    """

    family: str
    size: int
    minutes: float | None
    steps: int | None
    num_bytes: int
    time: str
    room: str
    quality: str
    lacks: str | None


class Split(BaseModel):
    """Numbers of photographs, and what becomes of those of the rarest species, in a sentence. ``unused``: in no split."""

    learnt: int
    tuning: int
    tests: int
    unused: int
    sentence: str


class TrainingPlan(BaseModel):
    """What trainings of the families to choose from would take; ``free``: bytes on the disk; ``split``: as it is, ``other``: as it was asked for."""

    collection: str
    split: Split
    other: Split | None
    families: list[FamilyPlan]
    free: int


@router.get("")
def show_training(
    studio: CurrentStudio,
    name: Slug,
    size: Annotated[int | None, Query(ge=16, le=1024)] = None,
    minutes: Annotated[Minutes, Query()] = MINUTES,
    steps: Annotated[Steps | None, Query()] = None,
    test_fraction: Annotated[float | None, Query(ge=0, le=MOST_TESTED)] = None,
    val_fraction: Annotated[float | None, Query(ge=0, le=MOST_TUNED)] = None,
) -> TrainingPlan:
    """Time, room on the disk and quality of a training for each family; nothing is begun.

    ``size``: of the images, in pixels; without it each family's own. ``test_fraction``, ``val_fraction``: tell also what another split would give.
    """
    photographs = _photographs(index_of(studio, name))
    counts: dict[str, int] = Counter(species for species, split in zip(photographs["species"], photographs["split"], strict=True) if split == "train")
    families = []
    for family in list_families():
        side = size or suggested_size(family)
        told = expected(family, counts, side, minutes=minutes, steps=steps, pace=_pace(studio, family))
        families.append(
            FamilyPlan(
                family=family,
                size=side,
                minutes=told.minutes,
                steps=told.steps,
                num_bytes=told.num_bytes,
                time=_time(told.minutes, minutes, family),
                room=gettext("about {size}", size=told_size(told.num_bytes)),
                quality=quality(told, counts),
                lacks=lacks(told),
            )
        )
    other = None
    if test_fraction is not None or val_fraction is not None:
        fractions = {"test_fraction": test_fraction, "val_fraction": val_fraction}
        shares = {key: value for key, value in fractions.items() if value is not None}
        other = _split(photographs["species"], splits_without_pictures(photographs["species"], photographs["group"], photographs["sha256"], **shares))
    split = _split(photographs["species"], photographs["split"])
    return TrainingPlan(collection=name, split=split, other=other, families=families, free=free_room(studio.workspace.root).free)


def _photographs(index: Index) -> dict[str, list[Any]]:
    """Columns of the photographs that are not refused and have a species."""
    columns = {key: index.table[key].to_pylist() for key in ("species", "split", "group", "sha256", "origin", "verdict")}
    rows = [
        row
        for row, (species, origin, verdict) in enumerate(zip(columns["species"], columns["origin"], columns["verdict"], strict=True))
        if species is not None and origin != "synthetic" and verdict != "refused"
    ]
    return {key: [columns[key][row] for row in rows] for key in ("species", "split", "group", "sha256")}


def _split(species: list[str], splits: list[str | None]) -> Split:
    counts, whole = Counter(zip(species, splits, strict=True)), Counter(species)
    sums = Counter(splits)
    used = sums["train"] + sums["val"] + sums["test"]
    return Split(learnt=sums["train"], tuning=sums["val"], tests=sums["test"], unused=len(splits) - used, sentence=_rarest(counts, whole))


def _rarest(counts: Mapping[tuple[str, str | None], int], whole: Mapping[str, int]) -> str:
    """What becomes of the photographs of the rarest species."""
    if not whole:
        return gettext("There is no photograph to learn from.")
    name = min(whole, key=lambda species: (whole[species], species))
    learnt, tuning, tests = (counts.get((name, split), 0) for split in ("train", "val", "test"))
    parts = [ngettext("{n} is learnt from", "{n} are learnt from", learnt) if learnt else gettext("none is learnt from")]
    parts += [ngettext("{n} tunes", "{n} tune", tuning)] if tuning else []
    parts += [ngettext("{n} tests", "{n} test", tests)] if tests else []
    values = {"photographs": num_photographs(whole[name]), "species": name, "parts": listed(parts)}
    told = gettext("Of {photographs} of the rarest species, {species}, {parts}.", **values)
    return told if learnt else f"{told} " + gettext("A species of which nothing is learnt cannot be drawn.")


def _time(minutes: float | None, asked: float, family: str) -> str:
    if family in UNTRAINED:
        if minutes is not None and minutes < 1:
            return gettext("less than a minute")
        return gettext("about {time}", time=ngettext("{n} minute", "{n} minutes", round(minutes or 1)))
    shown = asked if minutes is None else minutes
    if shown < 90:
        words = gettext("1 minute") if shown == 1 else gettext("{number} minutes", number=number(float(f"{shown:.2g}")))
    else:
        words = gettext("{number} hours", number=number(float(f"{shown / 60:.3g}")))
    return gettext("{time}, as you choose", time=words) if shown == asked else gettext("about {time}", time=words)


def _pace(studio: Studio, family: str) -> float | None:
    """How many times as fast as two cores the latest finished training of a family was here; None if there was none."""
    found: list[tuple[str, float]] = []
    for name in studio.workspace.slugs("generators"):
        run = studio.workspace.manifest("generators", name)
        settings, result = run.get("settings"), run.get("result")
        if run.get("stage") != "train" or run.get("status") != "finished" or not isinstance(settings, dict) or settings.get("family") != family:
            continue
        try:
            assert isinstance(result, dict)
            if family not in UNTRAINED:
                pace = result["images_per_second"] / images_per_second(settings["size"])
            else:
                seconds = (datetime.fromisoformat(run["ended"]) - datetime.fromisoformat(run["sessions"][-1])).total_seconds()
                pace = 60 * (expected(family, {"all": result["num_images"]}, settings["size"]).minutes or 0) / seconds
        except (AssertionError, LookupError, TypeError, ValueError, ZeroDivisionError):  # of another version, or changed by hand
            continue
        if pace > 0:
            found.append((str(run.get("ended")), pace))
    return max(found)[1] if found else None
