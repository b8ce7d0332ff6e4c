"""Import of photographs into a collection, from one folder per species or from a table of file names."""

from __future__ import annotations

import csv
import os
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import Field

from syntype.collection.archives import is_archive
from syntype.collection.boxes import fit_box
from syntype.collection.columns import COLUMNS, SPLITS, one_type
from syntype.collection.copying import CopiedImage, copy_images, unique_name
from syntype.collection.decoding import in_threads, read_bytes
from syntype.collection.download import Downloader, DownloadRules, failures_told, is_absent
from syntype.collection.duplicates import first_of_same, near_duplicates
from syntype.collection.marks import Mark, read_mark
from syntype.collection.opened_source import OpenedSource, opened_source
from syntype.collection.preview import preview_listing
from syntype.collection.selection import select
from syntype.collection.sources import Entry, Listing, Packed, Refused, SourceConfig
from syntype.collection.splits import join_groups, make_splits
from syntype.collection.table import Collection, number_groups
from syntype.errors import CollectionError, InputError, shortened
from syntype.recipe import Seed
from syntype.run import OWN_RUN, Run, keeps_run

__all__ = ["CollectConfig", "CollectResult", "collect"]

_SHOWN = 5
_NOTES = 8
_LONGEST_NOTE = 200
_DOWNLOADS = ".downloads"
"""Folder in the new collection with what was downloaded, until the collection is whole."""
_CHANGED = "the file is another one than when the collection was made (its checksum differs)"
_CONTRADICTED = "the source calls it real, and the file says that it is synthetic"


class CollectConfig(SourceConfig):
    """Settings of ``collect``. If a column is not given, its usual names are tried (``rows.SYNONYMS``)."""

    origin: Literal["real", "synthetic"] | None = None
    """``synthetic``: images from any generator, to be evaluated in the same way as Syntype's own images. They are assigned no split.
    Default: what the source and the marks in the files say, or else real."""
    download: bool = False
    """Fetch the images of which the source has the address alone."""
    private_addresses: bool = False
    """Fetch also from addresses in private networks, such as a server of your museum."""
    redraw_splits: bool = False
    """Draw the splits anew, although the source has the author's."""
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
        num_synthetic: number of synthetic images.
        num_near_across: number of pairs of near duplicates in different splits; ``inspect`` names them.
    """

    collection: Collection
    num_groups: int
    num_refused: int
    num_duplicates: int
    splits: dict[str, int]
    num_near_across: int = 0
    num_synthetic: int = 0

    def summary(self) -> dict[str, Any]:
        """The counts as plain values, as ``--json`` prints them."""
        return {
            "num_images": len(self.collection),
            "num_synthetic": self.num_synthetic,
            "num_species": len(self.collection.species),
            "num_groups": self.num_groups,
            "num_refused": self.num_refused,
            "num_duplicates": self.num_duplicates,
            "num_near_across": self.num_near_across,
            "splits": dict(self.splits),
        }


@keeps_run("collect")
def collect(source: Path | str, config: CollectConfig, out: Path | str, run: Run = OWN_RUN) -> CollectResult:
    """Import photographs into a new collection.

    ``source`` is one of these: a folder with one sub-folder per species (underscores stand for spaces); a folder of images of one
    species; a CSV or Parquet table; what other programs write (``sources.READERS``); another collection or an export of one, which
    comes in as it is; or a zip or tar archive of any of these.
    Every file is read once, checked by decoding it, and copied byte for byte. Files that cannot be used are listed in ``refused.csv``
    with the reason. The table is written last, so an interrupted import cannot be opened as a collection.

    Args:
        source: a folder, table or archive (see above).
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
    leftovers = len(run.manifest.get("sessions", ())) > 1  # of an import that was stopped, in our own folder
    for path in [out / "images", *out.glob(".unpacked-*")] if leftovers else []:
        shutil.rmtree(path, ignore_errors=True)
    if is_archive(source):
        out.mkdir(parents=True, exist_ok=True)
    with opened_source(source, config, out, run) as opened:
        return _collect(source, opened, config, out, run)


def _collect(source: Path, opened: OpenedSource, config: CollectConfig, out: Path, run: Run) -> CollectResult:
    listing = opened.listing
    items = listing.items if is_archive(source) else _outside(listing.items, out)
    run.say(preview_listing(listing).sentence())
    for note in listing.notes[:_NOTES]:
        run.say(shortened(note, _LONGEST_NOTE))
    entries = [item for item in items if isinstance(item, Entry)]
    if config.origin == "real":
        _require_real(entries)
    refused = [item for item in items if isinstance(item, Refused)]
    entries = _wanted(source, entries, refused, config, out, run)
    out.mkdir(parents=True, exist_ok=True)
    kept: list[Entry] = []
    images: list[CopiedImage] = []
    with run.progress("reading images", len(entries)) as bar:
        for entry, image in copy_images(entries, out):
            if isinstance(image, Refused):
                refused.append(replace(image, file=opened.told(image.file)))
            else:
                kept.append(entry)
                images.append(image)
            bar.advance()
    _write_refused(out / "refused.csv", refused)
    if refused:
        _tell_refused(refused, out, run)
    if not images:
        reason, hint = Counter((item.reason, item.hint) for item in refused).most_common(1)[0][0]
        hint = "Give the folder with the images with --images." if reason == "is missing" else shortened(hint, 200)
        told = f"(mostly: {shortened(reason, 80)}). {hint}"
        raise CollectionError(f"{source}: not one of {len(items):,} files could be used {told} All reasons are in {out / 'refused.csv'}.")
    table = _table(kept, images, config)
    _tell_origins(table, images, run)
    near_across = _split(table, images, config, draw=config.redraw_splits or not listing.whole)
    if near_across:
        run.say(f"{near_across} pairs of nearly the same picture lie in different splits; see them with: syntype inspect {out}")
    step = {"stage": "collect", "source": str(source), "settings": config.model_dump(mode="json")}
    species = _vocabulary(listing, table)
    history = [*listing.info.get("history", []), step]
    collection = Collection.create(
        out, table, name=config.name or listing.info.get("name"), species=species, sources=list(listing.origins), history=history
    )
    shutil.rmtree(out / _DOWNLOADS, ignore_errors=True)  # they are in the collection now
    counts = collection.table["split"].value_counts()
    if collection.table["origin"].eq("real").any() and not counts.get("test", 0):
        run.say("no photograph is in the split test, which a study needs: a species must have two observations (groups) for that")
    return CollectResult(
        collection=collection,
        num_groups=int(collection.groups().max()) + 1,
        num_refused=len(refused),
        num_duplicates=int(collection.table["duplicate_of"].notna().sum()),
        splits={split: int(counts.get(split, 0)) for split in SPLITS},
        num_near_across=near_across,
        num_synthetic=int((table["origin"] == "synthetic").sum()),
    )


def _wanted(source: Path, entries: Sequence[Entry], refused: list[Refused], config: CollectConfig, out: Path, run: Run) -> list[Entry]:
    """The entries that are wanted and whose images are here, or were downloaded; the others are added to ``refused``.

    Raises:
        InputError: not one image is here, and none shall be downloaded.
    """
    chosen = select(entries, config.licences, config.max_per_species)
    refused += chosen.refused
    wanted = chosen.entries
    if config.download:
        rules = DownloadRules(private=config.private_addresses)
        with Downloader(out / _DOWNLOADS, rules, run) as downloader:
            wanted, failed = downloader.fetch(wanted, chosen.reserve)
        if failed:
            run.say(failures_told(failed))
        refused += failed
    else:
        if wanted and all(is_absent(entry) for entry in wanted):
            hint = "Add --download to syntype collect, and they are fetched; or give the folder that has them with --images."
            raise InputError(f"has the addresses of {len(wanted):,} images, and none of the images", hint, file=source)
        hint = "Add --download to fetch it, or put the file beside the table."
        refused += [Refused(str(entry.url), entry.row, "is only an address", hint) for entry in wanted if is_absent(entry)]
        wanted = [entry for entry in wanted if not is_absent(entry)]
    if config.max_per_species is not None:
        refused += chosen.left_over(config.max_per_species)
    return wanted


def _require_real(entries: Sequence[Entry]) -> None:
    """Refuse ``--origin real`` for images that say that they are synthetic, before anything is written.

    Raises:
        InputError: there are such.
    """
    hint = "Leave out --origin, and they come in as synthetic; or take them out of the source."
    said = [entry for entry in entries if entry.values.get("origin") == "synthetic"]
    if said:
        raise InputError(f"the source says of {len(said):,} images that they are synthetic, and --origin says real", hint, file=str(said[0].image))
    files = list({entry.image: None for entry in entries})
    marked = [image for image, mark in zip(files, in_threads(_mark_of, files), strict=True) if mark is not None]
    if marked:
        raise InputError(f"{len(marked):,} image files say that they are synthetic, and --origin says real", hint, file=str(marked[0]))


def _mark_of(image: Path | Packed) -> Mark | None:
    try:
        return read_mark(image.read() if isinstance(image, Packed) else read_bytes(image))
    except InputError:  # it is refused when it is copied
        return None


def _tell_origins(table: pd.DataFrame, images: Sequence[CopiedImage], run: Run) -> None:
    synthetic = int((table["origin"] == "synthetic").sum())
    if not synthetic:
        return
    marked = sum(image.mark is not None for image in images)
    told = f" ({marked:,} of them say so in the file)" if marked else ""
    if synthetic == len(table):
        run.say(f"all {synthetic:,} images are synthetic{told}; synthetic images are in no split")
    else:
        run.say(f"a mixture: {len(table) - synthetic:,} photographs and {synthetic:,} synthetic images{told}; synthetic images are in no split")


def _outside(items: Sequence[Entry | Refused], folder: Path) -> list[Entry | Refused]:
    """The items without the images that lie in a folder: the collection that is being made may stand inside its source."""
    inside: dict[str, bool] = {}  # many images lie in one folder

    def lies_there(item: Entry | Refused) -> bool:
        if not (isinstance(item, Entry) and isinstance(item.image, Path)):
            return False
        place = os.path.dirname(item.image)
        if place not in inside:
            inside[place] = Path(place).is_relative_to(folder)
        return inside[place]

    return [item for item in items if not lies_there(item)]


def _vocabulary(listing: Listing, table: pd.DataFrame) -> tuple[str, ...] | None:
    """The species in the order of the source, followed by those that it does not list; None: sorted."""
    if listing.species is None:
        return None
    return (*listing.species, *sorted(set(table["species"].dropna()) - set(listing.species)))


def _table(entries: Sequence[Entry], images: Sequence[CopiedImage], config: CollectConfig) -> pd.DataFrame:
    taken: Counter[str] = Counter()
    rows = []
    for entry, image in zip(entries, images, strict=True):
        box, note = fit_box(entry, image.width, image.height, image.orientation)
        recorded = entry.values.get("sha256")
        if recorded == image.sha256 or (recorded is None and "box" in entry.values):
            box, note = entry.values.get("box"), None  # of a collection, as it was
        elif recorded is not None:
            note = _CHANGED if note is None else f"{note}; {_CHANGED}"
        marked = image.mark is not None
        said = None if not marked or entry.values.get("origin") != "real" else _CONTRADICTED
        notes = [entry.note] if entry.note else []
        notes += [text for text in (image.note, note, said) if text and text not in (entry.note or "").split("; ")]
        own = entry.values.get("image_id")
        rows.append(
            {
                "terms": config.terms,
                **({} if image.mark is None else _made_by(image.mark)),
                **entry.values,
                "image_id": unique_name(own if isinstance(own, str) and own else image.sha256[:16], taken),
                "file_name": image.file_name,
                "original_name": entry.original_name,
                "species": entry.species,
                "group": entry.group,
                "split": entry.split,
                "width": image.width,
                "height": image.height,
                "sha256": image.sha256,
                "phash": image.phash,
                "box": box,
                "origin": "synthetic" if marked else config.origin or entry.values.get("origin") or "real",
                "note": "; ".join(notes) or None,
            }
        )
    table = pd.DataFrame(rows, dtype=object)  # pandas would make whole numbers beside empty cells inexact
    for column in table.columns.difference(list(COLUMNS)):
        table[column] = one_type(table[column])
    first = first_of_same(table)
    other_file = (table["file_name"].to_numpy() != table["file_name"].to_numpy()[first]) | table["box"].isna().to_numpy()  # not another animal of it
    table["duplicate_of"] = table["image_id"].iloc[first].where((first != np.arange(len(table))) & other_file).to_numpy()
    return table


def _made_by(mark: Mark) -> dict[str, Any]:
    """Values that the mark of an image gives, for what the source does not say."""
    return {key: value for key in ("generator_id", "seed", "controls") if (value := getattr(mark, key)) is not None}


def _split(table: pd.DataFrame, images: Sequence[CopiedImage], config: CollectConfig, *, draw: bool) -> int:
    """Fill in the column ``split``. Groups that contain the same or nearly the same picture are put into the same split, where that is possible.

    Args:
        draw: draw splits if there are none.

    Returns:
        number of pairs of near duplicates in different splits.
    """
    real = (table["origin"] != "synthetic").to_numpy(dtype=bool)
    table.loc[~real, "split"] = None
    photographs = table[real].reset_index(drop=True)
    thumbnails = [image.thumbnail for image, chosen in zip(images, real, strict=True) if chosen]
    near = near_duplicates(photographs, lambda rows: np.stack([thumbnails[row] for row in rows]))
    if draw and (config.redraw_splits or photographs["split"].isna().all()):
        first = first_of_same(photographs)
        same = ((row, int(earlier)) for row, earlier in enumerate(first) if row != earlier)
        names = photographs["species"].fillna("").to_numpy()
        units = join_groups(number_groups(photographs["group"]), names, same, zip(near["first"], near["second"], strict=True))
        photographs["split"] = make_splits(names, units, seed=config.seed, test_fraction=config.test_fraction, val_fraction=config.val_fraction)
        table.loc[real, "split"] = photographs["split"].to_numpy()
    splits = photographs["split"].to_numpy(dtype=object)
    first_splits, second_splits = splits[near["first"].to_numpy()], splits[near["second"].to_numpy()]
    return int(((first_splits != second_splits) & pd.notna(first_splits) & pd.notna(second_splits)).sum())


def _write_refused(path: Path, refused: Sequence[Refused]) -> None:
    with path.open("w", encoding="utf-8", newline="", errors="backslashreplace") as file:  # some file names are not valid UTF-8
        writer = csv.writer(file)
        writer.writerow(["file", "row", "reason", "hint"])
        writer.writerows([item.file, "" if item.row is None else item.row, item.reason, item.hint] for item in refused)


def _tell_refused(refused: Sequence[Refused], out: Path, run: Run) -> None:
    reasons = Counter(item.reason for item in refused)
    shown = "; ".join(f"{count} {shortened(reason, 80)}" for reason, count in reasons.most_common(_SHOWN))
    run.say(f"{len(refused)} files set aside ({shown}{'; …' if len(reasons) > _SHOWN else ''}): see {out / 'refused.csv'}")
