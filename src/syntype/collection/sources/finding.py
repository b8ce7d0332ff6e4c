"""Finds the image files that a source names."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["FileFinder"]


class FileFinder:
    """Finds files by the names that a table gives them.

    Args:
        folder: where relative names start.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find(self, name: str) -> Path:
        """The file of a name. If there is no such file, the path at which it was expected."""
        # Tables made on Windows may contain backslashes as separators. On other systems file names seldom contain backslashes.
        path = self.folder / name
        return path if os.name == "nt" or _exists(path) else self.folder / name.replace("\\", "/")


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name of more than 255 bytes, or with a null character
        return False
