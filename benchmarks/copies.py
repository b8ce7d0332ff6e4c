"""Does the copy detector see through disguises, does it leave other photographs alone, and what does it cost with 100,000 photographs?

    python benchmarks/copies.py [--data FOLDER | --collection FOLDER] [--butterflies FOLDER] [--out FOLDER] [--every 2] [--originals 200]
                                [--banks 1000 10000 100000] [--queries 2000] [--only whole-fish-64 ...]

On Fish4Knowledge: training photographs are disguised in one way and in two, and looked for among all training photographs; test
photographs, which are of other video tracks, are looked for among the same. On Fish4Knowledge and on butterflies (cut to 4:3 and 3:4
first): whole photographs are disguised before they are scaled to squares, of three sizes; photographs of the split val are the others. Then
on pictures made for the purpose: time and memory for banks of several sizes, and whether the approximate search finds what the exact one
finds. Each part is kept in --out and not repeated. Without the photographs nothing is measured.
"""

from __future__ import annotations

import argparse
import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from common.butterflies import BUTTERFLIES, without_test
from common.disguises import HARDER, PAIRS, SINGLE, WHOLE, disguised, disguised_whole
from common.fish import NOTICE, SIZE, open_photographs, photograph_options
from common.results import Page, kept, publish, rate, read_result, rewrite, table
from PIL import Image

from syntype.collection import Collection
from syntype.collection.pixels import crop_square, photograph_parts
from syntype.collection.reef import ReefConfig, draw_images
from syntype.curation.approximate import ApproximateSearch
from syntype.curation.coarse import CoarseSearch, ExactSearch
from syntype.curation.copies import EXACT_LIMIT, NUM_CANDIDATES, CopyDetector, NearestReal
from syntype.curation.curate import copies_of, copy_bank, copy_detector, group_names
from syntype.run import Run

QUANTILE = 0.015
QUANTILES = (0.005, 0.0075, 0.01, 0.0125, 0.015, 0.02)
"""Settings of the detector among which one is chosen."""
NUM_WHOLE = 300
"""Whole photographs that are disguised for that choice."""
CHOICE = {"chosen": "split train as the bank, split val as other photographs", "confirmed": "train and test divided anew by tracks"}
SETS = ("fish", "butterflies")
SIZES = (64, 128, 224)
"""Sides of the squares to which whole photographs are scaled, pixels."""
DRAWN = "drawn as a square, padding included"
NUM_DRAWN, NUM_SPECIES = 10_000, 500
"""Fish that are drawn; larger banks blend two of them."""
NUM_COMPARED = 4000
"""Pictures of the bank on which the approximate search is compared with the exact one."""
NUM_EXACT = 64
"""Queries by which the exact search is timed where it is too slow for all."""


def main() -> None:
    parser = photograph_options("copies", __doc__)
    parser.add_argument("--every", type=int, default=2, help="disguise every so many-th training photograph")
    parser.add_argument("--only", nargs="+", default=[], help="measure these parts alone, and take the others from the result that is there")
    parser.add_argument("--originals", type=int, default=200, help="whole photographs to disguise, of each set; half as many above 64 px")
    parser.add_argument("--butterflies", type=Path, default=BUTTERFLIES, help="folder of the butterfly photographs (images.csv)")
    parser.add_argument("--banks", type=int, nargs="+", default=[1000, 10_000, 100_000], help="numbers of photographs to search")
    parser.add_argument("--queries", type=int, default=2000, help="queries against each of these banks")
    arguments = parser.parse_args()
    if arguments.page:
        rewrite("copies", report, arguments)
        return
    collection, out = open_photographs(arguments), arguments.out
    if collection is None:
        return
    torch.set_num_threads(1)  # the figures are for one core
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "photographs": lambda: on_photographs(collection, arguments.every),
        "chosen": lambda: by_quantile(collection.training(), collection.select(split="val")),
        "confirmed": lambda: by_quantile(*divided_anew(collection.select(split=("train", "test")), len(collection.training()))),
        **{f"whole-{name}-{size}": functools.partial(on_whole, name, size, collection, arguments) for name in SETS for size in SIZES},
        "compared": lambda: compare(pictures(NUM_COMPARED)),
        **{f"bank-{size}": lambda size=size: at_size(pictures(size), arguments.queries) for size in arguments.banks},
    }
    if unknown := set(arguments.only) - set(parts):
        parser.error(f"unknown parts: {', '.join(sorted(unknown))}. There are {', '.join(parts)}.")
    if not (arguments.butterflies / "images.csv").is_file():
        print(f"{arguments.butterflies} is not there: butterflies not measured.")
        parts = {name: part for name, part in parts.items() if "butterflies" not in name}
    figures = read_result(arguments.results / "copies.json")["figures"] if arguments.only else {}
    for name, part in parts.items():
        if not arguments.only or name in arguments.only:
            kind, _, rest = name.partition("-")
            place = figures
            for key in {"whole": ["whole", *rest.split("-")], "bank": ["sizes", rest]}.get(kind, [kind])[:-1]:
                place = place.setdefault(key, {})
            place[name.rpartition("-")[2]] = kept(out / f"{name}.json", part)
    publish("copies", {}, figures, report, arguments)


# Measuring ------------------------------------------------------------------------------------------------------------------------


def on_photographs(collection: Collection, every: int) -> dict:
    """Shares of disguised copies and of other photographs that are refused."""
    bank = collection.training()
    detector = copy_detector(bank, SIZE, QUANTILE, 0, Run.silent())
    rows = np.arange(every - 1, len(bank), every)
    originals, names = bank.pixels(SIZE)[rows], bank.table["image_id"].to_numpy()[rows]
    result: dict = {"threshold": detector.threshold, "bank": len(bank), "tracks": len(np.unique(group_names(bank)))}
    result |= {"every": every, "copies": {}, "others": {}}
    kinds = {name: kind for kind, disguises in (("single", SINGLE), ("harder", HARDER), ("pair", PAIRS)) for name in disguises}
    every_copy = np.concatenate([disguised(originals, disguise) for disguise in (SINGLE | HARDER | PAIRS).values()])
    for name, one in refused_of(detector.nearest(every_copy), list(kinds), names).items():
        result["copies"][name] = {"kind": kinds[name], **one}
    species = dict(zip(bank.table["image_id"], bank.table["species"], strict=True))
    for split in ("val", "test"):
        others = collection.select(split=split)
        found = copies_of(detector, others, SIZE)  # as in ``curate``
        same = np.array([species[name] for name in found.ids]) == others.table["species"].to_numpy()
        result["others"][split] = {
            "num": len(others),
            "tracks": len(np.unique(group_names(others))),
            "refused": int(found.is_copy.sum()),
            "same_species": int((found.is_copy & same).sum()),
            "tracks_refused": len(np.unique(group_names(others)[found.is_copy])),
        }
    return result


def refused_of(found: NearestReal, disguises: list[str], names: np.ndarray) -> dict[str, dict[str, int]]:
    """For each disguise, of copies of the photographs ``names`` one disguise after the other: number of copies, refused, and refused by name."""
    copies, named = (
        which.reshape(len(disguises), -1).sum(1) for which in (found.is_copy, found.is_copy & (found.ids == np.tile(names, len(disguises))))
    )
    return {name: {"num": len(names), "refused": int(copies[row]), "named": int(named[row])} for row, name in enumerate(disguises)}


def divided_anew(collection: Collection, number: int) -> tuple[Collection, Collection]:
    """About so many photographs, and the others: drawn by tracks, whatever their split."""
    tracks, codes = np.unique(group_names(collection), return_inverse=True)
    order = np.random.default_rng(0xD171DE).permutation(len(tracks))
    last = np.searchsorted(np.bincount(codes)[order].cumsum(), number)
    first = np.isin(codes, order[: last + 1])
    return collection.where(first), collection.where(~first)


def by_quantile(bank: Collection, others: Collection) -> dict[str, Any]:
    """For each of ``QUANTILES``: threshold, copies that are found of each single disguise, and other photographs that are refused."""
    detectors = {quantile: copy_bank(bank, SIZE, quantile=quantile) for quantile in QUANTILES}
    originals, detector = bank.pixels(SIZE)[::4], detectors[QUANTILE]
    copies = detector.nearest(np.concatenate([disguised(originals, disguise) for disguise in SINGLE.values()])).distances.reshape(len(SINGLE), -1)
    distances, (chosen, whole) = copies_of(detector, others, SIZE).distances, whole_copies(bank, detector, SIZE, NUM_WHOLE)
    wholes, rows = whole.distances.reshape(-1, len(chosen))[1:], {}
    for quantile, one in detectors.items():
        found, of_whole = (
            dict(zip(names, (some <= one.threshold).sum(1).tolist(), strict=True)) for names, some in ((SINGLE, copies), (WHOLE, wholes))
        )
        refused = int((distances <= one.threshold).sum())
        rows[str(quantile)] = {"threshold": one.threshold, "found": found, "found_whole": of_whole, "refused": refused}
    return {"bank": len(bank), "copies": len(originals), "whole": len(chosen), "others": len(others), "quantiles": rows}


def on_whole(name: str, size: int, fish: Collection, arguments: argparse.Namespace) -> dict[str, Any]:
    """``whole_photographs`` of one set at one size."""
    collection = fish if name == "fish" else without_test(arguments.butterflies, arguments.out / "butterflies", cut=True)
    return whole_photographs(collection, size, arguments.originals // (1 if size == SIZES[0] else 2))


def whole_photographs(collection: Collection, size: int, number: int) -> dict[str, Any]:
    """Copies of photographs that were disguised before they were scaled, and validation photographs, that are refused."""
    bank = collection.training()
    detector = copy_detector(bank, size, QUANTILE, 0, Run.silent())
    rows, found = whole_copies(bank, detector, size, number)
    copies = refused_of(found, [DRAWN, *WHOLE], bank.table["image_id"].to_numpy()[rows])
    copies[DRAWN] = copies.pop(DRAWN)  # last
    others = collection.select(split="val")
    refused = copies_of(detector, others, size).is_copy
    return {"threshold": detector.threshold, "bank": len(bank), "copies": copies, "others": {"num": len(others), "refused": int(refused.sum())}}


def whole_copies(bank: Collection, detector: CopyDetector, size: int, number: int) -> tuple[np.ndarray, NearestReal]:
    """Rows of photographs, and what is found of their copies: drawn as a square, then in each of the disguises ``WHOLE``."""
    rows, originals = np.unique(np.linspace(0, len(bank) - 1, number).astype(np.int64)), []
    for row in rows:
        with Image.open(bank.path(int(row))) as opened:
            originals.append(opened.convert("RGB"))
    images, sides = [bank.pixels(size)[rows]], [pd.DataFrame({"width": [1] * len(rows), "height": 1, "box": None})]
    for name in WHOLE:
        photographs = disguised_whole(originals, name)
        images.append(np.stack([crop_square(np.asarray(image), size) for image in photographs]))
        sides.append(pd.DataFrame({"width": [each.width for each in photographs], "height": [each.height for each in photographs], "box": None}))
    return rows, detector.nearest(np.concatenate(images), parts=photograph_parts(pd.concat(sides, ignore_index=True), size))


@functools.cache
def drawn() -> np.ndarray:
    reef = ReefConfig(num_species=NUM_SPECIES, size=SIZE)
    return draw_images(reef, np.arange(NUM_DRAWN) % NUM_SPECIES, np.arange(NUM_DRAWN))


def pictures(number: int) -> np.ndarray:
    """Drawn fish, uint8 (number, SIZE, SIZE, 3); beyond ``NUM_DRAWN`` each blends two of them, differently placed, half and half."""
    images = np.empty((number, SIZE, SIZE, 3), np.uint8)
    images[:NUM_DRAWN] = drawn()[:number]
    rng = np.random.default_rng(0xB1E)
    for row in range(NUM_DRAWN, number):
        one, other = drawn()[rng.integers(0, NUM_DRAWN, 2)]
        shift = tuple(int(value) for value in rng.integers(-SIZE // 4, SIZE // 4 + 1, 2))
        images[row] = (one.astype(np.uint16) + np.roll(other[::-1], shift, (0, 1))) // 2
    return images


def queries_of(bank: np.ndarray, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Copies of evenly spaced pictures, each with one of the single disguises in turn, and the pictures' rows."""
    rows = np.linspace(0, len(bank) - 1, min(number, len(bank))).astype(np.int64)
    disguises = [disguise for name, disguise in SINGLE.items() if name != "none"]
    copies = [disguises[n % len(disguises)](bank[row], np.random.default_rng([n, 0xD15])) for n, row in enumerate(rows)]
    return np.stack(copies), rows


def compare(bank: np.ndarray) -> dict:
    """Both searches on one bank: how many originals are among the candidates of each."""
    queries, rows = queries_of(bank, len(bank))
    target = torch.from_numpy(rows)[:, None]
    exact, approximate = ((search(bank).nearest(queries, NUM_CANDIDATES).rows == target).any(1) for search in (ExactSearch, ApproximateSearch))
    both = int((exact & approximate).sum())
    return {"bank": len(bank), "queries": len(rows), "candidates": NUM_CANDIDATES, "exact": int(exact.sum()), "both": both}


def at_size(bank: np.ndarray, number: int) -> dict:
    """Cost of both searches and of the whole detector; whether copies are found."""
    names = np.arange(len(bank)).astype(str)
    began, before = time.process_time(), memory()
    detector = CopyDetector(bank, names, names, np.arange(len(bank)) % NUM_SPECIES, quantile=QUANTILE)
    built, taken = time.process_time() - began, memory() - before
    queries, rows = queries_of(bank, number)
    began = time.process_time()
    found = detector.nearest(queries)
    seconds = time.process_time() - began
    result = {
        "bank": len(bank),
        "build_seconds": built,
        "megabytes": taken / 1e6,
        "queries": len(queries),
        "ms_per_query": 1e3 * seconds / len(queries),
        "refused": int(found.is_copy.sum()),
        "named": int((found.is_copy & (found.ids == names[rows])).sum()),
    }
    slow = len(bank) > EXACT_LIMIT
    result["exact_ms"] = coarse_cost(ExactSearch(bank), queries[:NUM_EXACT] if slow else queries)
    result["approximate_ms"] = coarse_cost(detector.coarse if slow else ApproximateSearch(bank), queries)
    return result


def coarse_cost(search: CoarseSearch, queries: np.ndarray) -> float:
    """Milliseconds a query of the first stage."""
    began = time.process_time()
    search.nearest(queries, NUM_CANDIDATES)
    return 1e3 * (time.process_time() - began) / len(queries)


def memory() -> float:
    """Bytes that the process holds, but for what is mapped from files."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return 1024 * int(fields["RssAnon"].split()[0])


# Reporting ------------------------------------------------------------------------------------------------------------------------


def report(settings: dict[str, Any], figures: dict[str, Any]) -> Page:
    """The page."""
    photographs, compared, banks = figures["photographs"], figures["compared"], list(figures["sizes"].values())
    copies, others = photographs["copies"], photographs["others"]
    single = {name: one for name, one in copies.items() if one["kind"] == "single"}
    worst = min(single, key=lambda name: single[name]["refused"])
    least = share(single[worst]["refused"], single[worst]["num"])
    missed = [name for name, one in single.items() if one["refused"] < 0.99 * one["num"]]
    test, last = others["test"], banks[-1]
    body = [
        f"- Aim: at least 99 % of the copies in a single disguise are refused. The least is {least} (*{worst}*). "
        + (f"**Missed** for {', '.join(missed)}." if missed else "The aim holds for each disguise."),
        f"- Aim: at most 2 % of other photographs are refused. {test['refused']} of {test['num']} test photographs are, from "
        f"{test['tracks_refused']} of {test['tracks']} video tracks, none of which is in the training split."
        + ("" if test["refused"] <= 0.02 * test["num"] else " **The aim is missed.**"),
        "",
        "## On photographs",
        "",
        "Refused: found to be a copy. Named: refused, and the right original given. In brackets: 95 % interval (Wilson); photographs of one track "
        "are alike, so the intervals for other photographs are rather too narrow.",
        "",
    ]
    titles = {"single": "one disguise", "harder": "harder than the aim asks", "pair": "two disguises"}
    for kind, title in titles.items():
        rows = [
            [name, str(one["num"]), rate(one["refused"], one["num"], 2), share(one["named"], one["num"])]
            for name, one in copies.items()
            if one["kind"] == kind
        ]
        body += [*table([title, "copies", "refused", "named"], rows), ""]
    rows = [
        [split, str(one["num"]), str(one["tracks"]), *(f"{one[key]}: {rate(one[key], one['num'], 2)}" for key in ("refused", "same_species"))]
        for split, one in others.items()
    ]
    body += [
        *table(["other photographs", "number", "tracks", "refused", "as a copy of the same species"], rows),
        "",
        *of_quantiles({name: figures[name] for name in CHOICE if name in figures}),
        *of_whole(figures.get("whole", {})),
        "## With many photographs",
        "",
        "First stage: the search at 12 px, exact or approximate; the whole also aligns the candidates. "
        f"Up to {EXACT_LIMIT:,} photographs the first stage in use is exact, beyond that approximate (there the exact one is timed on "
        f"{NUM_EXACT} queries). Times are processor time of one core, milliseconds an image.",
        "",
        *table(
            [
                "photographs",
                "build and calibrate",
                "memory",
                "queries",
                "exact first stage",
                "approximate first stage",
                "whole, as used",
                "refused",
                "named",
            ],
            [
                [
                    f"{one['bank']:,}",
                    f"{one['build_seconds']:.0f} s",
                    f"{one['megabytes']:,.0f} MB" if one["megabytes"] > 0 else "no growth",
                    f"{one['queries']:,}",
                    *(f"{one[key]:.1f} ms" for key in ("exact_ms", "approximate_ms", "ms_per_query")),
                    *(share(one[key], one["queries"]) for key in ("refused", "named")),
                ]
                for one in banks
            ],
        ),
        "",
        f"Recall of the approximate first stage among {compared['bank']:,} photographs with as many disguised copies: the exact stage has the "
        f"original among its {compared['candidates']} candidates for {compared['exact']:,}; of those the approximate stage has "
        f"{rate(compared['both'], compared['exact'], 2)} (aim 99 %).",
    ]
    return Page(
        title="Detecting copies of training photographs",
        question="Does the copy detector find disguised copies of training photographs, does it accept other photographs, and what does it cost with "
        f"{last['bank']:,} photographs?",
        answer=f"It refuses at least {least} of the copies in each of {len(single)} disguises, and {share(test['refused'], test['num'])} of the test "
        f"photographs, which are no copies. With {last['bank']:,} training photographs it takes {last['ms_per_query']:.1f} ms an image and "
        f"{last['megabytes']:,.0f} MB.",
        headline=[
            ("copies refused, worst disguise", least),
            ("other photographs refused", share(test["refused"], test["num"])),
            (f"time an image, {last['bank']:,} photographs", f"{last['ms_per_query']:.1f} ms"),
        ],
        body=body,
        method=[
            f"Fish4Knowledge at {SIZE} px: {photographs['bank']} training photographs of {photographs['tracks']} video tracks; calibrated threshold "
            f"{photographs['threshold']:.3f}. Copies: every {ordinal(photographs['every'])} of these photographs, disguised; the detector's design "
            f"was chosen on others of them and on validation photographs. With many photographs: {NUM_DRAWN:,} drawn fish of {NUM_SPECIES} species; "
            f"the rest blend two of them, shifted; queries are copies in one of the single disguises in turn. One thread.",
            "",
            NOTICE,
        ],
    )


def of_quantiles(divisions: dict[str, dict[str, Any]]) -> list[str]:
    """Lines on the choice of the quantile."""
    lines = [
        "## Which quantile",
        "",
        "`copy_quantile` is the share of photographs that the detector would call a copy of another photograph. The rule, fixed before the run: of "
        f"{', '.join(map(str, QUANTILES))} the smallest at which at least 99 % of the copies in each single disguise are refused, and at most 2 % "
        "of the photographs of the split val. It is then confirmed on another division. Worst disguise: the one with the fewest copies refused. "
        "Added after the first run: copies of whole photographs, in the disguises of the next section.",
        "",
    ]
    for name, one in divisions.items():
        heads = [f"{name}: {CHOICE[name]}", "threshold", f"worst disguise, of {one['copies']} copies",
                 f"whole photographs: worst disguise, of {one['whole']} copies", f"of {one['others']} other photographs refused"]  # fmt: skip
        rows = []
        for quantile, row in one["quantiles"].items():
            cells = [quantile, f"{row['threshold']:.4f}"]
            for found, number in ((row["found"], one["copies"]), (row["found_whole"], one["whole"])):
                worst = min(found, key=found.get)
                cells.append(f"{worst}: {rate(found[worst], number, 2)}")
            rows.append([*cells, f"{row['refused']}: {rate(row['refused'], one['others'], 2)}"])
        lines += [*table(heads, rows), ""]
    told = (
        "The rule names 0.005, but the default stays 0.015. The rule asked for single disguises only. At 0.005 fewer copies are found that are "
        "disguised in two ways: 226 of 263 that are turned and saved as JPEG, 252 at 0.015 (found after the choice, by a run that is not kept). "
        "Both settings keep both aims for single disguises in both divisions. Until this run, other photographs were compared without their shape "
        "and padding, which curation uses: so counted, 19 of 875 test photographs (2.17 %) were refused. The count was changed after both figures "
        "had been seen on the split test, and the division anew holds photographs of that split: 1.94 % is no independent confirmation."
    )
    return [*lines, told, ""]


def of_whole(whole: dict[str, dict[str, Any]]) -> list[str]:
    """Lines on whole photographs."""
    if not whole:
        return []
    columns = [(name, size) for name, sizes in whole.items() for size in sizes]
    first = next(iter(next(iter(whole.values())).values()))
    lines = [
        "## On whole photographs",
        "",
        "The disguise is put on the whole photograph, as it was taken, and the result is then scaled to a square; butterflies, which are square "
        "files, were cut to 4:3 and 3:4 before all else. Share of the copies refused (aim 99 %), in squares of so many pixels; of other photographs, "
        "which are those of the split val (aim at most 2 %).",
        "",
    ]
    heads = [f"{name}, {size} px" for name, size in columns]
    rows = [["copies", *(str(whole[name][size]["copies"]["none"]["num"]) for name, size in columns)]]
    for disguise in first["copies"]:
        cells = [share_of(whole[name][size]["copies"][disguise]) for name, size in columns]
        rows.append([disguise, *cells])
    rows.append(["*other photographs*", *(share_of(whole[name][size]["others"]) for name, size in columns)])
    rows.append(["threshold", *(f"{whole[name][size]['threshold']:.3f}" for name, size in columns)])
    lines += table(["whole photograph", *heads], rows)
    missed = [
        f"{disguise} ({name}, {size} px: {one['refused']} of {one['num']})"
        for name, size in columns
        for disguise, one in whole[name][size]["copies"].items()
        if one["refused"] < 0.99 * one["num"]
    ]
    wrong = [f"{name}, {size} px" for name, size in columns if whole[name][size]["others"]["refused"] > 0.02 * whole[name][size]["others"]["num"]]
    lines += ["", f"- Aim of 99 % of the copies: {missing(missed)}.", f"- Aim of 2 % of other photographs: {missing(wrong)}.", ""]
    return lines


def missing(where: list[str]) -> str:
    return f"**missed** for {', '.join(where)}" if where else "holds everywhere"


def share_of(one: dict[str, int]) -> str:
    return f"{one['refused'] / one['num']:.1%}"


def ordinal(number: int) -> str:
    return {2: "second", 3: "third"}.get(number, f"{number}th")


def share(part: int, whole: int) -> str:
    return f"{part / whole:.2%}"


if __name__ == "__main__":
    main()
