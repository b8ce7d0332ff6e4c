"""What all requests for jobs have in common: the types of their fields, their base class, and how a command line is put together."""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field, StringConstraints

from syntype.apps.web.import_options import Text
from syntype.apps.web.titles import Typed, as_slug
from syntype.apps.web.workspace import SLUG, Kind, Workspace
from syntype.errors import UserError
from syntype.recipe import Settings

__all__ = ["Minutes", "Names", "Request", "Seed", "Share", "Slug", "Steps", "UploadId", "options_of", "path_of"]

Slug = Annotated[str, StringConstraints(pattern=SLUG)]
UploadId = Annotated[str, StringConstraints(pattern="^[0-9a-f]{32}$")]
Seed = Annotated[int, Field(ge=0, le=2**31)]
Steps = Annotated[int, Field(ge=1, le=1_000_000)]
Minutes = Annotated[float, Field(gt=0, le=60 * 24 * 14)]
Share = Annotated[float, Field(ge=0, le=1)]
Names = Annotated[tuple[Text, ...], Field(max_length=1000)]


def _nameable(typed: str) -> str:
    """The same name, after checking that a folder can be called after it."""
    try:
        as_slug(typed)
    except UserError as error:
        raise ValueError(str(error)) from None
    return typed


class Request(Settings):
    """Fields and methods of all requests."""

    place: ClassVar[Kind] = "collections"
    resumable: ClassVar[bool] = True
    name: Annotated[Typed, AfterValidator(_nameable)]
    """Name of the result, as people type it."""

    @property
    def slug(self) -> str:
        """Name of its folder."""
        return as_slug(self.name)

    @property
    def stage(self) -> str:
        """What ``run.json`` calls the stage that makes the result."""
        return str(self.kind)  # type: ignore[attr-defined]

    @abstractmethod
    def command(self, workspace: Workspace) -> list[str]:
        """The command and its arguments, without ``--out``.

        Raises:
            UnknownNameError: something that it needs is not in the workspace.
        """

    def reads(self) -> tuple[str, ...]:
        """Collections whose verdicts must be written to their tables before the command starts."""
        return ()

    def consumed_upload(self) -> str | None:
        """The upload to delete once the job has finished."""
        return None


def path_of(workspace: Workspace, kind: Kind, slug: str) -> str:
    """The folder of a thing of the workspace; see ``Workspace.find``."""
    return str(workspace.find(kind, slug))


def options_of(request: Request, *names: str, **spelled: str) -> list[str]:
    """``--name=value`` for every field named that is set; ``spelled`` gives the option's name where it is not the field's."""
    options = []
    for name, option in {**{name: name for name in names}, **spelled}.items():
        value = getattr(request, name)
        options += [f"--{option}={item}" for item in (value if isinstance(value, tuple) else () if value is None else (value,))]
    return options
