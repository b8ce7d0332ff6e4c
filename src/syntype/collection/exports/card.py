"""The card of a data set for the Hugging Face hub: what it holds, under which licences, and how much of it is synthetic.

Format: https://huggingface.co/docs/hub/datasets-cards
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
import yaml

from syntype.collection.exports.base import Content
from syntype.collection.exports.licences import hub_licence, licence_url
from syntype.errors import shortened

__all__ = ["write_card"]

_MOST = 200
"""Species, licences or terms that are listed; the table has all."""
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"), (10_000_000, "1M<n<10M"))


def write_card(content: Content, parts: Mapping[str, int], renamed: Mapping[str, str]) -> str:
    """The card as Markdown with YAML at its head.

    Args:
        content: what is exported.
        parts: number of images of each folder.
        renamed: columns of the table that have another name in the tables of the splits.
    """
    table = content.table
    synthetic = int((table["origin"] == "synthetic").sum())
    licences = _count(table["licence"], "not told")
    lines = [
        f"# {_cell(content.name)}",
        "",
        f"{len(table):,} images of {table['species'].nunique():,} species; {_share(synthetic, len(table))}.",
        *_synthetic(content, synthetic),
        *_opening(parts, renamed),
        *_section("Images", ("split", "images", "of them synthetic", "species"), _splits(table, parts)),
        *_section("Licences", ("licence", "images", "text"), [(name, f"{number:,}", licence_url(name) or "") for name, number in licences]),
        "The licence of each image is in the column `licence`, its holder in `rights_holder`, where it comes from in `source_url`.",
        *_section("Terms of use", ("terms", "images"), [(name, f"{number:,}") for name, number in _count(table["terms"])]),
        *_section("Species", ("species", "images", "of them synthetic"), _species(table)),
        *_section("Sources", ("source",), [(_told(source),) for source in content.info.get("sources", [])]),
        "",
    ]
    return f"---\n{_head(content, parts)}---\n\n" + "\n".join(lines)


def _head(content: Content, parts: Mapping[str, int]) -> str:
    table = content.table
    licence = hub_licence(None if pd.isna(name) else str(name) for name in table["licence"].unique())
    origins = set(table["origin"].dropna())
    head: dict[str, Any] = {"pretty_name": " ".join(content.name.split()), "license": licence}
    if licence == "other":
        head["license_name"] = "see-the-column-licence"
    head |= {
        "task_categories": ["image-classification"],
        "tags": ["biology", "biodiversity", "species", *(["synthetic"] if "synthetic" in origins else [])],
        "size_categories": [next((name for most, name in _SIZES if len(table) < most), "n>10M")],
        "configs": [{"config_name": "default", "data_files": [{"split": part, "path": f"{part}/*"} for part in parts]}],
    }
    return yaml.safe_dump(head, allow_unicode=True, sort_keys=False)


def _synthetic(content: Content, synthetic: int) -> list[str]:
    if not synthetic:
        return []
    made = content.table[content.table["origin"] == "synthetic"]
    generators = [name for name, _ in _count(made["generator_id"])]
    lines = [
        "",
        "> **Synthetic images are no evidence of where a species lives or how it looks.** Keep them out of occurrence databases; keep their marks.",
        "",
        "Synthetic images have `synthetic` in the column `origin`. Their files carry a mark (XMP: the digital source type of the IPTC).",
    ]
    if content.signed:
        lines.append("Those that Syntype drew also carry signed content credentials (C2PA).")
    if generators:
        lines.append(f"Generators: {', '.join(f'`{_code(name)}`' for name in generators[:20])}{' and others' if len(generators) > 20 else ''}.")
    return lines


def _opening(parts: Mapping[str, int], renamed: Mapping[str, str]) -> list[str]:
    lines = ["", "## Open", "", "```python", "import datasets", "", 'data = datasets.load_dataset("FOLDER")  # the folder of this file']
    if "unsplit" in parts and len(parts) > 1:
        lines.append('data = datasets.load_dataset("imagefolder", data_dir="FOLDER")  # without this card: train, validation and test')
        lines.append('data = datasets.load_dataset("imagefolder", data_dir="FOLDER/unsplit")  # and the images without a split')
    lines += ["```", "", 'The label is the column `species`; `class_encode_column("species")` makes numbers of it. Needs datasets 3.4 or newer.']
    lines += [f"The column `{_code(old)}` is called `{_code(new)}` here." for old, new in renamed.items()]
    return lines


def _splits(table: pd.DataFrame, parts: Mapping[str, int]) -> list[tuple[str, ...]]:
    folders = table["file_name"].str.partition("/")[0]
    rows = [(part, table[folders == part]) for part in parts]
    return [(name, f"{len(part):,}", f"{int((part['origin'] == 'synthetic').sum()):,}", f"{part['species'].nunique():,}") for name, part in rows]


def _species(table: pd.DataFrame) -> list[tuple[str, ...]]:
    drawn = dict(_count(table[table["origin"] == "synthetic"]["species"]))
    return [(name, f"{number:,}", f"{drawn.get(name, 0):,}") for name, number in _count(table["species"], "none")]


def _count(values: pd.Series, missing: str | None = None) -> list[tuple[str, int]]:
    """Values and how often they occur, the most frequent first, then by name."""
    found = (values if missing is None else values.fillna(missing)).dropna().value_counts()
    return sorted(((str(name), int(number)) for name, number in found.items()), key=lambda item: (-item[1], item[0]))


def _section(title: str, columns: Sequence[str], rows: Sequence[Iterable[str]]) -> list[str]:
    """A heading and a table; nothing without rows."""
    if not rows:
        return []
    shown = [f"| {' | '.join(map(_cell, row))} |" for row in rows[:_MOST]]
    more = ["", f"… and {len(rows) - _MOST:,} more, in `collection.parquet`."] if len(rows) > _MOST else []
    return ["", f"## {title}", "", f"| {' | '.join(columns)} |", f"|{' --- |' * len(columns)}", *shown, *more, ""]


def _share(synthetic: int, total: int) -> str:
    percent = 100 * synthetic / total
    return f"{synthetic:,} of them ({percent:.{0 if percent in (0, 100) else 1}f} %) are synthetic"


def _told(source: Any) -> str:
    return source if isinstance(source, str) else ", ".join(f"{k}: {v}" for k, v in source.items()) if isinstance(source, Mapping) else str(source)


def _cell(text: str) -> str:
    """A text as the cell of a table or a heading: on one line, its signs not read as Markdown or HTML."""
    plain = " ".join(shortened(text, 300).split())
    for sign in "\\`*_[]<>|#":
        plain = plain.replace(sign, f"\\{sign}" if sign not in "<>" else {"<": "&lt;", ">": "&gt;"}[sign])
    return plain


def _code(text: str) -> str:
    return " ".join(shortened(text, 100).replace("`", "'").split())
