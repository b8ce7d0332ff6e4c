"""The photographs of Fish4Knowledge, which are not part of this repository, and grids of images made from them."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from common.results import ROOT, options
from common.timing import syntype
from syntype.collection import Collection
from syntype.compute.grids import tile

__all__ = ["DATA", "NEW", "NOTICE", "SHOWN", "SIZE", "collecting", "open_photographs", "photograph_options", "rows_of", "save_grid", "without_new"]

DATA = Path(os.environ.get("SYNTYPE_FISH4KNOWLEDGE", ROOT.parent / "shared" / "data" / "fish4knowledge"))
SIZE = 64
"""Side of the images, pixels."""
SHOWN = (
    "Dascyllus reticulatus",
    "Amphiprion clarkii",
    "Chaetodon lunulatus",
    "Plectroglyphidodon dickii",
    "Chromis chrysura",
    "Myripristis kuntee",
    "Hemigymnus fasciatus",
    "Chaetodon trifascialis",
    "Lutjanus fulvus",
    "Zebrasoma scopas",
    "Balistapus undulatus",
    "Zanclus cornutus",
)
"""Species of the grids: the commonest, some between, the rarest."""
NEW = "Neoglyphidodon nigroris"
"""The species that no generator is trained on, so that adaptation has one to learn."""
NOTICE = (
    "Photographs: Fish4Knowledge ground-truth data, P. X. Huang, B. J. Boom and R. B. Fisher, University of Edinburgh; the original data are "
    "available from groups.inf.ed.ac.uk/vision/DATASETS/FISH4KNOWLEDGE/WEBSITE/GROUNDTRUTH/RECOG; see B. J. Boom et al., cited on that page."
)


def photograph_options(name: str, description: str | None) -> argparse.ArgumentParser:
    """A parser with the options that every benchmark on photographs has."""
    parser = options(name, description)
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the Fish4Knowledge photographs")
    parser.add_argument("--collection", type=Path, help="a collection that was imported before, in place of --data")
    return parser


def collecting(data: Path) -> list[object] | None:
    """The command that imports the photographs, but for --out; None, and a word to the user, where they are not."""
    table = data / "classification.csv"
    if not table.is_file():
        print(f"{table} is not there: nothing measured. Give --data or set SYNTYPE_FISH4KNOWLEDGE.", file=sys.stderr)
        return None
    return ["collect", table, "--species-column", "standardized_species", "--group-column", "trajectory"]


def open_photographs(arguments: argparse.Namespace) -> Collection | None:
    """The photographs, imported where they were not; None, and a word to the user, where there are none. Makes --out."""
    arguments.out.mkdir(parents=True, exist_ok=True)
    folder = arguments.collection or arguments.out / "collection"
    if arguments.collection is None:
        collect = collecting(arguments.data)
        if collect is None:
            return None
        if not (folder / "collection.json").exists():
            syntype([*collect, "--out", folder])
    return Collection.open(folder)


def without_new(collection: Collection) -> Collection:
    """All but the species that is left for adaptation."""
    return collection.where(collection.table["species"].ne(NEW))


def rows_of(collection: Collection, species: str, number: int) -> list[np.ndarray]:
    """The first images of a species, not the best."""
    return list(collection.select(species=species).pixels(SIZE)[:number])


def save_grid(
    images: list[np.ndarray], columns: int, path: Path, description: str = "Synthetic images made by Syntype; not occurrence evidence."
) -> None:
    """Save images of 64 px as a grid, a small one at twice its size, with the notice of the photographs that they were learnt from."""
    path.parent.mkdir(parents=True, exist_ok=True)
    images = images[: len(images) // columns * columns] or images
    columns = min(columns, len(images))
    notice = PngInfo()
    notice.add_itxt("Description", description)
    notice.add_itxt("Source", NOTICE)
    picture = Image.fromarray(tile(np.stack(images), columns))
    if picture.height <= 900:
        picture = picture.resize((2 * picture.width, 2 * picture.height), Image.Resampling.BICUBIC)
    picture.quantize(256).save(path, pnginfo=notice, optimize=True)
