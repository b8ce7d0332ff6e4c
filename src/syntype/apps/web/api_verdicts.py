"""Routes of expert curation: the next image with photographs to compare, decisions and earlier ones, undo, and the agreement of reviewers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from typing import Annotated, Any, Literal

import pyarrow as pa
from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, StringConstraints
from sqlalchemy import Row

from syntype.apps.web.api_collections import ImageRow, ImagesTogether, image_row
from syntype.apps.web.catalogue import OFFERED, Index
from syntype.apps.web.checks import REFUSALS, Check, Refusal, told
from syntype.apps.web.import_options import Text
from syntype.apps.web.languages import N_, gettext
from syntype.apps.web.requests import Slug
from syntype.apps.web.studio import PROBLEMS, CurrentStudio, Studio, signed_name
from syntype.collection.experts import Decision
from syntype.errors import SyntypeError, UnknownNameError, UserError

__all__ = ["Reviewer", "near_photographs", "router"]

router = APIRouter(prefix="/api/collections/{name}", tags=["verdicts"], responses=PROBLEMS)
Reviewer = Annotated[str, StringConstraints(min_length=1, max_length=80, pattern=r"^[^\x00-\x1f\x7f;]+$", strip_whitespace=True)]
"""A reviewer's name as it will stand in the table, where semicolons separate several. Whoever is signed in with an account has its name instead."""
Reason = Annotated[str, StringConstraints(max_length=200, pattern=r"^[^\x00-\x08\x0b-\x1f\x7f]*$")] | None
Which = Literal["undecided", "decided", "unsure"]
"""Images by what the reviewer has said of them: nothing yet, anything, or unsure."""
_CHUNK = 50
_NEAREST = 3
_MOVED = N_("collection {name} was renamed or deleted at this moment, so the decision was not saved. Open its page again.")


class NearPhotograph(BaseModel):
    """A real photograph to compare with. ``distance``: as curation measured it, 0 for the same picture; null: chosen by species only."""

    collection: str
    image_id: str
    species: str | None
    common_name: str | None
    sha256: str | None
    distance: float | None


class SavedVerdict(BaseModel):
    """A saved decision."""

    id: int
    image_id: str
    decision: Decision
    reason: str | None = None


class ReviewItem(BaseModel):
    """An image to judge, photographs beside it, what the automatic check said, and what the reviewer has said. What others said is not in it."""

    image: ImageRow
    common_name: str | None
    nearest: list[NearPhotograph]
    check: Check
    own: SavedVerdict | None


class NextImages(BaseModel):
    """Images to judge, in the order of the collection: the first to show, the others to fetch in advance."""

    items: list[ReviewItem]
    num_left: int | None
    """Images that fit, those in ``items`` too; null if ``after`` was given, as it is counted at the beginning."""


class NewVerdict(BaseModel):
    """A decision. ``key`` makes it safe to send again after a lost answer: the same key counts once."""

    image_id: Annotated[str, StringConstraints(min_length=1, max_length=300)]
    reviewer: Reviewer
    decision: Decision
    reason: Reason = None
    key: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{8,64}$")] | None = None


class NewVerdicts(BaseModel):
    """One decision about several images, which is undone as one. ``key``: as for one image."""

    image_ids: ImagesTogether
    reviewer: Reviewer
    decision: Decision
    reason: Reason = None
    key: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{8,56}$")]


class SavedVerdicts(BaseModel):
    """``num_saved`` images were judged; the verdict of ``num_differ`` of them is another one: they were refused as copies, or outvoted."""

    num_saved: int
    num_differ: int


class Undo(BaseModel):
    """Whose latest decision to undo. ``real``: the collection to compare with."""

    reviewer: Reviewer
    real: Slug | None = None


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
    """Number of decisions of each reviewer, and the agreement of every two reviewers.

    ``num_images``: synthetic images that the automatic check did not refuse; ``refused``: those that it refused, by its reason.
    """

    reviewers: dict[str, dict[str, int]]
    pairs: list[PairAgreement]
    num_images: int
    refused: dict[Refusal, int]


class Applied(BaseModel):
    """Counts of the collection's table now."""

    num_accepted: int
    num_refused: int
    num_open: int
    num_changed: int


@router.get("/next")
def next_images(
    request: Request,
    studio: CurrentStudio,
    name: Slug,
    reviewer: Annotated[Reviewer, Query()],
    after: Annotated[int | None, Query(ge=0, le=10**9)] = None,
    count: Annotated[int, Query(ge=1, le=20)] = 3,
    which: Annotated[Which, Query()] = "undecided",
    species: Annotated[Text | None, Query()] = None,
    refused: Annotated[Literal["no", "too", "copy", "species", "distribution"], Query()] = "no",
    judges: Annotated[int | None, Query(ge=1, le=9)] = None,
    second: Annotated[bool, Query()] = False,
    real: Annotated[Slug | None, Query()] = None,
) -> NextImages:
    """The next synthetic images to judge, behind the position ``after``.

    ``refused``: what the automatic check refused is left out, shown too, or shown alone, by the check's reason. ``judges``: an image that so many
    other reviewers have judged, or are judging, is left out. ``second``: only images that another reviewer has judged. ``real``: the collection to
    compare with, by default the one that curation used, or the one from which the images were made.
    """
    reviewer = signed_name(request, studio, reviewer)
    index = studio.catalogue.index(studio.workspace.find("collections", name))
    check = {"no": OFFERED, "too": None}.get(refused, refused)
    wanted = index.matching({"origin": "synthetic", **({"species": species} if species else {}), **({"check": check} if check else {})})

    def fits(image: str, votes: dict[str, Row[Any]]) -> bool:
        own = votes.get(reviewer)
        if which != "undecided":
            return own is not None and which in ("decided", own.decision)
        others = votes.keys() - {reviewer}
        judging = others | studio.offers.to_others(name, image, reviewer) if judges else others
        return own is None and not (second and not others) and not (judges and len(judging) >= judges)

    compare = _reference(studio, name, real)
    start = 0 if after is None else int(wanted.to_numpy().searchsorted(after, side="right"))
    found = _fitting(studio, name, index, wanted[start:], fits, len(wanted) if after is None else _CHUNK)
    items = [_item(index.rows([position])[0], votes.get(reviewer), index, compare) for position, votes in islice(found, count)]
    if which == "undecided":
        studio.offers.offer(name, [item.image.image_id for item in items], reviewer)
    return NextImages(items=items, num_left=len(items) + sum(1 for _ in found) if after is None else None)


@router.post("/verdicts", status_code=201)
def decide(request: Request, studio: CurrentStudio, name: Slug, verdict: NewVerdict) -> SavedVerdict:
    """Save a decision; it is on disk before the response is sent."""
    reviewer = signed_name(request, studio, verdict.reviewer)
    folder = studio.workspace.find("collections", name)
    image = studio.catalogue.index(folder).image(verdict.image_id)
    if image["origin"] != "synthetic":
        raise _photograph_error(name, verdict.image_id)
    number = studio.reviews.decide(name, verdict.image_id, image["sha256"], reviewer, verdict.decision, verdict.reason, verdict.key)
    if not folder.is_dir():  # renamed or deleted at this moment: the next collection of this name must not have this decision
        studio.reviews.withdraw(number)
        raise UserError(gettext(_MOVED, name=repr(name)))
    studio.offers.judged(name, [verdict.image_id], reviewer)
    return SavedVerdict(id=number, image_id=verdict.image_id, decision=verdict.decision, reason=verdict.reason)


@router.get("/verdicts/own")
def list_own(
    request: Request,
    studio: CurrentStudio,
    name: Slug,
    reviewer: Annotated[Reviewer, Query()],
    before: Annotated[int | None, Query(ge=0, le=10**9)] = None,
    count: Annotated[int, Query(ge=1, le=100)] = 20,
    real: Annotated[Slug | None, Query()] = None,
) -> list[ReviewItem]:
    """The images that a reviewer has judged, the latest decision first; ``before``: only decisions with a lower number."""
    index = studio.catalogue.index(studio.workspace.find("collections", name))
    compare, items = _reference(studio, name, real), []
    for vote in studio.reviews.own(name, signed_name(request, studio, reviewer), before, count):
        with suppress(UnknownNameError):  # the collection was replaced since
            items.append(_item(index.image(vote.image_id), vote, index, compare))
    return items


@router.post("/verdicts/together", status_code=201)
def decide_together(request: Request, studio: CurrentStudio, name: Slug, verdict: NewVerdicts) -> SavedVerdicts:
    """Save one decision about several images, and write it into the collection's table. ``/verdicts/undo`` undoes it for all of them."""
    reviewer = signed_name(request, studio, verdict.reviewer)
    folder = studio.workspace.find("collections", name)
    index = studio.catalogue.index(folder)
    images = index.images(list(dict.fromkeys(verdict.image_ids)))
    if (real := next((image for image in images if image["origin"] != "synthetic"), None)) is not None:
        raise _photograph_error(name, real["image_id"])
    hashes = [(image["image_id"], image["sha256"]) for image in images]
    studio.reviews.decide_together(name, hashes, reviewer, verdict.decision, verdict.reason, verdict.key)
    if not folder.is_dir():
        studio.reviews.withdraw_together(verdict.key)
        raise UserError(gettext(_MOVED, name=repr(name)))
    studio.offers.judged(name, [image["image_id"] for image in images], reviewer)
    _apply_now(studio, name)
    wanted = {"accept": "accepted", "reject": "refused"}.get(verdict.decision)
    now = studio.catalogue.index(folder).images([image["image_id"] for image in images]) if wanted else []
    return SavedVerdicts(num_saved=len(images), num_differ=sum(image["verdict"] != wanted for image in now))


def _photograph_error(name: str, image_id: str) -> UserError:
    return UserError(gettext("image {image_id} of {name} is a photograph. Experts judge synthetic images only.", image_id=image_id, name=repr(name)))


def _apply_now(studio: Studio, name: str) -> None:
    """Write what was decided into the collection's table; where that cannot be now, it happens later by itself."""
    with suppress(SyntypeError, OSError):
        studio.reviews.apply(name)


@router.post("/verdicts/undo")
def undo(request: Request, studio: CurrentStudio, name: Slug, undo: Undo) -> Undone:
    """Undo the reviewer's latest decision; an earlier one on the same image holds again."""
    reviewer = signed_name(request, studio, undo.reviewer)
    index = studio.catalogue.index(studio.workspace.find("collections", name))
    taken = studio.reviews.undo(name, reviewer)
    if taken is None:
        return Undone(verdict=None, item=None, num_undone=0)
    if taken["together"]:
        _apply_now(studio, name)
        index = studio.catalogue.index(studio.workspace.find("collections", name))
    num, verdict = taken["together"] or 1, SavedVerdict.model_validate(taken)
    try:
        image = index.image(verdict.image_id)
    except UnknownNameError:  # the collection was replaced since
        return Undone(verdict=verdict, item=None, num_undone=num)
    own = studio.reviews.votes(name, [verdict.image_id]).get(verdict.image_id, {}).get(reviewer)
    return Undone(verdict=verdict, item=_item(image, own, index, _reference(studio, name, undo.real)), num_undone=num)


@router.get("/verdicts")
def show_agreement(studio: CurrentStudio, name: Slug) -> Agreement:
    """Counts and agreement of the reviewers, and how many images there are to judge."""
    index = studio.catalogue.index(studio.workspace.find("collections", name))
    outcomes = index.table["check"].take(index.matching({"origin": "synthetic"})).to_pylist()
    refused = {reason: outcomes.count(reason) for reason in REFUSALS}
    told = studio.reviews.agreement(name)
    return Agreement.model_validate({**told, "num_images": len(outcomes) - sum(refused.values()), "refused": refused})


@router.post("/verdicts/apply")
def apply(studio: CurrentStudio, name: Slug) -> Applied:
    """Write the verdicts into the collection's table at once; otherwise this happens when nobody has decided anything for some seconds."""
    return Applied(**studio.reviews.apply(name).summary())


def _reference(studio: Studio, name: str, asked: str | None) -> tuple[str, Index] | None:
    """The photographs to compare with: the collection asked for, that of curation, or that from which the images were made, if it is still there."""
    asked = asked or studio.workspace.reference(name) or studio.workspace.photographs_of("collections", name)
    return None if asked is None else (asked, studio.catalogue.index(studio.workspace.find("collections", asked)))


def _fitting(
    studio: Studio, name: str, index: Index, wanted: pa.Array, fits: Callable[[str, dict[str, Row[Any]]], bool], chunk: int
) -> Iterator[tuple[int, dict[str, Row[Any]]]]:
    """Those of some positions whose images fit, with what reviewers have said; they are read in chunks, as mostly the first are enough."""
    start = 0
    while start < len(wanted):
        part = wanted[start : start + max(chunk, 1)]
        ids = index.table["image_id"].take(part).to_pylist()
        votes = studio.reviews.votes(name, None if len(ids) > 1000 else ids)
        for position, image in zip(part.to_pylist(), ids, strict=True):
            if fits(image, votes.get(image, {})):
                yield position, votes.get(image, {})
        start, chunk = start + len(part), 2 * chunk


def _item(row: dict[str, Any], vote: Row[Any] | None, index: Index, compare: tuple[str, Index] | None) -> ReviewItem:
    check = told(row, index.thresholds)
    verdict, reason = ("refused", check.outcome) if check.outcome in REFUSALS else ("accepted" if check.outcome == "passed" else None, None)
    own = None if vote is None else SavedVerdict(id=vote.id, image_id=vote.image_id, decision=vote.decision, reason=vote.reason)
    image = image_row(row | {"verdict": verdict, "reason": reason})  # the check's: reviewers are not told what others have said
    near = near_photographs(row, compare, check.looks_like if check.outcome == "species" else None)
    return ReviewItem(image=image, common_name=index.common_names.get(row["species"] or ""), nearest=near, check=check, own=own)


def near_photographs(row: dict[str, Any], compare: tuple[str, Index] | None, other: str | None = None) -> list[NearPhotograph]:
    """The photograph that curation found nearest, then others of the same species, and one of another species that the image looks like."""
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
    found = found[:_NEAREST]
    if other is not None:
        found += [(photograph, None) for photograph in index.rows(index.matching({"species": other, "split": "train"})[:1])]
    return [
        NearPhotograph(
            collection=name, image_id=photograph["image_id"], species=photograph["species"], sha256=photograph["sha256"], distance=distance,
            common_name=index.common_names.get(photograph["species"] or ""),
        )
        for photograph, distance in found
    ]  # fmt: skip
