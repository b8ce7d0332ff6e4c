"""Descriptions of trained identifiers, read from ``classifier.json`` only, so that the server does not import PyTorch, and what they say in words."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from syntype.apps.web.languages import N_, gettext, ngettext
from syntype.apps.web.words import num_photographs, percent_in_words
from syntype.errors import InputError
from syntype.files import load_json

__all__ = ["FILES", "accuracy_in_words", "answer_in_words", "describe_identifier", "learnt_in_words"]

FILES = ("classifier.json", "weights.safetensors", "MODEL_CARD.md", "confusion.png", "worst_pairs.csv")
"""What the training of a classifier writes, and an export holds."""
_AGAIN = "Copy the identifier's folder again from where it came, or train it again."
_RANKS = {"genus": N_("the genus"), "family": N_("the family"), "order": N_("the order")}
_FEW = 10
"""Species with fewer training photographs are named less surely."""


def describe_identifier(folder: Path) -> dict[str, Any]:
    """Species, what it has learnt from, how well it did, and what to know before it is believed.

    Raises:
        InputError: its file is damaged.
    """
    file = folder / "classifier.json"
    told = load_json(file, _AGAIN, {"species": list}, {"training": dict, "metrics": dict, "calibration": dict, "config": dict})
    training, metrics, species = told.get("training", {}), told.get("metrics", {}), [str(name) for name in told["species"]]
    counts, added = training.get("counts_real"), training.get("synthetic")
    try:
        return {
            "num_species": len(species),
            "species": species,
            "learnt": learnt_in_words(metrics) if "num_train" in metrics else None,
            "accuracy": accuracy_in_words(metrics) if "num_test" in metrics else None,
            "synthetic": added.get("name") if isinstance(added, dict) else None,
            "few": [name for name, number in counts.items() if number < _FEW] if isinstance(counts, dict) else [],
            "knows_strangers": bool(told.get("calibration", {}).get("energy_quantiles")),
            "sure": float(told.get("config", {}).get("sure", 0.8)),
        }
    except (TypeError, ValueError, KeyError) as error:
        raise InputError(
            gettext("is damaged ({error}: {value})", error=type(error).__name__, value=" ".join(str(error).split())[:100]), _AGAIN, file=file
        ) from None


def learnt_in_words(metrics: Mapping[str, Any]) -> str:
    """From how many images it has learnt: "12 photographs and 30 synthetic images".

    Args:
        metrics: the summary of ``ClassifierResult``.
    """
    number, made = int(metrics["num_train"]), int(metrics.get("num_synthetic") or 0)
    photographs = num_photographs(number)
    return (
        ngettext("{photographs} and {n} synthetic image", "{photographs} and {n} synthetic images", made, photographs=photographs)
        if made
        else photographs
    )


def accuracy_in_words(metrics: Mapping[str, Any]) -> str:
    """How well it names photographs that it has never seen, as a sentence.

    Args:
        metrics: the summary of ``ClassifierResult``.

    Example:
        >>> accuracy_in_words({"accuracy": 0.9, "num_test": 30})
        'Of 30 photographs that it had never seen it named 27 rightly.'
    """
    number = int(metrics["num_test"])
    if not number:
        return gettext("How well it does is not known: the collection keeps no photographs for tests.")
    right = round(float(metrics["accuracy"]) * number)
    if number == 1:
        rightly = gettext("The one photograph that it had never seen it named rightly.")
        return rightly if right else gettext("The one photograph that it had never seen it named wrongly.")
    return gettext("Of {number} photographs that it had never seen it named {right} rightly.", number=number, right=right)


def answer_in_words(rank: str, name: str, probability: float, best: str, *, none_of_these: bool) -> str:
    """What an identifier says of a photograph, as a sentence or two.

    Args:
        rank, name, probability: the lowest rank of which it is sure, as in ``Answer``.
        best: the most probable species.
        none_of_these: the photograph may show none of the species.

    Example:
        >>> answer_in_words("genus", "Naso", 0.93, "Naso lituratus", none_of_these=False)
        'Some Naso (the genus, 93 %). Which species, it cannot say surely; the likeliest is Naso lituratus.'
    """
    share = percent_in_words(probability)
    if none_of_these:
        return gettext(
            "Perhaps none of these species: the photograph looks unlike those that it knows. The likeliest of them is {species}.", species=best
        )
    if rank == "species":
        return f"{name} ({share})."
    if rank == "none":
        return gettext("Not sure. The likeliest species is {species} ({share}).", species=best, share=share)
    words = gettext("Some {name} ({rank}, {share}). Which species, it cannot say surely; the likeliest is {species}.")
    return words.format(name=name, rank=gettext(_RANKS.get(rank, rank)), share=share, species=best)
