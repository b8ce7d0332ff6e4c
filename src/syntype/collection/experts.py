"""Expert decisions about single synthetic images, and how they change a collection's table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import pandas as pd

from syntype.collection.table import Collection

__all__ = ["BEFORE", "DECISIONS", "Decision", "ExpertResult", "Vote", "apply_votes", "check_outcomes", "cohen_kappa", "combine"]

Decision = Literal["accept", "reject", "unsure"]
DECISIONS: tuple[Decision, ...] = get_args(Decision)
BEFORE = ("verdict_before", "reason_before")
"""Columns that keep an image's verdict and reason from before the expert decision, so that it can be undone; ``none`` stands for null."""
_JUDGED = ("verdict", "reason", "reviewer", *BEFORE)


@dataclass(frozen=True)
class Vote:
    """One reviewer's current decision about one image.

    Attributes:
        sha256: of the file that the reviewer saw; the vote does not count for a file that has changed since. None: not known.
    """

    image_id: str
    sha256: str | None
    reviewer: str
    decision: Decision


@dataclass(frozen=True)
class ExpertResult:
    """Result of ``apply_votes``.

    Attributes:
        num_accepted, num_refused: images whose verdict is now the experts'.
        num_open: images whose votes change nothing: all reviewers are unsure, or they accept a copy.
        num_changed: rows that changed.
    """

    collection: Collection
    num_accepted: int
    num_refused: int
    num_open: int
    num_changed: int

    def summary(self) -> dict[str, int]:
        """The counts."""
        return {name: getattr(self, name) for name in ("num_accepted", "num_refused", "num_open", "num_changed")}


def combine(decisions: Iterable[Decision]) -> Literal["accepted", "refused"] | None:
    """The verdict of several reviewers: accepted if more accept than reject, refused if as many or more reject, None if all are unsure.

    On a tie the image is refused, to avoid wrong labels.
    """
    counts = Counter(decisions)
    if counts["accept"] > counts["reject"]:
        return "accepted"
    return "refused" if counts["reject"] else None


def apply_votes(collection: Collection, votes: Sequence[Vote], withdrawn: Iterable[str] = ()) -> ExpertResult:
    """Write reviewers' votes into ``verdict``, ``reason`` (``expert`` for what they refuse) and ``reviewer``, and save the table if it changed.

    Experts overrule the filters for species and distribution in either direction. They cannot accept what was refused as a copy: a copy
    shows nothing new, and a copy of a test photograph would leak test data. Real photographs are ignored.

    Args:
        votes: all standing ones, at most one for each image and reviewer.
        withdrawn: image_id of images whose votes were all undone; their rows get their earlier verdict back. Rows without votes
            that are not named here stay as they are.
    """
    by_image: dict[str, list[Vote]] = {}
    for vote in votes:
        by_image.setdefault(vote.image_id, []).append(vote)
    undone = set(withdrawn) - by_image.keys()
    table = collection.table
    columns = {name: _texts(table, name) for name in ("image_id", "sha256", "origin", *_JUDGED)}
    counts: Counter[str] = Counter()
    for row, image in enumerate(columns["image_id"]):
        if columns["origin"][row] == "real" or (image not in by_image and image not in undone):
            continue
        standing = [vote for vote in by_image.get(str(image), []) if vote.sha256 in (None, columns["sha256"][row])]
        earlier = _earlier(*(columns[name][row] for name in _JUDGED))
        after = _after(earlier, standing)
        counts["changed"] += after != tuple(columns[name][row] for name in ("verdict", "reason", "reviewer"))
        counts["open"] += bool(standing) and after[2] is None
        counts["accepted"] += after[2] is not None and after[0] == "accepted"
        counts["refused"] += after[2] is not None and after[0] == "refused"
        columns["verdict"][row], columns["reason"][row], columns["reviewer"][row] = after
        kept = (earlier[0] or "none", earlier[1] or "none") if after[2] is not None else (None, None)
        columns[BEFORE[0]][row], columns[BEFORE[1]][row] = kept
    if counts["changed"]:
        written = {name: pd.array(columns[name], dtype="string") for name in _JUDGED}
        collection = Collection(collection.root, table.assign(**written), collection.species, collection.info)
        collection.save()
    return ExpertResult(collection, counts["accepted"], counts["refused"], counts["open"], counts["changed"])


def check_outcomes(table: pd.DataFrame) -> list[str]:
    """What ``curate`` said of each image, whatever experts have said since: ``passed``, its reason for refusing the image, or ``none``: no check."""
    rows = list(zip(*(_texts(table, name) for name in _JUDGED), strict=True))
    outcomes = {row: _check_outcome(*row) for row in set(rows)}  # large tables have few different ones
    return [outcomes[row] for row in rows]


def _check_outcome(*judged: str | None) -> str:
    """What ``check_outcomes`` says of an image, from its values in the columns ``_JUDGED``."""
    verdict, reason, reviewer = _earlier(*judged)
    if verdict == "refused":
        return "none" if reason is None or reason == "expert" else reason
    return "passed" if verdict == "accepted" and reviewer is None else "none"


def cohen_kappa(first: Mapping[str, str], second: Mapping[str, str]) -> float | None:
    """Cohen's kappa: agreement of two reviewers beyond chance on the images that both have judged, at most 1 (Cohen 1960, equation 1).

    None where they share no image; 1 where both always give one and the same decision (the formula is undefined there).
    """
    shared = sorted(first.keys() & second.keys())
    if not shared:
        return None
    ours, theirs = [first[image] for image in shared], [second[image] for image in shared]
    if len({*ours, *theirs}) == 1:  # scikit-learn divides 0 by 0 here
        return 1.0
    from sklearn.metrics import cohen_kappa_score  # slow to import

    return float(cohen_kappa_score(ours, theirs))


def _earlier(*judged: str | None) -> tuple[str | None, str | None, str | None]:
    """Verdict, reason and reviewer before the votes of this collection, from the columns ``_JUDGED``: what was kept, or else what stands there."""
    verdict, reason, reviewer, kept_verdict, kept_reason = judged
    if kept_verdict is None:
        return verdict, reason, reviewer
    return None if kept_verdict == "none" else kept_verdict, None if kept_reason == "none" else kept_reason, None


def _after(earlier: tuple[str | None, str | None, str | None], votes: Sequence[Vote]) -> tuple[str | None, str | None, str | None]:
    """Verdict, reason and reviewer with the votes."""
    verdict = combine(vote.decision for vote in votes)
    if verdict is None or (verdict == "accepted" and earlier[1] == "copy"):
        return earlier
    word = "accept" if verdict == "accepted" else "reject"
    return verdict, None if verdict == "accepted" else "expert", "; ".join(sorted(vote.reviewer for vote in votes if vote.decision == word))


def _texts(table: pd.DataFrame, name: str) -> list[str | None]:
    """A column as text and None; all None where the table lacks it."""
    if name not in table:
        return [None] * len(table)
    column = table[name]
    return [None if missing else str(value) for value, missing in zip(column.tolist(), column.isna().tolist(), strict=True)]
