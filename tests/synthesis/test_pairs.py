"""The picture with photographs beside synthetic images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made import make_collection
from PIL import Image

from syntype.collection import Collection
from syntype.errors import CollectionError
from syntype.synthesis.pairs import write_pairs
from syntype.synthesis.provenance import EDITED, Provenance, read_provenance, write_image


@pytest.fixture
def both(tmp_path: Path) -> tuple[Collection, Collection]:
    """Photographs of two species, and synthetic images of which the first two were refused."""
    photographs = make_collection(tmp_path / "real", {"Aus primus": 16, "Bus alter": 8})
    made = make_collection(tmp_path / "made", {"Aus primus": 6, "Bus alter": 4}, seed=1)
    for name in made.table["file_name"]:
        with Image.open(made.root / name) as image:
            write_image(np.asarray(image), made.root / name, Provenance("pose-1", "pose_transfer", "Aus primus", 1, {}, EDITED))
    table = made.table.assign(origin="synthetic", split=None, verdict=["refused"] * 2 + ["accepted"] * 8, reason=["copy"] * 2 + [None] * 8)
    return photographs, Collection(made.root, table, made.species, made.info)


def test_the_picture_says_what_is_synthetic_and_whose_the_photographs_are(both: tuple[Collection, Collection], tmp_path: Path) -> None:
    path = write_pairs(*both, ["Bus alter", "Aus primus"], 64, 6, tmp_path / "new" / "pairs.jpg")
    found = read_provenance(path)
    assert found is not None and found.family == "pose_transfer" and found.species == "Bus alter, Aus primus" and found.digital_source_type == EDITED
    with Image.open(path) as picture:
        assert picture.width > 12 * 64 and picture.height > 2 * 64


def test_refused_images_and_test_photographs_are_not_shown(both: tuple[Collection, Collection], tmp_path: Path) -> None:
    photographs, made = both
    pixels = np.asarray(Image.open(write_pairs(photographs, made, ["Aus primus"], 48, 20, tmp_path / "pairs.png")))
    top, left, right = 14, 8, 16 + 20 * 48
    shown = [pixels[top + 14 : top + 62, start + at * 48 : start + at * 48 + 48] for start in (left, right) for at in range(20)]
    shown = [image for image in shown if not (image == 255).all()]
    train, accepted = photographs.training().select(species="Aus primus"), made.select(usable=True, species="Aus primus")
    assert len(shown) == len(train) + len(accepted) < 16 + 6
    np.testing.assert_array_equal(shown, np.concatenate([train.pixels(48), accepted.pixels(48)]))


def test_the_photographs_come_from_as_many_groups_as_possible(both: tuple[Collection, Collection], tmp_path: Path) -> None:
    photographs, made = both
    pixels = np.asarray(Image.open(write_pairs(photographs, made, ["Aus primus"], 48, 3, tmp_path / "pairs.png")))
    own = photographs.training().select(species="Aus primus")
    first = own.where(~own.table["group"].duplicated()).pixels(48)[:3]
    np.testing.assert_array_equal(pixels[28:76, 8 : 8 + 3 * 48], np.concatenate(list(first), 1))


def test_without_accepted_images_there_is_no_picture(both: tuple[Collection, Collection], tmp_path: Path) -> None:
    photographs, made = both
    with pytest.raises(CollectionError, match="no image was accepted"):
        write_pairs(photographs, made.where(made.table["verdict"] == "refused"), ["Aus primus"], 48, 3, tmp_path / "pairs.jpg")
