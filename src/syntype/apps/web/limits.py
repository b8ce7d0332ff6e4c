"""Settings of the Studio: its address, and the limits of requests."""

from __future__ import annotations

from pydantic import Field

from syntype.cluster import Cluster
from syntype.collection.archives import ArchiveLimits
from syntype.recipe import Settings

__all__ = ["Limits", "StudioConfig", "is_loopback"]


class Limits(Settings):
    """Limits of uploads and requests."""

    file_bytes: int = Field(100_000_000, ge=1)
    """Largest size of one photograph (bytes, or pixels)."""
    table_bytes: int = Field(500_000_000, ge=1)
    """Largest table, unpacked."""
    zip_bytes: int = Field(2_000_000_000, ge=1)
    """Largest zip, compressed."""
    unpacked_bytes: int = Field(4_000_000_000, ge=1)
    """Largest unpacked size of one zip."""
    upload_bytes: int = Field(8_000_000_000, ge=1)
    """Largest total size of the files of one upload on disk."""
    files: int = Field(20_000, ge=1)
    """Most files in one upload."""
    uploads: int = Field(20, ge=1)
    """Most uploads that have not been imported yet."""
    pixels: int = Field(60_000_000, ge=1)
    """Largest size of one photograph (bytes, or pixels)."""
    ratio: int = Field(100, ge=2)
    """Largest compression ratio of a file in a zip; photographs are already compressed."""
    json_bytes: int = Field(1_000_000, ge=1)
    """Largest body of any other request."""
    head_seconds: float = Field(20, gt=0)
    """Longest time in which the headers of a request must arrive; then the connection is closed."""
    wait_seconds: float = Field(30, gt=0)
    """Longest wait for the next part of a request's body."""
    body_rate: int = Field(2_000, ge=0)
    """Fewest bytes a second of a body that takes longer than ``wait_seconds``."""
    check_seconds: float = Field(900, gt=0)
    """Longest time that checking the photographs of one zip may take."""
    look_seconds: float = Field(300, gt=0)
    """Longest time that the preview of an import may take."""
    look_bytes: int = Field(8_000_000_000, ge=500_000_000)
    """Most memory that it may take."""
    receiving: int = Field(64, ge=1)
    """Most files that are received at the same time."""

    drawings: int = Field(8, ge=1)
    """Most drawings of hybrids that may be asked for at the same time; they are drawn one after another."""
    public_drawings: int = Field(4, ge=1)
    """Of these, most at the same time if a visitor asks for another one."""
    public_rate: int = Field(600, ge=1)
    """Drawings a minute for the visitors of one address, which may be a whole school."""
    draw_seconds: float = Field(120, gt=0)
    """Longest time for one of them."""
    answers: int = Field(8, ge=1)
    """Most photographs to identify, and other questions, that may be asked at the same time; they are answered one after another."""
    answer_bytes: int = Field(30_000_000, ge=1)
    """Largest photograph to identify; it is held in memory."""
    answer_seconds: float = Field(300, gt=0)
    """Longest time for one of them."""

    def of_archive(self) -> ArchiveLimits:
        """What a zip may hold."""
        return ArchiveLimits(self.files, self.unpacked_bytes, self.file_bytes, self.table_bytes, self.ratio, self.check_seconds)


class StudioConfig(Settings):
    """How the server is reached.

    ``token``: secret that users and programs must send; None only on loopback.
    """

    host: str = "127.0.0.1"
    port: int = Field(8765, ge=0, le=65535)
    token: str | None = Field(None, min_length=12, max_length=200, pattern=r"^[!-~]+$")
    https: bool = False
    """The browser reaches the Studio through https (a proxy in front of it): cookies are marked Secure."""
    jobs: int = Field(1, ge=1, le=64)
    """Jobs at the same time on this machine."""
    cluster: Cluster | None = None
    """Where jobs run instead, and how many at the same time."""
    public: tuple[str, ...] = ()
    """Generators with which visitors without the token may draw."""
    limits: Limits = Limits()


def is_loopback(host: str) -> bool:
    """Whether an address can be reached from this machine only."""
    return host in ("localhost", "::1") or host.startswith("127.")
