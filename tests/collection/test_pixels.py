from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from syntype.collection import pixels as module
from syntype.collection.importers import CollectConfig, collect
from syntype.collection.pixels import MARGIN, crop_square, crop_to, window
from syntype.collection.table import Collection
from syntype.errors import CollectionError
from syntype.run import Run


@pytest.fixture
def collection(tmp_path: Path) -> Collection:
    rng = np.random.default_rng(0)
    for species in ("Aa aa", "Bb bb"):
        for number in range(6):
            path = tmp_path / "source" / species.replace(" ", "_") / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (30 + number, 40, 3), dtype=np.uint8)).save(path)
    return collect(tmp_path / "source", CollectConfig(), tmp_path / "collection", Run.silent()).collection


def test_a_second_reading_is_a_memory_map_of_the_same_pixels(collection: Collection) -> None:
    first = collection.pixels(16)
    assert first.shape == (12, 16, 16, 3) and first.dtype == np.uint8
    expected = np.stack(list(collection.iterate_pixels(16)))
    again = collection.pixels(16)
    assert isinstance(again, np.memmap)
    np.testing.assert_array_equal(first, expected)
    np.testing.assert_array_equal(again, expected)


def test_changing_what_was_read_leaves_the_cache_alone(collection: Collection) -> None:
    first = collection.pixels(16)
    kept = first.copy()
    first[:] = 0
    np.testing.assert_array_equal(collection.pixels(16), kept)


def test_views_and_other_orders_come_from_the_cache(collection: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = np.array(collection.pixels(16))
    monkeypatch.setattr(module, "decode", lambda path: pytest.fail(f"{path} was decoded again"))
    order = np.random.default_rng(0).permutation(12)
    shuffled = Collection(collection.root, collection.table.iloc[order].reset_index(drop=True), collection.species)
    np.testing.assert_array_equal(shuffled.pixels(16), whole[order])
    mask = collection.table["split"] == "train"
    np.testing.assert_array_equal(collection.training().pixels(16), whole[mask.to_numpy(dtype=bool)])
    assert isinstance(collection.where(np.arange(12) >= 4).pixels(16), np.memmap)
    assert collection.where(np.zeros(12)).pixels(16).shape == (0, 16, 16, 3)


def test_what_is_too_large_for_memory_is_read_from_the_disk_in_any_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """60 MB of decoded images of which every second one is wanted: they are not copied into memory, and batches of them are right."""

    def own_memory() -> int:
        """Bytes of this process that no file backs."""
        return int(Path("/proc/self/status").read_text().partition("RssAnon:")[2].split()[0]) * 1024

    number, size = 320, 256
    table = pd.DataFrame({"file_name": "none.png", "sha256": [f"{row:064d}" for row in range(number)], "box": None})
    images = module._Cache(tmp_path / ".cache", (size, size))
    assert images.write(module._keys(table), (np.full((size, size, 3), row % 251, dtype=np.uint8) for row in range(number)))
    monkeypatch.setattr(module, "_MOST_COPIED", 2**24)
    before = own_memory() if Path("/proc/self/status").exists() else 0
    wanted = module.read_pixels(tmp_path, table.iloc[::2], size)
    batch = wanted[np.array([150, 3, 77])]
    assert isinstance(wanted, np.memmap) and wanted.nbytes > 2**24
    assert (own_memory() if before else 0) - before < 2**23
    assert batch[:, 0, 0, 0].tolist() == [300 % 251, 6, 154]
    assert isinstance(module.read_pixels(tmp_path, table.iloc[::2], size), np.memmap) and len(list(tmp_path.glob(".cache/*.npy"))) == 2
    monkeypatch.setattr(module._Cache, "write", lambda *_: False)  # a full disk: into memory after all
    np.testing.assert_array_equal(module.read_pixels(tmp_path, table.iloc[::3], size)[:, 0, 0, 0], np.arange(0, number, 3) % 251)


def test_the_cache_grows_by_what_is_missing(collection: Collection) -> None:
    collection.where(np.arange(12) < 5).pixels(16)
    whole = collection.pixels(16)
    np.testing.assert_array_equal(whole, np.stack(list(collection.iterate_pixels(16))))
    assert sorted(np.load(path).shape[0] for path in (collection.root / ".cache").glob("*.npy")) == [5, 7]


def test_another_box_is_another_picture(collection: Collection) -> None:
    whole = np.array(collection.pixels(16))
    boxed = collection.where(np.ones(12))
    boxed.table.loc[0, "box"] = json.dumps([0, 0, 10, 10])
    assert (boxed.pixels(16)[0] != whole[0]).any()
    np.testing.assert_array_equal(boxed.pixels(16)[1:], whole[1:])


def test_exact_duplicates_do_not_cost_the_memory_map(collection: Collection) -> None:
    table = pd.concat([collection.table, collection.table.iloc[:3].assign(image_id=list("abc"))], ignore_index=True)
    double = Collection(collection.root, table, collection.species)
    double.pixels(16)
    again = double.pixels(16)
    assert isinstance(again, np.memmap)
    np.testing.assert_array_equal(again[12:], again[:3])


def test_a_crash_while_writing_leaves_a_sound_cache(collection: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = module.decode, []

    def failing(path: Path) -> np.ndarray:
        calls.append(path)
        if len(calls) > 6:
            raise KeyboardInterrupt
        return real(path)

    monkeypatch.setattr(module, "decode", failing)
    with pytest.raises(KeyboardInterrupt):
        collection.pixels(16)
    monkeypatch.undo()
    assert not list((collection.root / ".cache").glob("*.keys"))
    np.testing.assert_array_equal(collection.pixels(16), np.stack(list(collection.iterate_pixels(16))))


def test_half_written_and_foreign_files_are_passed_over(collection: Collection) -> None:
    expected = np.array(collection.pixels(16))
    cache = collection.root / ".cache"
    (keys,) = cache.glob("*.keys")
    images = keys.with_suffix(".npy")
    images.write_bytes(images.read_bytes()[:500])  # the disk lost its end
    (cache / "pixels-16-zzz.keys").write_bytes(b"not numpy")
    np.testing.assert_array_equal(collection.pixels(16), expected)


def test_old_temporary_files_are_swept_away_and_young_ones_left(collection: Collection) -> None:
    cache = collection.root / ".cache"
    cache.mkdir()
    old, young = cache / "pixels-16-a.tmp", cache / "pixels-16-b.tmp"
    for path in (old, young):
        path.touch()
    os.utime(old, (time.time() - 200_000,) * 2)
    collection.pixels(16)
    assert young.exists() and not old.exists()


def test_a_folder_that_cannot_be_written_is_read_all_the_same(collection: Collection) -> None:
    (collection.root / ".cache").write_text("a file where the folder should be")
    np.testing.assert_array_equal(collection.pixels(16), np.stack(list(collection.iterate_pixels(16))))


def test_two_processes_may_write_at_once(collection: Collection) -> None:
    code = f"from syntype.collection.table import Collection; print(int(Collection.open({str(collection.root)!r}).pixels(24).astype('int64').sum()))"
    running = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) for _ in range(2)]
    sums = {int(process.communicate(timeout=300)[0]) for process in running}
    assert sums == {int(collection.pixels(24).astype(np.int64).sum())}


def test_a_file_that_has_gone_is_named(collection: Collection) -> None:
    collection.path(3).unlink()
    with pytest.raises(CollectionError, match=collection.path(3).name):
        collection.pixels(16)


BOXES = st.tuples(st.integers(8, 400), st.integers(8, 400)).flatmap(
    lambda size: st.tuples(
        st.just(size),
        st.tuples(st.integers(0, size[0] - 2), st.integers(0, size[1] - 2)).flatmap(
            lambda corner: st.tuples(st.just(corner), st.tuples(st.integers(corner[0] + 1, size[0]), st.integers(corner[1] + 1, size[1])))
        ),
    )
)


@settings(max_examples=300, deadline=None)
@given(BOXES)
def test_the_window_keeps_the_whole_box_and_pads_only_where_it_must(case: tuple) -> None:
    (width, height), ((left, top), (right, bottom)) = case
    x, y, side, same = window(width, height, [left, top, right, bottom])
    assert side == same
    assert x <= left and y <= top and x + side >= right and y + side >= bottom
    for start, length, low, high in ((x, width, left, right), (y, height, top, bottom)):
        if side <= length:
            assert start >= 0 and start + side <= length  # moved, not padded
        else:
            assert max(right - left, bottom - top) == side and high - low <= length  # the box itself is too long for the other side


def test_a_box_gets_a_margin_where_there_is_room() -> None:
    assert window(1000, 1000, [400, 450, 600, 550]) == (388, 388, *[round(200 * (1 + 2 * MARGIN))] * 2)
    assert window(1000, 500, None) == (0, -250, 1000, 1000)
    assert window(1000, 500, None, (640, 1024)) == (0, -63, 1000, 625)


def _run(line: np.ndarray) -> int:
    """Length of the unbroken stretch through the middle (what the padding mirrors lies apart from it)."""
    middle = len(line) // 2
    right, left = np.flatnonzero(~line[middle:]), np.flatnonzero(~line[:middle][::-1])
    return int((right[0] if len(right) else len(line) - middle) + (left[0] if len(left) else middle))


@pytest.mark.parametrize(("height", "width"), [(60, 200), (200, 60), (87, 95), (95, 87), (500, 70)])
@pytest.mark.parametrize("size", [64, 65])
def test_a_circle_stays_a_circle(height: int, width: int, size: int) -> None:
    image = Image.new("RGB", (width, height), (40, 90, 120))
    radius = min(width, height) * 0.35
    middle = (width / 2, height / 2)
    ImageDraw.Draw(image).ellipse([middle[0] - radius, middle[1] - radius, middle[0] + radius, middle[1] + radius], fill=(255, 255, 255))
    result = crop_square(np.asarray(image), size)[:, :, 0].astype(float)
    disc = np.clip((result - 40) / 215, 0, 1) > 0.5
    tall, wide = _run(disc[:, size // 2]), _run(disc[size // 2])
    expected = 2 * radius * size / max(width, height)
    assert abs(tall - wide) <= 1 and abs(tall - expected) <= 1.5


def test_padding_carries_on_the_edge_and_leaves_the_image_alone() -> None:
    pixels = np.full((40, 80, 3), (10, 120, 200), dtype=np.uint8)
    assert (crop_square(pixels, 80) == (10, 120, 200)).all()
    pixels = np.random.default_rng(0).integers(0, 256, (40, 80, 3), dtype=np.uint8)
    result = crop_square(pixels, 80)
    np.testing.assert_array_equal(result[20:60], pixels)
    jump = np.abs(result[19].astype(int) - result[20].astype(int)).mean()
    assert jump < 30  # no seam: neighbours within the noise differ by 85
    assert result[0].std() < 25  # far out the noise has melted away


@pytest.mark.parametrize("shape", [(8, 3000), (3000, 8), (8, 8), (9, 31)])
@pytest.mark.parametrize("size", [16, 64])
def test_extreme_shapes_give_a_square(shape: tuple[int, int], size: int) -> None:
    assert crop_square(np.full((*shape, 3), 77, dtype=np.uint8), size).shape == (size, size, 3)


@pytest.mark.parametrize("box", [None, [300.0, 100.0, 420.0, 330.0]])
@pytest.mark.parametrize("shape", [(32, 64), (64, 32), (40, 64)])
def test_pictures_that_are_not_square_are_not_stretched_either(shape: tuple[int, int], box: list[float] | None) -> None:
    image = Image.new("RGB", (600, 400), (40, 90, 120))
    ImageDraw.Draw(image).ellipse([310, 165, 410, 265], fill=(255, 255, 255))
    result = crop_to(shape, np.asarray(image), box)
    assert result.shape == (*shape, 3)
    disc = result[:, :, 0] > 150
    tall, wide = disc.sum(0).max(), disc.sum(1).max()
    assert abs(int(tall) - int(wide)) <= 1 and tall > 3


def test_pixels_that_are_not_square_have_a_cache_of_their_own(collection: Collection) -> None:
    first = collection.pixels((16, 24))
    assert first.shape == (12, 16, 24, 3) and len(list((collection.root / ".cache").glob("pixels-16x24-*.npy"))) == 1
    again = collection.pixels((16, 24))
    assert isinstance(again, np.memmap)
    np.testing.assert_array_equal(first, again)
    assert collection.pixels(16).shape == (12, 16, 16, 3)


def test_scaling_down_does_not_alias() -> None:
    stripes = np.zeros((512, 512, 3), dtype=np.uint8)
    stripes[:, ::2] = 255
    assert np.abs(crop_square(stripes, 32).astype(int) - 127.5).max() < 5
