"""Verification: what happened to the files of a collection since it was made is told, file by file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from made import make_collection

from syntype.apps.cli import main
from syntype.collection import Collection
from syntype.collection.verification import VerifyResult, verify
from syntype.run import Run


def verified(root: Path) -> VerifyResult:
    return verify(Collection.open(root, hashes=False), Run.silent())


def test_a_sound_collection_has_no_problems(tmp_path: Path) -> None:
    result = verified(make_collection(tmp_path / "fish", {"Aus primus": 6}).root)
    assert result.problems == () and result.num_files == result.num_images == 6
    assert "no problems found" in result.text()


def test_every_kind_of_problem_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = make_collection(tmp_path / "fish", {"Aus primus": 8})
    images = made.root / "images"
    (images / "0-0.png").unlink()
    (images / "0-1.png").write_bytes(b"")
    (images / "0-2.png").write_bytes((images / "0-3.png").read_bytes())
    (images / "0-4.png").write_bytes((images / "0-4.png").read_bytes()[:100])
    (images / "new").mkdir()
    (images / "new" / "guest.png").write_bytes((images / "0-3.png").read_bytes())
    (images / "0-5.png").unlink()
    (images / "0-5.png").symlink_to("nowhere.png")
    table = made.table.copy()
    table.loc[6, "sha256"] = None
    table.loc[6, "width"] = 47
    table.loc[4, "sha256"] = None  # only the decoder can tell
    Collection.create(made.root, table, species=made.species)
    found = {problem["file"]: (problem["problem"], problem["row"]) for problem in verified(made.root).problems}
    assert found == {
        "images/0-0.png": ("missing", 1), "images/0-1.png": ("empty", 2), "images/0-2.png": ("changed", 3), "images/0-4.png": ("damaged", 5),
        "images/0-5.png": ("damaged", 6), "images/0-6.png": ("changed", 7), "images/new/guest.png": ("unknown", None),
    }  # fmt: skip

    assert main(["inspect", str(made.root), "--verify", "--quiet"]) == 2
    out = capsys.readouterr().out
    for name in found:
        assert name in out
    assert main(["inspect", str(made.root), "--verify", "--quiet", "--json"]) == 2
    told = json.loads(capsys.readouterr().out)
    assert (told["missing"], told["changed"], told["num_without_hash"]) == (1, 2, 2) and len(told["problems"]) == 7


def test_many_problems_of_one_kind_are_shortened(tmp_path: Path) -> None:
    made = make_collection(tmp_path / "fish", {"Aus primus": 30})
    for path in (made.root / "images").iterdir():
        path.unlink()
    text = verified(made.root).text()
    assert "! 30 missing" in text and "10 more" in text and len(text.splitlines()) < 30


def test_the_command_says_when_all_is_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = make_collection(tmp_path / "fish", {"Aus primus": 3}).root
    assert main(["inspect", str(root), "--verify", "--quiet"]) == 0
    assert main(["inspect", str(root), "--verify", "--encoder", "lite2"]) == 2
    assert "leave out --encoder" in capsys.readouterr().err
    (root / "metadata.parquet").write_bytes(b"PAR1")
    assert main(["inspect", str(root), "--verify"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
