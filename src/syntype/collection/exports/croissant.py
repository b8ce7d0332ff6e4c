"""Croissant: a description of the data set that search engines and data loaders read (JSON-LD).

Format: https://docs.mlcommons.org/croissant/docs/croissant-spec.html, version 1.0.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

import pandas as pd

from syntype.collection.exports.base import Content
from syntype.collection.exports.file_names import FileNames, plain_name
from syntype.collection.exports.licences import licence_url

__all__ = ["describe"]

_CONTEXT: dict[str, Any] = {
    "@language": "en", "@vocab": "https://schema.org/", "citeAs": "cr:citeAs", "column": "cr:column", "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/", "rai": "http://mlcommons.org/croissant/RAI/", "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"}, "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"}, "extract": "cr:extract", "field": "cr:field", "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject", "fileSet": "cr:fileSet", "format": "cr:format", "includes": "cr:includes", "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath", "key": "cr:key", "md5": "cr:md5", "parentField": "cr:parentField", "path": "cr:path",
    "recordSet": "cr:recordSet", "references": "cr:references", "regex": "cr:regex", "repeated": "cr:repeated", "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/", "separator": "cr:separator", "source": "cr:source", "subField": "cr:subField", "transform": "cr:transform",
}  # fmt: skip
_KINDS = {
    ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png", ".webp": "image/webp", ".tif": "image/tiff", ".tiff": "image/tiff",
    ".gif": "image/gif", ".bmp": "image/bmp",
}  # fmt: skip
_WORDS = {
    "image_id": "Identifier of the image, unique in this data set.",
    "file_name": "Path of the image file.",
    "original_name": "Path of the file as its source calls it.",
    "species": "Species that the image shows, or, if it is synthetic, is meant to show.",
    "group": "Observation, specimen or video track; all its images are in one split.",
    "split": "train, val or test; none for synthetic images.",
    "box": "Bounding box of the organism: JSON [left, top, right, bottom] in pixels of the upright image.",
    "origin": "real: a photograph. synthetic: made by a generator.",
    "generator_id": "Generator that made a synthetic image.",
    "licence": "Licence of the image.",
    "terms": "Terms of use of the image.",
}


def describe(content: Content, table_name: str, sha256: str) -> dict[str, Any]:
    """The description as a JSON-LD object.

    Args:
        content: what is exported.
        table_name: path of the Parquet table in the export.
        sha256: of that table.
    """
    table = content.table
    endings = sorted({PurePosixPath(name).suffix for name in table["file_name"]})
    licences = sorted({licence_url(name) or name for name in table["licence"].dropna().unique()})
    synthetic = int((table["origin"] == "synthetic").sum())
    described = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": " ".join(content.name.split()),
        "description": f"{len(table):,} images of {table['species'].nunique():,} species, {synthetic:,} of them synthetic.",
        "distribution": [
            {
                "@type": "cr:FileObject", "@id": "table", "name": table_name, "contentUrl": table_name,
                "encodingFormat": "application/x-parquet", "sha256": sha256,
            },
            {
                "@type": "cr:FileSet", "@id": "image-files", "name": "image-files",
                "encodingFormat": sorted({_KINDS.get(ending, "application/octet-stream") for ending in endings}),
                "includes": [f"**/*{ending}" for ending in endings],
            },
        ],
        "recordSet": [
            _files(),
            {"@type": "cr:RecordSet", "@id": "images", "name": "images", "key": {"@id": "images/image_id"}, "field": _fields(table)},
        ],
    }  # fmt: skip
    return described | ({"license": licences if len(licences) > 1 else licences[0]} if licences else {})


def _fields(table: pd.DataFrame) -> list[dict[str, Any]]:
    fields: list[dict[str, Any]] = []
    ids = FileNames()  # ids are parts of addresses; further columns may be called anything
    for name in table.columns:
        own = ids.own(f"images/{plain_name(name) or 'column'}")
        field: dict[str, Any] = {"@type": "cr:Field", "@id": own, "name": own, "dataType": _type(table[name])}
        if name in _WORDS:
            field["description"] = _WORDS[name]
        field["source"] = {"fileObject": {"@id": "table"}, "extract": {"column": name}}
        if name == "file_name":
            field["references"] = {"field": {"@id": "files/path"}}
        fields.append(field)
    return fields


def _files() -> dict[str, Any]:
    """The record set of the image files. It is one of its own, so that the table can be read without opening them."""

    def field(name: str, kind: str, part: str) -> dict[str, Any]:
        source = {"fileSet": {"@id": "image-files"}, "extract": {"fileProperty": part}}
        return {"@type": "cr:Field", "@id": f"files/{name}", "name": f"files/{name}", "dataType": kind, "source": source}

    fields = [field("path", "sc:Text", "fullpath"), field("content", "sc:ImageObject", "content")]
    return {"@type": "cr:RecordSet", "@id": "files", "name": "files", "key": {"@id": "files/path"}, "field": fields}


def _type(column: pd.Series) -> str:
    if pd.api.types.is_bool_dtype(column.dtype):
        return "sc:Boolean"
    if pd.api.types.is_integer_dtype(column.dtype):
        return "sc:Integer"
    return "sc:Float" if pd.api.types.is_float_dtype(column.dtype) else "sc:Text"
