"""The butterfly photographs, which are not part of this repository: training and validation photographs only."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
from PIL import Image

from common.disguises import oblong
from common.results import ROOT
from syntype.collection import Collection
from syntype.collection.importers import CollectConfig, collect

__all__ = ["BUTTERFLIES", "without_test"]

BUTTERFLIES = Path(os.environ.get("SYNTYPE_BUTTERFLIES", ROOT.parent / "shared" / "data" / "butterflies"))


def without_test(source: Path, out: Path, *, cut: bool = False, reserve: bool = False) -> Collection:
    """Training and validation photographs as a collection in ``out``, imported where it is not there; the test photographs are not read.

    Args:
        cut: cut the photographs, which are square, to 4:3 and 3:4 in turn.
        reserve: with the photographs that belong to no split, six of each rare species, as further validation photographs.
    """
    if not (out / "collection.json").exists():
        entries, folder = pd.read_csv(source / "images.csv"), out.parent / f"{out.name}-files"
        if reserve:
            entries = pd.concat([entries, pd.read_csv(source / "reserve.csv").assign(split="val")])
        entries = entries[entries["split"].isin(["train", "val"])].reset_index(drop=True)
        for number, name in enumerate(entries["file_name"]):
            target = (folder / name).with_suffix(".png")
            target.parent.mkdir(parents=True, exist_ok=True)
            with Image.open(source / name) as opened:
                image = opened.convert("RGB")
                (oblong(image, number) if cut else image).save(target)
        entries["file_name"] = [str(Path(name).with_suffix(".png")) for name in entries["file_name"]]
        entries.to_csv(folder / "images.csv", index=False)
        collect(folder / "images.csv", CollectConfig(), out)
    return Collection.open(out)
