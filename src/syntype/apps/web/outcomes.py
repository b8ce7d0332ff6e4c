"""What came of a job, in a sentence or two: its result in words, and what to do next."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from syntype.apps.web.identifiers import accuracy_in_words, learnt_in_words
from syntype.errors import plural, shortened

__all__ = ["WORK", "outcome"]

Result = Mapping[str, Any]
WORK = {
    "import": "Import", "reef": "Drawn reef", "resplit": "Other split", "train": "Training", "adapt": "Adaptation", "generate": "New images",
    "blend": "Hybrids", "vary": "Variations", "inpaint": "Inpainting", "curate": "Check against photographs", "classify": "Identifier",
    "study": "Study", "export": "Export",
}  # fmt: skip
"""What pages call each kind of job."""
_SMALL = 128
"""Pixels below which details of an animal are hard to see."""
_REFUSED = {"copy": "repeat a photograph", "species": "look like another species", "distribution": "look like no photograph"}
"""What the check against photographs refuses, as the end of "5 images ..."."""


def outcome(kind: str, status: str, request: Mapping[str, Any], result: Result | None) -> str | None:
    """What came of a job that has ended; None if there is nothing to say, as of a job that failed, whose message says why.

    Args:
        kind: of the job, as ``train``.
        status: ``finished`` or ``cancelled``; nothing is said of others.
        request: what was asked for.
        result: what the command printed, or wrote when it was stopped.

    Example:
        >>> outcome("curate", "finished", {}, {"num_images": 12, "num_accepted": 0, "refused": {"copy": 0, "species": 5, "distribution": 7}})
        '0 of 12 images passed: 5 look like another species, 7 look like no photograph. Train the generator longer, or use cut-outs (pose_transfer).'
    """
    say = (_FINISHED if status == "finished" else _STOPPED if status == "cancelled" else {}).get(kind)
    if say is None or not isinstance(result, Mapping):
        return None
    try:
        return say(request, result)
    except (KeyError, TypeError, ValueError):  # an earlier version of Syntype wrote less
        return None


def _import(_: Result, result: Result) -> str:
    splits = result["splits"]
    held = sum(number for name, number in splits.items() if name != "train")
    images = "images" if result.get("num_synthetic") else "photographs"
    said = (
        f"{plural(result['num_images'], images[:-1])} of {plural(result['num_species'], 'species', 'species')} {_are(result['num_images'])} imported"
    )
    if held:
        said += f": {splits.get('train', 0):,} to learn from, {held:,} kept for tests"
    said += "."
    if result["num_refused"]:
        said += f" {plural(result['num_refused'], 'file or row', 'files or rows')} could not be used; the page of the collection says why."
    if result["num_duplicates"]:
        said += f" {plural(result['num_duplicates'], 'file')} {'is' if result['num_duplicates'] == 1 else 'are'} there twice."
    return said


def _are(number: Any) -> str:
    return "is" if number == 1 else "are"


def _reef(_: Result, result: Result) -> str:
    species = plural(result["num_species"], "invented species", "invented species")
    return f"{plural(result['num_images'], 'picture')} of {species} were drawn. Train a generator from them."


def _train(_: Result, result: Result) -> str:
    of = f"{plural(result['num_species'], 'species', 'species')} from {plural(result['num_images'], 'photograph')}"
    if not result["steps"]:
        return f"It recombines {of}. Generate images with it."
    return (
        f"It has learnt {of}, in {plural(result['steps'], 'step')}{_minutes(result)}. If you cannot tell the species in its pictures, train longer."
    )


def _minutes(result: Result) -> str:
    minutes = result.get("minutes") or 0
    return "" if minutes < 1 else f" and {plural(round(minutes), 'minute')}"


def _adapt(_: Result, result: Result) -> str:
    relative = f", beginning with {result['relative']}" if result.get("relative") else ""
    learnt = f"It has learnt {result['species']} from {plural(result['shots'], 'photograph')}{relative}."
    return f"{learnt} If you cannot tell the species in its pictures, take more steps."


def _train_stopped(_: Result, result: Result) -> str:
    return f"Stopped early after {plural(result['steps'], 'step')}: its images will be poor. Resume the job to train further."


def _images(what: str) -> Callable[[Result, Result], str]:
    def say(_: Result, result: Result) -> str:
        size = result.get("size")
        pixels = f", {size} pixels wide" if size else ""
        small = " They are small, so details cannot be judged." if isinstance(size, int) and size < _SMALL else ""
        species = plural(result["num_species"], "species", "species")
        return f"{plural(result['num_images'], what)} of {species}{pixels}: SYNTHETIC, and not judged yet.{small}"

    return say


def _blend(request: Result, result: Result) -> str:
    between = " and ".join(shortened(name, 60) for name in request.get("species", ())[:2])
    return f"{plural(result['num_images'], 'SYNTHETIC image')} between {between}. No classifier is trained on them as one species."


def _images_stopped(_: Result, result: Result) -> str:
    return f"Stopped early: {plural(result['num_images'], 'image')} {_are(result['num_images'])} kept. Resume the job to make the rest."


def _curate(_: Result, result: Result) -> str:
    number, passed = result["num_images"], result["num_accepted"]
    counts = {reason: result["refused"].get(reason, 0) for reason in _REFUSED}
    parts = [f"{counts[reason]:,} {_one(words) if counts[reason] == 1 else words}" for reason, words in _REFUSED.items() if counts[reason]]
    if by_expert := result.get("num_refused_by_expert"):
        parts.append(f"{by_expert:,} {'was' if by_expert == 1 else 'were'} rejected by an expert")
    said = f"{passed:,} of {plural(number, 'image')} passed{': ' if parts else ''}{', '.join(parts)}."
    if 2 * passed > number:
        return f"{said} Now let somebody who knows the species judge them."
    if counts["copy"] > counts["species"] + counts["distribution"]:
        return f"{said} Use more photographs, or a family that draws new individuals (projected)."
    return f"{said} Train the generator longer, or use cut-outs (pose_transfer)."


def _one(words: str) -> str:
    verb, _, rest = words.partition(" ")
    return f"{verb}s {rest}"


def _classify(_: Result, result: Result) -> str:
    return f"It has learnt from {learnt_in_words(result)}. {accuracy_in_words(result)} Try it with a photograph of your own."


def _study(_: Result, result: Result) -> str:
    after = {
        "add": "Export the accepted images, and train with them.",
        "do not add": "More photographs help more than these images.",
        "not enough evidence": "Repeat it with more test photographs, or more repeats.",
    }
    return f"{result['sentence']} {after.get(result['verdict'], '')}".strip()


def _export(_: Result, result: Result) -> str:
    return f"One file with {plural(result['num_images'], 'image')} is ready to download."


_FINISHED: dict[str, Callable[[Result, Result], str]] = {
    "import": _import,
    "reef": _reef,
    "resplit": _import,
    "train": _train,
    "adapt": _adapt,
    "generate": _images("image"),
    "blend": _blend,
    "vary": _images("variation"),
    "inpaint": _images("inpainted image"),
    "curate": _curate,
    "classify": _classify,
    "study": _study,
    "export": _export,
}
_STOPPED: dict[str, Callable[[Result, Result], str]] = {
    "train": _train_stopped,
    "adapt": _train_stopped,
    "generate": _images_stopped,
    "vary": _images_stopped,
    "inpaint": _images_stopped,
    "blend": _images_stopped,
}
