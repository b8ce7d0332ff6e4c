"""Routes of expert curation: the next image with photographs to compare, a decision, undo, and the agreement of reviewers."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field, StringConstraints

from syntype.apps.web.api_collections import MOST_TOGETHER, ImageRow, image_row
from syntype.apps.web.catalogue import Index
from syntype.apps.web.import_options import Text
from syntype.apps.web.requests import Slug
from syntype.apps.web.studio import PROBLEMS, CurrentStudio, Studio
from syntype.collection.experts import Decision
from syntype.errors import SyntypeError, UnknownNameError, UserError

__all__ = ["Reviewer", "router"]

router = APIRouter(prefix="/api/collections/{name}", tags=["verdicts"], responses=PROBLEMS)
Reviewer = Annotated[str, StringConstraints(min_length=1, max_length=80, pattern=r"^[^\x00-\x1f\x7f;]+$", strip_whitespace=True)]
"""A reviewer's name as it will stand in the table, where semicolons separate several."""
Reason = Annotated[str, StringConstraints(max_length=200, pattern=r"^[^\x00-\x08\x0b-\x1f\x7f]*$")] | None
_CHUNK = 200
_NEAREST = 3
_MOVED = "collection {!r} was renamed or deleted at this moment, so the decision was not saved. Open its page again."


class NearPhotograph(BaseModel):
    """A real photograph to compare with. ``distance``: as curation measured it, 0 for the same picture; null: chosen by species only."""

    collection: str
    image_id: str
    species: str | None
    sha256: str | None
    distance: float | None


class ReviewItem(BaseModel):
    """An image to judge, and photographs beside it."""

    image: ImageRow
    nearest: list[NearPhotograph]


class NextImages(BaseModel):
    """Images that the reviewer has not judged, in the order of the collection: the first to show, the others to fetch in advance."""

    items: list[ReviewItem]
    num_left: int
    """Images that the reviewer has not judged, those in ``items`` too."""


class NewVerdict(BaseModel):
    """A decision. ``key`` makes it safe to send again after a lost answer: the same key counts once."""

    image_id: Annotated[str, StringConstraints(min_length=1, max_length=300)]
    reviewer: Reviewer
    decision: Decision
    reason: Reason = None
    key: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{8,64}$")] | None = None


class NewVerdicts(BaseModel):
    """One decision about several images, which is undone as one. ``key``: as for one image."""

    image_ids: Annotated[list[Annotated[str, StringConstraints(min_length=1, max_length=300)]], Field(min_length=1, max_length=MOST_TOGETHER)]
    reviewer: Reviewer
    decision: Decision
    reason: Reason = None
    key: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{8,56}$")]


class SavedVerdicts(BaseModel):
    """``num_saved`` images were judged; the verdict of ``num_differ`` of them is another one: they were refused as copies, or outvoted."""

    num_saved: int
    num_differ: int


class SavedVerdict(BaseModel):
    """A saved decision."""

    id: int
    image_id: str
    decision: Decision


class Undo(BaseModel):
    """Whose latest decision to undo."""

    reviewer: Reviewer


class Undone(BaseModel):
    """The decision that was undone, and its image to judge again; both null if there was none. ``num_undone``: of so many images."""

    verdict: SavedVerdict | None
    item: ReviewItem | None
    num_undone: int


class PairAgreement(BaseModel):
    """Two reviewers: images that both have judged, and Cohen's kappa on these (null where there are none)."""

    reviewers: tuple[str, str]
    num_shared: int
    kappa: float | None


class Agreement(BaseModel):
    """Number of decisions of each reviewer, and the agreement of every two reviewers."""

    reviewers: dict[str, dict[str, int]]
    pairs: list[PairAgreement]


class Applied(BaseModel):
    """Counts of the collection's table now."""

    num_accepted: int
    num_refused: int
    num_open: int
    num_changed: int


@router.get("/next")
def next_images(
    studio: CurrentStudio,
    name: Slug,
    reviewer: Annotated[Reviewer, Query()],
    after: Annotated[int, Query(ge=-1, le=10**9)] = -1,
    count: Annotated[int, Query(ge=1, le=20)] = 3,
    species: Annotated[Text | None, Query()] = None,
    verdict: Annotated[Text | None, Query()] = None,
    real: Annotated[Slug | None, Query()] = None,
) -> NextImages:
    """The next synthetic images to judge, behind the position ``after``.

    ``species`` and ``verdict`` narrow them down; ``real`` names the collection to compare with, by default the one that
    curation used, or the one from which the images were made.
    """
    index = studio.catalogue.index(studio.workspace.find("collections", name))
    filters = {"origin": "synthetic"} | {key: value for key, value in (("species", species), ("verdict", verdict)) if value is not None}
    wanted = index.matching(filters)
    start = int(wanted.to_numpy().searchsorted(after, side="right"))
    compare = _reference(studio, name, real)
    found: list[dict[str, Any]] = []
    while start < len(wanted) and len(found) < count:
        rows = index.rows(wanted[start : start + _CHUNK])
        judged = studio.reviews.judged(name, reviewer, [row["image_id"] for row in rows])
        found += [row for row in rows if row["image_id"] not in judged]
        start += _CHUNK
    items = [ReviewItem(image=image_row(row), nearest=_nearest(row, compare)) for row in found[:count]]
    return NextImages(items=items, num_left=max(0, len(wanted) - studio.reviews.count(name, reviewer)) if len(filters) == 1 else len(items))


@router.post("/verdicts", status_code=201)
def decide(studio: CurrentStudio, name: Slug, verdict: NewVerdict) -> SavedVerdict:
    """Save a decision; it is on disk before the response is sent."""
    folder = studio.workspace.find("collections", name)
    image = studio.catalogue.index(folder).image(verdict.image_id)
    if image["origin"] != "synthetic":
        raise UserError(f"image {verdict.image_id} of {name!r} is a photograph. Experts judge synthetic images only.")
    number = studio.reviews.decide(name, verdict.image_id, image["sha256"], verdict.reviewer, verdict.decision, verdict.reason, verdict.key)
    if not folder.is_dir():  # renamed or deleted at this moment: the next collection of this name must not have this decision
        studio.reviews.withdraw(number)
        raise UserError(_MOVED.format(name))
    return SavedVerdict(id=number, image_id=verdict.image_id, decision=verdict.decision)


@router.post("/verdicts/together", status_code=201)
def decide_together(studio: CurrentStudio, name: Slug, verdict: NewVerdicts) -> SavedVerdicts:
    """Save one decision about several images, and write it into the collection's table. ``/verdicts/undo`` undoes it for all of them."""
    folder = studio.workspace.find("collections", name)
    index = studio.catalogue.index(folder)
    images = index.images(list(dict.fromkeys(verdict.image_ids)))
    if (real := next((image for image in images if image["origin"] != "synthetic"), None)) is not None:
        raise UserError(f"image {real['image_id']} of {name!r} is a photograph. Experts judge synthetic images only.")
    hashes = [(image["image_id"], image["sha256"]) for image in images]
    studio.reviews.decide_together(name, hashes, verdict.reviewer, verdict.decision, verdict.reason, verdict.key)
    if not folder.is_dir():
        studio.reviews.withdraw_together(verdict.key)
        raise UserError(_MOVED.format(name))
    _apply_now(studio, name)
    wanted = {"accept": "accepted", "reject": "refused"}.get(verdict.decision)
    now = studio.catalogue.index(folder).images([image["image_id"] for image in images]) if wanted else []
    return SavedVerdicts(num_saved=len(images), num_differ=sum(image["verdict"] != wanted for image in now))


def _apply_now(studio: Studio, name: str) -> None:
    """Write what was decided into the collection's table; where that cannot be now, it happens later by itself."""
    with suppress(SyntypeError, OSError):
        studio.reviews.apply(name)


@router.post("/verdicts/undo")
def undo(studio: CurrentStudio, name: Slug, undo: Undo) -> Undone:
    """Undo the reviewer's latest decision."""
    index = studio.catalogue.index(studio.workspace.find("collections", name))
    taken = studio.reviews.undo(name, undo.reviewer)
    if taken is None:
        return Undone(verdict=None, item=None, num_undone=0)
    if taken["together"]:
        _apply_now(studio, name)
    num = taken["together"] or 1
    verdict = SavedVerdict(id=taken["id"], image_id=taken["image_id"], decision=taken["decision"])
    try:
        image = index.image(taken["image_id"])
    except UnknownNameError:  # the collection was replaced since
        return Undone(verdict=verdict, item=None, num_undone=num)
    item = ReviewItem(image=image_row(image), nearest=_nearest(image, _reference(studio, name, None)))
    return Undone(verdict=verdict, item=item, num_undone=num)


@router.get("/verdicts")
def show_agreement(studio: CurrentStudio, name: Slug) -> Agreement:
    """Counts and agreement of the reviewers."""
    studio.workspace.find("collections", name)
    return Agreement.model_validate(studio.reviews.agreement(name))


@router.post("/verdicts/apply")
def apply(studio: CurrentStudio, name: Slug) -> Applied:
    """Write the verdicts into the collection's table at once; otherwise this happens when nobody has decided anything for some seconds."""
    return Applied(**studio.reviews.apply(name).summary())


def _reference(studio: Studio, name: str, asked: str | None) -> tuple[str, Index] | None:
    """The photographs to compare with: the collection asked for, that of curation, or that from which the images were made, if it is still there."""
    asked = asked or studio.workspace.reference(name) or studio.workspace.photographs_of("collections", name)
    return None if asked is None else (asked, studio.catalogue.index(studio.workspace.find("collections", asked)))


def _nearest(row: dict[str, Any], compare: tuple[str, Index] | None) -> list[NearPhotograph]:
    """The photograph that curation found nearest, then others of the same species."""
    if compare is None:
        return []
    name, index = compare
    found = []
    if row["nearest_real_id"] is not None:
        with suppress(UnknownNameError):  # of another collection
            found.append((index.image(row["nearest_real_id"]), row["nearest_real_distance"]))
    if row["species"] is not None:
        same = index.rows(index.matching({"species": row["species"], "split": "train"})[: _NEAREST + 1])
        found += [(photograph, None) for photograph in same if photograph["image_id"] != row["nearest_real_id"]]
    return [
        NearPhotograph(
            collection=name, image_id=photograph["image_id"], species=photograph["species"], sha256=photograph["sha256"], distance=distance
        )
        for photograph, distance in found[:_NEAREST]
    ]
