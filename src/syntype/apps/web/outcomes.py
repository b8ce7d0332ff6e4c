"""What came of a job, in a sentence or two: its result in words, and what to do next."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from syntype.apps.web.identifiers import accuracy_in_words, learnt_in_words
from syntype.apps.web.languages import N_, gettext, ngettext
from syntype.apps.web.translated import translated
from syntype.apps.web.words import listed, num_images, num_photographs, num_species
from syntype.errors import shortened

__all__ = ["WORK", "outcome"]

Result = Mapping[str, Any]
WORK = {
    "import": N_("Import"), "reef": N_("Sample"), "resplit": N_("Other split"), "train": N_("Training"), "adapt": N_("Adaptation"),
    "generate": N_("New images"), "blend": N_("Hybrids"), "vary": N_("Variations"), "inpaint": N_("Inpainting"),
    "curate": N_("Check against photographs"), "classify": N_("Identifier"), "study": N_("Study"), "export": N_("Export"),
}  # fmt: skip
"""What pages call each kind of job, in English."""
_SMALL = 128
"""Pixels below which details of an animal are hard to see."""


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
    splits, number = result["splits"], result["num_images"]
    held = sum(count for name, count in splits.items() if name != "train")
    images = num_images(number) if result.get("num_synthetic") else num_photographs(number)
    values = {"images": images, "species": num_species(result["num_species"]), "learnt": splits.get("train", 0), "held": held}
    if held:
        said = ngettext(
            "{images} of {species} is imported: {learnt} to learn from, {held} kept for tests.",
            "{images} of {species} are imported: {learnt} to learn from, {held} kept for tests.", number, **values,
        )  # fmt: skip
    else:
        said = ngettext("{images} of {species} is imported.", "{images} of {species} are imported.", number, **values)
    sentences = [said]
    if refused := result["num_refused"]:
        sentences.append(
            ngettext(
                "{n} file or row could not be used; the page of the collection says why.",
                "{n} files or rows could not be used; the page of the collection says why.", refused,
            )
        )  # fmt: skip
    if twice := result["num_duplicates"]:
        sentences.append(ngettext("{n} file is there twice.", "{n} files are there twice.", twice))
    return " ".join(sentences)


def _reef(_: Result, result: Result) -> str:
    species = ngettext("{n} invented species", "{n} invented species", result["num_species"])
    said = ngettext("{n} picture of {species} was drawn.", "{n} pictures of {species} were drawn.", result["num_images"], species=species)
    return f"{said} " + gettext("Train a generator from them.")


def _train(_: Result, result: Result) -> str:
    of = {"species": num_species(result["num_species"]), "photographs": num_photographs(result["num_images"])}
    if not result["steps"]:
        return gettext("It recombines {species} from {photographs}. Generate images with it.", **of)
    steps, minutes = _steps(result), result.get("minutes") or 0
    if minutes < 1:
        said = gettext("It has learnt {species} from {photographs}, in {steps}.", **of, steps=steps)
    else:
        time = ngettext("{n} minute", "{n} minutes", round(minutes))
        said = gettext("It has learnt {species} from {photographs}, in {steps} and {minutes}.", **of, steps=steps, minutes=time)
    return f"{said} " + gettext("If you cannot tell the species in its pictures, train longer.")


def _steps(result: Result) -> str:
    return ngettext("{n} step", "{n} steps", result["steps"])


def _adapt(_: Result, result: Result) -> str:
    values = {"species": result["species"], "photographs": num_photographs(result["shots"]), "relative": result.get("relative")}
    if values["relative"]:
        learnt = gettext("It has learnt {species} from {photographs}, beginning with {relative}.", **values)
    else:
        learnt = gettext("It has learnt {species} from {photographs}.", **values)
    return f"{learnt} " + gettext("If you cannot tell the species in its pictures, take more steps.")


def _train_stopped(_: Result, result: Result) -> str:
    return gettext("Stopped early after {steps}: its images will be poor. Resume the job to train further.", steps=_steps(result))


def _generate(_: Result, result: Result) -> str:
    return _made(num_images(result["num_images"]), result)


def _vary(_: Result, result: Result) -> str:
    return _made(ngettext("{n} variation", "{n} variations", result["num_images"]), result)


def _inpaint(_: Result, result: Result) -> str:
    return _made(ngettext("{n} inpainted image", "{n} inpainted images", result["num_images"]), result)


def _made(images: str, result: Result) -> str:
    size, species = result.get("size"), num_species(result["num_species"])
    if not size:
        return gettext("{images} of {species}: SYNTHETIC, and not judged yet.", images=images, species=species)
    said = gettext("{images} of {species}, {size} pixels wide: SYNTHETIC, and not judged yet.", images=images, species=species, size=str(size))
    small = isinstance(size, int) and size < _SMALL
    return f"{said} " + gettext("They are small, so details cannot be judged.") if small else said


def _blend(request: Result, result: Result) -> str:
    names = [shortened(name, 60) for name in request.get("species", ())[:2]]
    images = ngettext("{n} SYNTHETIC image", "{n} SYNTHETIC images", result["num_images"])
    said = gettext("{images} between {species}.", images=images, species=listed(names) if names else "")
    return f"{said} " + gettext("No classifier is trained on them as one species.")


def _images_stopped(_: Result, result: Result) -> str:
    return ngettext(
        "Stopped early: {n} image is kept. Resume the job to make the rest.", "Stopped early: {n} images are kept. Resume the job to make the rest.",
        result["num_images"],
    )  # fmt: skip


def _curate(_: Result, result: Result) -> str:
    number, passed = result["num_images"], result["num_accepted"]
    copies, others, strange = (result["refused"].get(reason, 0) for reason in ("copy", "species", "distribution"))
    parts = [words for count, words in _refused(copies, others, strange, result.get("num_refused_by_expert") or 0) if count]
    values = {"passed": passed, "images": num_images(number), "refused": ", ".join(parts)}
    said = gettext("{passed} of {images} passed: {refused}.", **values) if parts else gettext("{passed} of {images} passed.", **values)
    if 2 * passed > number:
        return f"{said} " + gettext("Now let somebody who knows the species judge them.")
    if copies > others + strange:
        return f"{said} " + gettext("Use more photographs, or a family that draws new individuals (projected).")
    return f"{said} " + gettext("Train the generator longer, or use cut-outs (pose_transfer).")


def _refused(copies: int, others: int, strange: int, by_expert: int) -> list[tuple[int, str]]:
    return [
        (copies, ngettext("{n} repeats a photograph", "{n} repeat a photograph", copies)),
        (others, ngettext("{n} looks like another species", "{n} look like another species", others)),
        (strange, ngettext("{n} looks like no photograph", "{n} look like no photograph", strange)),
        (by_expert, ngettext("{n} was rejected by an expert", "{n} were rejected by an expert", by_expert)),
    ]


def _classify(_: Result, result: Result) -> str:
    return " ".join(
        (
            gettext("It has learnt from {learnt}.", learnt=learnt_in_words(result)),
            accuracy_in_words(result),
            gettext("Try it with a photograph of your own."),
        )
    )


def _study(_: Result, result: Result) -> str:
    after = {
        "add": N_("Export the accepted images, and train with them."),
        "do not add": N_("More photographs help more than these images."),
        "not enough evidence": N_("Repeat it with more test photographs, or more repeats."),
    }
    return f"{translated(result['sentence'])} {gettext(after[result['verdict']]) if result['verdict'] in after else ''}".strip()


def _export(_: Result, result: Result) -> str:
    return gettext("One file with {images} is ready to download.", images=num_images(result["num_images"]))


_FINISHED: dict[str, Callable[[Result, Result], str]] = {
    "import": _import,
    "reef": _reef,
    "resplit": _import,
    "train": _train,
    "adapt": _adapt,
    "generate": _generate,
    "blend": _blend,
    "vary": _vary,
    "inpaint": _inpaint,
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
