"""Routes of collections: lists, images and thumbnails."""

from __future__ import annotations

import json
import os
import threading
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Response
from fastapi.responses import FileResponse
from pydantic import BaseModel, Field, StringConstraints

from syntype.apps.web.catalogue import FILTERS, Index
from syntype.apps.web.finding import further_columns, image_columns, sortable
from syntype.apps.web.generators import matching
from syntype.apps.web.languages import gettext
from syntype.apps.web.refusals import RefusedFile, list_refused_of
from syntype.apps.web.requests import Slug
from syntype.apps.web.studio import PROBLEMS, CurrentStudio, Studio, image_answer, listed
from syntype.apps.web.thumbnails import squared, thumbnail
from syntype.collection import Collection
from syntype.errors import UnknownNameError, UserError
from syntype.files import read_json_object, write_json

__all__ = ["Chosen", "ImageDetail", "ImageRow", "ImagesTogether", "Offset", "image_row", "index_of", "neighbours", "num_same", "router"]

router = APIRouter(prefix="/api", tags=["collections"], responses=PROBLEMS)
ImageId = str
MOST_TOGETHER = 10_000
"""Images that can be judged or named together."""
ImagesTogether = Annotated[list[Annotated[str, StringConstraints(min_length=1, max_length=300)]], Field(min_length=1, max_length=MOST_TOGETHER)]
_searching = threading.Lock()
"""One search for near duplicates at a time, as it decodes photographs."""
Offset = Annotated[int, Query(ge=0, le=10**9)]
Filter = Annotated[str | None, Query(max_length=300)]


def _chosen(
    species: Filter = None,
    split: Filter = None,
    licence: Filter = None,
    origin: Filter = None,
    verdict: Filter = None,
    reason: Filter = None,
    query: Annotated[str | None, Query(max_length=300, description="words that all must stand in some column, upper and lower case alike")] = None,
    sort: Annotated[
        str | None, Query(max_length=300, description="file_name, species, size, nearest_real_distance or a column of `sorts`; `-` before it: down")
    ] = None,
) -> dict[str, str]:
    """What was chosen; an empty value, as a form sends it, is not."""
    asked = zip((*FILTERS, "query", "sort"), (species, split, licence, origin, verdict, reason, query, sort), strict=True)
    return {key: value.strip() for key, value in asked if value and value.strip()}


Chosen = Annotated[dict[str, str], Depends(_chosen)]


class CoverImage(BaseModel):
    """An image by which a collection can be shown."""

    image_id: str
    sha256: str | None


class CollectionSummary(BaseModel):
    """A collection in a list; ``title``: what people call it; ``cover``: some of its images, of different species where there are several."""

    name: str
    title: str
    num_images: int
    num_species: int
    origins: dict[str, int]
    verdicts: dict[str, int]
    cover: list[CoverImage]
    damaged: str | None = None
    """What is wrong with its folder, in a list; then the other values say nothing."""


class CollectionDetail(CollectionSummary):
    """A collection: for every filter its values and how many images have each (``none``: no value), and what made it."""

    facets: dict[str, dict[str, int]]
    sorts: list[str]
    """Further columns by which images can be sorted: numbers and dates."""
    sources: list[Any]
    history: list[Any]
    reference: str | None
    """The collection of photographs that it was curated against."""


class ImageRow(BaseModel):
    """One image of a collection."""

    position: int
    image_id: str
    species: str | None
    split: str | None
    licence: str | None
    origin: str | None
    width: int | None
    height: int | None
    sha256: str | None
    verdict: str | None
    reason: str | None
    duplicate_of: str | None
    nearest_real_id: str | None
    nearest_real_distance: float | None


class ImageVerdict(BaseModel):
    """What one reviewer says of an image now; ``decided``: in seconds since 1970."""

    reviewer: str
    decision: str
    reason: str | None
    decided: float


class ParentImage(BaseModel):
    """A photograph from which an image was made; ``collection``: where it is, null if it is not in the workspace any more."""

    image_id: str
    collection: str | None
    sha256: str | None


class ImageDetail(ImageRow):
    """All that is known of an image. ``further``: columns that are not Syntype's own, as text."""

    file_name: str
    original_name: str | None = None
    group: str | None = None
    generator_id: str | None = None
    seed: int | None = None
    label_weights: str | None = None
    rights_holder: str | None = None
    source_url: str | None = None
    terms: str | None = None
    note: str | None = None
    parents: list[ParentImage]
    verdicts: list[ImageVerdict]
    further: dict[str, str]


class ImageIds(BaseModel):
    """Ids of images."""

    image_ids: list[str]


class ImagePage(BaseModel):
    """A page of the images that fit the filters, in the order of the collection."""

    total: int
    offset: int
    images: list[ImageRow]


class Duplicate(BaseModel):
    """An image, and the first of the collection that shows the same, or nearly the same.

    ``distance``: number of bits, of 64, in which their perceptual hashes differ; null where the two files are the same, byte for byte.
    """

    image: ImageRow
    first: ImageRow
    distance: int | None = None


class DuplicatePage(BaseModel):
    """A page of duplicates: ``num_same`` of the same file, in the order of the collection, then those that look nearly the same, nearest first."""

    total: int
    num_same: int
    offset: int
    pairs: list[Duplicate]


class SpeciesCount(BaseModel):
    """A species and its number of images."""

    species: str
    num_images: int


def image_row(row: dict[str, Any]) -> ImageRow:
    """A row of an index as an answer."""
    return ImageRow.model_validate(row, extra="ignore")


def index_of(studio: Studio, name: str) -> Index:
    """The index of a collection as it is on the disk now."""
    return studio.catalogue.index(studio.workspace.find("collections", name))


def _summary(studio: Studio, name: str) -> dict[str, Any]:
    summary = studio.catalogue.summary(studio.workspace.find("collections", name))
    cover = [{"image_id": image_id, "sha256": sha256} for image_id, sha256 in summary.cover]
    return {"name": name, "title": studio.storage.titles.of("collections", name), **vars(summary), "cover": cover}


@router.get("/collections")
def list_collections(studio: CurrentStudio) -> list[CollectionSummary]:
    """All collections of the workspace; damaged ones say what is wrong."""
    blank: dict[str, Any] = {"num_images": 0, "num_species": 0, "origins": {}, "verdicts": {}, "cover": []}

    def show(studio: Studio, name: str) -> CollectionSummary:
        return CollectionSummary(**_summary(studio, name))

    return listed(studio, "collections", show, lambda name, why: CollectionSummary(name=name, title=name, **blank, damaged=why))


@router.get("/collections/{name}")
def show_collection(studio: CurrentStudio, name: Slug) -> CollectionDetail:
    """One collection."""
    index = index_of(studio, name)
    info = read_json_object(index.root / "collection.json")
    history = json.loads(studio.workspace.hide(json.dumps(info.get("history", []))))
    sources = [studio.workspace.hide(str(source)) for source in info.get("sources", [])]
    return CollectionDetail(
        **_summary(studio, name), facets=index.facets, sorts=sortable(index.root), sources=sources, history=history,
        reference=studio.workspace.reference(name),
    )  # fmt: skip


@router.get("/collections/{name}/images")
def list_images(studio: CurrentStudio, name: Slug, chosen: Chosen, offset: Offset = 0, limit: Annotated[int, Query(ge=1, le=500)] = 100) -> ImagePage:
    """A page of images; the value ``none`` of a filter asks for images without one."""
    index = index_of(studio, name)
    positions = index.matching(chosen)
    return ImagePage(total=len(positions), offset=offset, images=[image_row(row) for row in index.rows(positions[offset : offset + limit])])


@router.get("/collections/{name}/to-judge")
def list_to_judge(studio: CurrentStudio, name: Slug, chosen: Chosen) -> ImageIds:
    """Ids of all synthetic images that match, in their order, to be judged together; at most 10,000."""
    index = index_of(studio, name)
    positions = index.matching({**chosen, "origin": "synthetic"})
    if len(positions) > MOST_TOGETHER:
        raise UserError(
            gettext(
                "{number} synthetic images match; {most} can be judged together. Choose a species, or search.",
                number=len(positions),
                most=MOST_TOGETHER,
            )
        )
    return ImageIds(image_ids=index.table["image_id"].take(positions).to_pylist())


@router.get("/collections/{name}/images/{image_id:path}/thumbnail", response_class=FileResponse)
def show_thumbnail(
    studio: CurrentStudio,
    name: Slug,
    image_id: ImageId,
    side: Literal["160", "320", "1024"] = "160",
    version: Annotated[str | None, Query(max_length=64)] = None,
) -> FileResponse:
    """A WebP of at most ``side`` pixels, made once. With the image's sha256 as ``version`` browsers keep it and need not ask again."""
    index = index_of(studio, name)
    image = index.image(image_id)
    path = thumbnail(studio.workspace.root / ".cache", index.file(image), image["sha256"], int(side))
    return image_answer(path, for_ever=version is not None and version == image["sha256"])


@router.get("/collections/{name}/images/{image_id:path}/file", response_class=FileResponse)
def show_file(studio: CurrentStudio, name: Slug, image_id: ImageId) -> FileResponse:
    """The image file as it is."""
    index = index_of(studio, name)
    return image_answer(index.file(index.image(image_id)))


@router.get("/collections/{name}/images/{image_id:path}/square", response_class=Response, responses={200: {"content": {"image/png": {}}}})
def show_square(studio: CurrentStudio, name: Slug, image_id: ImageId) -> Response:
    """The square of the image that generators see, 512 pixels wide."""
    index = index_of(studio, name)
    image = index.image(image_id)
    return Response(squared(index.file(image), 512, image["box"]), media_type="image/png")


# Behind the routes of its file and pictures, because an id may hold slashes.
@router.get("/collections/{name}/images/{image_id:path}")
def show_image(studio: CurrentStudio, name: Slug, image_id: ImageId) -> ImageDetail:
    """One image, with all that is known of it."""
    index = index_of(studio, name)
    image = index.image(image_id)
    known = image_columns(index.root, image["position"], index.num_images)
    verdicts = [
        ImageVerdict(reviewer=row.name, decision=row.decision, reason=row.reason, decided=row.decided)
        for row in studio.reviews.standing(name, [image_id])
    ]
    own = {column: known[column] for column in ImageDetail.model_fields if column in known and column not in image and column != "parents"}
    further = {column: str(known[column]) for column in further_columns(index.root) if column in known}
    return ImageDetail(**image_row(image).model_dump(), file_name=image["file_name"], **own, parents=_parents(studio, name, known.get("parents")),
                       verdicts=verdicts, further=further)  # fmt: skip


def _parents(studio: Studio, name: str, told: str | None) -> list[ParentImage]:
    """The photographs that a table names as parents of an image, with where they are."""
    ids = [str(one) for one in json.loads(told or "[]")]
    of = studio.workspace.photographs_of("collections", name) if ids else None
    index = None if of is None else index_of(studio, of)
    places = [None if index is None else index.position(one) for one in ids]
    hashes = [None if index is None or place is None else index.table["sha256"][place].as_py() for place in places]
    return [
        ParentImage(image_id=one, collection=None if place is None else of, sha256=sha256)
        for one, place, sha256 in zip(ids, places, hashes, strict=True)
    ]


def neighbours(studio: Studio, name: str, image_id: str, chosen: dict[str, str]) -> tuple[int | None, int, str | None, str | None]:
    """An image among those that match: its place from 0 (None if it does not match), how many they are, and the ids before and after it."""
    index = index_of(studio, name)
    positions, own = index.matching(chosen), index.position(image_id)
    place = None if own is None else positions.index(own).as_py()
    if place is None or place < 0:
        return None, len(positions), None, None
    ids = [index.table["image_id"][positions[at].as_py()].as_py() if 0 <= at < len(positions) else None for at in (place - 1, place + 1)]
    return place, len(positions), ids[0], ids[1]


@router.get("/collections/{name}/long-tail", response_class=FileResponse)
def show_long_tail(studio: CurrentStudio, name: Slug) -> FileResponse:
    """A picture of the number of training images of every species."""
    from syntype.collection.inspection import plot_long_tail

    index = index_of(studio, name)
    path = studio.workspace.root / ".cache" / "long-tails" / f"{name}-{index.stamp[0]}.png"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=path.parent) as folder:  # two requests may draw it at the same time
            os.replace(plot_long_tail(Collection.open(index.root), Path(folder) / path.name), path)
    return image_answer(path)


@router.get("/collections/{name}/duplicates")
def list_duplicates(studio: CurrentStudio, name: Slug, offset: Offset = 0, limit: Annotated[int, Query(ge=1, le=200)] = 50) -> DuplicatePage:
    """Images of the same file as an earlier one of the collection, and images that look nearly the same. The latter are searched for once."""
    index = index_of(studio, name)
    positions, near = index.having("duplicate_of"), _near(studio, index, name)
    pairs = []
    for row in index.rows(positions[offset : offset + limit]):
        with suppress(UnknownNameError):  # a table made by another program may name an image that it does not have
            pairs.append(Duplicate(image=image_row(row), first=image_row(index.image(row["duplicate_of"]))))
    start, same = max(0, offset - len(positions)), len(positions)
    for first, second, bits in near[start : max(0, offset + limit - same)]:
        pairs.append(Duplicate(image=image_row(index.image(second)), first=image_row(index.image(first)), distance=bits))
    return DuplicatePage(total=same + len(near), num_same=same, offset=offset, pairs=pairs)


def _near(studio: Studio, index: Index, name: str) -> list[tuple[str, str, int]]:
    """Pairs of near duplicates (first, second, bits), nearest first. They are kept until the collection changes."""
    from syntype.collection.inspection import near_pairs

    path = studio.workspace.root / ".cache" / "near" / f"{name}-{index.stamp[0]}.json"
    with _searching:
        if not path.is_file():
            found = near_pairs(Collection.open(index.root), None)
            pairs = sorted(zip(found["bits"].tolist(), found["first"].tolist(), found["second"].tolist(), strict=True), key=lambda pair: pair[0])
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, {"pairs": [[first, second, bits] for bits, first, second in pairs]})
        known = read_json_object(path).get("pairs", [])
    return [(first, second, bits) for first, second, bits in known]


def num_same(studio: Studio, name: str) -> int:
    """How many images have the same file as an earlier one."""
    return len(index_of(studio, name).having("duplicate_of"))


@router.get("/collections/{name}/species")
def search_collection_species(
    studio: CurrentStudio, name: Slug, query: Annotated[str, Query(max_length=300)] = "", limit: Annotated[int, Query(ge=1, le=10_000)] = 50
) -> list[SpeciesCount]:
    """Species whose names hold every word of the query, commonest first."""
    counts = index_of(studio, name).facets["species"]
    found = matching([species for species in counts if species != "none"], query)
    return [SpeciesCount(species=species, num_images=counts[species]) for species in found[:limit]]


@router.get("/collections/{name}/refused")
def list_refused(studio: CurrentStudio, name: Slug, limit: Annotated[int, Query(ge=1, le=10_000)] = 1000) -> list[RefusedFile]:
    """Files that the import refused, with the reasons."""
    return list_refused_of(studio.workspace.find("collections", name), limit)
