"""The result of a study in words for people who know no statistics: of 100 photographs, how many were named rightly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from syntype.errors import plural
from syntype.study.arms import CURATED
from syntype.study.verdict import damaged

__all__ = ["PlainResult", "in_plain_words"]

_WITHOUT = {
    "real": "the photographs alone",
    "oversample": "the photographs alone, those of rare species shown more often",
    "mixup": "photographs blended in pairs",
    "cutmix": "photographs with patches of one another",
    "collage": "simple cut-outs on other backgrounds",
    "retrieved": "similar photographs from elsewhere",
}
"""The methods without a generator, after "with"."""


@dataclass(frozen=True)
class PlainResult:
    """What a study found, in plain words.

    Attributes:
        sentence: the finding, in one to three sentences.
        shares: for the synthetic images and for the best method without them: what it is called, and how many of 100 photographs of rare species were
            named rightly (0..100). Empty where nothing could be compared.
        tested: what the numbers rest on; "" where nothing could be compared.
    """

    sentence: str
    shares: tuple[tuple[str, int], ...] = ()
    tested: str = ""


def in_plain_words(results: Mapping[str, Any]) -> PlainResult:
    """Say what a study found.

    The numbers of 100 photographs are the mean recall of the rare species, each with the same weight, as in the verdict. "Chance alone hardly
    explains that" is said where the 95 % interval of the difference does not reach 0.

    Args:
        results: the content of ``results.json``.

    Raises:
        KeyError, TypeError: the results are not complete.
    """
    primary, curation, leakage = results["effects"]["primary"], results["curation"], results.get("leakage") or {}
    if results.get("doubts"):
        return PlainResult(f"This study cannot say whether the synthetic images help: {results['doubts'][0]}")
    if not curation["accepted"]:
        return PlainResult(
            f"This study cannot say whether the synthetic images help: none of the {curation['offered']:,} images was good enough to be used."
        )
    if primary is None:
        return PlainResult("This study cannot say whether the synthetic images help: there is no photograph of the rare species to test with.")
    competitor, (low, high) = results["competitor"]["name"], primary["interval"]
    without = _WITHOUT.get(competitor, f"“{competitor}”")
    with_images, without_images = (results["arms"][arm]["recall_rare"] for arm in (CURATED, competitor))
    before = round(100 * without_images)
    found = min(max(before + round(100 * (with_images - without_images)), 0), 100)  # so that the difference told is the one that was measured
    said = [
        f"With the synthetic images the identifier named {found} of 100 photographs of rare species rightly, with {without} {before}: "
        f"{_more(found - before)}.",
        _chance(found - before, low, high),
        *_consequences(results, low, high),
    ]
    number, species = primary["num_images"], primary["num_species"]
    tested = f"Measured on {plural(number, 'test photograph')} of {species:,} rare species, as a mean over the species."
    if left_out := len(leakage.get("left_out", ())):
        if left_out == 1:
            tested += " One photograph was left out, because the identifier would have seen almost the same picture before."
        else:
            tested += f" {left_out:,} photographs were left out, because the identifier would have seen almost the same picture before."
    return PlainResult(" ".join(said), (("with the synthetic images", found), (f"with {without}", before)), tested)


def _more(difference: int) -> str:
    return f"{abs(difference)} {'more' if difference > 0 else 'fewer'}" if difference else "as many"


def _chance(difference: int, low: float, high: float) -> str:
    """Whether chance can explain a difference, in photographs of 100."""
    if low > 0 or high < 0:
        if difference:
            return "Chance alone hardly explains that."
        return f"They differ by less than one photograph in 100 ({'more' if low > 0 else 'fewer'}), but chance alone hardly explains it."
    least, most = round(100 * low), round(100 * high)
    if least == most == 0:
        return "The difference, if there is one, is less than one photograph in 100."
    return f"Chance alone could explain that: the true difference may be anything from {_end(least)} to {_end(most)}."


def _end(number: int) -> str:
    return _more(number) if number else "none"


def _consequences(results: Mapping[str, Any], low: float, high: float) -> Sequence[str]:
    """What else decides the verdict: a gain too small to matter, or a loss of the other species."""
    rules, others = results["rules"], results["effects"]["others"]
    if low > 0 and high < rules["minimum_effect"]:
        return (f"That is too little to matter: the study asked for at least {100 * rules['minimum_effect']:g} more of 100.",)
    if others is not None and damaged(others["value"], others["interval"][1], rules["max_head_loss"]):
        return (f"But of 100 photographs of the other species it named {round(-100 * others['value']) or 1} fewer rightly.",)
    return ()
