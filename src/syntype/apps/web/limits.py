"""How the Studio is set up: its address, and what a request may ask of the machine."""

from __future__ import annotations

from pydantic import Field

from syntype.recipe import Settings

__all__ = ["Limits", "StudioConfig", "is_loopback"]


class Limits(Settings):
    """What uploads may be."""

    file_bytes: int = Field(100_000_000, ge=1)
    """Of one photograph."""
    zip_bytes: int = Field(2_000_000_000, ge=1)
    """Of one zip as it is sent."""
    unpacked_bytes: int = Field(4_000_000_000, ge=1)
    """Of all that one zip unpacks to."""
    upload_bytes: int = Field(8_000_000_000, ge=1)
    """Of all files of one upload, as they lie on the disk."""
    files: int = Field(20_000, ge=1)
    """Files of one upload."""
    uploads: int = Field(20, ge=1)
    """Uploads that have not become collections yet."""
    pixels: int = Field(60_000_000, ge=1)
    """Of one photograph."""
    ratio: int = Field(100, ge=2)
    """How many times larger than in the zip a file may be; photographs are compressed already."""
    json_bytes: int = Field(1_000_000, ge=1)
    """Of any other request."""


class StudioConfig(Settings):
    """How the server answers.

    ``token`` is what other programs and people must show; None only on loopback.
    """

    host: str = "127.0.0.1"
    port: int = Field(8765, ge=0, le=65535)
    token: str | None = Field(None, min_length=12, max_length=200, pattern=r"^[!-~]+$")
    https: bool = False
    """The browser reaches the Studio through https (a proxy in front of it): cookies are marked Secure."""
    jobs: int = Field(1, ge=1, le=64)
    """Jobs at the same time."""
    limits: Limits = Limits()


def is_loopback(host: str) -> bool:
    """Whether only this very machine can reach an address."""
    return host in ("localhost", "::1") or host.startswith("127.")
