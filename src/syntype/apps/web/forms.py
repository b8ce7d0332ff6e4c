"""The pages with the form for a new job, one for each kind; the fields are those of the request in ``requests.py``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from syntype.apps.web.api_collections import CollectionSummary, list_collections
from syntype.apps.web.api_jobs import list_generator_families, list_generators
from syntype.apps.web.api_training import FIRST, MINUTES, show_training
from syntype.apps.web.pages import render
from syntype.apps.web.store import ACTIVE
from syntype.apps.web.studio import CurrentStudio, Studio
from syntype.apps.web.workspace import Kind
from syntype.collection.exports import LAYOUTS

__all__ = ["router"]

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)
JobKind = Literal["train", "adapt", "generate", "blend", "vary", "inpaint", "curate", "classify", "study", "export"]
_RESULTS: dict[str, tuple[Kind, str]] = {
    "train": ("generators", "generator"),
    "adapt": ("generators", "adapted"),
    "generate": ("collections", "synthetic"),
    "blend": ("collections", "hybrids"),
    "vary": ("collections", "variations"),
    "inpaint": ("collections", "inpainted"),
    "curate": ("collections", "curated"),
    "classify": ("identifiers", "identifier"),
    "study": ("studies", "study"),
    "export": ("exports", "export"),
}
"""Where a job's result goes, and its default name."""
_NEEDS_ABILITY = ("adapt", "blend", "vary", "inpaint")
_NEEDS_GENERATOR = ("generate", *_NEEDS_ABILITY)
_NEEDS_NO_COLLECTION = ("adapt", "generate", "blend")
"""Kinds that can be started where there is no collection."""


@router.get("/new/{kind}")
def show_form(request: Request, studio: CurrentStudio, kind: JobKind) -> Response:
    """The form for one kind of job; the query of the address sets default values."""
    known = sorted((item for item in list_generators(studio) if item.damaged is None), key=lambda item: item.unfinished is not None)
    collections = [item for item in list_collections(studio) if item.damaged is None]
    generators = [item for item in known if kind not in _NEEDS_ABILITY or kind in item.abilities]
    lacks = None
    if kind in _NEEDS_GENERATOR and not generators:
        lacks = "ability" if known else "generator"
    elif kind not in _NEEDS_NO_COLLECTION and not collections:
        lacks = "collection"
    photographs = [item for item in collections if item.origins.get("real")]
    if kind == "train" and not photographs:
        lacks = "collection"
    synthetic = [item for item in collections if item.origins.get("synthetic")]
    of = {
        "generators": {item.name: studio.workspace.photographs_of("generators", item.name) for item in generators},
        "collections": {item.name: studio.workspace.photographs_of("collections", item.name) for item in synthetic},
    }
    finished = {item.name: of["generators"][item.name] for item in generators if item.unfinished is None}  # only such ones are chosen unasked
    return render(
        request, f"new-{kind}", kind=kind, given=request.query_params, of=of,
        chosen=_chosen(kind, request.query_params, {**of, "generators": finished}),
        name=_free_name(studio, *_RESULTS[kind]), generators=generators, lacks=lacks,
        photographs=photographs, training=_training(studio, kind, request.query_params, photographs),
        synthetic=synthetic, collections=collections,
        layouts=[(layout.name, layout.title) for layout in LAYOUTS.values()],
    )  # fmt: skip


def _chosen(kind: JobKind, given: Mapping[str, str], of: Mapping[str, Mapping[str, str | None]]) -> dict[str, str | None]:
    """What the fields for photographs, and for what was made of them, begin with: what the address says, and for the other field what belongs to it.

    Args:
        of: for each generator and each collection of synthetic images the photographs from which it was made.
    """
    photographs, made, known = (
        ("collection", "generator", of["generators"]) if kind in ("vary", "inpaint") else
        ("real" if kind == "curate" else "collection", "synthetic", of["collections"])
    )  # fmt: skip
    asked = given.get(photographs)
    first = next((name for name in known if asked and known[name] == asked), next(iter(known), None))
    chosen = given.get(made) or first
    return {made: chosen, photographs: asked or (known.get(chosen) if chosen else None)}


def _training(studio: Studio, kind: JobKind, given: Mapping[str, str], photographs: Sequence[CollectionSummary]) -> dict[str, Any] | None:
    """The families to choose from, and what is expected of each for the collection with which the form begins."""
    if kind != "train" or not photographs:
        return None
    names = [item.name for item in photographs]
    collection = given["collection"] if given.get("collection") in names else names[0]
    plan, known = show_training(studio, collection), {item.family: item for item in list_generator_families()}
    plans = {item.family: item for item in plan.families}
    chosen = given.get("family") if given.get("family") in known else next(iter(FIRST))
    if chosen is not None and plans[chosen].lacks:
        chosen = next(iter(FIRST))
    others = [item for name, item in known.items() if name not in FIRST]
    return {
        "plan": plan,
        "plans": plans,
        "first": FIRST,
        "known": known,
        "others": others,
        "chosen": chosen,
        "collection": collection,
        "minutes": MINUTES,
    }


def _free_name(studio: Studio, place: Kind, stem: str) -> str:
    """``stem-1``, or the next number that no folder and no job in the queue uses."""
    coming = {row.slug for row in studio.queue.list(200) if row.status in ACTIVE and row.place == place}
    names = (f"{stem}-{number}" for number in count(1))
    return next(name for name in names if name not in coming and not studio.workspace.place(place, name).exists())
