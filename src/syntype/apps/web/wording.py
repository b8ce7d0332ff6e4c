"""Messages in the words of the Studio.

The commands that do the work tell what to do on the command line ("Add --minutes 20 or --steps 2000."). Whoever uses the Studio has fields and
buttons instead, so every message passes through here, once, before it is shown.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from syntype.apps.web.languages import N_, gettext, number

__all__ = ["in_the_studio", "sentences", "wrong_field"]

_OTHERWISE = "“It should be read in another way”"
_RULES: tuple[tuple[str, str], ...] = (
    (r"Add --minutes \S+ or --steps \d+", "Fill in “Minutes to train”"),
    (r"choose a new --out|[Gg]ive --out (a new folder|another path)|give a new --out", "choose another name"),
    (r", or use the .* of before", ""),
    (r"(with|by|under|as) --[a-z]+-column( and --[a-z]+-column)?", f"under {_OTHERWISE}"),
    (r"Leave --[a-z]+-column and --[a-z]+-column out", f"Empty these fields under {_OTHERWISE}"),
    (r"add --format folders", f"choose folders under {_OTHERWISE}"),
    (r"[Ll]eave out --format|leave --format \S+ out", "choose the format “as its content says”"),
    (r"[Ll]eave the column options out", f"empty the fields under {_OTHERWISE}"),
    (r"--box-format corners", f"“left, top, right, bottom” under {_OTHERWISE}"),
    (r"--box-format size", f"“left, top, width, height” under {_OTHERWISE}"),
    (r"[Ss]ee (the formats|what Syntype reads) with: syntype formats", f"See the list of formats under {_OTHERWISE}"),
    (r"Take --leave-out .* away to import it", "Tick it in the list of species to import it"),
    (r", or leave the species out with --leave-out", ", or untick the species"),
    (r"Add --all(?![\w-])", "Tick “Include refused images”"),
    (r"Add --download to syntype collect, and they are fetched; or give the folder that has them with --images", "Send the photographs too"),
    (r"Add --download to fetch it, or put the file beside the table", "Send the photograph too"),
    (r"Give the folder (that has them |with the images )?with --images", "Send the photographs too"),
    (r"Make one with: syntype collect SOURCE( --out \S+)?", "Import the photographs on the first page"),
    (r"(Make|Import) (it|them) again with: syntype collect( SOURCE --out \S+)?", "Import the photographs again on the first page"),
    (r"Make some with: syntype generate", "Generate some on the page “Images”"),
    (r"Train it again on this collection: syntype train FAMILY COLLECTION --out \S+", "Train it again on this collection"),
    (r"Train one with: syntype train FAMILY COLLECTION --out \S+", "Train one under “Train a generator”"),
    (r"Run the same syntype train again with --resume", "Resume its job"),
    (r"Train again without --resume", "Train again, under another name"),
    (r"[Cc]ontinue the study with --resume", "Resume the job of the study"),
    (r"(go on|continue) with --resume( and fewer --processes)?", "resume the job"),
    (r"Give --names a checklist:.*", ""),
    (r"; draw them anew with --set redraw_splits=true", ""),
    (r"give (it|\S+) (itself )?as SOURCE", "send it on its own"),
    (r"Run the study to its end: syntype study COLLECTION --out \S+", "Resume the job of the study"),
    (r"Write it with: syntype report \S+", "Ask for the study again, under another name"),
    (r"Adapt again with: syntype adapt \S+", "Adapt it again"),
    (r"Give the folder that syntype classify train wrote \(its --out\)", "Choose another classifier"),
    (r"; see them with: syntype inspect \S+", "; the page “Duplicates” of the collection shows them"),
    (r"See which can with: syntype families", "Choose a generator of another family: projected can"),
    (r"Run syntype (\w+) again", r"Ask for it again"),
)
"""What the commands say, and the same in the Studio."""
_LABELS = {
    "minutes": "Minutes to train", "steps": "Training steps", "seed": "Seed", "seeds": "Repeats", "num": "Images of each species",
    "size": "Size of the images", "shots": "Photographs to use, at most", "out": "Name of the result", "species": "Species", "strength": "Strength",
    "origin": "Origin", "format": "Format", "quick": "A quick look", "layout": "As", "real": "Photographs", "synthetic": "Synthetic images",
    "generator": "Generator", "all": "Include refused images",
}  # fmt: skip
"""Options of commands, and what the forms call the same."""
_OPTION = re.compile(r"(?<![\w-])--([a-z][a-z-]+)(=\S+)?")
_COMMAND = re.compile(r"\bsyntype [a-z]+\b|\bSOURCE\b")
_SENTENCES = re.compile(r"(?<=[.!?])\s+(?=[A-Z“])")
_CLAUSES = re.compile(r"(; or |, or |; |, and )")
_TRY_AGAIN = "Change what you asked for, and try again."


def in_the_studio(message: str, *, hint: bool = False) -> str:
    """A message of a command, where what to do is told in the words of the Studio's pages. Other messages stay as they are.

    Args:
        message: what is wrong, as a sentence, followed by what to do.
        hint: it only says what to do.

    Example:
        >>> in_the_studio("the length of the training is not given. Add --minutes 20 or --steps 2000.")
        'the length of the training is not given. Fill in “Minutes to train”.'
    """
    if not _of_commands(message):
        return message.replace("``", "").replace("`", "")
    first, *others = (_reworded(sentence) for sentence in sentences(message.replace("`", "")))
    reason = [] if hint else [_COMMAND.sub("the job", _OPTION.sub(_label, first))]
    told = [kept for sentence in ([first, *others] if hint else others) if (kept := _without_commands(sentence))]
    if not told and (hint or others):
        told = [_TRY_AGAIN]
    return " ".join(_begun(sentence) if number else sentence for number, sentence in enumerate([*reason, *told]))


def sentences(text: str) -> list[str]:
    """The sentences of a text."""
    return _SENTENCES.split(text)


def _reworded(sentence: str) -> str:
    for pattern, words in _RULES:
        sentence = re.sub(pattern, words, sentence)
    return re.sub(r" \((--[a-z-]+|[^()]*\bsyntype [a-z]+[^()]*)\)", "", sentence)


def _of_commands(text: str) -> bool:
    return _OPTION.search(text) is not None or _COMMAND.search(text) is not None


def _label(option: re.Match[str]) -> str:
    return f"“{_LABELS.get(option[1], option[1].replace('-', ' '))}”"


def _without_commands(sentence: str) -> str:
    """A sentence on what to do, without the alternatives that only the command line has; empty if none is left."""
    if not _of_commands(sentence):
        return sentence if not sentence or sentence[-1] in ".!?" else f"{sentence}."
    first, *rest = _CLAUSES.split(sentence.rstrip("."))
    clauses = [("", first), *zip(rest[::2], rest[1::2], strict=True)]
    kept = [(link, clause) for link, clause in clauses if not _of_commands(clause)]
    text = "".join(clause if number == 0 else f"{link}{clause}" for number, (link, clause) in enumerate(kept))
    return f"{_begun(text)}." if text else ""


def _begun(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


_FIELDS = {
    "name": N_("The name"), "generator": N_("The generator"), "collection": N_("The collection"), "synthetic": N_("The synthetic images"),
    "real": N_("The photographs"), "species": N_("The species"), "num": N_("The number of images"), "minutes": N_("The minutes to train"),
    "steps": N_("The number of steps"), "seed": N_("The seed"), "shots": N_("The number of photographs"), "size": N_("The size"),
    "seeds": N_("The number of repeats"), "reviewer": N_("Your name"), "strengths": N_("The strength"), "box": N_("The box"),
    "mask": N_("The mask"), "upload": N_("What was sent"), "photographs": N_("The photographs"),
    "password": N_("The password"), "old": N_("The old password"), "new": N_("The new password"), "role": N_("The role"),
    "days": N_("The number of days"),
}  # fmt: skip

_REQUEST = N_("the request")
_BOUNDS = {
    "ge": N_("{field} must be at least {bound}; it is {given}."), "gt": N_("{field} must be more than {bound}; it is {given}."),
    "le": N_("{field} must be at most {bound}; it is {given}."), "lt": N_("{field} must be less than {bound}; it is {given}."),
}  # fmt: skip


def wrong_field(error: Mapping[str, Any]) -> str:
    """What is wrong with a field of a request, from the first error that pydantic found: one sentence.

    Example:
        >>> wrong_field({"type": "missing", "loc": ("body", "generate", "num"), "msg": "Field required"})
        'The number of images is missing.'
    """
    where = [str(part) for part in error["loc"] if part not in ("body", "query", "path")]
    name = next((part for part in reversed(where) if not part.isdecimal()), "")
    field, bounds = gettext(_FIELDS.get(name, name or _REQUEST)), error.get("ctx", {})
    kind, given = str(error["type"]), error.get("input")
    if kind == "missing":
        return gettext("{field} is missing.", field=field)
    if kind == "string_pattern_mismatch" and name == "name":
        return gettext("{field} holds a line break or another character that cannot be shown.", field=field)
    if kind == "string_pattern_mismatch" and name in ("generator", "collection", "synthetic", "real"):
        return gettext("{field} must be 1 to 63 small letters, digits, hyphens and underscores, beginning with a letter or digit.", field=field)
    for word, said in _BOUNDS.items():
        if word in bounds:
            return gettext(said, field=field, bound=number(bounds[word]), given=given if isinstance(given, str) else str(given))
    message = str(error["msg"]).removeprefix("Value error, ")
    return f"{field}: {message[:1].lower()}{message[1:]}."
