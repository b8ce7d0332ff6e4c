"""Text files of any program as text: byte order marks, UTF-8, UTF-16, and older encodings, which are guessed and told."""

from __future__ import annotations

import codecs
import re
from pathlib import Path

from syntype.errors import InputError

__all__ = ["BROKEN", "check_kind", "decode_text"]

BROKEN = re.compile("[\ud800-\udfff]")
"""Half characters: bytes that are not text in the encoding of the rest of the file."""

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF32_LE, "utf-32-le"), (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"),
)  # fmt: skip
_CSV = "Save the table as CSV in UTF-8."
_KINDS: tuple[tuple[bytes, str, str], ...] = (
    (b"\xff\xd8\xff", "a JPEG image", "Give a folder of images, or a table that names them."),
    (b"\x89PNG", "a PNG image", "Give a folder of images, or a table that names them."),
    (b"GIF8", "a GIF image", "Give a folder of images, or a table that names them."),
    (b"II*\0", "a TIFF image", "Give a folder of images, or a table that names them."),
    (b"MM\0*", "a TIFF image", "Give a folder of images, or a table that names them."),
    (b"\xd0\xcf\x11\xe0", "an old Excel or Office file", "Save it as .xlsx or CSV."),
    (b"PK\x03\x04", "a zip file", "Unpack it, and give the folder or the table in it."),
    (b"\x1f\x8b", "a compressed file (gzip)", "Unpack it first."),
    (b"BZh", "a compressed file (bzip2)", "Unpack it first."),
    (b"\xfd7zXZ", "a compressed file (xz)", "Unpack it first."),
    (b"7z\xbc\xaf", "a 7-Zip file", "Unpack it first."),
    (b"Rar!", "a RAR file", "Unpack it first."),
    (b"%PDF", "a PDF", _CSV),
    (b"{\\rtf", "a text document (RTF)", _CSV),
    (b"SQLite format 3", "a database (SQLite)", _CSV),
    (b"RDX", "an R data file", "Save the table from R with write.csv."),
)
_MARKUP = re.compile(rb"\s*<(!doctype|html|head|body|\?xml|table|div|svg)\b", re.IGNORECASE)
_WESTERN = ("cp1252", "mac_roman", "cp850")
"""Encodings of Western Europe on Windows, the old Macintosh and DOS; in this order the first that gives plausible words is taken."""
_OTHERS = (
    "gb18030", "big5", "cp932", "euc_jp", "cp949", "cp1250", "cp1251", "koi8_r", "cp866", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "cp874",
)  # fmt: skip
_LETTERS = r"[^\W\d_]"
_ODD = re.compile(
    rf"[\x00-\x08\x0e-\x1f\x7f-\x9f]|{_LETTERS}[^\x00-\x7f\w\s’‘´·–—°ºª]{_LETTERS}|[a-zß-öø-ÿ][À-ÖØ-ÞŸŠŽŒ]|[A-Za-z][À-ÖØ-ÞŸŠŽŒ][a-z]"
    rf"|[^\x00-\x7f\w]{_LETTERS}*[À-ÿ]|[^\x00-\x7f\w\s’‘“”„–—°ºª²³½¼×±«»€£§©®™…·•µ♀♂]"
)
"""What no word of a Western language has: control characters, signs within a word, a capital after a small letter."""
_SAMPLE = 20_000


def check_kind(head: bytes, path: Path) -> None:
    """Refuse files that are certainly no table, from their first bytes.

    Args:
        head: the first bytes, some hundreds or more.
        path: the file, for the message.

    Raises:
        InputError: it is an image, an archive, a web page, a JSON file, ...
    """
    for magic, kind, hint in _KINDS:
        if head.startswith(magic):
            raise InputError(f"is not a table but {kind}", hint, file=path)
    plain = head.removeprefix(codecs.BOM_UTF8).lstrip()
    if head[:4] == b"RIFF" or head[4:8] == b"ftyp":
        raise InputError("is not a table but an image or a film", "Give a folder of images, or a table that names them.", file=path)
    if _MARKUP.match(plain):
        kind = "an XML file" if plain[:5].lower() == b"<?xml" else "a web page"
        raise InputError(f"is not a table but {kind}", "Download or save the table itself, as CSV.", file=path)
    if plain[:1] == b"{" or re.match(rb"\[\s*([\[{\"0-9-]|$)", plain):
        raise InputError("is not a table but a JSON file", "Give a CSV file, or JSON Lines (.jsonl) with one image a line.", file=path)


def decode_text(data: bytes, path: Path) -> tuple[str, list[str]]:
    """The text of a file, and sentences on how it was read, if that was not certain.

    A file in UTF-8 with single other bytes comes back with half characters (``BROKEN``) in place of these, so that only their rows are refused.

    Raises:
        InputError: it is not text, or in no encoding that can be recognised.
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return _decoded(data[len(mark) :], encoding, path), []
    if b"\0" in data:
        return _wide(data, path)
    try:
        return data.decode("utf-8"), []
    except UnicodeDecodeError:
        text = data.decode("utf-8", "surrogateescape")
    odd = sum(1 for _ in BROKEN.finditer(text))
    beyond = len(text) - len(text.encode("ascii", "ignore")) - odd
    if beyond > 2 * odd:  # in another encoding hardly any two bytes in succession are UTF-8 by chance
        return text, [f"the text is UTF-8, but {odd:,} bytes of it are not: their rows are refused"]
    return _guessed(data, path)


def _decoded(data: bytes, encoding: str, path: Path) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        raise InputError(f"cannot be read as a table (its text is damaged: it is not {encoding.upper()} throughout)", _CSV, file=path) from None


def _wide(data: bytes, path: Path) -> tuple[str, list[str]]:
    """Text with null bytes: UTF-16 without a mark, or no text."""
    head = data[: _SAMPLE - _SAMPLE % 2]
    half = max(len(head) // 2, 1)
    for offset, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
        if head[offset::2].count(0) > 0.6 * half and head[1 - offset :: 2].count(0) == 0:
            return _decoded(data, encoding, path), ["the text is read as UTF-16"]
    raise InputError("cannot be read as a table (it holds null bytes, so it is not text)", _CSV, file=path)


def _guessed(data: bytes, path: Path) -> tuple[str, list[str]]:
    """Text in an encoding that is guessed from the lines beyond ASCII."""
    lines = (line for line in data.splitlines() if not line.isascii())
    sample = b""
    for line in lines:
        sample += line[:2000] + b"\n"
        if len(sample) > _SAMPLE:
            break
    candidates = [encoding for encoding in _WESTERN if _is_western(sample, encoding)]
    if not candidates:
        from charset_normalizer import from_bytes

        best = from_bytes(sample, cp_isolation=list(_OTHERS + _WESTERN)).best()
        candidates = [] if best is None else [best.encoding]
    for encoding in candidates:
        try:
            text = data.decode(encoding)
        except (UnicodeDecodeError, LookupError):
            continue
        word = next((part for part in re.split(r"[\s,;|\"]+", text) if not part.isascii()), "")
        return text, [f"the text is not UTF-8; it is read as {encoding.replace('_', '-')}: check that {word[:40]!r} is a word of it"]
    raise InputError("cannot be read as a table (its text is in an unknown encoding)", _CSV, file=path)


def _is_western(sample: bytes, encoding: str) -> bool:
    """Whether the bytes are, in this encoding, words of mostly plain letters with some accents."""
    try:
        text = sample.decode(encoding)
    except UnicodeDecodeError:
        return False
    words = [word for word in re.findall(rf"{_LETTERS}+", text) if not word.isascii() and len(word) > 1]
    accents = sum(not letter.isascii() for word in words for letter in word)
    return not _ODD.search(text) and accents <= 0.5 * sum(map(len, words))
