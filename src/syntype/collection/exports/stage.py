"""Export of a collection to one file that contains the images with their labels, licences and provenance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from syntype.collection.exports.base import RECORD, Content
from syntype.collection.exports.file_names import plain_name
from syntype.collection.exports.layouts import LAYOUTS
from syntype.collection.exports.package import Package, json_bytes, write_csv
from syntype.collection.table import Collection
from syntype.errors import CollectionError
from syntype.files import atomic_write, write_json
from syntype.recipe import Settings
from syntype.run import OWN_RUN, Run, keeps_run

__all__ = ["ExportConfig", "ExportResult", "LayoutName", "export"]

LayoutName = Literal["species", "collection", "table"]


class ExportConfig(Settings):
    """Settings of ``export``."""

    layout: LayoutName = "species"
    """``species``: a zip with one folder per species, and the table as CSV and Parquet. ``collection``: a zip that unpacks to a collection.
    ``table``: only the CSV."""
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
    out, layout = Path(out), LAYOUTS[config.layout]
    chosen = collection.select(usable=True) if config.usable else collection
    if not len(chosen):
        raise CollectionError(f"{collection.root}: has no images to export" + (", all are refused. Add --all." if len(collection) else "."))
    out.mkdir(parents=True, exist_ok=True)
    file = out / f"{plain_name(collection.name) or 'collection'}.{'csv' if layout.place is None else 'zip'}"
    with atomic_write(file) as temporary:
        if layout.place is None or layout.write is None:
            write_csv(chosen.table, temporary)
        else:
            _write_zip(chosen, layout.place(chosen), layout.write, temporary, run)
    result = ExportResult(file, len(chosen), file.stat().st_size)
    write_json(out / "export.json", {**result.summary(), "file": file.name})
    return result


def _write_zip(chosen: Collection, names: list[str], describe: Callable[[Content, Package], None], file: Path, run: Run) -> None:
    first = dict(zip(reversed(names), range(len(names) - 1, -1, -1), strict=True))  # several rows may be animals of one file
    with Package(file) as package:
        for row in run.track(sorted(first.values()), "Packing images"):
            _pack(package, names[row], chosen.path(row))
        table = chosen.table.assign(file_name=pd.array(names, dtype="string"))
        info = {key: chosen.info.get(key, []) for key in ("sources", "history")}
        content = Content(chosen.name, chosen.species, info, table, chosen)
        package.add(RECORD, json_bytes(content.record()) + b"\n")
        describe(content, package)


def _pack(package: Package, name: str, source: Path) -> None:
    try:
        image, size = source.open("rb"), source.stat().st_size
    except OSError as error:
        raise CollectionError(f"{source}: cannot be read ({error.strerror}). Put it back, or import the collection again.") from None
    with image:
        package.add_image(name, image, size)
