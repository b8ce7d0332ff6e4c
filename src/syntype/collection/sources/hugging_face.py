"""Hugging Face data sets: Parquet tables with an image column, and folders that ``save_to_disk`` wrote.

Formats: https://huggingface.co/docs/datasets and https://huggingface.co/docs/hub/datasets-image. Names of classes are in the tables' own metadata
(key ``huggingface``), or in the data set's card.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from syntype.collection.sources.annotations import as_text, group_photographs, split_in
from syntype.collection.sources.base import Entry, Listing, Packed, Reader, Refused, SourceConfig, parse_split
from syntype.collection.sources.class_names import card_names, class_names, explode_objects, features_of, name_classes
from syntype.collection.sources.finding import FileFinder
from syntype.collection.sources.packed_tables import ArrowImages, ParquetImages, image_bytes
from syntype.collection.sources.rows import SYNONYMS, list_rows
from syntype.collection.sources.text_tables import SourceTable
from syntype.errors import InputError

__all__ = ["READER", "arrow_part", "list_parts"]

_IMAGE_NAMES = ("image", "img", "picture", "photo", "jpg", "jpeg", "png", "image_bytes", "bytes")
_LABEL_NAMES = ("species", "label", "labels", "fine_label", "class", "category")
_LOOKED_AT = 20
"""Tables of a folder that are looked at, as the first one may be damaged."""


@dataclass(frozen=True)
class _Part:
    """One table of a data set.

    Attributes:
        name: for messages.
        frame: all columns but that of the images, whose cells are numbers of rows.
        image: name of the image column.
        cell: gives the cell of a row.
        names: names of the classes, by column.
        features: description of the columns, as far as the table has one.
        split: of the table, if its name says one.
        paths: what the images are called, where the table says it.
        folder: where paths of images start.
    """

    name: str
    frame: pd.DataFrame
    image: str
    cell: Any
    names: Mapping[str, Sequence[str]]
    features: Mapping[str, Any]
    split: str | None
    paths: Sequence[str | None]
    folder: Path


class _NoFiles(FileFinder):
    """The images are in the table itself, so that no file is looked for."""

    def find(self, name: str) -> Path:
        """The name as it is."""
        return Path(name)


def _recognises(source: Path, config: SourceConfig) -> bool:
    if source.is_file():
        return source.suffix.lower() == ".parquet" and _has_images(source, config)
    if (source / "dataset_dict.json").is_file() or ((source / "state.json").is_file() and any(source.glob("*.arrow"))):
        return True
    tables = _tables_in(source)
    return any(_has_images(table, config) for table in tables[:_LOOKED_AT])


def _tables_in(folder: Path) -> list[Path]:
    """The Parquet files of a folder: its own, those in ``data``, or those one level down (folders of splits or of one configuration)."""
    try:
        for pattern in ("*.parquet", "data/*.parquet", "*/*.parquet", "data/*/*.parquet"):
            found = [path for path in sorted(folder.glob(pattern)) if not path.name.startswith((".", "_"))]
            if found:
                return found
    except (OSError, ValueError):
        pass
    return []


def _tables_of(source: Path, config: SourceConfig) -> list[Path]:
    """The tables to read.

    Raises:
        InputError: the folder has several configurations, which are data sets of their own.
    """
    if config.splits:
        return [(source if source.is_dir() else source.parent) / name for name in config.splits.values()]
    if source.is_file():
        return [source]
    tables = _tables_in(source)
    places = sorted({path.parent.name for path in tables if path.parent not in (source, source / "data") and not parse_split(path.parent.name)})
    if len(places) > 1:
        shown = ", ".join(places[:5]) + (", …" if len(places) > 5 else "")
        raise InputError(f"holds several data sets ({shown[:200]})", "Give the folder of one of them.", file=source)
    return tables


def _has_images(path: Path, config: SourceConfig) -> bool:
    import pyarrow.parquet as pq

    try:
        return _image_column(pq.read_schema(path), config) is not None
    except (OSError, ValueError):
        return False


def _image_column(schema: Any, config: SourceConfig) -> str | None:
    """The column with the images: the one asked for, one that the metadata calls an image, or one that holds bytes under a usual name."""
    import pyarrow as pa

    def packs(kind: Any) -> bool:
        if pa.types.is_struct(kind):
            return any(kind.field(number).name == "bytes" and packs(kind.field(number).type) for number in range(kind.num_fields))
        return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))

    fitting = [field.name for field in schema if packs(field.type)]
    if config.file_column is not None:
        return config.file_column if config.file_column in fitting else None
    said = [
        name
        for name, feature in features_of(schema.metadata).items()
        if isinstance(feature, dict) and feature.get("_type") == "Image" and name in fitting
    ]
    structs = [name for name in fitting if pa.types.is_struct(schema.field(name).type)]
    usual = [column for name in _IMAGE_NAMES for column in fitting if column.casefold() == name]
    for names in (said, structs, usual):
        if names:
            return next((name for name in _IMAGE_NAMES if name in names), names[0])
    return None


def _read(source: Path, config: SourceConfig) -> Listing:
    """List the images of a data set.

    Raises:
        InputError: a table is damaged, has no image column, or has classes without names.
    """
    if source.is_dir() and not _tables_in(source):
        parts = _saved_parts(source, config)
        title = "Hugging Face data set, written by save_to_disk"
    else:
        paths = _tables_of(source, config)
        card = card_names(source if source.is_dir() else source.parent)
        parts = [_parquet_part(path, source, config, card) for path in paths]
        title = "Hugging Face data set: Parquet with an image column"
    return list_parts(source, config, parts, title, [str(source)])


def _parquet_part(path: Path, source: Path, config: SourceConfig, card: Mapping[str, Sequence[str]]) -> _Part:
    import pyarrow.parquet as pq

    try:
        schema = pq.read_schema(path)
        image = _require_image(path, schema, config)
        others = [field.name for field in schema if field.name != image and _is_readable(field.type)]
        table = pq.ParquetFile(path).read(columns=others) if others else None
        num_rows = pq.read_metadata(path).num_rows
        paths: list[str | None] = [None] * num_rows
        if _is_struct_with(schema, image, "path"):
            column = pq.ParquetFile(path).read(columns=[f"{image}.path"]).column(0)  # of the two only the path is read
            paths = [cell.get("path") if isinstance(cell, dict) else None for cell in column.to_pylist()]
        frame = table.to_pandas() if table is not None else pd.DataFrame(index=range(num_rows))
    except (OSError, ValueError) as error:
        raise InputError(
            f"cannot be read as Parquet ({' '.join(str(error).split())[:120]})", "Copy it again from where it came.", file=path
        ) from None
    given = {(source if source.is_dir() else source.parent) / name: key for key, name in config.splits.items()}
    split: str | None = given.get(path) or split_in(path.stem) or (parse_split(path.parent.name) if path.parent != source else None)
    features = features_of(schema.metadata)
    names = {**card, **class_names(features)}
    return _Part(path.name, _with_rows(frame, image), image, ParquetImages(path, image).cell, names, features, split, paths, path.parent)


def _saved_parts(source: Path, config: SourceConfig) -> list[_Part]:
    """The tables of a folder that ``save_to_disk`` wrote."""
    import pyarrow as pa

    folders: list[tuple[Path, str | None]] = [(source, None)]
    if (source / "dataset_dict.json").is_file():
        folders = [(path, split_in(path.name)) for path in sorted(source.iterdir()) if (path / "state.json").is_file()]
    parts = []
    for folder, split in folders:
        try:
            state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
            files = [folder / Path(str(item["filename"])).name for item in state["_data_files"]]
            tables = [pa.ipc.open_stream(pa.memory_map(str(file))).read_all() for file in files]
            table = pa.concat_tables(tables)
        except (OSError, ValueError, KeyError, TypeError) as error:
            reason = " ".join(str(error).split())[:120]
            raise InputError(f"is no whole data set of save_to_disk ({reason})", "Save it again.", file=folder) from None
        parts.append(arrow_part(str(folder), table, config, split, folder, card_names(folder)))
    if not parts:
        raise InputError("holds no table", "Save the data set again with save_to_disk.", file=source)
    return parts


def arrow_part(
    name: str, table: Any, config: SourceConfig, split: str | None, folder: Path, card: Mapping[str, Sequence[str]], rows: Any = None
) -> _Part:
    """An Arrow table as a part of a data set.

    Args:
        name: for messages.
        table: the Arrow table.
        config: names of columns.
        split: its split; None if it is that of no single one.
        folder: where relative paths of images start.
        card: names of classes by column, as the card of the data set has them.
        rows: Arrow table with the numbers of the rows that count, in their order; None: all.

    Raises:
        InputError: it has no column with images.
    """
    image = _require_image(name, table.schema, config)
    if rows is not None:  # a data set that was filtered or shuffled
        table = table.take(rows.column(0))
    paths: list[str | None] = [None] * len(table)
    if _is_struct_with(table.schema, image, "path"):
        paths = [path for chunk in table.column(image).chunks for path in chunk.field("path").to_pylist()]
    others = [field.name for field in table.schema if field.name != image and _is_readable(field.type)]
    frame = table.select(others).to_pandas() if others else pd.DataFrame(index=range(len(table)))
    features = features_of(table.schema.metadata)
    names = {**card, **class_names(features)}
    return _Part(name, _with_rows(frame, image), image, ArrowImages(table.column(image)).cell, names, features, split, paths, folder)


def _require_image(path: Path | str, schema: Any, config: SourceConfig) -> str:
    image = _image_column(schema, config)
    if image is None:
        shown = ", ".join(schema.names)[:300]
        raise InputError(f"has no column with images; its columns are: {shown}", "Name a column of image bytes with --file-column.", file=path)
    return image


def _is_struct_with(schema: Any, column: str, field: str) -> bool:
    import pyarrow as pa

    kind = schema.field(column).type
    return bool(pa.types.is_struct(kind)) and any(kind.field(number).name == field for number in range(kind.num_fields))


def _is_readable(kind: Any) -> bool:
    """Whether a column holds values to keep, and not further images, masks or arrays."""
    return "binary" not in str(kind) and "extension" not in str(kind)


def _with_rows(frame: pd.DataFrame, image: str) -> pd.DataFrame:
    """The frame with the number of each row in place of its image."""
    return frame.assign(**{image: [str(row) for row in range(len(frame))]})


def list_parts(source: Path, config: SourceConfig, parts: Sequence[_Part], title: str, origins: Sequence[Any]) -> Listing:
    """The listing of the parts of a data set. Splits are kept if there are several.

    Raises:
        InputError: a part lacks a column, or has classes without names.
    """
    splits = {part.split for part in parts}
    keeps_splits = len(splits) > 1
    items: list[Entry | Refused] = []
    notes = []
    for part in parts:
        found, remarks = _items(part, config, part.split if keeps_splits else None, len(parts) > 1)
        items += found
        notes += [remark for remark in remarks if remark not in notes]
    if splits == {"train"}:
        notes.append("the data set has only a training split, so splits are drawn")
    elif keeps_splits:
        notes.append("the splits are the author's")
    return Listing(title, items, notes=notes, origins=origins)


def _items(part: _Part, config: SourceConfig, split: str | None, several: bool) -> tuple[list[Entry | Refused], list[str]]:
    frame, given = part.frame, {"file_column": part.image}
    notes: list[str] = []
    exploded = None
    if config.species_column is None and config.box_column is None:
        exploded = explode_objects(frame, part.features, part.name, sizes=config.box_format != "corners")
    if exploded is not None:
        frame, notes = exploded
        given |= {"species_column": "species", "box_column": "box", "box_format": "corners"}
    species = "species" if exploded is not None else _species_column(part, config)
    others = [str(name) for name in frame.columns if name not in (species, part.image)]
    if species is not None:
        given["species_column"] = species
    nested = [column for column in frame if any(isinstance(cell, Mapping) for cell in frame[column].head(100))]
    frame = frame.assign(**{str(column): frame[column].map(as_text) for column in nested})
    for column in dict.fromkeys([*part.names, *([species] if species is not None else [])]):
        if column in frame:
            frame = frame.assign(**{column: pd.array(name_classes(frame[column], part.names.get(column), part.name, others), dtype=object)})
    table = SourceTable(Path(part.name), frame, list(range(1, len(frame) + 1)), typed=True)
    listed = list_rows(table, _NoFiles(Path()), config.model_copy(update=given), split)
    images: dict[int, Packed] = {}
    items = [_packed(part, item, int(frame[part.image].iloc[(item.row or 1) - 1]), part.name if several else None, images) for item in listed]
    if split is not None:
        items = [replace(item, split=split) if isinstance(item, Entry) else item for item in items]
    return (group_photographs(items)[0] if exploded is not None else items), notes


def _packed(part: _Part, item: Entry | Refused, row: int, table: str | None, images: dict[int, Packed]) -> Entry | Refused:
    """An item with the image of its row; animals of one photograph share it."""
    name = part.paths[row] or f"{Path(part.name).stem}-{row + 1:06d}"
    if isinstance(item, Refused):
        return replace(item, file=name)
    if row not in images:
        images[row] = Packed(name, partial(image_bytes, part.cell, row, part.folder))
    return replace(item, image=images[row], original_name=name, table=table)


def _species_column(part: _Part, config: SourceConfig) -> str | None:
    """The column with the species; None if there is none under a usual name."""
    if config.species_column is not None:
        return config.species_column if config.species_column in part.frame else None
    lower = {str(column).casefold(): str(column) for column in reversed(list(part.frame.columns)) if column != part.image}
    usual = [lower[name.casefold()] for name in (*SYNONYMS["species"], *_LABEL_NAMES) if name.casefold() in lower]
    classes = [column for column in part.names if column in part.frame]
    words = [column for column in usual if column in classes or not pd.api.types.is_numeric_dtype(part.frame[column])]
    return next(iter([*words, *usual, *classes]), None)


READER = Reader("hugging-face", "Hugging Face data sets: Parquet with images, save_to_disk, hf:owner/name", _recognises, _read)
