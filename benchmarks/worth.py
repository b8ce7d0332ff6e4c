"""What are synthetic images worth, in photographs? Measured on butterflies and moths, with further photographs that no method has seen.

    python benchmarks/worth.py [--butterflies FOLDER] [--out FOLDER] [--name NAME] [--classifier FILE.yaml] [--set KEY=VALUE ...]
        [--generator FOLDER_OR_FAMILY] [--size 128] [--fill-to 60] [--seeds 3] [--final]

One study with ``more_photographs``. Settings are tried on the validation photographs, which then stand in for the test photographs; these are
not read. ``--final`` reads them, once, for settings that are fixed: then validation photographs choose the step of the classifier and the best
method without a generator. What other calls measured under other names stays in the result. Without the photographs nothing is measured.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from common.butterflies import BUTTERFLIES
from common.results import Page, kept, options, points, publish, rewrite, table

from syntype.collection import Collection
from syntype.collection.importers import CollectConfig, collect
from syntype.files import read_json_object
from syntype.identification import ClassifierConfig
from syntype.recipe import apply_overrides, read_yaml
from syntype.run import Run
from syntype.study import StudyConfig, study
from syntype.study.arms import CURATED

ARMS = ("real", "mixup", CURATED)
"""The arms on validation photographs; on test photographs there are all."""
TUNING = {
    "photographs": [{}, {"learning_rate": 3e-4}, {"weight_decay": 0.1}],
    "synthetic": [{"synthetic_share": 0.1, "mix": "mixup"}, {"synthetic_share": 0.3, "mix": "mixup"}, {"synthetic_share": 0.3}],
}
"""Settings among which every arm chooses on the validation photographs."""


def main() -> None:
    parser = options("worth", __doc__)
    parser.add_argument("--butterflies", type=Path, default=BUTTERFLIES, help="folder of the photographs (images.csv, reserve.csv)")
    parser.add_argument("--name", default="frozen Lite2", help="of these settings, in the page")
    parser.add_argument("--classifier", type=Path, help="settings of the classifier, a YAML file (the defaults)")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE", help="change a setting of the classifier")
    parser.add_argument("--generator", default="pose_transfer", help="family, or folder of a generator trained on these photographs (%(default)s)")
    parser.add_argument("--size", type=int, default=128, help="side of the images, pixels (%(default)s)")
    parser.add_argument("--fill-to", type=int, default=60, help="images a species, with its photographs (%(default)s)")
    parser.add_argument("--seeds", type=int, default=3, help="repetitions (%(default)s)")
    parser.add_argument("--final", action="store_true", help="read the test photographs")
    arguments = parser.parse_args()
    if arguments.page:
        rewrite("worth", report, arguments)
        return
    if not (arguments.butterflies / "reserve.csv").is_file():
        print(f"{arguments.butterflies / 'reserve.csv'} is not there: nothing measured. Give --butterflies.", file=sys.stderr)
        return
    split = "test" if arguments.final else "val"
    found = kept(arguments.out / f"{arguments.name}, {split}.json", lambda: measure(split, arguments))
    path = arguments.results / "worth.json"
    known = read_json_object(path)["figures"] if path.is_file() else {}
    publish("worth", {}, {**known, f"{arguments.name}, {split}": found}, report, arguments)


def measure(split: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """The figures of one study."""
    folder = arguments.out / "collection"
    if not (folder / "collection.json").exists():
        collect(arguments.butterflies / "images.csv", CollectConfig(), folder)
    classifier = apply_overrides(
        read_yaml(arguments.classifier, ClassifierConfig) if arguments.classifier else {}, arguments.overrides, ClassifierConfig
    )
    config = StudyConfig.parse({
        "generator": arguments.generator, "size": arguments.size, "fill_to": arguments.fill_to, "seeds": arguments.seeds,
        "arms": ARMS if split == "val" else None, "quick": classifier.get("tune", "head") == "head", "classifier": classifier,
        "tuning": TUNING if split == "test" else None, "more_photographs": str(arguments.butterflies / "reserve.csv"),
    })  # fmt: skip
    place = arguments.out / f"{arguments.name}, {split}"
    place.mkdir(parents=True, exist_ok=True)
    results = study(as_tested(Collection.open(folder), split), config, place, Run(place)).results
    return {
        "split": split,
        "settings": {"classifier": {key: str(value) for key, value in classifier.items()}, "generator": Path(arguments.generator).name,
                     **{key: getattr(arguments, key) for key in ("size", "fill_to", "seeds")}},
        "worth": results["worth"],
        "effect": results["effects"]["primary"],
        "effect_others": results["effects"]["others"],
        "verdict": results["verdict"]["word"],
        "against": results["effects"]["against"],
        "tuning": results["tuning"],
        "competitor": results["competitor"]["name"],
        "arms": {name: {key: arm[key] for key in ("recall_rare", "recall_others", "num_added")} for name, arm in results["arms"].items()},
        "curation": results["curation"],
    }  # fmt: skip


def as_tested(collection: Collection, split: str) -> Collection:
    """The collection, with the validation photographs in the place of the test photographs if these are not to be read."""
    if split == "test":
        return collection
    seen = collection.select(split=("train", "val"))
    return Collection(seen.root, seen.table.assign(split=seen.table["split"].replace("val", "test")), seen.species, seen.info)


# The page -----------------------------------------------------------------------------------------------------------------------------


def report(settings: dict[str, Any], figures: dict[str, Any]) -> Page:
    """The page."""
    measured = {name: one for name, one in figures.items() if isinstance(one, dict) and one.get("worth")}
    name = next((name for name in measured if measured[name]["split"] == "test"), next(iter(measured)))
    body: list[str] = []
    for title, one in measured.items():
        worth, changed = one["worth"], one["settings"]
        words = ", ".join(f"`{key}: {value}`" for key, value in changed["classifier"].items()) or "the defaults"
        body += [
            f"## {title[0].upper()}{title[1:]} photographs",
            "",
            worth["sentence"],
            "",
            f"`{changed['generator']}` at {changed['size']} px, filled up to {changed['fill_to']} images a species, "
            f"{changed['seeds']} repetitions; settings of "
            f"the classifier: {words}. {one['curation']['accepted']:,} of {one['curation']['offered']:,} images passed curation. The curve is "
            f"that of `{worth['arm']}`, the best arm on photographs alone. Recall of the {worth['num_species']} rare species, %, with its 95 % "
            "interval; common species where they were measured.",
            "",
            *table(["trained with", "photographs of a rare species", "recall, rare species", "recall, common species"], rows_of(one)),
            "",
            f"Curated images against `{one['competitor']}`: {points(one['effect']['value'])} points "
            f"({' to '.join(map(points, one['effect']['interval']))}) on the rare species. Verdict: {one['verdict']}.",
            "",
            *table(["arm", "images added", "recall, rare species", "recall, common species", "curated images minus this arm"], arms_of(one)),
            "",
        ]
    return Page(
        title="What images are worth, in photographs",
        question="How many further photographs of each rare species give a classifier what synthetic images give it?",
        answer=f"{measured[name]['worth']['sentence']} ({name} photographs.)",
        headline=[(title, short(one["worth"])) for title, one in measured.items()],
        body=body[:-1],
        method=[
            "60 species of butterflies and moths: 40 rare ones with 6 training photographs, 20 common ones with 40; 6 further photographs of each "
            "rare species that no generator, filter or other method has seen. The classifier is trained with 1, 2 and 3 of the 6 photographs of each "
            "rare species, drawn anew in each repetition, with all 6, and with 1, 2, 4 and 6 further ones; steps, batch size and augmentation "
            "are the same everywhere. Intervals: bootstrap over species and repetitions. "
            "[What the sentence means](../how-to/worth-of-images.md).",
            "",
            '"val": settings are tried on the validation photographs, 6 of each species, in the place of the test photographs; the classifier of the '
            'last step is used, and the best method without a generator is chosen on the same photographs. "test": 25 of each species, read once.',
        ],
    )


def rows_of(one: dict[str, Any]) -> list[list[str]]:
    """Rows of the table: the curve, and the synthetic images."""
    worth, arms = one["worth"], one["arms"]
    made = worth["synthetic"]
    found = [
        [point["name"], f"{point['photographs']:.3g}", with_interval(point["recall"], point["interval"]),
         percent(arms[worth["arm"]]["recall_others"]) if point["name"] == "all photographs" else ""]
        for point in worth["curve"]
    ]  # fmt: skip
    images = f"**all photographs and {worth['num_images']:.0f} synthetic images**"
    return [
        *found,
        [images, f"{worth['photographs']:.3g}", with_interval(made["recall"], made["recall_interval"]), percent(arms[CURATED]["recall_others"])],
    ]


def arms_of(one: dict[str, Any]) -> list[list[str]]:
    """Rows of the table of arms."""

    def difference(name: str) -> str:
        found = one["against"].get(name)
        return "–" if found is None else f"{points(found['value'])} ({' to '.join(map(points, found['interval']))})"

    return [
        [
            f"`{name}`",
            f"{sum(arm['num_added']) / len(arm['num_added']):.0f}",
            percent(arm["recall_rare"]),
            percent(arm["recall_others"]),
            difference(name),
        ]
        for name, arm in one["arms"].items()
    ]


def short(worth: dict[str, Any]) -> str:
    """The number of photographs with its interval."""
    made = worth["synthetic"]
    value, low, high = ("beyond the curve" if number is None else f"{number:+.1f}" for number in (made["equivalent_photographs"], *made["interval"]))
    return f"{value} ({low} to {high}) photographs of each species"


def percent(value: float | None) -> str:
    """A share in percent."""
    return "–" if value is None else f"{100 * value:.1f}"


def with_interval(value: float, interval: list[float]) -> str:
    """A share in percent with its interval."""
    return f"{percent(value)} ({' to '.join(map(percent, interval))})"


if __name__ == "__main__":
    main()
