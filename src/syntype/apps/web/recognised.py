"""What was recognised in an upload, as a sentence in the language of the page. In English it is that of ``Preview.sentence``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from syntype.apps.web.languages import gettext, ngettext, number
from syntype.apps.web.words import num_photographs, num_species, percent_in_words, value_in_words
from syntype.errors import shortened

__all__ = ["recognised"]

_MOST = 4
"""Licences that are named."""


def recognised(found: Mapping[str, Any]) -> str:
    """The sentence of a preview.

    Args:
        found: ``Preview`` as plain values.
    """
    images, groups, files, boxes = (found[name] for name in ("num_images", "num_groups", "num_files", "num_boxes"))
    values = {"images": _images(images, found["origins"]), "species": num_species(len(found["species"].keys() - {"none"}))}
    if groups < images:
        observations = ngettext("{n} observation", "{n} observations", groups)
        parts = [gettext("{images} of {species} in {observations}", **values, observations=observations)]
    else:
        parts = [gettext("{images} of {species}", **values)]
    if files < images:
        parts.append(ngettext("several animals in one photograph ({n} file)", "several animals in one photograph ({n} files)", files))
    if boxes:
        parts.append(gettext("all with a box") if boxes == images else ngettext("{n} with a box", "{n} with a box", boxes))
    if missing := found["num_missing"]:
        parts.append(ngettext("{n} without a file", "{n} without a file", missing))
    if downloads := found["num_downloads"]:
        parts.append(ngettext("{n} to be downloaded", "{n} to be downloaded", downloads))
    told = [", ".join(parts)]
    if found["licences"].keys() - {"none"}:
        told.append(gettext("licences {licences}", licences=_shares(found["licences"])))
    if splits := found["splits"]:
        shown = [f"{name} {number(count)}" for name, count in splits.items()]
        if without := images - sum(splits.values()):
            shown.append(ngettext("none {n}", "none {n}", without))
        told.append(gettext("the author's splits: {splits}", splits=", ".join(shown)))
    if refused := sum(found["refused"].values()):
        told.append(ngettext("{n} refused", "{n} refused", refused))
    title = value_in_words(found["format"])
    return gettext("{format}: {told}.", format=shortened(title[:1].upper() + title[1:], 80), told="; ".join(told))


def _images(count: int, origins: Mapping[str, int]) -> str:
    synthetic = origins.get("synthetic", 0)
    if synthetic == 0:
        return num_photographs(count)
    if synthetic == count:
        return ngettext("{n} synthetic image", "{n} synthetic images", count)
    return ngettext("{n} images ({synthetic} synthetic)", "{n} images ({synthetic} synthetic)", count, synthetic=synthetic)


def _shares(counts: Mapping[str, int]) -> str:
    """The commonest values with their shares in percent."""
    whole = sum(counts.values())
    shown = [f"{shortened(name, 30)} {percent_in_words(count / whole, certain=True)}" for name, count in list(counts.items())[:_MOST]]
    if len(counts) > _MOST:
        shown.append(ngettext("… ({n} more)", "… ({n} more)", len(counts) - _MOST))
    return ", ".join(shown)
