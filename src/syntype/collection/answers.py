"""What servers answer when an image is asked for: how long to wait, texts instead of images, and names for the files."""

from __future__ import annotations

import email.utils
import re
import time
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

__all__ = ["file_name", "kind_of_text", "seconds_to_wait"]


def seconds_to_wait(text: str | None) -> float | None:
    """Seconds that a host asks to wait: a number, or a date (RFC 9110, section 10.2.3); None if it says nothing that can be read."""
    if not text:
        return None
    if text.strip().isdecimal():
        return float(text.strip()[:9])
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except (TypeError, ValueError, OverflowError):
        return None


def kind_of_text(data: bytes) -> str | None:
    """What a text is that came instead of an image; None for anything else."""
    head = data[:1000].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if head.startswith((b"<!doctype html", b"<html", b"<head", b"<body")) or b"<html" in head[:300]:
        return "a web page"
    if head.startswith((b"{", b"[")):
        return "a JSON text"
    return "an XML text" if head.startswith(b"<?xml") else None


def file_name(address: str, kind: str) -> str:
    """A plain file name for an address: its last part, or for names such as "medium.jpg" the two last ones."""
    parts = [re.sub(r"[^A-Za-z0-9-]+", "_", PurePosixPath(part).stem).strip("_") for part in PurePosixPath(unquote(urlsplit(address).path)).parts]
    parts = [part for part in parts if part]
    generic = bool(parts) and parts[-1].lower() in ("original", "large", "medium", "small", "square", "thumb", "image", "default", "full")
    stem = "_".join(parts[-2:] if generic else parts[-1:])[-80:] or "image"
    return f"{stem}.{ {'JPEG': 'jpg'}.get(kind, kind.lower()) }"
