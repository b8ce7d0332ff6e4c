"""Observations of events: the images of each, where it is certain what they show."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Sequence, Set
from dataclasses import dataclass, field
from datetime import UTC, datetime

from syntype.collection.sources.base import Refused, species_name
from syntype.collection.sources.camtrap_package import Package, TableRow
from syntype.errors import plural

__all__ = ["Matched", "match_events"]


@dataclass
class Matched:
    """The images of observations of events.

    Attributes:
        images: each observation with the rows of its images.
        refused: observations whose images are not certain.
        num_covered: observations all of whose images have observations of their own.
        notes: sentences.
    """

    images: list[tuple[TableRow, list[TableRow]]] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    num_covered: int = 0
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Event:
    deployment: str
    start: datetime
    end: datetime
    name: str


def match_events(package: Package, animals: Sequence[TableRow], all_rows: Sequence[TableRow], classified: Set[str]) -> Matched:
    """The images of observations of events: those that the deployment took between start and end.

    An image that has an observation of its own, or lies in two events, is not taken. An event with several species, or with an animal and a person,
    says of no image what it shows.

    Args:
        package: its media are the images.
        animals: observations of events that name an animal.
        all_rows: all observations of events.
        classified: mediaID of files that have observations of their own.
    """
    result = Matched()
    if not animals:
        return result
    by_place: dict[str, list[tuple[datetime, str]]] = defaultdict(list)
    for key, row in package.media.items():
        if (time := _time(row.values.get("timestamp"))) is not None:
            by_place[row.values.get("deploymentID", "")].append((time, key))
    for times in by_place.values():
        times.sort()
    inside: dict[_Event, list[str]] = {}
    labels: dict[_Event, set[str]] = defaultdict(set)
    for row in all_rows:
        event = _event_of(row)
        if event is None:
            continue
        labels[event].add(_label(row))
        if event not in inside:
            times = by_place.get(event.deployment, [])
            first, last = bisect_left(times, (event.start, "")), bisect_right(times, (event.end, "\U0010ffff"))
            inside[event] = [key for _, key in times[first:last]]
    claims = Counter(key for keys in inside.values() for key in keys)
    contested = 0
    for row in animals:
        event = _event_of(row)
        if event is None:
            result.refused.append(_refused(row, "is of an event without times", "Fill in deploymentID, eventStart and eventEnd, with the time zone."))
            continue
        keys = inside[event]
        if not keys:
            result.refused.append(_refused(row, "is of an event without a file", "No file of its deployment lies between eventStart and eventEnd."))
            continue
        if all(key in classified for key in keys):
            result.num_covered += 1
            continue
        if len(labels[event]) > 1:
            hint = f"Its event shows {' and '.join(sorted(labels[event])[:3])}: classify its images one by one."
            result.refused.append(_refused(row, "is of an event that shows several kinds", hint))
            continue
        sure = [key for key in keys if key not in classified and claims[key] == 1]
        contested += sum(claims[key] > 1 for key in keys)
        if not sure:
            result.refused.append(_refused(row, "is of images that lie in several events", "Classify these images one by one."))
            continue
        result.images.append((row, [package.media[key] for key in sure]))
    if result.images:
        num_images = sum(len(keys) for _, keys in result.images)
        named = plural(len(result.images), "observation")
        result.notes.append(f"{named} of whole events: each of their {num_images:,} files has that name, though some may be empty")
    if contested:
        result.notes.append(f"{plural(contested, 'file')} in several events at once: not taken from these")
    return result


def _event_of(row: TableRow) -> _Event | None:
    values = row.values
    start, end = _time(values.get("eventStart")), _time(values.get("eventEnd"))
    deployment = values.get("deploymentID")
    if start is None or end is None or deployment is None or end < start:
        return None
    return _Event(deployment, start, end, values.get("eventID", ""))


def _label(row: TableRow) -> str:
    name = species_name(row.values.get("scientificName", ""))
    kind = row.values.get("observationType", "animal").lower()
    return name if kind == "animal" and name else f"({kind})"


def _time(text: str | None) -> datetime | None:
    """A time of ISO 8601; one without a zone is taken for one in UTC."""
    try:
        time = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time


def _refused(row: TableRow, reason: str, hint: str) -> Refused:
    return Refused(f"{row.table}: {row.values.get('observationID', '')[:60]}".rstrip(": "), row.number, reason, hint)
