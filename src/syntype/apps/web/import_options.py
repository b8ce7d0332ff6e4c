"""How an upload is read and corrected: the options of an import and of its preview."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from syntype.recipe import Settings

__all__ = ["ImportOptions", "Text"]

Text = Annotated[str, StringConstraints(min_length=1, max_length=300, pattern=r"^[^\x00-\x1f\x7f]+$")]
"""A name as people write it: no control characters, so that it can stand on a command line."""
_NewName = Annotated[str, StringConstraints(min_length=3, max_length=601, pattern=r"^[^\x00-\x1f\x7f]+=[^\x00-\x1f\x7f]+$")]
_MOST = 1000


class ImportOptions(Settings):
    """How an upload is read. What is not given is found from its content."""

    format: Text | None = None
    """Name of the format."""
    species: Text | None = None
    """Species of all images, whatever their folders or tables say."""
    file_column: Text | None = None
    species_column: Text | None = None
    group_column: Text | None = None
    split_column: Text | None = None
    licence_column: Text | None = None
    box_column: Text | None = None
    box_format: Literal["corners", "size"] | None = None
    origin: Literal["real", "synthetic"] | None = None
    default_licence: Text | None = None
    """Licence of the photographs of which the source gives none."""
    default_rights_holder: Text | None = None
    """Photographer or institution of the photographs of which the source names none."""
    rename: Annotated[list[_NewName], Field(max_length=_MOST)] = []
    """New names of species, each as ``OLD=NEW``; species that get the same name become one."""
    leave_out: Annotated[list[Text], Field(max_length=_MOST)] = []
    """Species that are not imported."""

    def options(self) -> list[str]:
        """The same as options of ``syntype collect``."""
        found: list[str] = []
        for name in ImportOptions.model_fields:
            given = getattr(self, name)
            several = given if isinstance(given, list) else [] if given is None else [given]
            found += [f"--{name.replace('_', '-')}={value}" for value in several]
        return found
