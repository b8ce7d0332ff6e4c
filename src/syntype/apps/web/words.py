"""Words of the data as pages show them: what is stored stays English, and is the same in every language."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from syntype.apps.web.languages import N_, gettext, ngettext
from syntype.apps.web.translated import translated
from syntype.errors import percent

__all__ = ["REASONS", "listed", "num_images", "num_photographs", "num_species", "percent_in_words", "setting_in_words", "value_in_words"]

REASONS = (
    N_("wrong shape"), N_("wrong colours"), N_("another species"), N_("parts missing or doubled"), N_("blurred or broken"), N_("unnatural place"),
    N_("a copy"),
)  # fmt: skip
"""For which an expert rejects an image, in the order of the keys 1 to 7."""
_VALUES = {
    *REASONS, N_("real"), N_("synthetic"), N_("none"), N_("accepted"), N_("refused"), N_("accept"), N_("reject"), N_("unsure"), N_("copy"),
    N_("species"), N_("distribution"), N_("expert"), N_("waiting"), N_("running"), N_("finished"), N_("failed"), N_("cancelled"), N_("add"),
    N_("do not add"), N_("not enough evidence"),
}  # fmt: skip
_BELOW = {
    N_("less than 1 %"), N_("more than 99 %"),
    N_("a zip with a folder for each species, and the table as CSV and Parquet"), N_("a zip that unpacks to a collection, for Syntype"),
    N_("a zip for Hugging Face's datasets and hub, with a data set card"), N_("a zip with COCO JSON for each split, for detectors"),
    N_("a zip with tasks and the labelling interface for Label Studio"),
    N_("a zip with a text beside each image, for programs that train text-to-image models"), N_("the table alone (CSV)"),
    N_("collections and exports of Syntype"), N_("JSON: a list with a record for each image"),
    N_("tables: CSV, TSV, Excel, JSON Lines, Parquet; one table a split"),
    N_("folders named after species, also below wrapping folders and train/val/test"), N_("reading images"), N_("unpacking"), N_("drawing the reef"),
    N_("Describing images"), N_("Describing photographs"), N_("Judging their names"), N_("Encoding images"), N_("Searching for copies"),
    N_("Reading the names of the species"), N_("Calibrating the copy detector"), N_("Packing images"), N_("Linking images"),
    N_("COCO JSON: a row an annotation"), N_("COCO-CameraTraps JSON: a row an annotation"), N_("YOLO data set: a row a box"),
    N_("VIAME CSV: a row a detection, tracks are groups"), N_("collection of Syntype"), N_("Camtrap DP: a row an observed animal"),
    N_("labelme: a row a shape"), N_("JSON list with a record for each image"), N_("Pascal VOC: a row an object"), N_("CVAT export"),
    N_("Label Studio export"), N_("Hugging Face data set, written by save_to_disk"), N_("Hugging Face data set: Parquet with an image column"),
    N_("folder of images of one species, the folder's name"), N_("folder with a sub-folder for each species"),
    N_("GBIF download (Darwin Core Archive)"), N_("table with a row for each image"), N_("open data of iNaturalist: a row of photos.csv an image"),
    N_("export of iNaturalist: a row an observation"),
    N_("generate"), N_("classifier"), N_("classifier head"), N_("study"), N_("downloading"), N_("Looking for copies"),
    N_("with the synthetic images"), N_("with the photographs alone"), N_("with the photographs alone, those of rare species shown more often"),
    N_("with photographs blended in pairs"), N_("with photographs with patches of one another"), N_("with simple cut-outs on other backgrounds"),
    N_("with similar photographs from elsewhere"),
}  # fmt: skip
"""Titles of formats and exports, what a job is doing, and the methods of a study, as the packages below the Studio say them; others stay English."""
_SETTINGS = {
    N_("Amount"), N_("Box"), N_("Collection"), N_("Everything"), N_("Family"), N_("Fill to"), N_("Format"), N_("Generator"), N_("Layout"),
    N_("Leave out"), N_("Mask"), N_("Method"), N_("Minutes"), N_("Num"), N_("Of"), N_("Photographs"), N_("Quick"), N_("Real"), N_("Rename"),
    N_("Seed"), N_("Seeds"), N_("Shots"), N_("Size"), N_("Species"), N_("Steps"), N_("Strengths"), N_("Synthetic"), N_("Test fraction"),
    N_("Val fraction"),
}  # fmt: skip


def listed(names: Sequence[str]) -> str:
    """Names one after the other, "and" before the last: at least one."""
    return names[0] if len(names) == 1 else gettext("{first} and {second}", first=", ".join(names[:-1]), second=names[-1])


def num_images(number: int) -> str:
    """So many images."""
    return ngettext("{n} image", "{n} images", number)


def num_photographs(number: int) -> str:
    """So many photographs."""
    return ngettext("{n} photograph", "{n} photographs", number)


def num_species(number: int) -> str:
    """So many species."""
    return ngettext("{n} species", "{n} species", number)


def percent_in_words(share: float, *, certain: bool = False) -> str:
    """A share in whole percent, as ``syntype.errors.percent`` has it in English."""
    text = percent(share, certain=certain)
    number = text.removesuffix(" %")
    return gettext("{percent} %", percent=int(number)) if number.isdecimal() else gettext(text)


def value_in_words(value: Any) -> Any:
    """A value of a verdict, an origin, a status or a reason, or a known text of the packages below, in the language of the page; others stay.

    What is being trained or prepared is known by its beginning: "Training projected", "Preparing projected (104 photographs)".
    """
    if not isinstance(value, str):
        return value
    if trained := re.fullmatch(r"Training (\w+)", value):
        return gettext("Training {family}", family=trained[1])
    if prepared := re.fullmatch(r"Preparing (\w+) \(([\d,]+) photographs\)", value):
        return gettext("Preparing {family} ({photographs})", family=prepared[1], photographs=num_photographs(int(prepared[2].replace(",", ""))))
    return gettext(value) if value in _VALUES or value in _BELOW else translated(value)


def setting_in_words(name: str) -> str:
    """The name of a setting of a job."""
    words = name.replace("_", " ").capitalize()
    return gettext(words) if words in _SETTINGS else words
