"""The request for an identifier: a classifier that people try in the browser."""

from __future__ import annotations

from typing import ClassVar, Literal

from syntype.apps.web.languages import gettext
from syntype.apps.web.request_base import Request, Seed, Slug, options_of, path_of
from syntype.apps.web.words import num_species
from syntype.apps.web.workspace import Kind, Workspace
from syntype.collection import Collection
from syntype.collection.sides import usual_side
from syntype.errors import InputError

__all__ = ["QUICK_SIZE", "THOROUGH_SIZE", "ClassifyRequest"]

QUICK_SIZE = 128
THOROUGH_SIZE = 224
"""Side in pixels to which photographs are scaled, at most."""


class ClassifyRequest(Request):
    """Train an identifier."""

    place: ClassVar[Kind] = "identifiers"
    resumable: ClassVar[bool] = False
    kind: Literal["classify"] = "classify"
    collection: Slug
    synthetic: Slug | None = None
    """Synthetic images to learn from too; refused ones are left out."""
    quick: bool = False
    """Train only the last layer of a pre-trained network, on images of 128 pixels. Without it the last quarter of the network is trained, on images
    as large as the photographs, up to 224 pixels, which takes an hour or more without a GPU."""
    seed: Seed = 0

    def command(self, workspace: Workspace) -> list[str]:
        """``syntype classify train``."""
        folder = path_of(workspace, "collections", self.collection)
        photographs = Collection.open(folder, hashes=False)
        learnt = [name for name, number in photographs.training().counts().items() if number]
        if len(learnt) < 2:
            reason = gettext("collection {name} has training photographs of {species}", name=repr(self.collection), species=num_species(len(learnt)))
            raise InputError(reason, gettext("An identifier tells species apart: choose a collection of two species or more."))
        size = QUICK_SIZE if self.quick else usual_side(photographs, most=THOROUGH_SIZE)
        tuned = [] if self.quick else ["--steps=600", "--set=tune=last", "--set=batch_size=32", f"--set=encoder_size={max(size, QUICK_SIZE)}"]
        made = [] if self.synthetic is None else [f"--synthetic={path_of(workspace, 'collections', self.synthetic)}"]
        return ["classify", "train", folder, f"--set=size={size}", *tuned, *made, *options_of(self, "seed")]

    def reads(self) -> tuple[str, ...]:
        """The photographs and the synthetic images."""
        return (self.collection, *([self.synthetic] if self.synthetic else []))
