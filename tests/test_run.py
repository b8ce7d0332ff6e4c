"""Files that are written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from syntype.files import atomic_write, write_npz


def test_a_file_is_replaced_in_one_go(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")
    with atomic_write(path) as temporary:
        temporary.write_text("new")
        assert temporary.parent == tmp_path and path.read_text() == "old"
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]


def test_a_file_is_on_the_disk_before_it_takes_the_place_of_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, seen = tmp_path / "file", []
    path.write_text("old")
    monkeypatch.setattr(os, "fsync", lambda descriptor: seen.append((os.fstat(descriptor).st_ino, path.read_text())))
    with atomic_write(path) as temporary:
        temporary.write_text("new")
    assert seen == [(path.stat().st_ino, "old")] and path.read_text() == "new"


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")
    for error in (OSError("disk full"), KeyboardInterrupt()):
        with pytest.raises(type(error)), atomic_write(path) as temporary:
            temporary.write_text("half")
            raise error
        assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_arrays_come_back_and_their_folder_is_made(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "arrays.npz"
    write_npz(path, numbers=np.arange(5), names=np.array(["a", "b"]))
    with np.load(path, allow_pickle=False) as archive:
        assert archive["numbers"].tolist() == [0, 1, 2, 3, 4] and archive["names"].tolist() == ["a", "b"]
    assert [item.name for item in path.parent.iterdir()] == ["arrays.npz"]
