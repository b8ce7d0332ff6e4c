"""The quiz: reviewers tell photographs from synthetic images. The score shows how convincing the synthetic images are."""

from __future__ import annotations

import math
import random
import secrets
import time
from typing import Annotated, Any

from fastapi import APIRouter, Path
from fastapi.responses import Response
from pydantic import BaseModel, Field
from sqlalchemy import Row, insert, select
from sqlalchemy.exc import IntegrityError

from syntype.apps.web.api_verdicts import Reviewer
from syntype.apps.web.catalogue import Index
from syntype.apps.web.requests import Slug
from syntype.apps.web.store import answers, quizzes
from syntype.apps.web.studio import PROBLEMS, CurrentStudio, Studio
from syntype.apps.web.thumbnails import squared
from syntype.apps.web.trash import IN_TRASH
from syntype.errors import CollectionError, UnknownNameError, UserError

__all__ = ["router", "wilson_interval"]

router = APIRouter(prefix="/api/quizzes", tags=["quiz"], responses=PROBLEMS)
QuizId = Annotated[str, Path(pattern="^[0-9a-f]{32}$")]
Number = Annotated[int, Path(ge=0, le=1000)]
_LARGEST = 512


class NewQuiz(BaseModel):
    """A quiz of ``num`` pictures, half of them photographs, of the same species where possible."""

    synthetic: Slug
    real: Slug
    reviewer: Reviewer
    num: int = Field(20, ge=2, le=200)


class Quiz(BaseModel):
    """A quiz: how many pictures, how many were answered."""

    id: str
    reviewer: str
    num_items: int
    num_answered: int


class Answer(BaseModel):
    """Whether the reviewer takes a picture for a photograph."""

    is_real: bool


class QuizResult(BaseModel):
    """The score once every picture was answered.

    ``share_right`` with a 95 % interval: one half is what guessing gives. ``convincing``: share of synthetic pictures taken for photographs.
    """

    num_items: int
    num_right: int
    share_right: float
    interval: tuple[float, float]
    convincing: float
    doubted: float
    """Share of photographs taken for synthetic."""


@router.post("", status_code=201)
def begin_quiz(studio: CurrentStudio, quiz: NewQuiz) -> Quiz:
    """Draw the pictures of a quiz; which are photographs stays on the server."""
    synthetic, real = (studio.catalogue.index(studio.workspace.find("collections", name)) for name in (quiz.synthetic, quiz.real))
    chance = random.SystemRandom()
    drawn = _sample(synthetic, {"origin": "synthetic"}, quiz.num // 2, chance)
    shown = [_partner(real, row["species"], chance) for row in drawn]
    known = [row for row in shown if row is not None]
    if not drawn or not known:
        raise CollectionError("a quiz needs synthetic images in one collection and photographs in the other. Choose others.")
    items = [[quiz.synthetic, row["image_id"], False] for row in drawn] + [[quiz.real, row["image_id"], True] for row in known]
    chance.shuffle(items)
    side = min(_LARGEST, max(max(row["width"] or 64, row["height"] or 64) for row in drawn))  # otherwise sharpness would give the answer away
    name = secrets.token_hex(16)
    with studio.store.writing() as connection:
        connection.execute(insert(quizzes).values(id=name, reviewer=quiz.reviewer, items=items, side=side, created=time.time()))
    return Quiz(id=name, reviewer=quiz.reviewer, num_items=len(items), num_answered=0)


@router.get("/{quiz}")
def show_quiz(studio: CurrentStudio, quiz: QuizId) -> Quiz:
    """How far a quiz is."""
    row, given = _quiz(studio, quiz)
    return Quiz(id=row.id, reviewer=row.reviewer, num_items=len(row.items), num_answered=len(given))


@router.get("/{quiz}/items/{number}/image", response_class=Response, responses={200: {"content": {"image/png": {}}}})
def show_item(studio: CurrentStudio, quiz: QuizId, number: Number) -> Response:
    """A picture: cropped and scaled as generators see photographs, without metadata, so that nothing but the picture itself tells which it is."""
    row, _ = _quiz(studio, quiz)
    collection, image_id, _ = _item(row, number)
    if collection.startswith(IN_TRASH):
        raise UserError("the collection of this picture was deleted. Restore it on the page Storage, or begin another quiz.")
    index = studio.catalogue.index(studio.workspace.find("collections", collection))
    image = index.image(image_id)
    return Response(squared(index.file(image), row.side, image["box"]), media_type="image/png")


@router.post("/{quiz}/items/{number}", status_code=201)
def answer_item(studio: CurrentStudio, quiz: QuizId, number: Number, answer: Answer) -> Quiz:
    """Answer a picture, once."""
    row, _ = _quiz(studio, quiz)
    _item(row, number)
    try:
        with studio.store.writing() as connection:
            connection.execute(insert(answers).values(quiz=quiz, number=number, real=int(answer.is_real)))
    except IntegrityError:
        raise UserError(f"picture {number} was answered already. Go on with the next.") from None
    return show_quiz(studio, quiz)


@router.get("/{quiz}/result")
def show_result(studio: CurrentStudio, quiz: QuizId) -> QuizResult:
    """The score, once all pictures are answered."""
    row, given = _quiz(studio, quiz)
    if len(given) < len(row.items):
        raise UserError(f"{len(row.items) - len(given)} pictures are not answered yet. The score comes after the last.")
    truth = [bool(is_real) for *_, is_real in row.items]
    right = sum(given[number] == is_real for number, is_real in enumerate(truth))
    fooled = sum(given[number] for number, is_real in enumerate(truth) if not is_real)
    doubted = sum(not given[number] for number, is_real in enumerate(truth) if is_real)
    return QuizResult(
        num_items=len(truth), num_right=right, share_right=right / len(truth), interval=wilson_interval(right, len(truth)),
        convincing=fooled / truth.count(False), doubted=doubted / truth.count(True),
    )  # fmt: skip


def wilson_interval(right: int, total: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927), both ends in 0..1."""
    # scipy's binomtest(...).proportion_ci(method="wilson") gives the same, but importing scipy.stats takes the server a second
    z, share = 1.959964, right / total
    centre, spread = share + z * z / (2 * total), z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    return max(0.0, (centre - spread) / (1 + z * z / total)), min(1.0, (centre + spread) / (1 + z * z / total))


def _quiz(studio: Studio, name: str) -> tuple[Row[Any], dict[int, bool]]:
    with studio.store.reading() as connection:
        row = connection.execute(select(quizzes).where(quizzes.c.id == name)).one_or_none()
        given = connection.execute(select(answers.c.number, answers.c.real).where(answers.c.quiz == name)).all()
    if row is None:
        raise UnknownNameError("quiz", name, ())
    return row, {number: bool(real) for number, real in given}


def _item(row: Row[Any], number: int) -> tuple[str, str, bool]:
    if number >= len(row.items):
        raise UnknownNameError("picture", str(number), ())
    collection, image_id, is_real = row.items[number]
    return collection, image_id, is_real


def _sample(index: Index, filters: dict[str, str], num: int, chance: random.Random) -> list[dict[str, Any]]:
    positions = index.matching(filters).to_pylist()
    return index.rows(chance.sample(positions, min(num, len(positions))))


def _partner(real: Index, species: str | None, chance: random.Random) -> dict[str, Any] | None:
    """A photograph of the species, or of any where there is none."""
    same = _sample(real, {"origin": "real", "species": species or "none"}, 1, chance)
    found = same or _sample(real, {"origin": "real"}, 1, chance)
    return found[0] if found else None
