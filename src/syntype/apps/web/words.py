"""Words of the data as pages show them: what is stored stays English, and is the same in every language."""

from __future__ import annotations

from typing import Any

from syntype.apps.web.languages import N_, gettext, ngettext

__all__ = ["REASONS", "num_images", "num_photographs", "num_species", "setting_in_words", "value_in_words"]

REASONS = (
    N_("wrong shape"), N_("wrong colours"), N_("another species"), N_("parts missing or doubled"), N_("blurred or broken"), N_("unnatural place"),
    N_("a copy"),
)  # fmt: skip
"""For which an expert rejects an image, in the order of the keys 1 to 7."""
_VALUES = {
    *REASONS, N_("real"), N_("synthetic"), N_("none"), N_("accepted"), N_("refused"), N_("accept"), N_("reject"), N_("unsure"), N_("copy"),
    N_("species"), N_("distribution"), N_("waiting"), N_("running"), N_("finished"), N_("failed"), N_("cancelled"), N_("add"), N_("do not add"),
    N_("not enough evidence"),
}  # fmt: skip
_SETTINGS = {
    N_("Amount"), N_("Box"), N_("Collection"), N_("Everything"), N_("Family"), N_("Fill to"), N_("Format"), N_("Generator"), N_("Layout"),
    N_("Leave out"), N_("Mask"), N_("Method"), N_("Minutes"), N_("Num"), N_("Of"), N_("Photographs"), N_("Quick"), N_("Real"), N_("Rename"),
    N_("Seed"), N_("Seeds"), N_("Shots"), N_("Size"), N_("Species"), N_("Steps"), N_("Strengths"), N_("Synthetic"), N_("Test fraction"),
    N_("Val fraction"),
}  # fmt: skip


def num_images(number: int) -> str:
    """So many images."""
    return ngettext("{n} image", "{n} images", number)


def num_photographs(number: int) -> str:
    """So many photographs."""
    return ngettext("{n} photograph", "{n} photographs", number)


def num_species(number: int) -> str:
    """So many species."""
    return ngettext("{n} species", "{n} species", number)


def value_in_words(value: Any) -> Any:
    """A value of a verdict, an origin, a status or a reason in the language of the page; what people wrote themselves stays as it is."""
    return gettext(value) if value in _VALUES else value


def setting_in_words(name: str) -> str:
    """The name of a setting of a job."""
    words = name.replace("_", " ").capitalize()
    return gettext(words) if words in _SETTINGS else words
