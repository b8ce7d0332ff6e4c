"""XML files of other programs: parsed without entities or outside references, and refused in one short line if they are damaged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from syntype.errors import InputError

__all__ = ["head_of", "load_xml"]

MAX_BYTES = 1_000_000_000
"""Largest XML file that is read."""
_HEAD = 4096


def head_of(path: Path) -> bytes:
    """The first bytes of a file; nothing if it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(_HEAD)
    except OSError:
        return b""


def load_xml(path: Path) -> Any:
    """The root element of an XML file.

    Raises:
        InputError: the file is missing, too large, not whole XML, or has entities of its own.
    """
    from xml.etree.ElementTree import ParseError

    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import parse

    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"is too large ({path.stat().st_size:,} bytes)", "Export the tasks one by one.", file=path)
        return parse(path).getroot()
    except ParseError as error:
        raise InputError(f"is not whole XML ({str(error)[:100]})", "Export it again, or copy it again from where it came.", file=path) from None
    except DefusedXmlException:
        raise InputError("has entities or references that are not read", "Export it again from the program it is of.", file=path) from None
    except (OSError, ValueError, LookupError, RecursionError) as error:  # LookupError: an unknown encoding
        raise InputError("cannot be read as XML", f"Export it again ({type(error).__name__}).", file=path) from None
