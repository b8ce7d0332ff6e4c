"""How well does a generator learn a species that it never saw from six photographs? Every method, species left out one and all.

    python benchmarks/adaptation.py [--data FOLDER | --collection FOLDER] [--out FOLDER] [--base-steps 2000] [--steps 300] [--only METHOD ...]
    python benchmarks/adaptation.py --photographs butterflies [--butterflies FOLDER] --only encode modulate unadapted

One base generator is trained without the six rarest species of Fish4Knowledge that have photographs enough to judge by; then each method
of ``syntype adapt`` teaches it each of them from six photographs (``plain``: fine-tuning on these photographs alone), and 100 images
are compared with those photographs of the species whose group (video track) none of the six belongs to. ``unadapted`` is what the base draws
for the species' nearest relative. On butterflies the same is asked of the first ten of the rare species; their test photographs are not read.
What was measured is kept, so a call that was stopped continues where it was; the page has the methods that are known for every species, and keeps
what it has of the other photographs; other settings need another --out. Without the photographs nothing is measured.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from common.butterflies import BUTTERFLIES, without_test
from common.fish import NOTICE, SIZE, open_photographs, photograph_options
from common.results import Page, kept, publish, read_result, rewrite, table
from common.timing import syntype

from syntype.adaptation import METHODS, nearest_relative
from syntype.adaptation.learning import choose_photographs
from syntype.collection import Collection
from syntype.compute.tensors import to_uint8
from syntype.curation.curate import copy_detector
from syntype.encoders import encode_collection, load_encoder
from syntype.files import write_json
from syntype.generators import load_generator
from syntype.run import Run
from syntype.study.distances import density_coverage, kid, vendi_score
from syntype.study.fidelity import EvaluateConfig

SHOTS, IMAGES = 6, 100
LEAST_HELD_OUT = 10
SPECIES = {"fish": 6, "butterflies": 10}
"""Number of species to leave out."""
LEAST_PHOTOGRAPHS = {"fish": 20, "butterflies": 18}
REFERENCE = {"fish": "plain", "butterflies": "unadapted"}
"""With what each method is compared, species by species."""
VARIANTS = {"plain": ["--method", "finetune", "--set", "relative_share=0"], **{method: ["--method", method] for method in reversed(METHODS)}}
"""How each row adapts. Except in ``plain``, half of the training images show the species with codes of its nearest relative (``relative_share``);
``encode`` trains nothing."""
MEASURES = {"kid": "KID", "coverage": "coverage", "vendi_ratio": "Vendi ratio", "copy_rate": "copy rate", "minutes": "minutes", "megabytes": "MB"}


def main() -> None:
    parser = photograph_options("adaptation", __doc__)
    parser.add_argument("--base-steps", type=int, default=2000, help="training steps of the base")
    parser.add_argument("--steps", type=int, default=300, help="steps of each adaptation")
    parser.add_argument("--photographs", choices=SPECIES, default="fish", help="of which animals")
    parser.add_argument("--butterflies", type=Path, default=BUTTERFLIES, help="folder of the butterfly photographs (images.csv, reserve.csv)")
    parser.add_argument("--species", type=int, help="number of species to leave out (6 of the fish, 10 of the butterflies)")
    parser.add_argument("--only", nargs="*", default=[*VARIANTS, "unadapted"], choices=[*VARIANTS, "unadapted"], help="measure these alone")
    arguments = parser.parse_args()
    if arguments.page:
        rewrite("adaptation", report, arguments)
        return
    of, out = arguments.photographs, arguments.out
    collection = open_photographs(arguments) if of == "fish" else open_butterflies(arguments)
    if collection is None:
        return
    folder = collection.root
    species = left_out(collection, arguments.species or SPECIES[of], LEAST_PHOTOGRAPHS[of])
    if not species:
        print(f"{folder}: no species has photographs enough to be left out: nothing measured.", file=sys.stderr)
        return
    base = out / "base"
    except_ = [word for name in species for word in ("--except", name)]
    trained = command(["train", "projected", folder, *except_, "--steps", arguments.base_steps], base, resume=True)
    referee = Referee(collection)
    figures: dict[str, dict[str, Any]] = {}
    for method in (*VARIANTS, "unadapted"):
        for name in species:
            adapted = out / f"{method}-{name.replace(' ', '-')}"
            path = adapted.with_name(f"{adapted.name}.row.json")
            if method in arguments.only:
                write_json(path, measure(method, name, base, folder, adapted, arguments.steps, referee))
            if path.exists():
                figures.setdefault(method, {})[name] = kept(path, dict)
    known = {"species": figures, **summary(figures, species, REFERENCE[of])}
    if REFERENCE[of] not in known["mean"]:  # with which the page compares
        print(f"{out}: measured: {', '.join(figures)}. The page needs {REFERENCE[of]} too.", file=sys.stderr)
        return
    settings = {"base_steps": trained["steps"], "steps": arguments.steps}
    before = read_result(arguments.results / "adaptation.json") if (arguments.results / "adaptation.json").is_file() else {}
    old, told = before.get("figures", {}), before.get("settings", {})
    if of == "fish":
        rest = ({"butterflies": part["butterflies"]} if "butterflies" in part else {} for part in (told, old))
        settings, known = ({**part, **more} for part, more in zip((settings, known), rest, strict=True))
    else:
        settings |= {"species": len(collection.species) - len(species), "photographs": len(taught(collection, species))}
        settings, known = {**told, "butterflies": settings}, {**old, "butterflies": known}
    publish("adaptation", settings, known, report, arguments)


def open_butterflies(arguments: argparse.Namespace) -> Collection | None:
    """Training, validation and reserve photographs; None, and a word to the user, where there are none. Makes --out."""
    if not (arguments.butterflies / "images.csv").is_file():
        print(f"{arguments.butterflies} is not there: nothing measured. Give --butterflies or set SYNTYPE_BUTTERFLIES.", file=sys.stderr)
        return None
    arguments.out.mkdir(parents=True, exist_ok=True)
    return without_test(arguments.butterflies, arguments.out / "collection", reserve=True)


def taught(collection: Collection, species: list[str]) -> Collection:
    """Photographs from which the base has learnt."""
    training = collection.training()
    return training.where(~training.table["species"].isin(species))


def measure(method: str, species: str, base: Path, collection: Path, out: Path, steps: int, referee: Referee) -> dict:
    """What one method cost and gave for one species; how long it took is that of the whole command."""
    if method == "unadapted":
        relative = referee.relative(species, load_generator(base).species)
        return {**referee.judge(base, species, relative), "relative": relative}
    words = ["adapt", base, collection, "--species", species, *VARIANTS[method], "--shots", SHOTS, "--steps", steps]
    result = command(words, out)
    return {**result, **referee.judge(out, species, species), "minutes": result["wall_minutes"]}


def command(words: list[object], out: Path, *, resume: bool = False) -> dict:
    """Run one command unless its result is known; keep its result, and how long it took in all, beside its folder."""

    def run() -> dict:
        if not resume:
            shutil.rmtree(out, ignore_errors=True)  # begun and not finished: its time would be wrong
        began = time.monotonic()
        result = syntype([*words, "--out", out, *(["--resume"] if resume else [])])
        return {**result, "wall_minutes": (time.monotonic() - began) / 60}

    return kept(out.with_name(out.name + ".json"), run)


def left_out(collection: Collection, number: int, least: int) -> list[str]:
    """The rarest species with photographs enough to learn from and to judge by, ``least`` in all."""
    counts, training = collection.counts(), collection.training().counts()
    names = [name for name in sorted(counts, key=lambda name: (counts[name], name)) if counts[name] >= least and training[name] >= SHOTS]
    return [name for name in names if len(held_out(collection, name)) >= LEAST_HELD_OUT][:number]


def held_out(collection: Collection, species: str) -> Collection:
    """Photographs of a species, of any split, that share no group with those that adaptation learns from: no generator has seen them."""
    shots = choose_photographs(collection, species, SHOTS, seed=0).table
    table = collection.table
    mine = table["species"].eq(species) & ~table["image_id"].isin(shots["image_id"]) & ~table["group"].isin(shots["group"].dropna())
    return collection.where(mine)


class Referee:
    """Compares what a generator draws with held-out photographs."""

    def __init__(self, collection: Collection) -> None:
        self.collection, self.encoder = collection, load_encoder("lite0")

    def judge(self, folder: Path, species: str, drawn: str) -> dict:
        """Figures of ``IMAGES`` images of ``drawn`` against the photographs of ``species``, unless they are known."""
        return kept(folder.with_name(f"{folder.name}.{species.replace(' ', '-')}.judged.json"), lambda: self._compared(folder, species, drawn))

    def relative(self, species: str, known: tuple[str, ...]) -> str:
        """The most similar of the known species, as ``adapt`` finds it where nothing is known of genus and family."""
        training, encoder = self.collection.training(), load_encoder("lite2")
        training = training.where(training.table["species"].isin(known))
        target = encode_collection(encoder, choose_photographs(self.collection, species, SHOTS, seed=0), pixels=64).mean(0)
        return nearest_relative(encode_collection(encoder, training, pixels=64), training.table["species"].tolist(), target)

    def _compared(self, folder: Path, species: str, drawn: str) -> dict:
        images = to_uint8(load_generator(folder).sample([drawn] * IMAGES, range(IMAGES)))
        photographs = held_out(self.collection, species)
        fake, real = self.encoder.encode(images), encode_collection(self.encoder, photographs, pixels=SIZE)
        number = min(len(fake), len(real))  # coverage and variety depend on how many images are looked at: as many on both sides
        some = real[np.random.default_rng(0).permutation(len(real))[:number]]
        detector = copy_detector(self.collection.training(), SIZE, EvaluateConfig().copy_quantile, 0, Run.silent())  # calibrated once
        return {
            "kid": kid(real, fake),
            "coverage": density_coverage(some, fake[:number], min(5, number - 1))[1],
            "vendi_ratio": vendi_score(fake[:number]) / vendi_score(some),
            "copy_rate": float(detector.nearest(images).is_copy.mean()),
            "held_out": len(photographs),
        }


def interval(values: list[float]) -> list[float]:
    """Mean over species and its 95 % bootstrap interval (species drawn again)."""
    data = np.array(values, dtype=np.float64)
    draws = data[np.random.default_rng(0).integers(0, len(data), (4000, len(data)))].mean(1)
    low, high = np.quantile(draws, [0.025, 0.975])
    return [float(data.mean()), float(low), float(high)]


def summary(found: dict[str, dict[str, dict[str, Any]]], species: list[str], reference: str) -> dict[str, dict[str, Any]]:
    """Means over species, and mean differences from a method, of the methods that are known for every species; each with its interval."""
    means: dict[str, Any] = {}
    differences: dict[str, Any] = {}
    for method, rows in found.items():
        if any(name not in rows for name in species):
            continue
        for key in MEASURES:
            values, others = ([part[name].get(key) for name in species] for part in (rows, found.get(reference, {name: {} for name in species})))
            if None not in values:
                means.setdefault(method, {})[key] = interval(values)
                if method != reference and None not in others:
                    differences.setdefault(method, {})[key] = interval([a - b for a, b in zip(values, others, strict=True)])
    return {"mean": means, "difference": differences}


def cells(row: dict[str, Any]) -> list[str]:
    """A figure, or mean and interval, of each measure."""
    shown = [row.get(key) for key in MEASURES]
    return ["" if one is None else f"{one[0]:.3f} ({one[1]:.3f} to {one[2]:.3f})" if isinstance(one, list) else f"{one:.3f}" for one in shown]


def report(settings: dict[str, Any], figures: dict[str, Any]) -> Page:
    """The page."""
    means, found = figures["mean"], figures["species"]
    species = list(dict.fromkeys(name for rows in found.values() for name in rows))
    missing = [method for method in (*VARIANTS, "unadapted") if method not in means]
    adapted = [method for method in means if method != "unadapted"]
    best = {key: pick(adapted, key=lambda method: means[method][key][0]) for key, pick in (("kid", min), ("coverage", max))}
    heads = ["method", *MEASURES.values()]
    body = [
        "KID: distance between synthetic images and held-out photographs (0 is best). Coverage: share of these photographs that have a synthetic "
        "image "
        "near them (1 is best). Vendi ratio: variety of the images over that of the photographs (1 is as varied). Copy rate: share of images that "
        "the "
        "copy detector refuses. Minutes: duration of the whole command. MB: size of what the adaptation stores.",
        "",
        "`plain`: fine-tuning on the six photographs alone. In the other methods that train, half of the training images show the species in poses "
        "and scenes taken from its nearest relative (setting `relative_share`). `encode` trains nothing. `unadapted`: the base generator draws the "
        "nearest relative.",
        "",
        f"## Mean over {len(species)} species",
        "",
        "In brackets: 95 % interval, bootstrap over species.",
        "",
        *table(heads, [[method, *cells(means[method])] for method in means]),
        *(["", f"Not measured yet for every species: {', '.join(missing)}."] if missing else []),
        "",
        "## Difference from `plain`, species by species",
        "",
        *table(heads, [[method, *cells(one)] for method, one in figures["difference"].items()]),
    ]
    for name in species:
        row = found["plain"][name]
        body += ["", f"## {name} ({row['held_out']} held-out photographs, nearest relative {row['relative']})", ""]
        body += table(heads, [[method, *cells(rows[name])] for method, rows in found.items() if method in means])
    more, seen = figures.get("butterflies"), settings.get("butterflies", {})
    return Page(
        title="Adaptation to a species never seen",
        question="How well does a generator learn a new species from six photographs, and which method of `syntype adapt` is best?",
        answer=f"`{best['kid']}` comes nearest to held-out photographs (KID {means[best['kid']]['kid'][0]:.3f}, mean over {len(species)} species, "
        f"against "
        f"{means['plain']['kid'][0]:.3f} for plain fine-tuning) and stores {means[best['kid']]['megabytes'][0]:.2f} MB a species; the highest mean "
        f"coverage "
        f"has `{best['coverage']}` ({means[best['coverage']]['coverage'][0]:.3f}).",
        headline=[(f"KID, `{best['kid']}`", cells(means[best["kid"]])[0]), ("KID, `plain`", cells(means["plain"])[0])],
        body=[*body, *(butterflies(more) if more else [])],
        method=[
            f"One base generator (`projected`, {SIZE} px), trained for {settings['base_steps']} steps without the {len(species)} species; {SHOTS} "
            f"photographs "
            f"and {settings['steps']} steps a species, seed 0; {IMAGES} images each against held-out photographs of other groups (video tracks), in "
            "EfficientNet-Lite0 features. Coverage (k = 5) and Vendi ratio are computed with as many images as photographs.",
            "",
            *([learnt(seen, len(next(iter(more["species"].values()))))] if more else []),
            NOTICE,
        ],
    )


def butterflies(figures: dict[str, Any]) -> list[str]:
    """The section on butterflies: means, differences from the unadapted base, and each species."""
    means, found, heads = figures["mean"], figures["species"], ["method", *MEASURES.values()]
    number = len(found["unadapted"])
    lines = ["", f"## {number} rare butterflies", "", f"Mean over {number} species; in brackets: 95 % interval, bootstrap over species.", ""]
    lines += table(heads, [[method, *cells(one)] for method, one in means.items()])
    lines += ["", "Difference from `unadapted`, species by species:", ""]
    lines += table(heads, [[method, *cells(one)] for method, one in figures["difference"].items()])
    told = [method for method in found if method in means]
    lines += ["", "KID of each species; the nearest relative is that of `unadapted`, and in brackets that of `encode` where it is another:", ""]
    rows = []
    for name, row in found["unadapted"].items():
        other = found.get("encode", {}).get(name, {}).get("relative", row["relative"])
        relative = row["relative"] if other == row["relative"] else f"{row['relative']} ({other})"
        rows.append([name, relative, *(f"{found[method][name]['kid']:.3f}" for method in told)])
    return [*lines, *table(["species", "nearest relative", *told], rows)]


def learnt(settings: dict[str, Any], number: int) -> str:
    """How the butterflies were measured."""
    return (
        f"Butterflies: a base of {settings['base_steps']} steps on {settings['photographs']} photographs of {settings['species']} species, without "
        f"the {number}, which are the first by name of the 40 rare ones (6 training photographs each); {settings['steps']} steps a species where a "
        "method trains; judged by 12 further photographs of each, which are no test photographs; a photograph is a group of its own.\n"
    )


if __name__ == "__main__":
    main()
