"""Names that somebody sends: of a file, and of a species."""

from __future__ import annotations

import unicodedata

from syntype.apps.web.languages import gettext
from syntype.collection.archives import is_device_name, is_file_name, is_folder_name
from syntype.collection.sources.base import parse_split, species_name
from syntype.errors import InputError

__all__ = ["checked_name", "checked_species"]


def checked_name(name: str) -> str:
    """The name of a file that was sent on its own, in Unicode NFC.

    Raises:
        InputError: it is not a plain file name.
    """
    name = unicodedata.normalize("NFC", name)
    if not is_file_name(name) or any(letter in '\\:*?"<>|' for letter in name) or name.endswith((" ", ".")) or is_device_name(name):
        raise InputError(gettext("{name} is no file name", name=repr(name[:100])), gettext("Use a plain name such as fish-1.jpg."))
    return name


def checked_species(name: str) -> str:
    """A species name that can also be a folder name: open nomenclature ("sp.", "cf."), quotation marks and authors are fine.

    Raises:
        InputError: it cannot.
    """
    try:
        found = species_name(name)
    except (TypeError, ValueError):
        found = ""
    lone = " " not in found and found.endswith(".")  # "Aus sp." is a name, "Aus." is none
    if not is_folder_name(found) or lone or parse_split(found) is not None:
        raise InputError(gettext("{name} cannot name a species", name=repr(name[:100])), gettext("Write it as in 'Amphiprion ocellaris'."))
    return found
