from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageFilter

from syntype.collection.pixels import crop_square, photograph_parts
from syntype.curation.copies import LAXEST, CopyDetector
from syntype.errors import CollectionError


def picture(number: int) -> np.ndarray:
    """A drawn animal on a ground, uint8 (64, 64, 3); frames of one animal differ little."""
    rng = np.random.default_rng([number, 8])
    ground = Image.fromarray(rng.integers(60, 200, (6, 6, 3), dtype=np.uint8)).resize((64, 64), Image.Resampling.BICUBIC)
    body = Image.fromarray(rng.integers(20, 235, (9, 9, 3), dtype=np.uint8)).resize((40, 28), Image.Resampling.BICUBIC)
    ground.paste(body, (int(rng.integers(4, 20)), int(rng.integers(6, 28))))
    return np.asarray(ground)


def jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


def crop(image: np.ndarray, left: int, top: int) -> np.ndarray:
    side = round(0.85 * len(image))
    return np.asarray(Image.fromarray(image[top : top + side, left : left + side]).resize((64, 64), Image.Resampling.BICUBIC))


def turn(image: np.ndarray, degrees: float) -> np.ndarray:
    return np.asarray(Image.fromarray(image).rotate(degrees, Image.Resampling.BICUBIC, fillcolor=(120, 120, 120)))


def blurred(image: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(1.2)))


DISGUISES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "none": lambda image: image,
    "mirror": lambda image: image[:, ::-1].copy(),
    "crop": lambda image: crop(image, 2, 7),
    "darker": lambda image: (image * 0.6).astype(np.uint8),
    "brighter": lambda image: np.clip(image * 1.3, 0, 255).astype(np.uint8),
    "blur": lambda image: blurred(image),
    "jpeg": lambda image: jpeg(image, 40),
    "turn": lambda image: turn(image, 7),
    "blur and jpeg": lambda image: jpeg(blurred(image), 40),
    "several": lambda image: jpeg(crop(image[:, ::-1].copy(), 6, 3), 60),
    "all at once": lambda image: jpeg(blurred(np.clip(crop(turn(image, -7)[:, ::-1].copy(), 5, 3) * 1.3, 0, 255).astype(np.uint8)), 40),
}


@pytest.fixture(scope="module")
def drawn() -> tuple[np.ndarray, CopyDetector]:
    images = np.stack([picture(number) for number in range(60)])
    labels = np.arange(60) % 3
    return images, CopyDetector(images, [f"p{n}" for n in range(60)], [f"g{n}" for n in range(60)], labels)


@pytest.mark.parametrize("disguise", DISGUISES)
def test_disguised_copies_are_found_and_named(drawn: tuple[np.ndarray, CopyDetector], disguise: str) -> None:
    images, detector = drawn
    found = detector.nearest(np.stack([DISGUISES[disguise](image) for image in images[::3]]))
    assert found.is_copy.all()
    assert found.ids.tolist() == [f"p{n}" for n in range(0, 60, 3)]


def test_new_pictures_are_no_copies(drawn: tuple[np.ndarray, CopyDetector]) -> None:
    found = drawn[1].nearest(np.stack([picture(number) for number in range(1000, 1015)]))
    assert not found.is_copy.any()
    assert (found.distances <= 2).all()


def test_an_exact_copy_is_at_distance_zero(drawn: tuple[np.ndarray, CopyDetector]) -> None:
    np.testing.assert_allclose(drawn[1].nearest(drawn[0][:5]).distances, 0, atol=2e-3)


def frames(noise: int) -> np.ndarray:
    """Twenty animals, four frames each that differ by so much noise."""
    rng = np.random.default_rng(0)
    added = rng.integers(-noise, noise + 1, (80, 64, 64, 3))
    return np.stack([np.clip(picture(n // 4).astype(int) + added[n], 0, 255).astype(np.uint8) for n in range(80)])


def test_frames_of_one_track_do_not_tighten_the_threshold() -> None:
    ids, labels = [str(n) for n in range(80)], np.zeros(80, dtype=np.int64)
    tracks = [str(n // 4) for n in range(80)]
    by_track, by_image = (CopyDetector(frames(40), ids, groups, labels, num_calibration=24) for groups in (tracks, ids))
    assert by_image.threshold < by_track.threshold
    hits, pairs = by_image.chance
    assert hits > 0 and pairs == 24 * 79 and by_track.chance == (0, 24 * 76)


def test_one_photograph_under_several_names_does_not_tighten_the_threshold() -> None:
    ids = [str(n) for n in range(80)]
    detector = CopyDetector(frames(3), ids, ids, np.zeros(80, dtype=np.int64), num_calibration=24)
    assert detector.threshold == LAXEST and detector.chance == (0, 24 * 79)


def test_the_crop_of_a_symmetrical_animal_is_laid_on_its_own_side() -> None:
    """Its mirror image fits nearly as well, at another place."""
    halves = [picture(number)[:, :32] for number in range(12)]
    rng = np.random.default_rng(0)
    images = np.stack([np.concatenate([half, half[:, ::-1]], 1) for half in halves])
    images = np.clip(images + rng.normal(0, 6, images.shape), 0, 255).astype(np.uint8)
    names = [str(n) for n in range(12)]
    found = CopyDetector(images, names, names, np.zeros(12, np.int64), threshold=0.05).nearest(np.stack([crop(image, 0, 5) for image in images]))
    assert found.is_copy.all() and found.ids.tolist() == names


def test_flat_images_are_no_copies_and_make_no_trouble(drawn: tuple[np.ndarray, CopyDetector]) -> None:
    flat = np.stack([np.full((64, 64, 3), value, np.uint8) for value in (0, 128, 255)])
    found = drawn[1].nearest(flat)
    assert np.isfinite(found.distances).all()
    assert not found.is_copy.any()
    assert len(drawn[1].nearest(flat[:0]).ids) == 0


def test_one_photograph_is_enough_and_none_is_an_error() -> None:
    one = CopyDetector(picture(0)[None], ["only"], ["g"], np.zeros(1, dtype=np.int64))
    found = one.nearest(np.stack([picture(0), picture(1)]))
    assert found.is_copy.tolist() == [True, False]
    with pytest.raises(CollectionError, match="no training photographs"):
        CopyDetector(np.empty((0, 64, 64, 3), np.uint8), [], [], np.empty(0, dtype=np.int64))


def test_the_answer_does_not_depend_on_the_company(drawn: tuple[np.ndarray, CopyDetector]) -> None:
    queries = np.stack([picture(n) for n in range(50, 66)])
    together, alone = drawn[1].nearest(queries), drawn[1].nearest(queries[3:4])
    np.testing.assert_allclose(together.distances[3], alone.distances[0], atol=1e-4)
    assert together.ids[3] == alone.ids[0]


def scene(number: int, width: int = 128, height: int = 96) -> Image.Image:
    """An oblong photograph."""
    rng = np.random.default_rng([number, 9])
    ground = Image.fromarray(rng.integers(60, 200, (6, 8, 3), dtype=np.uint8)).resize((width, height), Image.Resampling.BICUBIC)
    body = Image.fromarray(rng.integers(20, 235, (9, 9, 3), dtype=np.uint8)).resize((56, 40), Image.Resampling.BICUBIC)
    ground.paste(body, (int(rng.integers(20, 52)), int(rng.integers(20, 36))))
    return ground


WHOLE: dict[str, Callable[[Image.Image], Image.Image]] = {
    "off-centre": lambda image: image.crop((32, 3, 128, 75)),
    "the square in the centre": lambda image: image.crop((16, 0, 112, 96)),
    "upright": lambda image: image.crop((24, 0, 96, 96)),
    "stretched": lambda image: image.resize((128, 128)),
    "turned": lambda image: image.rotate(15, Image.Resampling.BICUBIC, fillcolor=(90, 110, 120)),
    "turned in a larger frame": lambda image: image.rotate(-8, Image.Resampling.BICUBIC, expand=True),
}


def squares(photographs: list[Image.Image]) -> tuple[np.ndarray, np.ndarray]:
    """Photographs in squares of 64 px, and which parts of these show them."""
    table = pd.DataFrame({"width": [one.width for one in photographs], "height": [one.height for one in photographs], "box": None})
    return np.stack([crop_square(np.asarray(one), 64) for one in photographs]), photograph_parts(table, 64)


@pytest.fixture(scope="module")
def oblong() -> CopyDetector:
    images, parts = squares([scene(number) for number in range(30)])
    return CopyDetector(images, [f"p{n}" for n in range(30)], [f"g{n}" for n in range(30)], np.zeros(30, np.int64), parts=parts, num_calibration=10)


@pytest.mark.parametrize("disguise", WHOLE)
def test_copies_of_an_oblong_photograph_are_found_whatever_was_done_before_it_was_squared(oblong: CopyDetector, disguise: str) -> None:
    images, parts = squares([WHOLE[disguise](scene(number)) for number in range(0, 30, 5)])
    found = oblong.nearest(images, parts=parts)
    assert found.is_copy.all()
    assert found.ids.tolist() == [f"p{n}" for n in range(0, 30, 5)]


def test_a_drawn_square_that_shows_an_oblong_photograph_with_its_padding_is_a_copy(oblong: CopyDetector) -> None:
    drawn = squares([scene(number) for number in range(6)])[0]
    assert oblong.nearest(drawn).is_copy.all()
    other, parts = squares([scene(number) for number in range(100, 110)])
    assert not oblong.nearest(other).is_copy.any() and not oblong.nearest(other, parts=parts).is_copy.any()


def reach(image: Image.Image, left: float, top: float, right: float, bottom: float) -> Image.Image:
    return image.crop((round(left * image.width), round(top * image.height), round(right * image.width), round(bottom * image.height)))


REAL: dict[str, Callable[[Image.Image], Image.Image]] = {
    "off-centre": lambda image: reach(image, 0.22, 0.03, 0.97, 0.78),
    "another format": lambda image: reach(image, 0.1, 0, 0.6, 1) if image.width >= image.height else reach(image, 0, 0.1, 1, 0.6),
    "turned oblong": lambda image: image.rotate(15, Image.Resampling.BICUBIC, expand=True, fillcolor=(120, 120, 120)),
}


def test_copies_of_photographs_are_found_that_were_cropped_turned_blurred_and_compressed(fish4knowledge: Path) -> None:
    table = pd.read_csv(fish4knowledge / "classification.csv", dtype=str).drop_duplicates("trajectory")[::11][:120]
    photographs = [Image.open(fish4knowledge / name).convert("RGB") for name in table["file_name"]]
    images, parts = squares(photographs)
    ids, groups = table["file_name"].tolist(), table["trajectory"].tolist()
    # The threshold is what all training photographs give; so few would allow more.
    detector = CopyDetector(images[:90], ids[:90], groups[:90], np.zeros(90, np.int64), parts=parts[:90], threshold=0.064)
    assert not detector.nearest(images[90:], parts=parts[90:]).is_copy.any()
    whole = [squares([disguise(photograph) for photograph in photographs[:90:6]]) for disguise in REAL.values()]
    blurred_, all_at_once = (np.stack([DISGUISES[name](one) for one in images[:90:6]]) for name in ("blur and jpeg", "all at once"))
    queries = np.concatenate([*(each for each, _ in whole), blurred_, all_at_once])
    full = np.tile([0, 0, 64, 64], (30, 1))
    found = detector.nearest(queries, parts=np.concatenate([*(part for _, part in whole), full]))
    for name, hit in zip([*REAL, "blur and jpeg", "all at once"], found.is_copy.reshape(-1, 15), strict=True):
        assert hit.mean() >= (0.8 if name == "all at once" else 0.93), name


@pytest.mark.slow
def test_rates_on_photographs(fish4knowledge: Path) -> None:
    table = pd.read_csv(fish4knowledge / "classification.csv", dtype=str)
    rows = np.sort(np.random.default_rng(0).permutation(len(table))[:800])
    table = table.iloc[rows]
    images = np.stack([crop_square(np.array(Image.open(fish4knowledge / name).convert("RGB")), 64) for name in table["file_name"]])
    tracks = table["trajectory"].to_numpy(dtype=str)
    held_out = np.isin(tracks, np.unique(tracks)[::4])
    labels = pd.factorize(table["standardized_species"])[0]
    ids = table["file_name"].to_numpy()
    detector = CopyDetector(images[~held_out], ids[~held_out].tolist(), tracks[~held_out], labels[~held_out])
    assert detector.nearest(images[held_out]).is_copy.mean() < 0.05
    originals = images[~held_out][::10]
    for name, disguise in DISGUISES.items():
        rate = detector.nearest(np.stack([disguise(image) for image in originals])).is_copy.mean()
        assert rate >= 0.95, f"{name}: {rate:.3f} of the copies found"
