"""Layout ``captions``: images with a text beside each, for programs that train text-to-image models.

    train/ validation/ test/ unsplit/   the images of each split; beside fish.jpg its text in fish.txt, as kohya's scripts read it
    train/metadata.jsonl                the same texts with the columns ``file_name`` and ``text``, as diffusers' scripts read them
    metadata.parquet                    the whole table, for Syntype

Only ``train`` is meant for training: test photographs lie in a folder of their own. Formats: https://github.com/kohya-ss/sd-scripts and
https://huggingface.co/docs/datasets/image_dataset
"""

from __future__ import annotations

import json
from pathlib import PurePosixPath

import pandas as pd

from syntype.collection.columns import TABLE
from syntype.collection.exports.base import Content, Layout
from syntype.collection.exports.file_names import name_rows
from syntype.collection.exports.hugging_face import PARTS, neutral_stem
from syntype.collection.exports.package import Package
from syntype.collection.prompts import captions_of, prompt, species_texts
from syntype.collection.table import Collection

__all__ = ["LAYOUT"]


def _place(collection: Collection) -> list[str]:
    return name_rows(collection, lambda row: PARTS[None if pd.isna(row.split) else row.split], neutral_stem, one_stem=True)


def _write(content: Content, package: Package) -> None:
    table = content.table
    named = species_texts(table, content.species)
    captions = captions_of(table) or (None,) * len(table)
    shown: dict[str, dict[str, None]] = {}  # the species of each file: several rows may be animals of one photograph
    said: dict[str, str | None] = {}
    for file, species, caption in zip(table["file_name"], table["species"], captions, strict=True):
        shown.setdefault(file, {}).update({} if pd.isna(species) else {named[species]: None})
        said[file] = said.get(file) or caption
    lines: dict[str, list[str]] = {}
    for file, texts in shown.items():
        path, text = PurePosixPath(file), prompt(" and ".join(texts), said[file])
        package.add(str(path.with_suffix(".txt")), text)
        lines.setdefault(str(path.parent), []).append(json.dumps({"file_name": path.name, "text": text}, ensure_ascii=False))
    for folder, entries in lines.items():
        package.add(f"{folder}/metadata.jsonl", "\n".join(entries) + "\n")
    package.add_table(TABLE, table)


LAYOUT = Layout("captions", "a zip with a text beside each image, for programs that train text-to-image models", _place, _write)
