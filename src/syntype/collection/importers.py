"""Import of photographs into a collection, from one folder per species or from a table of file names."""

from __future__ import annotations

import csv
import hashlib
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import Field

from syntype.collection.columns import SPLITS
from syntype.collection.decoding import in_threads, read_bytes, read_image
from syntype.collection.duplicates import first_of_same, near_duplicates, perceptual_hash, thumbnail
from syntype.collection.sources import Entry, Refused, list_folder, list_table
from syntype.collection.splits import join_groups, make_splits
from syntype.collection.table import Collection, number_groups
from syntype.errors import CollectionError, InputError
from syntype.recipe import Seed, Settings
from syntype.run import OWN_RUN, Run, keeps_run

__all__ = ["CollectConfig", "CollectResult", "collect"]

_SUFFIX = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp", "TIFF": ".tif", "GIF": ".gif", "BMP": ".bmp"}
_SHOWN = 5


class CollectConfig(Settings):
    """Settings of ``collect``. If a column is not given here, its usual names are tried (``sources.SYNONYMS``)."""

    file_column: str | None = None
    species_column: str | None = None
    group_column: str | None = None
    """Column with the observation, specimen or video track. All images of one group go into the same split."""
    licence_column: str | None = None
    box_column: str | None = None
    """Column with the bounding box: left, top, right, bottom in pixels of the image after EXIF rotation."""
    origin: Literal["real", "synthetic"] = "real"
    """``synthetic``: images from any generator, to be evaluated in the same way as Syntype's own images. They are assigned no split."""
    seed: Seed = 0
    """Random seed of the assignment to splits."""
    test_fraction: float = Field(0.25, ge=0, le=0.5)
    val_fraction: float = Field(0.15, ge=0, le=0.4)
    name: str | None = None
    """The collection's name. Default: the name of its folder."""
    terms: str | None = None
    """Terms of use of the images for which the table gives no terms."""


@dataclass(frozen=True)
class CollectResult:
    """What was imported.

    Attributes:
        num_groups: number of distinct groups; each image without a group counts as one group.
        num_refused: number of files or rows that were not imported. ``num_refused`` plus the number of images is the number of files or rows read.
        num_duplicates: number of images whose file is identical to that of an earlier image.
        splits: number of images in each split.
        num_near_across: number of pairs of near duplicates in different splits; ``inspect`` names them.
    """

    collection: Collection
    num_groups: int
    num_refused: int
    num_duplicates: int
    splits: dict[str, int]
    num_near_across: int = 0

    def summary(self) -> dict[str, Any]:
        """The counts as plain values, as ``--json`` prints them."""
        return {
            "num_images": len(self.collection),
            "num_species": len(self.collection.species),
            "num_groups": self.num_groups,
            "num_refused": self.num_refused,
            "num_duplicates": self.num_duplicates,
            "num_near_across": self.num_near_across,
            "splits": dict(self.splits),
        }


@dataclass(frozen=True)
class _Image:
    """One image file that was read and copied."""

    file_name: str
    width: int
    height: int
    sha256: str
    phash: str
    note: str | None
    thumbnail: np.ndarray


@keeps_run("collect")
def collect(source: Path | str, config: CollectConfig, out: Path | str, run: Run = OWN_RUN) -> CollectResult:
    """Import photographs into a new collection.

    ``source`` is one of these: a folder with one sub-folder per species (underscores stand for spaces); a folder of images of one
    species; a CSV or Parquet table; a folder that contains ``metadata.csv`` or ``metadata.parquet`` (such as another collection).
    Every file is read once, checked by decoding it, and copied byte for byte. Files that cannot be used are listed in ``refused.csv``
    with the reason. The table is written last, so an interrupted import cannot be opened as a collection.

    Args:
        source: a folder with one sub-folder per species, or a table (see above).
        config: column names, fractions of the validation and test split, and the random seed of the splits.
        out: folder of the new collection; new or empty.
        run: Records progress and events. Default: a run folder in ``out``, with progress on standard error.

    Returns:
        the collection, and the numbers of groups, refused files, duplicates and images per split.

    Raises:
        InputError: the source is missing or has nothing to import, a column is missing, or ``out`` is already a collection.
        CollectionError: no image could be used.

    Example:
        >>> import syntype
        >>> result = syntype.collect("photographs", syntype.CollectConfig(), "out/fish")
        >>> len(result.collection), result.collection.species
        (16, ('Pictopiscis alter', 'Pictopiscis primus'))
    """
    source, out = Path(source), Path(out)
    if (out / "collection.json").exists():
        raise InputError("already holds a collection", "Give --out a new folder.", file=out)
    items = _list(source, config, out, run)
    out.mkdir(parents=True, exist_ok=True)
    entries = [item for item in items if isinstance(item, Entry)]
    refused = [item for item in items if isinstance(item, Refused)]
    stems = _file_stems(entries)
    kept: list[Entry] = []
    images: list[_Image] = []
    with run.progress("reading images", len(entries)) as bar:
        for entry, image in zip(entries, in_threads(lambda job: _read(job, out), zip(entries, stems, strict=True)), strict=True):
            if isinstance(image, Refused):
                refused.append(image)
            else:
                kept.append(entry)
                images.append(image)
            bar.advance()
    _write_refused(out / "refused.csv", refused)
    if refused:
        _tell_refused(refused, out, run)
    if not images:
        raise CollectionError(f"{source}: not one of {len(items)} files could be used. The reasons are in {out / 'refused.csv'}.")
    table = _table(kept, images, config)
    near_across = _split(table, images, config)
    if near_across:
        run.say(f"{near_across} pairs of nearly the same picture lie in different splits; see them with: syntype inspect {out}")
    step = {"stage": "collect", "source": str(source), "settings": config.model_dump(mode="json")}
    collection = Collection.create(out, table, name=config.name, sources=[str(source)], history=[step])
    counts = collection.table["split"].value_counts()
    return CollectResult(
        collection=collection,
        num_groups=int(collection.groups().max()) + 1,
        num_refused=len(refused),
        num_duplicates=int(collection.table["duplicate_of"].notna().sum()),
        splits={split: int(counts.get(split, 0)) for split in SPLITS},
        num_near_across=near_across,
    )


def _list(source: Path, config: CollectConfig, out: Path, run: Run) -> list[Entry | Refused]:
    columns = {"file": config.file_column, "species": config.species_column, "group": config.group_column,
               "licence": config.licence_column, "box": config.box_column}  # fmt: skip
    if source.is_dir():
        for name in ("metadata.parquet", "metadata.csv"):
            if (source / name).is_file():
                return list_table(source / name, columns)
        tables = sorted(path for path in source.iterdir() if path.suffix.lower() in (".csv", ".tsv", ".parquet"))
        asked = [name for name in columns.values() if name]
        if asked and len(tables) == 1:
            return list_table(tables[0], columns)
        if asked:
            raise InputError(f"is a folder: it has no column {asked[0]!r}", "Give the CSV file itself, or leave the column options out.", file=source)
        if tables:
            run.say(f"{source} holds {tables[0].name}, which is not read: species come from the folders. To use the table, give its path as SOURCE.")
        return list_folder(source, skip=out)
    if not source.exists():
        raise InputError("does not exist", "Give a folder with one sub-folder a species, or a CSV file.", file=source)
    return list_table(source, columns)


def _read(job: tuple[Entry, str], out: Path) -> _Image | Refused:
    """Read, check and copy one file. Called from several threads."""
    entry, stem = job
    try:
        data = read_bytes(entry.path)
        decoded = read_image(data)
    except InputError as error:
        return Refused(str(entry.path), entry.row, error.reason, error.hint)
    file_name = f"{stem}{_SUFFIX[decoded.format]}"
    target = out / file_name
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data)
    height, width = decoded.pixels.shape[:2]
    return _Image(
        file_name, width, height, hashlib.sha256(data).hexdigest(), perceptual_hash(decoded.pixels), decoded.note, thumbnail(decoded.pixels)
    )


def _file_stems(entries: Sequence[Entry]) -> list[str]:
    """A file name without its ending for every entry: ``images/<species>/<name>``. Unique also if case is ignored."""
    folders: dict[str, str] = {}
    taken: Counter[str] = Counter()
    stems = []
    for entry in entries:
        if entry.species not in folders:
            folders[entry.species] = _unique(_slug(entry.species) or "species", taken)
        stems.append(_unique(f"images/{folders[entry.species]}/{_slug(entry.path.stem) or 'image'}", taken))
    return stems


def _slug(text: str) -> str:
    """Reduce a text to ASCII letters, digits, hyphens and underscores, which every file system allows in names."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9-]+", "_", plain).strip("_-")[:100]


def _unique(name: str, taken: Counter[str]) -> str:
    candidate, key = name, name.lower()
    while taken[candidate.lower()]:
        taken[key] += 1
        candidate = f"{name}-{taken[key]}"
    taken[candidate.lower()] += 1
    return candidate


def _table(entries: Sequence[Entry], images: Sequence[_Image], config: CollectConfig) -> pd.DataFrame:
    taken: Counter[str] = Counter()
    rows = []
    for entry, image in zip(entries, images, strict=True):
        box, note = _fit_box(entry, image)
        notes = [text for text in (image.note, note) if text]
        rows.append(
            {
                "image_id": _unique(image.sha256[:16], taken),
                "file_name": image.file_name,
                "species": entry.species,
                "group": entry.group,
                "width": image.width,
                "height": image.height,
                "sha256": image.sha256,
                "phash": image.phash,
                "box": box,
                "terms": config.terms,
                "origin": config.origin,
                "note": "; ".join(notes) or None,
                **entry.extras,
            }
        )
    table = pd.DataFrame(rows)
    first = first_of_same(table)
    table["duplicate_of"] = table["image_id"].iloc[first].where(first != np.arange(len(table))).to_numpy()
    return table


def _fit_box(entry: Entry, image: _Image) -> tuple[str | None, str | None]:
    """The entry's box as JSON, clipped to the image, and a note if the box cannot be used."""
    if entry.box is None:
        return None, entry.note
    left, top, right, bottom = entry.box
    box = [max(0.0, left), max(0.0, top), min(float(image.width), right), min(float(image.height), bottom)]
    if box[2] - box[0] < 1 or box[3] - box[1] < 1:
        return None, f"box not used: it lies outside the image of {image.width} x {image.height} pixels"
    return json.dumps([int(edge) if edge == int(edge) else edge for edge in box]), entry.note


def _split(table: pd.DataFrame, images: Sequence[_Image], config: CollectConfig) -> int:
    """Fill in the column ``split``. Groups that contain the same or nearly the same picture are put into the same split, where that is possible.

    Returns:
        number of pairs of near duplicates in different splits.
    """
    if config.origin == "synthetic":
        table["split"] = None
        return 0
    first = first_of_same(table)
    same = ((row, int(earlier)) for row, earlier in enumerate(first) if row != earlier)
    near = near_duplicates(table, lambda rows: np.stack([images[row].thumbnail for row in rows]))
    units = join_groups(number_groups(table["group"]), table["species"].to_numpy(), same, zip(near["first"], near["second"], strict=True))
    table["split"] = make_splits(
        table["species"].to_numpy(), units, seed=config.seed, test_fraction=config.test_fraction, val_fraction=config.val_fraction
    )
    splits = table["split"].to_numpy(dtype=object)
    return int((splits[near["first"].to_numpy()] != splits[near["second"].to_numpy()]).sum())


def _write_refused(path: Path, refused: Sequence[Refused]) -> None:
    with path.open("w", encoding="utf-8", newline="", errors="backslashreplace") as file:  # some file names are not valid UTF-8
        writer = csv.writer(file)
        writer.writerow(["file", "row", "reason", "hint"])
        writer.writerows([item.file, "" if item.row is None else item.row, item.reason, item.hint] for item in refused)


def _tell_refused(refused: Sequence[Refused], out: Path, run: Run) -> None:
    reasons = Counter(item.reason for item in refused)
    shown = "; ".join(f"{count} {reason}" for reason, count in reasons.most_common(_SHOWN))
    run.say(f"{len(refused)} files set aside ({shown}{'; …' if len(reasons) > _SHOWN else ''}): see {out / 'refused.csv'}")
