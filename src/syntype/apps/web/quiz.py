"""The quiz: reviewers tell photographs from synthetic images, or name the species. The score shows how convincing the synthetic images are."""

from __future__ import annotations

import math
import random
import secrets
import time
from contextlib import suppress
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field
from sqlalchemy import Row, insert, select
from sqlalchemy.exc import IntegrityError

from syntype.apps.web.api_verdicts import NearPhotograph, Reviewer, near_photographs
from syntype.apps.web.catalogue import Index
from syntype.apps.web.languages import gettext
from syntype.apps.web.requests import Slug
from syntype.apps.web.store import answers, quizzes
from syntype.apps.web.studio import PROBLEMS, CurrentStudio, Studio, signed_name
from syntype.apps.web.thumbnails import squared
from syntype.apps.web.trash import IN_TRASH
from syntype.errors import CollectionError, UnknownNameError, UserError

__all__ = ["router", "wilson_interval"]

router = APIRouter(prefix="/api/quizzes", tags=["quiz"], responses=PROBLEMS)
QuizId = Annotated[str, Path(pattern="^[0-9a-f]{32}$")]
Number = Annotated[int, Path(ge=0, le=1000)]
_LARGEST = 512


_CHOICES = 4
_UNDECIDED = -1


class NewQuiz(BaseModel):
    """A quiz of ``num`` pictures, half of them photographs, of the same species where possible.

    ``kind``: what is asked of each picture: whether it is a photograph (``real``), or what it shows (``species``).
    """

    synthetic: Slug
    real: Slug
    reviewer: Reviewer
    num: int = Field(20, ge=2, le=200)
    kind: Literal["real", "species"] = "real"


class Choice(BaseModel):
    """A species to choose."""

    species: str
    common_name: str | None


class Quiz(BaseModel):
    """A quiz: how many pictures, how many were answered. ``choices``: species to choose from for the next picture, where species are asked for."""

    id: str
    reviewer: str
    kind: Literal["real", "species"]
    num_items: int
    num_answered: int
    choices: list[Choice]


class Answer(BaseModel):
    """Whether the reviewer takes a picture for a photograph, or the place of the species in ``choices``, from 0; neither: undecided."""

    is_real: bool | None = None
    choice: Annotated[int, Field(ge=0, lt=_CHOICES)] | None = None


class AnsweredItem(BaseModel):
    """A picture that was answered: what it is, what was answered (null: undecided), and photographs of its species."""

    number: int
    is_real: bool
    species: str | None
    common_name: str | None
    said_real: bool | None
    said_species: str | None
    right: bool
    nearest: list[NearPhotograph]


class QuizResult(BaseModel):
    """The score once every picture was answered.

    ``share_right`` with a 95 % interval; ``guessing``: the share that guessing gives. ``convincing``: share of synthetic pictures taken for
    photographs, ``doubted``: share of photographs taken for synthetic; both null in a quiz about species. ``right_real`` and ``right_synthetic``:
    share of right answers among the photographs and the synthetic pictures.
    """

    num_items: int
    num_right: int
    share_right: float
    interval: tuple[float, float]
    guessing: float
    right_real: float
    right_synthetic: float
    convincing: float | None
    doubted: float | None
    mistakes: list[AnsweredItem]


@router.post("", status_code=201)
def begin_quiz(request: Request, studio: CurrentStudio, quiz: NewQuiz) -> Quiz:
    """Draw the pictures of a quiz; which are photographs, and of which species, stays on the server."""
    reviewer = signed_name(request, studio, quiz.reviewer)
    synthetic, real = (studio.catalogue.index(studio.workspace.find("collections", name)) for name in (quiz.synthetic, quiz.real))
    chance = random.SystemRandom()
    drawn = _sample(synthetic, {"origin": "synthetic"}, quiz.num // 2, chance)
    shown = [_partner(real, row["species"], chance) for row in drawn]
    known = [row for row in shown if row is not None]
    if not drawn or not known:
        raise CollectionError(gettext("a quiz needs synthetic images in one collection and photographs in the other. Choose others."))
    rows = [(quiz.synthetic, row, False) for row in drawn] + [(quiz.real, row, True) for row in known]
    items = [[name, row["image_id"], is_real] for name, row, is_real in rows]
    if quiz.kind == "species":
        species = sorted({*real.count("species"), *synthetic.count("species")} - {"none"})
        if len(species) < 2 or any(row["species"] is None for _, row, _ in rows):
            raise CollectionError(
                gettext("a quiz about species needs at least two species, and a species for every image. Choose other collections.")
            )
        items = [[*item, *_choices(row["species"], species, chance)] for item, (_, row, _) in zip(items, rows, strict=True)]
    chance.shuffle(items)
    side = min(_LARGEST, max(max(row["width"] or 64, row["height"] or 64) for row in drawn))  # otherwise sharpness would give the answer away
    name = secrets.token_hex(16)
    with studio.store.writing() as connection:
        connection.execute(insert(quizzes).values(id=name, reviewer=reviewer, items=items, side=side, created=time.time()))
    return show_quiz(studio, name)


@router.get("/{quiz}")
def show_quiz(studio: CurrentStudio, quiz: QuizId) -> Quiz:
    """How far a quiz is."""
    row, given = _quiz(studio, quiz)
    choices = []
    if _about_species(row) and len(given) < len(row.items):
        collection, _, _, names, _ = row.items[len(given)]
        with suppress(UserError):  # the collection was deleted: the picture says so
            common = studio.catalogue.index(studio.workspace.find("collections", collection)).common_names
            choices = [Choice(species=name, common_name=common.get(name)) for name in names]
        choices = choices or [Choice(species=name, common_name=None) for name in names]
    kind: Literal["real", "species"] = "species" if _about_species(row) else "real"
    return Quiz(id=row.id, reviewer=row.reviewer, kind=kind, num_items=len(row.items), num_answered=len(given), choices=choices)


@router.get("/{quiz}/items/{number}/image", response_class=Response, responses={200: {"content": {"image/png": {}}}})
def show_item(studio: CurrentStudio, quiz: QuizId, number: Number) -> Response:
    """A picture: cropped and scaled as generators see photographs, without metadata, so that nothing but the picture itself tells which it is."""
    row, _ = _quiz(studio, quiz)
    collection, image_id, *_ = _item(row, number)
    if collection.startswith(IN_TRASH):
        raise UserError(gettext("the collection of this picture was deleted. Restore it on the page Storage, or begin another quiz."))
    index = studio.catalogue.index(studio.workspace.find("collections", collection))
    image = index.image(image_id)
    return Response(squared(index.file(image), row.side, image["box"]), media_type="image/png")


@router.get("/{quiz}/items/{number}")
def show_answered(studio: CurrentStudio, quiz: QuizId, number: Number) -> AnsweredItem:
    """What a picture is, once it was answered."""
    row, given = _quiz(studio, quiz)
    _item(row, number)
    if number not in given:
        raise UserError(gettext("picture {number} is not answered yet. Answer it first.", number=number))
    return _answered(studio, row, number, given[number])


@router.post("/{quiz}/items/{number}", status_code=201)
def answer_item(studio: CurrentStudio, quiz: QuizId, number: Number, answer: Answer) -> Quiz:
    """Answer a picture, once."""
    row, _ = _quiz(studio, quiz)
    item = _item(row, number)
    if _about_species(row):
        said = answer.choice
        if answer.is_real is not None or (said is not None and said >= len(item[3])):
            raise UserError("this quiz asks for the species. Send choice, the place of one of its choices.")
    else:
        said = answer.is_real
        if answer.choice is not None:
            raise UserError("this quiz asks whether pictures are photographs. Send is_real.")
    try:
        with studio.store.writing() as connection:
            connection.execute(insert(answers).values(quiz=quiz, number=number, real=_UNDECIDED if said is None else int(said)))
    except IntegrityError:
        raise UserError(gettext("picture {number} was answered already. Go on with the next.", number=number)) from None
    return show_quiz(studio, quiz)


@router.get("/{quiz}/result")
def show_result(studio: CurrentStudio, quiz: QuizId) -> QuizResult:
    """The score and the mistakes, once all pictures are answered."""
    row, given = _quiz(studio, quiz)
    total = len(row.items)
    if len(given) < total:
        raise UserError(gettext("{number} pictures are not answered yet. The score comes after the last.", number=total - len(given)))
    right = [given[number] == _right(item) for number, item in enumerate(row.items)]
    real = [bool(item[2]) for item in row.items]
    shares = {of: sum(own for own, is_real in zip(right, real, strict=True) if is_real == of) / real.count(of) for of in (True, False)}
    taken: dict[bool, float | None] = {True: None, False: None}
    if not _about_species(row):  # of those that are none, and of those that are, how many were taken for the other
        taken = {of: sum(given[number] == (not of) for number, is_real in enumerate(real) if is_real == of) / real.count(of) for of in (True, False)}
    return QuizResult(
        num_items=total, num_right=sum(right), share_right=sum(right) / total, interval=wilson_interval(sum(right), total),
        guessing=sum(1 / len(item[3]) for item in row.items) / total if _about_species(row) else 0.5,
        right_real=shares[True], right_synthetic=shares[False], convincing=taken[False], doubted=taken[True],
        mistakes=[_answered(studio, row, number, given[number]) for number in range(total) if not right[number]],
    )  # fmt: skip


def wilson_interval(right: int, total: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927), both ends in 0..1."""
    # scipy's binomtest(...).proportion_ci(method="wilson") gives the same, but importing scipy.stats takes the server a second
    z, share = 1.959964, right / total
    centre, spread = share + z * z / (2 * total), z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    return max(0.0, (centre - spread) / (1 + z * z / total)), min(1.0, (centre + spread) / (1 + z * z / total))


def _quiz(studio: Studio, name: str) -> tuple[Row[Any], dict[int, int]]:
    """A quiz, and what was answered by the number of the picture: 1 a photograph, 0 synthetic, or the place of the species; -1: undecided."""
    with studio.store.reading() as connection:
        row = connection.execute(select(quizzes).where(quizzes.c.id == name)).one_or_none()
        given = connection.execute(select(answers.c.number, answers.c.real).where(answers.c.quiz == name)).all()
    if row is None:
        raise UnknownNameError("quiz", name, ())
    return row, {number: int(said) for number, said in given}


def _about_species(row: Row[Any]) -> bool:
    return len(row.items[0]) > 3


def _item(row: Row[Any], number: int) -> list[Any]:
    if number >= len(row.items):
        raise UnknownNameError("picture", str(number), ())
    item: list[Any] = row.items[number]
    return item


def _right(item: list[Any]) -> int:
    """The right answer to a picture, as it is stored."""
    return int(item[4] if len(item) > 3 else item[2])


def _answered(studio: Studio, row: Row[Any], number: int, said: int) -> AnsweredItem:
    collection, image_id, is_real, *choices = row.items[number]
    names = choices[0] if choices else []
    species, common, nearest = names[choices[1]] if choices else None, None, []
    with suppress(UserError):  # the collection was deleted since
        index = studio.catalogue.index(studio.workspace.find("collections", collection))
        image = index.image(image_id)
        species = species or image["species"]
        common = index.common_names.get(species or "")
        real = next(name for name, _, photograph, *_ in row.items if photograph)
        compare = (real, studio.catalogue.index(studio.workspace.find("collections", real)))
        nearest = [near for near in near_photographs(image, compare) if not (is_real and near.image_id == image_id)]
    undecided = said == _UNDECIDED
    return AnsweredItem(
        number=number, is_real=is_real, species=species, common_name=common, nearest=nearest, right=said == _right(row.items[number]),
        said_real=None if choices or undecided else bool(said), said_species=names[said] if choices and not undecided else None,
    )  # fmt: skip


def _choices(species: str, known: list[str], chance: random.Random) -> tuple[list[str], int]:
    """Species to choose from, those of the same genus before others, and the place of the right one."""
    others = [name for name in known if name != species]
    chance.shuffle(others)
    others.sort(key=lambda name: name.split(" ")[0] != species.split(" ")[0])
    names = [species, *others[: _CHOICES - 1]]
    chance.shuffle(names)
    return names, names.index(species)


def _sample(index: Index, filters: dict[str, str], num: int, chance: random.Random) -> list[dict[str, Any]]:
    positions = index.matching(filters).to_pylist()
    return index.rows(chance.sample(positions, min(num, len(positions))))


def _partner(real: Index, species: str | None, chance: random.Random) -> dict[str, Any] | None:
    """A photograph of the species, or of any where there is none."""
    same = _sample(real, {"origin": "real", "species": species or "none"}, 1, chance)
    found = same or _sample(real, {"origin": "real"}, 1, chance)
    return found[0] if found else None
