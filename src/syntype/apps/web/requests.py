"""Requests for jobs: one pydantic model per command, which checks the request and builds the command line."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, TypeAdapter, ValidationError, model_validator

from syntype.apps.web.classify_request import ClassifyRequest
from syntype.apps.web.generators import generator_species
from syntype.apps.web.import_options import ImportOptions, Text
from syntype.apps.web.languages import gettext
from syntype.apps.web.request_base import Minutes, Names, Seed, Share, Slug, Steps, UploadId
from syntype.apps.web.request_base import Request as _Request
from syntype.apps.web.request_base import options_of as _options
from syntype.apps.web.request_base import path_of as _path
from syntype.apps.web.required import require_photographs
from syntype.apps.web.upload_boxes import box_options
from syntype.apps.web.workspace import Kind, Workspace
from syntype.collection.exports import LayoutName
from syntype.errors import InputError, UserError, require_known

__all__ = ["MOST_TESTED", "MOST_TUNED", "JobRequest", "Minutes", "Slug", "Steps", "UploadId", "parse_request"]

MOST_TESTED, MOST_TUNED = 0.5, 0.4
"""Largest shares of the photographs that an import keeps for tests, and to tune (``CollectConfig``)."""


class ImportRequest(_Request, ImportOptions):
    """Make a collection of uploaded photographs."""

    resumable: ClassVar[bool] = False
    kind: Literal["import"] = "import"
    upload: UploadId
    into: Slug | None = None
    """The collection to which the photographs are to be added afterwards: the page of the job offers it."""

    @property
    def stage(self) -> str:
        """The command's name."""
        return "collect"

    def command(self, workspace: Workspace) -> list[str]:
        """``syntype collect``."""
        if self.into is not None:
            workspace.find("collections", self.into)
        folder = _upload(workspace, self.upload)
        return ["collect", str(folder), f"--set=name={self.slug}", *self.options(), *box_options(folder, self)]

    def consumed_upload(self) -> str | None:
        """The photographs: the collection has copies."""
        return self.upload


class ReefRequest(_Request):
    """Draw a small collection of invented fishes, to try the Studio with."""

    resumable: ClassVar[bool] = False
    kind: Literal["reef"] = "reef"

    def command(self, workspace: Workspace) -> list[str]:
        """``syntype reef``: a few seconds."""
        return ["reef", "--species=6", "--size=128", "--set=max_images=40", "--set=num_test=6"]


class ResplitRequest(_Request):
    """Make a copy of a collection whose photographs are split anew. The collection itself, and what was made from it, stay as they are."""

    resumable: ClassVar[bool] = False
    kind: Literal["resplit"] = "resplit"
    collection: Slug
    test_fraction: float = Field(0.25, ge=0, le=MOST_TESTED)
    val_fraction: float = Field(0.15, ge=0, le=MOST_TUNED)

    @property
    def stage(self) -> str:
        """The command's name."""
        return "collect"

    def command(self, workspace: Workspace) -> list[str]:
        """``syntype collect`` of the collection."""
        shares = [f"--set={name}={getattr(self, name)}" for name in ("test_fraction", "val_fraction")]
        return ["collect", _path(workspace, "collections", self.collection), f"--set=name={self.slug}", "--set=redraw_splits=true", *shares]

    def reads(self) -> tuple[str, ...]:
        """The photographs."""
        return (self.collection,)


class TrainRequest(_Request):
    """Train a generator."""

    place: ClassVar[Kind] = "generators"
    kind: Literal["train"] = "train"
    family: Text
    collection: Slug
    size: int | None = Field(None, ge=16, le=1024)
    """If left out, the family's own."""
    minutes: Minutes | None = None
    steps: Steps | None = None
    seed: Seed = 0

    def command(self, workspace: Workspace) -> list[str]:
        """``syntype train``."""
        return [
            "train",
            _known_family(self.family),
            _path(workspace, "collections", self.collection),
            *_options(self, "size", "minutes", "steps", "seed"),
        ]

    def reads(self) -> tuple[str, ...]:
        """The photographs."""
        return (self.collection,)


class AdaptRequest(_Request):
    """Adapt a generator to one more species."""

    place: ClassVar[Kind] = "generators"
    kind: Literal["adapt"] = "adapt"
    generator: Slug
    collection: Slug
    species: Text
    method: Literal["modulate", "finetune", "freeze-d", "ewc", "encode"] | None = None
    """If left out, the one that suits the family."""
    shots: int = Field(6, ge=1, le=10_000)
    steps: Steps = 300
    seed: Seed = 0

    def command(self, workspace: Workspace) -> list[str]:
        """``syntype adapt``."""
        require_photographs(workspace, self.collection, self.species)
        if self.species in generator_species(workspace.find("generators", self.generator)):
            reason = gettext("generator {name} knows {species} already", name=repr(self.generator), species=self.species)
            raise InputError(reason, gettext("Generate images of it directly, or choose a species that it does not know."))
        return ["adapt", *_paths(self, workspace), *_options(self, "species", "method", "shots", "steps", "seed")]


class GenerateRequest(_Request):
    """Generate synthetic images."""

    kind: Literal["generate"] = "generate"
    generator: Slug
    species: Names = ()
    """Empty: all species of the generator."""
    num: int = Field(ge=1, le=100_000)
    """Of each species."""
    seed: Seed = 0

    def command(self, workspace: Workspace) -> list[str]:
        """``syntype generate``."""
        return ["generate", _generator_path(workspace, self.generator, self.species), *_options(self, "species", "num", "seed")]


class BlendRequest(_Request):
    """Generate hybrids."""

    kind: Literal["blend"] = "blend"
    generator: Slug
    species: Annotated[Names, Field(min_length=1)]
    layout: Literal["strip", "board"] = "strip"
    of: Literal["latent", "species", "both"] = "both"
    steps: int = Field(9, ge=2, le=1000)
    amount: float = Field(0.5, ge=0, le=1)
    num: int = Field(1, ge=1, le=1000)
    seed: Seed = 0

    def command(self, workspace: Workspace) -> list[str]:
        """``syntype blend``."""
        options = _options(self, "species", "layout", "of", "steps", "amount", "num", "seed")
        return ["blend", _generator_path(workspace, self.generator, self.species), *options]


class _FromPhotographs(_Request):
    """What jobs that start from photographs have."""

    generator: Slug
    collection: Slug
    species: Names = ()
    photographs: Names = ()
    """image_id of single photographs; empty: all training photographs of the species."""
    num: int = Field(1, ge=1, le=10_000)
    seed: Seed = 0

    def command(self, workspace: Workspace) -> list[str]:
        """What ``syntype vary`` and ``syntype inpaint`` share: their arguments."""
        return [*_paths(self, workspace), *_options(self, "species", "num", "seed", photographs="photograph")]


class VaryRequest(_FromPhotographs):
    """Generate variations of photographs."""

    kind: Literal["vary"] = "vary"
    strengths: Annotated[tuple[Share, ...], Field(min_length=1, max_length=20)] = (0.5,)

    def command(self, workspace: Workspace) -> list[str]:
        """``syntype vary``."""
        return ["vary", *super().command(workspace), *_options(self, strengths="strength")]


class InpaintRequest(_FromPhotographs):
    """Inpaint a part of training photographs."""

    kind: Literal["inpaint"] = "inpaint"
    box: tuple[Share, Share, Share, Share] | None = None
    """Left, top, right, bottom of the part to fill in, as fractions of the side."""
    mask: UploadId | None = None
    """Instead: an upload of one image, white in the part to fill in, black elsewhere."""

    @model_validator(mode="after")
    def _has_an_inside(self) -> InpaintRequest:
        if (self.box is None) == (self.mask is None):
            raise ValueError("give one of 'box' and 'mask'")
        if self.box is not None and (self.box[0] >= self.box[2] or self.box[1] >= self.box[3]):
            raise ValueError("the box must be left, top, right, bottom, with left below right and top below bottom")
        return self

    def command(self, workspace: Workspace) -> list[str]:
        """``syntype inpaint``."""
        if self.box is not None:
            return ["inpaint", *super().command(workspace), "--box", *map(str, self.box)]
        masks = sorted(_upload(workspace, str(self.mask)).glob("[!.]*/*"))
        if len(masks) != 1:
            raise UserError(gettext("the mask's upload holds {number} images. Send one image to it.", number=len(masks)))
        return ["inpaint", *super().command(workspace), f"--mask={masks[0]}"]

    def consumed_upload(self) -> str | None:
        """The mask."""
        return self.mask


class CurateRequest(_Request):
    """Refuse copies and images of the wrong species."""

    resumable: ClassVar[bool] = False
    kind: Literal["curate"] = "curate"
    synthetic: Slug
    real: Slug
    seed: Seed = 0

    def command(self, workspace: Workspace) -> list[str]:
        """``syntype curate``."""
        real = _path(workspace, "collections", self.real)
        return ["curate", _path(workspace, "collections", self.synthetic), f"--real={real}", *_options(self, "seed")]

    def reads(self) -> tuple[str, ...]:
        """The synthetic images."""
        return (self.synthetic,)


class StudyRequest(_Request):
    """Measure whether synthetic images help."""

    place: ClassVar[Kind] = "studies"
    kind: Literal["study"] = "study"
    collection: Slug
    generator: Slug | None = None
    family: Text | None = None
    """A family to train inside the study, instead of a trained generator."""
    synthetic: Slug | None = None
    """An existing synthetic collection instead; expert verdicts on it are used."""
    minutes: Minutes | None = None
    seeds: int = Field(5, ge=1, le=100)
    fill_to: int = Field(60, ge=1, le=100_000)
    quick: bool = False
    """Train only the last layer of the classifier. Without it its last quarter is trained, which takes hours without a GPU."""
    seed: Seed = 0

    @model_validator(mode="after")
    def _one_source(self) -> StudyRequest:
        if sum(value is not None for value in (self.generator, self.family, self.synthetic)) != 1:
            raise ValueError("give one of 'generator', 'family' and 'synthetic'")
        return self

    def command(self, workspace: Workspace) -> list[str]:
        """``syntype study``."""
        arguments = [
            "study",
            _path(workspace, "collections", self.collection),
            f"--set=fill_to={self.fill_to}",
            *(["--quick"] if self.quick else []),
            *_options(self, "seeds", "seed", "minutes"),
        ]
        if self.synthetic is not None:
            return [*arguments, f"--synthetic={_path(workspace, 'collections', self.synthetic)}"]
        if self.generator is not None:
            return [*arguments, f"--generator={_path(workspace, 'generators', self.generator)}"]
        return [*arguments, f"--generator={_known_family(str(self.family))}"]

    def reads(self) -> tuple[str, ...]:
        """The photographs and the synthetic images."""
        return (self.collection, *([self.synthetic] if self.synthetic else []))


class ExportRequest(_Request):
    """Export a collection as one file."""

    place: ClassVar[Kind] = "exports"
    resumable: ClassVar[bool] = False
    kind: Literal["export"] = "export"
    collection: Slug
    layout: LayoutName = "species"
    everything: bool = False
    """Include refused images."""

    def command(self, workspace: Workspace) -> list[str]:
        """``syntype export``."""
        arguments = ["export", _path(workspace, "collections", self.collection), *_options(self, "layout")]
        return [*arguments, "--all"] if self.everything else arguments

    def reads(self) -> tuple[str, ...]:
        """The collection."""
        return (self.collection,)


JobRequest = Annotated[
    ImportRequest
    | ReefRequest
    | ResplitRequest
    | TrainRequest
    | AdaptRequest
    | GenerateRequest
    | BlendRequest
    | VaryRequest
    | InpaintRequest
    | CurateRequest
    | ClassifyRequest
    | StudyRequest
    | ExportRequest,
    Field(discriminator="kind"),
]  # fmt: skip
_adapter: TypeAdapter[JobRequest] = TypeAdapter(JobRequest)


def parse_request(value: dict[str, Any]) -> JobRequest:
    """A request from its JSON in the database.

    Raises:
        UserError: another version of Syntype wrote it, and this one does not know it.
    """
    try:
        return _adapter.validate_python(value)
    except ValidationError:
        raise UserError(gettext("this Syntype does not understand the job's request. Create a new job.")) from None


def _paths(request: AdaptRequest | _FromPhotographs, workspace: Workspace) -> tuple[str, str]:
    """The generator's folder and the collection's."""
    return _path(workspace, "generators", request.generator), _path(workspace, "collections", request.collection)


def _upload(workspace: Workspace, name: str) -> Path:
    folder = workspace.root / "uploads" / name
    if not folder.is_dir():
        raise UserError(gettext("unknown upload {name}. Send the photographs again.", name=repr(name)))
    return folder


def _known_family(name: str) -> str:
    from syntype.generators.registry import list_families

    require_known("generator family", [name], list_families())
    return name


def _generator_path(workspace: Workspace, generator: str, species: Iterable[str]) -> str:
    """The generator's folder, after checking that it has the species."""
    folder = workspace.find("generators", generator)
    require_known("species", species, generator_species(folder))
    return str(folder)
