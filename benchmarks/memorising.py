"""Does `syntype evaluate` notice that images repeat training photographs, and how sure is its KID with few images?

    python benchmarks/memorising.py [--data FOLDER | --collection FOLDER] [--butterflies FOLDER] [--out FOLDER] [--draws 200]

Real photographs stand for the images, so that the true answer is known. Validation photographs are halved at random, by groups: one half are the
photographs held back, the other the images of an ideal generator, which memorises nothing and has KID 0. Then a share of the images is replaced by
training photographs, mirrored, cropped, recoloured and blurred at random. In features of EfficientNet-Lite0 at 64 px. Without the photographs
nothing is measured.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from common.butterflies import BUTTERFLIES, without_test
from common.fish import NOTICE, SIZE, open_photographs, photograph_options
from common.results import Page, kept, publish, rewrite, table
from PIL import Image, ImageEnhance, ImageFilter

from syntype.collection import Collection
from syntype.curation.curate import group_names
from syntype.encoders import encode_collection, load_encoder
from syntype.study.chance import ALARM, Nearness, kid_chance, memorising, nearness
from syntype.study.distances import kid
from syntype.study.fidelity import ENCODER

SHARES = (0.0, 0.1, 0.3, 1.0)
NUMBERS = (20, 50, 150)
"""Largest number of images on each side."""


def main() -> None:
    parser = photograph_options("memorising", __doc__)
    parser.add_argument("--butterflies", type=Path, default=BUTTERFLIES, help="folder of the butterfly photographs (images.csv)")
    parser.add_argument("--draws", type=int, default=200, help="halves of the validation photographs, for each row")
    arguments = parser.parse_args()
    if arguments.page:
        rewrite("memorising", report, arguments)
        return
    fish = open_photographs(arguments)
    if fish is None:
        return
    torch.set_num_threads(1)
    figures = {"fish": kept(arguments.out / "fish.json", lambda: measure(fish, arguments.draws))}
    if (arguments.butterflies / "images.csv").is_file():
        figures["butterflies"] = kept(
            arguments.out / "butterflies.json", lambda: measure(without_test(arguments.butterflies, arguments.out / "butterflies"), arguments.draws)
        )
    publish("memorising", {"draws": arguments.draws}, figures, report, arguments)


def repeated(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A photograph as a generator with augmentation would repeat it: mirrored or not, 80 to 95 % of it, in another light and sharpness."""
    size = len(image)
    side = round(size * rng.uniform(0.8, 0.95))
    left, top = rng.integers(0, size - side + 1, 2)
    picture = Image.fromarray(image[top : top + side, left : left + side]).resize((size, size), Image.Resampling.BICUBIC)
    if rng.integers(2):
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    picture = ImageEnhance.Brightness(picture).enhance(rng.uniform(0.8, 1.2))
    picture = ImageEnhance.Color(picture).enhance(rng.uniform(0.8, 1.2))
    return np.asarray(picture.filter(ImageFilter.GaussianBlur(rng.uniform(0, 0.8))))


def measure(collection: Collection, draws: int) -> dict[str, Any]:
    """Rates of alarms and of intervals that hold, for each number of images and share of repeated photographs."""
    encoder = load_encoder(ENCODER)
    train, held = collection.training(), collection.select(split="val")
    bank, real = (encode_collection(encoder, side, pixels=SIZE) for side in (train, held))
    bank_groups, groups = group_names(train), group_names(held)
    rng = np.random.default_rng(0x3E3)
    sources = np.sort(rng.permutation(len(train))[: len(held)])
    pictures = np.stack([repeated(image, np.random.default_rng([row, 0x3E3])) for row, image in enumerate(train.pixels(SIZE)[sources])])
    copies = encoder.encode(pictures, size=128)
    near, near_copies = (nearness(side, bank, bank_groups) for side in (real, copies))
    rows = []
    for number in NUMBERS:
        for share in SHARES:
            found, covered, different, sizes = [], 0, 0, []
            for draw in range(draws if not share else draws // 4):
                own = np.random.default_rng([draw, number])
                one, other = halves(groups, own, number)
                sizes.append(len(one))
                fake, names = real[one].copy(), groups[one].astype(object)
                replaced = own.permutation(len(one))[: round(share * len(one))]
                chosen = own.permutation(len(copies))[: len(replaced)]
                fake[replaced] = copies[chosen]
                images = Nearness(*(values[one].copy() for values in near))
                for values, others in zip(images, near_copies, strict=True):
                    values[replaced] = others[chosen]
                names[replaced] = [f"repeated {place}" for place in replaced]
                found.append(memorising(images, Nearness(*(values[other] for values in near)), names, groups[other], seed=draw))
                if not share:
                    chance = kid_chance(real[other], fake, groups[other], names, kid=kid(real[other], fake), seed=draw)
                    covered += chance.low <= 0 <= chance.high
                    different += chance.p_value <= ALARM
            row = {"number": float(np.mean(sizes)), "share": share, "alarms": sum(one.alarm for one in found), "draws": len(found)}
            row |= {name: float(np.median([getattr(one, name) for one in found])) for name in ("ratio", "nearer", "nearest_tenth", "z")}
            row |= {name: float(np.mean([getattr(one, name) for one in found])) for name in ("authenticity", "authenticity_held")}
            rows.append(row | ({"covered": covered, "different": different} if not share else {}))
            print(rows[-1], flush=True)
    return {"rows": rows, "train": len(train), "val": len(held), "groups": len(np.unique(groups))}


def halves(groups: np.ndarray, rng: np.random.Generator, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Two parts of the photographs with no group in common, at most so many in each: positions."""
    names, codes = np.unique(groups, return_inverse=True)
    order = rng.permutation(len(names))
    first = np.isin(codes, order[: len(order) // 2])
    parts = []
    for chosen in (np.flatnonzero(first), np.flatnonzero(~first)):
        parts.append(np.sort(rng.permutation(chosen)[:number]))
    return parts[0], parts[1]


def report(settings: dict[str, Any], figures: dict[str, Any]) -> Page:
    """The page."""
    rows = [(name, row) for name, one in figures.items() for row in one["rows"]]
    honest = [row for _, row in rows if not row["share"]]
    worst = max(row["alarms"] / row["draws"] for row in honest)
    wholly = [row["alarms"] / row["draws"] for _, row in rows if row["share"] == 1]
    body = [
        "An alarm: the p value of `memorising` is at most 5 %. Nearer: how often an image is nearer to its nearest training photograph than a "
        "held-back photograph is to its own, 50 % by chance. Nearest tenth: share of the images among the tenth of both that is nearest, 50 % by "
        "chance. Ratio: of the distances. Authentic: images that are no nearer to a training photograph than another group's photographs are to it "
        "(Alaa et al. 2022), and the same of the held-back photographs. Medians and means over the draws.",
        "",
        *table(
            ["photographs", "images", "of them repeated", "alarms", "nearer", "nearest tenth", "ratio", "z", "authentic", "authentic, held back"],
            [
                [
                    name,
                    f"{row['number']:.0f}",
                    f"{row['share']:.0%}",
                    f"{row['alarms'] / row['draws']:.1%}",
                    f"{row['nearer']:.0%}",
                    f"{row['nearest_tenth']:.0%}",
                    f"{row['ratio']:.2f}",
                    f"{row['z']:+.1f}",
                    f"{row['authenticity']:.0%}",
                    f"{row['authenticity_held']:.0%}",
                ]
                for name, row in rows
            ],
        ),
        "",
        f"- Aim: real photographs give an alarm in at most 5 % of the draws: at most {worst:.1%} "
        + ("(**met**)." if worst <= 0.05 else f"(**missed by {worst - 0.05:.1%}**)."),
        f"- Aim: images that all repeat training photographs are found: in {min(wholly):.0%} of the draws or more.",
        "",
        "## KID with few images",
        "",
        "Both sides are real photographs, so the true KID is 0. The test should find a difference in 5 % of the draws, and the 95 % interval should "
        "hold 0 in 95 %.",
        "",
        *table(
            ["photographs", "images on each side", "a difference found", "interval holds 0"],
            [
                [name, f"{row['number']:.0f}", f"{row['different'] / row['draws']:.1%}", f"{row['covered'] / row['draws']:.1%}"]
                for name, row in rows
                if not row["share"]
            ],
        ),
    ]
    return Page(
        title="Images that repeat training photographs, and KID with few images",
        question="Does `syntype evaluate` notice that images repeat training photographs, and how sure is its KID with few images?",
        answer=f"Real photographs in place of images give an alarm in at most {worst:.1%} of the draws; images that all repeat training photographs, "
        f"with augmentation, in at least {min(wholly):.0%}.",
        headline=[("false alarms", f"{worst:.1%}"), ("repeated photographs found", f"{min(wholly):.0%}")],
        body=body,
        method=[
            "Images and held-back photographs are halves of the validation photographs, drawn by groups, "
            f"{settings['draws']} times for each row without repeated photographs, a quarter as often for the others; of more "
            "than the number stated, as many at random. "
            + " ".join(
                f"{name[0].upper()}{name[1:]}: {one['train']} training and {one['val']} validation photographs, the latter of {one['groups']} groups."
                for name, one in figures.items()
            )
            + " Repeated photographs: mirrored in half of the cases, 80 to 95 % of each side, brightness and colour × 0.8 to 1.2, blur up to 0.8 px. "
            "Features of EfficientNet-Lite0 of images of 64 px.",
            "",
            NOTICE,
        ],
    )


if __name__ == "__main__":
    main()
