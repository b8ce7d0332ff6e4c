"""Studies whose files are damaged, newer or foreign: they are made again, or told in one sentence."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from damaging import damage_all, damages

from syntype.collection import Collection
from syntype.errors import InputError
from syntype.run import Run
from syntype.study import StudyConfig, study, write_report

ARMS = ("real", "synthetic+curated")


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the study that these tests damage copies of."""
    return tmp_path_factory.mktemp("finished") / "out"


@pytest.fixture
def finished(reef: Collection, fits: list[dict[str, Any]], curations: list[Path], once: Path, tmp_path: Path) -> tuple[Path, StudyConfig]:
    asked = StudyConfig(generator="collage", quick=True, seeds=2, generator_seeds=1, size=32, fill_to=8, num_bootstrap=100, arms=ARMS)
    if not once.exists():
        study(reef, asked, once, Run.silent())
    shutil.copytree(once, tmp_path / "out")
    return tmp_path / "out", asked


@pytest.mark.parametrize("every", [8, pytest.param(1, marks=pytest.mark.slow)])
def test_the_report_of_a_damaged_study(every: int, finished: tuple[Path, StudyConfig], tmp_path: Path) -> None:
    only = tmp_path / "only"
    only.mkdir()
    for name in ("results.json", "gallery.json", "gallery.npz"):
        (finished[0] / name).rename(only / name)
    noticed = ("missing", "empty", "half", "random bytes", "zeros", "a page of a website")
    assert damage_all(only, tmp_path, lambda folder: write_report(folder).unlink(), refused=lambda _, how: how in noticed, every=every) > 60 / every


def test_damaged_predictions_are_made_again(finished: tuple[Path, StudyConfig], reef: Collection, fits: list[dict[str, Any]]) -> None:
    out, asked = finished
    before = study(reef, asked, out, Run.silent()).results["effects"]
    file, trained = out / "arms" / "real-1.npz", len(fits)
    for number, (how, damaged) in enumerate(list(damages(file.read_bytes(), is_json=False))[:4]):
        file.unlink(missing_ok=True)
        if damaged is not None:
            file.write_bytes(damaged)
        for marker in (out / "done").iterdir():
            marker.write_bytes(b"[]" if number % 2 else b"\xff")
        assert study(reef, asked, out, Run.silent()).results["effects"] == before, how
        assert len(fits) == trained + number + 1, how


def test_a_damaged_description_of_what_was_asked(finished: tuple[Path, StudyConfig], reef: Collection) -> None:
    out, asked = finished
    for content in (b"", b"[]", b"\xff", b'{"collection": 3}'):
        (out / "study.json").write_bytes(content)
        with pytest.raises(InputError, match="started with other content"):
            study(reef, asked, out, Run.silent())
