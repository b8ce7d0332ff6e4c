"""What the automatic check (``syntype curate``) said of a synthetic image, in words for the person who judges it."""

from __future__ import annotations

from typing import Any, Literal, get_args

from pydantic import BaseModel

from syntype.apps.web.languages import gettext
from syntype.apps.web.languages import number as as_number

__all__ = ["REFUSALS", "Check", "Outcome", "Refusal", "thresholds", "told"]

Refusal = Literal["copy", "species", "distribution"]
Outcome = Literal["passed", "copy", "species", "distribution", "none"]
"""``passed``; why it refused the image; ``none``: there was no check."""
REFUSALS: tuple[Refusal, ...] = get_args(Refusal)


class Check(BaseModel):
    """What the automatic check said of an image.

    ``sentence``: its result in words; ``values``: what it measured, and what would have been accepted; ``looks_like``: the other species that the
    image fits best, as far as the check has recorded it.
    """

    outcome: Outcome
    sentence: str
    values: list[str]
    looks_like: str | None


def thresholds(info: dict[str, Any]) -> dict[str, Any]:
    """The thresholds of the collection's latest check, by what was measured; empty if there was none.

    Args:
        info: the content of ``collection.json``.
    """
    history = info.get("history")
    steps = [step for step in history if isinstance(step, dict) and step.get("stage") == "curate"] if isinstance(history, list) else []
    found = steps[-1].get("thresholds") if steps else None
    return found if isinstance(found, dict) else {}


def told(row: dict[str, Any], limits: dict[str, Any]) -> Check:
    """What the check said of one image.

    Args:
        row: of the catalogue's index.
        limits: as ``thresholds`` gives them.
    """
    outcome, species, other = row["check"], row["species"] or gettext("its species"), row["looks_like"]
    if outcome == "none":
        return Check(outcome=outcome, sentence=gettext("Not checked automatically."), values=[], looks_like=None)
    margin, typicality, distance = (row[name] for name in ("margin", "typicality", "nearest_real_distance"))
    if outcome == "copy":
        sentence = gettext("Refused: repeats a photograph.")
    elif outcome == "distribution":
        sentence = gettext("Refused: unlike all photographs of {species}.", species=species)
    elif outcome == "species" and (margin is None or margin < 0):
        sentence = gettext("Refused: looks like {species}.", species=other) if other else gettext("Refused: looks like another species.")
    elif outcome == "species":
        sentence = gettext("Refused: not clearly {species}, could be {other}.", species=species, other=other)
        if not other:
            sentence = gettext("Refused: not clearly {species}.", species=species)
    else:
        sentence = gettext("Passed the automatic check.")
    against = gettext("margin against {other}", other=other) if other else gettext("margin")
    least = (_limit(limits, name, "accepted_from", row["species"]) for name in ("margin", "typicality"))
    copies = _limit(limits, "nearest_real_distance", "copy_at_or_below")
    values = [
        _value(against, margin, next(least), signed=True),
        _value(gettext("similarity to photographs of the species"), typicality, next(least)),
        _value(gettext("distance to the nearest photograph"), distance, copies, copy=True),
    ]
    return Check(outcome=outcome, sentence=sentence, values=[value for value in values if value], looks_like=other)


def _value(name: str, value: float | None, limit: float | None, *, signed: bool = False, copy: bool = False) -> str:
    """A measured value and its limit, such as "margin −1.2 (accepted from +0.3)"; empty if it was not measured."""

    def shown(number: float) -> str:
        form = ("+0.00;\N{MINUS SIGN}0.00" if abs(number) < 1 else "+0.0;\N{MINUS SIGN}0.0") if signed else "0.000" if copy else "0.00"
        return as_number(number, form)

    if value is None:
        return ""
    if limit is None:
        return f"{name} {shown(value)}"
    told = {"name": name, "value": shown(value), "limit": shown(limit)}
    return gettext("{name} {value} (a copy up to {limit})", **told) if copy else gettext("{name} {value} (accepted from {limit})", **told)


def _limit(limits: dict[str, Any], measured: str, word: str, species: str | None = None) -> float | None:
    found = limits.get(measured)
    found = found.get(word) if isinstance(found, dict) else None
    if isinstance(found, dict):
        found = found.get(species)
    return float(found) if isinstance(found, int | float) else None
