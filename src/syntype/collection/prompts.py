"""The text that describes a photograph to a text-to-image model: the species by its names, and the photograph's caption."""

from __future__ import annotations

__all__ = ["prompt", "species_text"]


def species_text(name: str, common_name: str | None = None, genus: str | None = None, family: str | None = None) -> str:
    """A species by all its names, separated by commas. The genus is left out where the name begins with it, and whatever is missing or said before.

    Example:
        >>> species_text("Chaetodon trifascialis", "chevron butterflyfish", "Chaetodon", "Chaetodontidae")
        'Chaetodon trifascialis, chevron butterflyfish, Chaetodontidae'
        >>> species_text("blue tang", None, "Paracanthurus", "Acanthuridae")
        'blue tang, Paracanthurus, Acanthuridae'
    """
    parts = [name.strip()]
    for part in (common_name, genus, family):
        text = " ".join((part or "").split())
        if text and text.casefold() not in {said.casefold() for said in (*parts, name.partition(" ")[0])}:
            parts.append(text)
    return ", ".join(parts)


def prompt(species: str, caption: str | None = None) -> str:
    """The text for a photograph of a species, with its caption if it has one.

    Args:
        species: as from ``species_text``.
        caption: what else the photograph shows, such as ``on a reef, seen from the side``.

    Example:
        >>> prompt("Zanclus cornutus, moorish idol, Zanclidae", "on a reef.")
        'a photo of Zanclus cornutus, moorish idol, Zanclidae, on a reef'
    """
    said = " ".join((caption or "").split()).rstrip(".")
    return f"a photo of {species}" + (f", {said}" if said else "")
