"""The report of a study: one HTML file that needs no other files. All its figures come from the saved results of the study."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from syntype.collection.bins import BINS
from syntype.errors import InputError, checks_arguments
from syntype.files import atomic_write, load_json
from syntype.study.arms import CURATED
from syntype.study.gallery import Gallery
from syntype.study.pictures import data_uri, plot_forest, plot_tail, plot_worth
from syntype.study.plain_words import in_plain_words
from syntype.study.statistics import FEW_SPECIES
from syntype.study.verdict import points

__all__ = ["Words", "report_page", "write_report"]

REASONS = {
    "copy": "too similar to a training photograph, so it would add no information",
    "species": "looks more like another species than the one it was made for",
    "distribution": "unlike all training photographs",
    "expert": "refused by a person",
}


def _english(text: str, /, **values: Any) -> Markup:
    return Markup(text).format(**values)


def _english_plural(one: str, many: str, number: int, /, **values: Any) -> Markup:
    return Markup(one if number == 1 else many).format(n=f"{number:,}", **values)


@dataclass(frozen=True)
class Words:
    """How a report is worded: in English, if nothing else is given.

    Attributes:
        language: code of the language.
        gettext: a text of the template, which may hold HTML, with the values of the names in braces.
        ngettext: the same for a text with a number, ``{n}``, from its two English forms.
        told: a sentence, a label or a number of the results.
    """

    language: str = "en"
    gettext: Callable[..., Markup] = _english
    ngettext: Callable[..., Markup] = _english_plural
    told: Callable[[str], str] = str


_ENGLISH = Words()


@checks_arguments
def write_report(study_folder: Path | str) -> Path:
    """Write ``report.html`` into the study's folder.

    Args:
        study_folder: folder of a finished study.

    Returns:
        the path of the report.

    Raises:
        InputError: the folder does not contain a finished study, or its files are damaged.
    """
    folder = Path(study_folder)
    page = report_page(folder)
    path = folder / "report.html"
    with atomic_write(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def report_page(folder: Path, words: Words = _ENGLISH) -> str:
    """The page that ``write_report`` writes.

    Args:
        folder: of a finished study.
        words: how it is worded.

    Raises:
        InputError: as there.
    """
    if not (folder / "results.json").is_file():
        raise InputError("holds no finished study (no results.json)", "Run the study to its end: syntype study COLLECTION --out FOLDER.", file=folder)
    hint = "Continue the study with --resume, which writes it again."
    results = load_json(folder / "results.json", hint, {"effects": dict, "rules": dict, "species": list, "verdict": dict})
    results.setdefault("leakage", {"left_out": [], "pairs": [], "num_held": 0})  # studies of before have none, nor the next ones
    results.setdefault("tuning", None)
    results.setdefault("worth", None)
    results.setdefault("zero_shot", None)
    for arm in results["arms"].values() if isinstance(results.get("arms"), dict) else ():
        if isinstance(arm, dict):
            arm.update({"worst_rare": None, "calibration_error": None} | arm)
    gallery = Gallery.load(folder)
    try:
        return _page(results, gallery, words)
    except Exception as error:  # every figure of the report is read here, and any of them may be missing or of another type
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise InputError(f"holds no results that this Syntype can show ({reason})", hint, file=folder) from None


def _page(results: dict[str, Any], gallery: Gallery, words: Words) -> str:
    thumbnails = [data_uri(image) for image in gallery.images]
    effects, rules = results["effects"], results["rules"]
    return _template(words).render(
        **(results | {"plain": asdict(in_plain_words(results))}),
        forest=Markup(plot_forest(_bin_rows(results, words.told), words.told, minimum_effect=rules["minimum_effect"], name="forest")),
        against=Markup(plot_forest(_arm_rows(effects, words.told), words.told, minimum_effect=rules["minimum_effect"], name="against", emphasise=0)),
        tail=Markup(plot_tail(results["species"], words.told, num_seeds=results["num_seeds"], name="tail")),
        worth_plot=Markup(plot_worth(results["worth"], words.told, name="worth")) if results["worth"] else "",
        thumbnails=thumbnails,
        gallery=gallery,
        entries={entry["name"]: entry for entry in results["species"]},
        curated=CURATED,
        few_species=FEW_SPECIES,
        reason_words=REASONS,
        affected=sorted((entry for entry in results["species"] if entry["offered"]), key=lambda entry: (entry["num_train"], entry["name"])),
    )


@cache
def _template(words: Words) -> Template:
    """The page to fill in; reading it takes as long as a drawing."""
    environment = Environment(
        loader=PackageLoader("syntype.study", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    told = words.told
    environment.globals.update(_=words.gettext, ngettext=words.ngettext, language=words.language)
    environment.filters.update(
        told=lambda text: told(str(text)),
        capitalized=lambda text: text[:1].upper() + text[1:],
        points=lambda value, signed=True: told(_points(value, signed)),
        percent=lambda value: told(_percent(value)),
        effect=lambda effect: told(_effect(effect)),
    )
    return environment.get_template("report.html.j2")


def _bin_rows(results: dict[str, Any], told: Callable[[str], str]) -> list[tuple[str, dict[str, Any] | None]]:
    effects = results["effects"]
    rows = [("species with synthetic images", effects["primary"])]
    rows += [
        (f"species with {name} training images", effects["bins"][name]) for name in BINS if any(entry["bin"] == name for entry in results["species"])
    ]
    rows += [("all species", effects["all"])]
    if effects["others"] is not None:
        rows.append(("other species", effects["others"]))
    return [(f"{told(label)} ({effect['num_species']})" if effect else told(label), effect) for label, effect in rows]


def _arm_rows(effects: dict[str, Any], told: Callable[[str], str]) -> list[tuple[str, dict[str, Any] | None]]:
    return [(told(f"against {name}"), effect) for name, effect in effects["against"].items()]


def _points(value: float | None, signed: bool = True) -> str:
    return "–" if value is None else points(value, signed=signed)


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}"


def _effect(effect: dict[str, Any] | None) -> str:
    if effect is None:
        return "no test photographs"
    low, high = effect["interval"]
    return f"{points(effect['value'])} ({points(low)} to {points(high)})"
