"""Favourite hybrids: each is a picture and what draws it again, in the folder ``favourites`` of its generator, so that both go where it goes."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from syntype.apps.web.languages import gettext
from syntype.errors import InputError, UnknownNameError, UserError
from syntype.files import atomic_write, load_json, write_json

__all__ = ["MOST", "add_favourite", "favourite_picture", "list_favourites", "remove_favourite"]

MOST = 200
"""Favourites of one generator."""
_PLACE = "favourites"
_HINT = "Delete this file; the favourite can be drawn and kept again."
_KEYS: dict[str, type] = {"first": str, "second": str, "seed": int, "other": int, "x": float, "y": float, "generator_id": str, "created": float}


def list_favourites(generator: Path) -> list[dict[str, Any]]:
    """The favourites of a generator, newest first; files that are damaged are left out.

    Args:
        generator: folder of the generator.
    """
    found = []
    for file in (generator / _PLACE).glob("*.json"):
        try:
            told = load_json(file, _HINT, _KEYS)
        except UserError:
            continue
        found.append({"id": file.stem, **{key: told[key] for key in _KEYS}})
    return sorted(found, key=lambda item: -item["created"])


def add_favourite(generator: Path, hybrid: Mapping[str, Any], generator_id: str, picture: bytes) -> dict[str, Any]:
    """Keep a hybrid; one that is kept already stays one.

    Args:
        generator: folder of the generator.
        hybrid: what draws it: first, second, seed, other, x, y.
        generator_id: of the generator as it is now, since a picture cannot be drawn again exactly after more training.
        picture: the image as it was drawn, a PNG.

    Raises:
        InputError: there are ``MOST`` already.
    """
    folder = generator / _PLACE
    about = {**hybrid, "generator_id": generator_id}
    name = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:20]
    if len(list(folder.glob("*.json"))) >= MOST and not (folder / f"{name}.json").exists():
        raise InputError(gettext("{MOST} favourites are kept already", MOST=MOST), gettext("Remove some first."))
    folder.mkdir(exist_ok=True)
    with atomic_write(folder / f"{name}.png") as temporary:
        temporary.write_bytes(picture)
    about["created"] = time.time()
    write_json(folder / f"{name}.json", about)
    return {"id": name, **about}


def remove_favourite(generator: Path, name: str) -> None:
    """Forget a favourite.

    Raises:
        UnknownNameError: there is none of this id.
    """
    favourite_picture(generator, name)
    for suffix in (".json", ".png"):
        (generator / _PLACE / f"{name}{suffix}").unlink(missing_ok=True)


def favourite_picture(generator: Path, name: str) -> Path:
    """The picture of a favourite.

    Args:
        name: its id, 20 hexadecimal digits.

    Raises:
        UnknownNameError: there is none of this id.
    """
    path = generator / _PLACE / f"{name}.png"
    if not path.is_file():
        raise UnknownNameError("favourite", name, ())
    return path
