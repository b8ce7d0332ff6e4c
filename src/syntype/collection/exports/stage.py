"""Export of a collection to one file that contains the images with their labels, licences and provenance."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from syntype.collection.decoding import read_bytes
from syntype.collection.exports.base import RECORD, Content, Layout
from syntype.collection.exports.file_names import plain_name
from syntype.collection.exports.layouts import LAYOUTS
from syntype.collection.exports.package import Package, json_bytes, write_csv
from syntype.collection.exports.signing import DRAWN_ELSEWHERE, Signer, is_drawn
from syntype.collection.table import Collection
from syntype.errors import CollectionError, InputError
from syntype.files import atomic_write, write_json
from syntype.recipe import Settings
from syntype.run import OWN_RUN, Run, keeps_run

__all__ = ["ExportConfig", "ExportResult", "LayoutName", "export"]

LayoutName = Literal["species", "collection", "hugging-face", "coco", "label-studio", "captions", "table"]


class ExportConfig(Settings):
    """Settings of ``export``."""

    layout: LayoutName = "species"
    """``species``: a zip with one folder per species, and the table as CSV and Parquet. ``collection``: a zip that unpacks to a collection.
    ``hugging-face``, ``coco``, ``label-studio``: a zip for these programs. ``captions``: a zip with a text beside each image, for programs that
    train text-to-image models. ``table``: only the CSV."""
    usable: bool = True
    """Leave out images that curation or an expert refused."""
    sign: bool = False
    """Add content credentials (C2PA) to the files of the images that Syntype drew. Needs ``sign_cert`` and ``sign_key``."""
    sign_cert: Path | None = None
    """PEM file with the signer's certificate, followed by those of its issuers."""
    sign_key: Path | None = None
    """PEM file with the private key of the certificate."""


@dataclass(frozen=True)
class ExportResult:
    """What was exported.

    Attributes:
        file: the file that was written.
        num_images: number of images it contains (or lists, for ``table``).
        num_bytes: its size.
        num_signed: number of image files that were signed.
    """

    file: Path
    num_images: int
    num_bytes: int
    num_signed: int = 0

    def summary(self) -> dict[str, Any]:
        """The values that ``--json`` prints."""
        return {"file": str(self.file), "num_images": self.num_images, "num_bytes": self.num_bytes, "num_signed": self.num_signed}


@keeps_run("export")
def export(collection: Collection, config: ExportConfig, out: Path | str, run: Run = OWN_RUN) -> ExportResult:
    """Write ``out``/NAME.zip (or NAME.csv), and then ``export.json``, which contains its name.

    An interrupted export leaves no incomplete file. Image files are copied byte for byte, so the marks inside synthetic images are kept; with
    ``sign`` those that Syntype drew are given content credentials, and nothing else is changed. Every zip file contains ``collection.json`` and
    the whole table, so that it can be read again. The same collection gives the same bytes, except for signatures.

    Args:
        collection: the collection to export; of a view (``select``), only its rows are exported.
        config: layout of the file, whether refused images are left out, and how to sign.
        out: folder to write to; new or empty.
        run: Records progress and events. Default: a run folder in ``out``, with progress on standard error.

    Returns:
        the file, its size, and how many images it contains or lists and how many were signed.

    Raises:
        CollectionError: there is nothing to export, or an image file is missing.
        InputError: the certificate or the key is missing or cannot be used.
        UnsupportedError: the libraries that sign are not installed.

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
    signer = _signer(config, layout)
    out.mkdir(parents=True, exist_ok=True)
    file = out / f"{plain_name(collection.name) or 'collection'}.{'csv' if layout.place is None else 'zip'}"
    with atomic_write(file) as temporary:
        if layout.place is None or layout.write is None:
            write_csv(chosen.table, temporary)
        else:
            _write_zip(chosen, layout.place(chosen), layout.write, signer, temporary, run)
    if signer is not None:
        for reason, number in signer.left.items():
            run.say(f"{number:,} synthetic {'image is' if number == 1 else 'images are'} not signed: {reason}")
    result = ExportResult(file, len(chosen), file.stat().st_size, signer.num_signed if signer else 0)
    write_json(out / "export.json", {**result.summary(), "file": file.name})
    return result


def _signer(config: ExportConfig, layout: Layout) -> Signer | None:
    """What signs the synthetic images; None if they are not to be signed."""
    if not config.sign:
        return None
    if layout.place is None:
        raise InputError(f"the layout {layout.name} has no images to sign", "Choose another layout, or leave --sign out.")
    if config.sign_cert is None or config.sign_key is None:
        lacks, option = ("certificate", "--sign-cert") if config.sign_cert is None else ("key", "--sign-key")
        raise InputError(f"there is no {lacks} to sign with", f"Give a PEM file with {option}.")
    return Signer(config.sign_cert, config.sign_key)


def _write_zip(
    chosen: Collection, names: list[str], describe: Callable[[Content, Package], None], signer: Signer | None, file: Path, run: Run
) -> None:
    rows: dict[str, list[int]] = {}  # of each file in the export: several rows may be animals of one photograph
    for row, name in enumerate(names):
        rows.setdefault(name, []).append(row)
    hashes = chosen.table["sha256"].to_numpy(dtype=object, copy=True)
    with Package(file) as package:
        for name, sharing in run.track(rows.items(), "Packing images"):
            if signer is not None and (signed := _signed(chosen, sharing, signer)) is not None:
                hashes[sharing] = hashlib.sha256(signed).hexdigest()
                package.add_image(name, io.BytesIO(signed), len(signed))
            else:
                _copy(package, name, chosen.path(sharing[0]))
        table = chosen.table.assign(file_name=pd.array(names, dtype="string"), sha256=pd.array(hashes, dtype="string"))
        info = {key: chosen.info.get(key, []) for key in ("sources", "history")}
        content = Content(chosen.name, chosen.species, info, table, chosen, signer is not None)
        package.add(RECORD, json_bytes(content.record()) + b"\n")
        describe(content, package)


def _signed(chosen: Collection, rows: list[int], signer: Signer) -> bytes | None:
    """The signed file of some rows; None if it is not one that Syntype drew."""
    of_file = [chosen.table.iloc[row] for row in rows]
    if any(pd.isna(row["origin"]) or row["origin"] != "synthetic" for row in of_file):
        return None
    if not all(is_drawn(row) for row in of_file):
        signer.left[DRAWN_ELSEWHERE] += 1
        return None
    return signer.signed(read_bytes(chosen.path(rows[0])), of_file[0])


def _copy(package: Package, name: str, source: Path) -> None:
    try:
        image, size = source.open("rb"), source.stat().st_size
    except OSError as error:
        raise CollectionError(f"{source}: cannot be read ({error.strerror}). Put it back, or import the collection again.") from None
    with image:
        package.add_image(name, image, size)
