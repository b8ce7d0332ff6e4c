"""Export of a collection to one file that contains the images with their labels, licences and provenance."""

from __future__ import annotations

import re
import shutil
import tempfile
import zipfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from syntype.collection.table import Collection
from syntype.errors import CollectionError
from syntype.files import atomic_write, write_json
from syntype.recipe import Settings
from syntype.run import OWN_RUN, Run, keeps_run

__all__ = ["ExportConfig", "ExportResult", "export"]


class ExportConfig(Settings):
    """Settings of ``export``."""

    layout: Literal["species", "collection", "table"] = "species"
    """``species``: a zip with one folder per species and ``metadata.csv``. ``collection``: a zip that unpacks to a collection; the Hugging Face
    ``imagefolder`` loader can read it too. ``table``: only the CSV."""
    usable: bool = True
    """Leave out images that curation or an expert refused."""


@dataclass(frozen=True)
class ExportResult:
    """The exported file, the number of images it contains (or lists, for ``table``), and its size in bytes."""

    file: Path
    num_images: int
    num_bytes: int

    def summary(self) -> dict[str, Any]:
        """The values that ``--json`` prints."""
        return {"file": str(self.file), "num_images": self.num_images, "num_bytes": self.num_bytes}


@keeps_run("export")
def export(collection: Collection, config: ExportConfig, out: Path | str, run: Run = OWN_RUN) -> ExportResult:
    """Write ``out``/NAME.zip (or NAME.csv), and then ``export.json``, which contains its name.

    An interrupted export leaves no incomplete file. Image files are copied byte for byte, so the marks inside synthetic images are kept.

    Args:
        collection: the collection to export; of a view (``select``), only its rows are exported.
        config: layout of the file, and whether refused images are left out.
        out: folder to write to; new or empty.
        run: Records progress and events. Default: a run folder in ``out``, with progress on standard error.

    Returns:
        the file, the number of images it contains or lists, and its size in bytes.

    Raises:
        CollectionError: there is nothing to export, or an image file is missing.

    Example:
        >>> import syntype
        >>> reef = syntype.Collection.open("out/reef")
        >>> syntype.export(reef.select(split="test"), syntype.ExportConfig(layout="table"), "out/export").num_images
        48
    """
    out = Path(out)
    chosen = collection.select(usable=True) if config.usable else collection
    if not len(chosen):
        raise CollectionError(f"{collection.root}: has no images to export" + (", all are refused. Add --all." if len(collection) else "."))
    out.mkdir(parents=True, exist_ok=True)
    file = out / f"{_plain(collection.name) or 'collection'}.{'csv' if config.layout == 'table' else 'zip'}"
    with atomic_write(file) as temporary:
        if config.layout == "table":
            chosen.table.to_csv(temporary, index=False)
        else:
            _write_zip(chosen, config.layout, temporary, run)
    result = ExportResult(file, len(chosen), file.stat().st_size)
    write_json(out / "export.json", {**result.summary(), "file": file.name})
    return result


def _write_zip(chosen: Collection, layout: str, file: Path, run: Run) -> None:
    names = chosen.table["file_name"].tolist() if layout == "collection" else _by_species(chosen.table)
    sources = [chosen.path(row) for row in range(len(chosen))]
    table = chosen.table.assign(file_name=pd.array(names, dtype="string"))
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:  # image files are already compressed
        if layout == "collection":
            with tempfile.TemporaryDirectory(dir=file.parent) as scratch:
                Collection.create(scratch, table, name=chosen.name, species=chosen.species, **_origin(chosen))
                for part in ("metadata.parquet", "collection.json"):
                    archive.writestr(_entry(part), (Path(scratch) / part).read_bytes())
        else:
            archive.writestr(_entry("metadata.csv"), table.to_csv(index=False))
        for source, name in zip(run.track(sources, "Packing images"), names, strict=True):
            try:
                image, size = source.open("rb"), source.stat().st_size
            except OSError as error:
                raise CollectionError(f"{source}: cannot be read ({error.strerror}). Put it back, or import the collection again.") from None
            with image, archive.open(_entry(name, size), "w") as packed:
                shutil.copyfileobj(image, packed)


def _entry(name: str, num_bytes: int = 0) -> zipfile.ZipInfo:
    """An entry of a zip file without the time of day, so that the same collection gives the same file."""
    entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    entry.external_attr, entry.file_size = 0o644 << 16, num_bytes
    return entry


def _origin(collection: Collection) -> dict[str, Any]:
    return {key: collection.info.get(key, []) for key in ("sources", "history")}


def _by_species(table: pd.DataFrame) -> list[str]:
    """``<species>/<image_id>.<ending>`` for every row. Each species has its own folder, whatever characters its name contains."""
    folders: dict[str, str] = {}
    taken: Counter[str] = Counter()
    names = []
    for species, image, file_name in zip(table["species"].fillna("no species"), table["image_id"], table["file_name"], strict=True):
        if species not in folders:
            folders[species] = _own(_plain(species) or "species", taken)
        names.append(_own(f"{folders[species]}/{_plain(str(image)) or 'image'}", taken) + Path(str(file_name)).suffix)
    return names


def _own(name: str, taken: Counter[str]) -> str:
    """The name, with a number added if it is already taken. Upper and lower case count as the same."""
    taken[name.lower()] += 1
    return name if taken[name.lower()] == 1 else _own(f"{name}-{taken[name.lower()]}", taken)


def _plain(text: str) -> str:
    """Keep letters, digits, hyphens and underscores; these are safe in file names on every operating system."""
    return re.sub(r"[^\w-]+", "_", text).strip("_-")[:100]
