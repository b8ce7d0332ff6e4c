"""Are test photographs noticed that come back among synthetic images, edited or drawn again, and are honest generators let through?

    python benchmarks/leakage.py [--data FOLDER] [--butterflies FOLDER] [--out FOLDER] [--minutes 2]

From each set of photographs a small collection is made with 44 test photographs of as many species as there are, up to 22. The test photographs
are edited in twelve ways and given as synthetic images, once as they are and once through a generator that repeats what it was trained on.
Generators trained on the test photographs under a forged record, and honest ones, follow. Each case is kept in --out and not repeated.
Photographs that are not there are not measured.
"""

from __future__ import annotations

import argparse
import io
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from common.fish import NOTICE, photograph_options
from common.results import ROOT, Page, kept, publish, rewrite, table
from PIL import Image, ImageEnhance, ImageFilter

from syntype.collection import Collection
from syntype.collection.importers import CollectConfig, collect
from syntype.compute.tensors import to_uint8
from syntype.curation.leaks import find_leaks
from syntype.generators import TrainConfig, load_generator, train
from syntype.generators.copy_paste.outlines import self_trained_masks
from syntype.run import Run

BUTTERFLIES = Path(os.environ.get("SYNTYPE_BUTTERFLIES", ROOT.parent / "shared" / "data" / "butterflies"))
NUM_TEST, NUM_SPECIES, NUM_TRAIN, NUM_VAL = 44, 22, 6, 1
SIZE = 64

Edit = Callable[[Image.Image, np.random.Generator], Image.Image]


def main() -> None:
    parser = photograph_options("leakage", __doc__)
    parser.add_argument("--butterflies", type=Path, default=BUTTERFLIES, help="folder of the butterfly photographs (images.csv)")
    parser.add_argument("--minutes", type=float, default=2.0, help="training time of a network")
    parser.add_argument("--only", choices=["fish", "butterflies"], help="measure one set, and write no page")
    arguments = parser.parse_args()
    if arguments.page:
        rewrite("leakage", report, arguments)
        return
    sources = {
        "fish": (arguments.data / "classification.csv", CollectConfig(species_column="standardized_species", group_column="trajectory")),
        "butterflies": (arguments.butterflies / "images.csv", CollectConfig()),
    }
    figures: dict[str, Any] = {}
    for name, (source, config) in sources.items():
        if not source.is_file():
            print(f"{source} is not there: {name} not measured.")
        elif arguments.only in (None, name):
            figures[name] = measure(name, source, config, arguments)
    if figures and arguments.only is None:
        publish("leakage", {"minutes": arguments.minutes}, figures, report, arguments)


def measure(name: str, source: Path, config: CollectConfig, arguments: argparse.Namespace) -> dict[str, Any]:
    """All cases of one set of photographs."""
    out = arguments.out / name
    out.mkdir(parents=True, exist_ok=True)
    whole = out / "whole"
    if not (whole / "collection.json").exists():
        collect(source, config, whole)
    real = small(Collection.open(whole))
    test = real.select(split="test")
    pictures = {
        edit: [function(opened(test, row), np.random.default_rng([row, 0xED1])) for row in range(len(test))] for edit, function in EDITS.items()
    }
    pictures["collaged into another place"] = collages(real, test)
    cases: dict[str, Any] = {}

    def case(kind: str, title: str, make: Callable[[Path], Collection]) -> None:
        slug = "".join(letter if letter.isalnum() else "-" for letter in f"{kind}-{title}")
        cases[f"{kind}: {title}"] = kept(out / f"{slug}.json", lambda: judged(real, make(out / slug)))
        print(name, kind, title, {key: value for key, value in cases[f"{kind}: {title}"].items() if key != "measured"}, flush=True)

    for edit, images in pictures.items():
        case("external", edit, lambda folder, images=images: written(folder, images, test, real))
    for family, minutes in (("pose_transfer", None), ("projected", arguments.minutes)):
        case("external", f"drawn by {family} trained on them", lambda folder, f=family, m=minutes: drawn(folder, test, real, f, m, 0))
    for edit, images in pictures.items():
        case("generator", edit, lambda folder, images=images: drawn(folder, written(folder / "edited", images, test, real), real, "copies", None, 0))
    for family, seed, minutes in (
        ("pose_transfer", 0, None),
        ("pose_transfer", 1, None),
        ("collage", 0, None),
        ("collage", 1, None),
        ("projected", 0, arguments.minutes),
    ):
        case("honest", f"{family}, seed {seed}", lambda folder, f=family, s=seed, m=minutes: drawn(folder, real.training(), real, f, m, s))
    return {"num_train": len(real.training()), "num_test": len(test), "num_species": len(real.species), "cases": cases}


def small(whole: Collection) -> Collection:
    """Two test photographs, six training photographs and one for validation of each of up to 22 species, of different groups where there are."""
    table_ = whole.table[~whole.table["group"].fillna(whole.table["image_id"]).duplicated().to_numpy()]
    counts = pd.crosstab(table_["species"], table_["split"])
    able = counts.index[(counts["test"] >= 2) & (counts["train"] >= 3) & (counts["val"] >= NUM_VAL)][:NUM_SPECIES].tolist()
    each = -(-NUM_TEST // len(able))
    wanted = {"train": NUM_TRAIN, "val": NUM_VAL, "test": each}
    rows = [
        one
        for species in able
        for split, number in wanted.items()
        for one in table_.index[(table_["species"] == species) & (table_["split"] == split)][:number]
    ]
    mask = np.isin(np.arange(len(whole)), rows)
    tests = np.flatnonzero(mask & whole.table["split"].eq("test").to_numpy(dtype=bool))
    mask[tests[NUM_TEST:]] = False
    return replace(whole.where(mask), species=tuple(sorted(able)))


# Edits ----------------------------------------------------------------------------------------------------------------------------


def opened(collection: Collection, row: int) -> Image.Image:
    return Image.open(collection.path(row)).convert("RGB")


def resaved(image: Image.Image, _: np.random.Generator) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=60)
    return Image.open(buffer).convert("RGB")


def recoloured(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Another hue, warmer or colder, with more contrast."""
    shift = int(rng.choice([-20, 20]))
    hue, saturation, value = image.convert("HSV").split()
    turned_hue = Image.merge("HSV", (hue.point([(level + shift) % 256 for level in range(256)]), saturation, value)).convert("RGB")
    tinted = np.asarray(turned_hue) * np.array([[1.2, 1, 0.8], [0.8, 1, 1.2]][int(rng.integers(2))])
    return ImageEnhance.Contrast(Image.fromarray(tinted.clip(0, 255).astype(np.uint8))).enhance(1.2)


def cropped(share: float) -> Edit:
    """Each side shortened by a share, from anywhere."""

    def edit(image: Image.Image, rng: np.random.Generator) -> Image.Image:
        width, height = round(image.width * (1 - share)), round(image.height * (1 - share))
        left, top = int(rng.integers(0, image.width - width + 1)), int(rng.integers(0, image.height - height + 1))
        return image.crop((left, top, left + width, top + height))

    return edit


def turned(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    fill = tuple(int(value) for value in np.asarray(image).mean((0, 1)))
    return image.rotate(float(rng.choice([-8, -5, 5, 8])), Image.Resampling.BICUBIC, fillcolor=fill)


def stretched(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    wide = bool(rng.integers(2))
    return image.resize((round(image.width * (4 / 3 if wide else 1)), round(image.height * (1 if wide else 4 / 3))), Image.Resampling.BICUBIC)


def blurred(image: Image.Image, _: np.random.Generator) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(0.012 * max(image.size)))


EDITS: dict[str, Edit] = {
    "as they are": lambda image, _: image,
    "re-saved (JPEG 60)": resaved,
    "half size": lambda image, _: image.resize((image.width // 2, image.height // 2), Image.Resampling.LANCZOS),
    "recoloured": recoloured,
    "cropped by 5 %": cropped(0.05),
    "cropped by 15 %": cropped(0.15),
    "mirrored": lambda image, _: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "blurred": blurred,
    "blurred and turned": lambda image, rng: turned(blurred(image, rng), rng),
    "another aspect (4:3)": stretched,
}


def collages(real: Collection, test: Collection) -> list[Image.Image]:
    """The animals of test photographs before other species' training photographs: moved, scaled, half of them mirrored."""
    rng, images, places = np.random.default_rng(0xC011), test.pixels(SIZE), real.training().pixels(SIZE)
    masks = self_trained_masks(images, torch.device("cpu")).masks.numpy()
    result = []
    for image, mask in zip(images, masks, strict=True):
        side = round(SIZE * rng.uniform(0.75, 1.05))
        parts = [Image.fromarray(part).resize((side, side)) for part in (image, mask)]
        if rng.integers(2):
            parts = [part.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for part in parts]
        canvas = Image.fromarray(places[rng.integers(len(places))])
        left, top = ((SIZE - side) // 2 + int(rng.integers(-SIZE // 8, SIZE // 8 + 1)) for _ in range(2))
        canvas.paste(parts[0], (left, top), parts[1])
        result.append(canvas)
    return result


# Cases ----------------------------------------------------------------------------------------------------------------------------


def written(folder: Path, images: list[Image.Image], test: Collection, real: Collection) -> Collection:
    """A collection of images with the species of the test photographs; split ``train``, so that a generator can be trained on it."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    names = [f"images/{row}.png" for row in range(len(images))]
    for name, image in zip(names, images, strict=True):
        image.save(folder / name)
    species = test.table["species"].tolist()[: len(images)]
    rows = {"image_id": [f"made-{row}" for row in range(len(images))], "file_name": names, "species": species, "split": "train"}
    return Collection.create(folder, pd.DataFrame(rows), species=real.species)


def drawn(folder: Path, learnt: Collection, real: Collection, family: str, minutes: float | None, seed: int) -> Collection:
    """Images of a generator that was trained on ``learnt``: four for each test photograph's species."""
    learnt = replace(learnt, table=learnt.table.assign(split="train"))
    settings = {"family": family, "size": SIZE, "seed": seed, "device": "cpu", "minutes": minutes}
    train(learnt, TrainConfig.parse(settings), folder / "generator", Run(None, quiet=True))
    generator, test = load_generator(folder / "generator"), real.select(split="test")
    species = [name for name in test.table["species"].tolist() * 2 if name in generator.species]
    images = to_uint8(generator.sample(species, [seed * 10_000 + number for number in range(len(species))]))
    names = [str(number) for number in range(len(species))]  # of images that stand nowhere
    few = replace(test, table=pd.DataFrame({"species": species, "image_id": names, "file_name": names}))
    return written(folder / "drawn", [Image.fromarray(image) for image in images], few, real)


def judged(real: Collection, made: Collection) -> dict[str, Any]:
    """What the search finds, and how long it takes."""
    began = time.process_time()
    found = find_leaks(real, [made], size=SIZE, run=Run.silent())
    tests = set(real.select(split="test").table["image_id"])
    pairs = [one for one in found.pairs if one["image"].startswith("made-") and one["found_by"] == "copies"]
    return {
        "images": len(made),
        "copies_found": len(pairs),
        "tests_left_out": len(tests & set(found.left_out)),
        "refused": bool(found.reasons),
        "by": sorted({one["found_by"] for one in found.pairs} - {"copies"}) + (["copies"] if any("repeat" in word for word in found.reasons) else []),
        "reasons": found.reasons,
        "seconds": time.process_time() - began,
    }


def report(settings: dict[str, Any], figures: dict[str, Any]) -> Page:
    """The page."""
    leaks = {(name, key): one for name, part in figures.items() for key, one in part["cases"].items() if not key.startswith("honest")}
    honest = {(name, key): one for name, part in figures.items() for key, one in part["cases"].items() if key.startswith("honest")}
    # Test photographs may be left out in part: then the rest of a leak would still be in the test.
    missed = [f"{key} ({name})" for (name, key), one in leaks.items() if not one["refused"] and one["tests_left_out"] < NUM_TEST]
    refused = sum(one["refused"] for one in honest.values())
    body: list[str] = [
        "Copies: images found to be a copy of a held-back photograph. Refused by: the searches that found more than chance explains.",
        "",
    ]
    for name, part in figures.items():
        rows = [
            [
                key,
                str(one["images"]),
                str(one["copies_found"]),
                f"**refused** ({', '.join(one['by'])})" if one["refused"] else "let through",
                str(one["tests_left_out"]),
                f"{one['seconds']:.0f} s",
            ]
            for key, one in part["cases"].items()
        ]
        words = f"{part['num_train']} training and {part['num_test']} test photographs of {part['num_species']} species."
        heads = ["case", "images", "copies found", "outcome", "test photographs left out if let through", "time"]
        body += [f"## {name.capitalize()}", "", words, "", *table(heads, rows), ""]
    body += [f"Missed: {'; '.join(missed)}." if missed else "Nothing was missed."]
    return Page(
        title="Leaked test photographs",
        question="Are test photographs noticed that come back among synthetic images, edited or drawn again, and are honest generators let through?",
        answer=f"Refused in {sum(one['refused'] for one in leaks.values())} of {len(leaks)} cases with leaked test photographs, and in {refused} of "
        f"{len(honest)} with an honest generator." + (f" Missed: {'; '.join(missed)}." if missed else ""),
        headline=[
            ("leaks refused", f"{sum(one['refused'] for one in leaks.values())} of {len(leaks)}"),
            ("honest generators refused", f"{refused} of {len(honest)}"),
        ],
        body=body,
        method=[
            f"Collections of up to {NUM_TRAIN} training photographs, {NUM_VAL} for validation and two for the test of each species, of different "
            f"tracks or pictures. Images are compared at {SIZE} px. External: the edited photographs are the synthetic collection. Generator: the "
            "family `copies`, trained on the edited photographs under a forged record, draws the images. `projected` was trained for "
            f"{settings['minutes']:g} minutes of one core. Honest generators were trained on the training photographs. Times are processor time.",
            "",
            NOTICE,
            "",
        ],
    )


if __name__ == "__main__":
    main()
