"""The sentence that says what synthetic images are worth in photographs."""

from __future__ import annotations

from syntype.errors import plural

__all__ = ["worth_sentence"]


def worth_sentence(more: float | None, low: float | None, high: float | None, *, above: bool, base: float, fewest: float, most: float,
                   num_images: int) -> str:  # fmt: skip
    """Say how many photographs of each species synthetic images were worth.

    Args:
        more, low, high: number of photographs more (negative: fewer) and its interval, as in ``Worth``.
        above: whether the recall with synthetic images is above the whole curve.
        base: number of photographs of a species that the images were added to.
        fewest: the smallest number that was tried, as a difference from ``base`` (0 or negative).
        most: the largest, 0 without further photographs.
        num_images: number of synthetic images that passed curation.

    Example:
        >>> worth_sentence(2.1, 0.4, 3.5, above=False, base=6, fewest=-5, most=6, num_images=600)
        '600 synthetic images were worth as much as 2.1 (0.4 to 3.5) more photographs of each species: if you can get 3, get those.'
    """
    if not num_images:
        return "No synthetic image passed curation, so there is nothing to compare with photographs."
    made, one = plural(num_images, "synthetic image"), num_images == 1
    if low is None and high is None:
        return (
            f"What {made} {'was' if one else 'were'} worth in photographs cannot be said: no number of photographs between {base + fewest:.3g} and "
            f"{base + most:.3g} of each species gave a recall that differs from theirs by more than chance explains."
        )
    if above and low == most == 0:
        return (
            f"{made} {'was' if one else 'were'} worth more than nothing. "
            "How many photographs of each species, only further photographs can tell, and the study had none."
        )
    if above and low is not None and low > 0:
        return (
            f"{made} {'was' if one else 'were'} worth more than the {most:.3g} more photographs of each species that were tried (at least {low:.1f});"
            " how many is not known."
        )
    if low is not None and low > 0 and more is not None:
        if more < 1:
            return (
                f"{made} {'was' if one else 'were'} worth less than one more photograph of each species: {more:.1f} ({_end(low, fewest)} to "
                f"{_end(high, most)}). One photograph of each is better."
            )
        return (
            f"{made} {'was' if one else 'were'} worth as much as {more:.1f} ({_end(low, fewest)} to {_end(high, most)}) more photographs of each "
            f"species: if you can get {int(more) + 1}, get those."
        )
    if high is not None and high < 0:
        if more is None:
            return f"{made} did harm: the recall with them was lower than with {base + fewest:.3g} of the photographs of each species and no images."
        return (
            f"{made} did as much harm as the loss of {-more:.1f} ({_lost(high, most)} to {_lost(low, fewest)}) photographs of each species: "
            "leave them out."
        )
    least, greatest = _end(low, fewest, signed=True), _end(high, most, signed=True)
    if more is None:
        return (
            f"{made} {'was' if one else 'were'} worth no number of photographs that can be told from none: anything from {least} to {greatest} of "
            "each species is possible."
        )
    return (
        f"{made} {'was' if one else 'were'} worth no number of photographs that can be told from none (measured: {_signed(more)}): anything from "
        f"{least} to {greatest} of each species is possible."
    )


def _signed(value: float) -> str:
    """A number of photographs, said as more or fewer."""
    size = round(abs(value), 1)
    return f"{size} {'more' if value > 0 else 'fewer'}" if size else "none"


def _end(value: float | None, tried: float, *, signed: bool = False) -> str:
    """An end of the interval; beyond what was tried where it is None."""
    if value is not None:
        return _signed(value) if signed or value < 0 else f"{value:.1f}"
    size = f"more than {abs(tried):.3g}"
    if tried == 0:
        return "an unknown number more"
    return f"{size} {'more' if tried > 0 else 'fewer'}" if signed or tried < 0 else size


def _lost(end: float | None, tried: float) -> str:
    """An end of the interval of a loss."""
    return _end(end, tried).removesuffix(" fewer")
