"""Strips, boards, variations and filled-in photographs: what lies in the folder, what each image says of itself, and going on after a stop."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from made import make_collection
from PIL import Image
from torch import Tensor

from syntype.collection import Collection
from syntype.collection.exports import ExportConfig, export
from syntype.compute.runtime import Runtime
from syntype.errors import CollectionError, InputError, LeakageError, RecipeError, UnknownNameError, UnsupportedError
from syntype.generators.contract import TrainingData
from syntype.generators.engine.generator import Generator
from syntype.generators.families.copies import Copies, GeneratorConfig
from syntype.generators.families.fastgan import FastGAN, FastGANConfig
from syntype.run import Run
from syntype.synthesis import BlendConfig, InpaintConfig, VaryConfig, blend, generate, inpaint, read_provenance, vary
from syntype.synthesis.generate import GenerateConfig
from syntype.synthesis.provenance import EDITED, TRAINED

NAMES = ("Aus primus", "Aus secundus", "Bus tertius")
QUICK = {"search_steps": 1}


class Counted(Generator):
    """An untrained generator that counts the photographs that it is asked to start from."""

    asked = 0

    def vary(self, images_NCHW: Tensor, *arguments: Any, **controls: Any) -> Tensor:
        self.asked += len(images_NCHW)
        return super().vary(images_NCHW, *arguments, **controls)


@pytest.fixture(scope="module")
def generator() -> Counted:
    torch.manual_seed(0)
    model = FastGAN(FastGANConfig.tiny(32), NAMES)
    return Counted(Path("made"), model, {"family": "fastgan", "generator_id": "fastgan-0123456789ab", "licences": ["CC BY 4.0"]}, [])


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    return make_collection(tmp_path_factory.mktemp("hybrids") / "collection", dict(zip(NAMES, (8, 6, 4), strict=True)))


def files_of(collection: Collection) -> dict[str, bytes]:
    return {str(name): (collection.root / str(name)).read_bytes() for name in collection.table["file_name"]}


def rows_of(collection: Collection) -> list[dict[str, Any]]:
    return [{**row, "controls": json.loads(row["controls"])} for row in collection.table.to_dict("records")]


def test_a_strip_goes_from_one_generated_image_to_another(generator: Generator, tmp_path: Path) -> None:
    config = BlendConfig(species=NAMES[:2], steps=4, num=2, seed=3)
    result = blend(generator, config, tmp_path / "strip", Run.silent())
    rows = rows_of(Collection.open(tmp_path / "strip"))
    assert [row["species"] for row in rows] == 2 * ["Aus primus", *2 * ["Aus primus × Aus secundus"], "Aus secundus"]
    assert [row["controls"]["blend"]["amount"] for row in rows[:4]] == [0, 1 / 3, 2 / 3, 1]
    drawn = generate(generator, GenerateConfig(species=NAMES[:2], num=2, seed=3), tmp_path / "drawn", Run.silent()).collection
    images = [np.asarray(Image.open(result.collection.path(row))) for row in range(8)]
    ends = {(row["species"], row["seed"]): np.asarray(Image.open(drawn.path(at))) for at, row in enumerate(drawn.table.to_dict("records"))}
    for first, last in ((0, 3), (4, 7)):
        told = rows[last]["controls"]["blend"]
        assert np.array_equal(images[first], ends["Aus primus", told["seeds"][0]])
        assert np.array_equal(images[last], ends["Aus secundus", told["seeds"][1]])
    mark = read_provenance(result.collection.path(1))
    assert mark is not None and mark.species == "Aus primus × Aus secundus" and mark.digital_source_type == TRAINED
    assert mark.controls["blend"] == rows[1]["controls"]["blend"] and result.collection.table["parents"].isna().all()


def test_pictures_of_a_strip_show_it_there_and_back_and_say_what_they_are(generator: Generator, tmp_path: Path) -> None:
    result = blend(generator, BlendConfig(species=NAMES, steps=3, num=2), tmp_path, Run.silent())
    assert len(result.collection) == 2 * 5, "a stop on the way is drawn once"
    assert [path.name for path in result.pictures] == ["strip.png", "strip.gif", "strip.webp"]
    assert result.summary()["pictures"] == [str(path) for path in result.pictures]
    strip = np.asarray(Image.open(tmp_path / "strip.png"))
    assert strip.shape == (64, 5 * 32, 3)
    assert np.array_equal(strip[32:, 64:96], np.asarray(Image.open(result.collection.path(7))))
    for name in ("strip.gif", "strip.webp"):
        with Image.open(tmp_path / name) as moving:
            assert moving.n_frames == 8 and moving.size == (32, 64) and moving.info["loop"] == 0
    with Image.open(tmp_path / "strip.webp") as moving:
        moving.seek(6)
        assert np.array_equal(np.asarray(moving.convert("RGB")), strip[:, 64:96].reshape(64, 32, 3)), "the sixth frame is on the way back"
    with Image.open(tmp_path / "strip.gif") as moving:
        assert b"Not occurrence evidence" in moving.info["comment"]
    for name in ("strip.png", "strip.webp"):
        mark = read_provenance(tmp_path / name)
        assert mark is not None and mark.species == " × ".join(NAMES)


def test_one_species_alone_goes_from_one_individual_to_another(generator: Generator, tmp_path: Path) -> None:
    rows = rows_of(blend(generator, BlendConfig(species=NAMES[:1], steps=3), tmp_path, Run.silent()).collection)
    assert {row["species"] for row in rows} == {"Aus primus"} and all(pd.isna(row["label_weights"]) for row in rows)
    assert len(set(rows[0]["controls"]["blend"]["seeds"])) == 2


def labels_of(collection: Collection) -> list[dict[str, float] | None]:
    return [None if pd.isna(text) else json.loads(text) for text in collection.table["label_weights"]]


def test_an_image_between_two_species_has_the_label_of_both(generator: Generator, tmp_path: Path) -> None:
    first, second = NAMES[:2]
    strip = BlendConfig(species=NAMES[:2], steps=5)
    made = blend(generator, strip, tmp_path / "strip", Run.silent()).collection
    assert labels_of(made) == [None, {first: 0.75, second: 0.25}, {first: 0.5, second: 0.5}, {first: 0.25, second: 0.75}, None]
    alone = blend(generator, strip.model_copy(update={"of": "latent"}), tmp_path / "latent", Run.silent()).collection
    assert labels_of(alone) == [None] * 5 and set(alone.table["species"]) == {first}
    # asked for again with another rule for the labels, the images stay, and so does the amount
    files = files_of(made)
    again = blend(generator, strip.model_copy(update={"label_power": 0.5}), tmp_path / "strip", Run.silent()).collection
    assert labels_of(again)[1] == {first: 0.5, second: 0.5} and rows_of(again)[1]["controls"]["blend"]["amount"] == 0.25
    assert files_of(again) == files


def test_a_label_of_two_stays_in_an_export(generator: Generator, tmp_path: Path) -> None:
    made = blend(generator, BlendConfig(species=NAMES[:2], steps=3), tmp_path / "strip", Run.silent()).collection
    export(made, ExportConfig(layout="table"), tmp_path / "table", Run.silent())
    export(made, ExportConfig(layout="hugging-face"), tmp_path / "hub", Run.silent())
    csv = pd.read_csv(next((tmp_path / "table").glob("*.csv")))
    with zipfile.ZipFile(next((tmp_path / "hub").glob("*.zip"))) as packed:
        parquet = pd.read_parquet(io.BytesIO(packed.read("unsplit/metadata.parquet")))
    for table in (csv, parquet):
        assert json.loads(table.sort_values("image_id")["label_weights"].iloc[1]) == dict.fromkeys(NAMES[:2], 0.5)


def test_a_board_mixes_every_species_with_every_other(generator: Generator, tmp_path: Path) -> None:
    result = blend(generator, BlendConfig(species=NAMES, layout="board", num=2), tmp_path, Run.silent())
    rows = rows_of(result.collection)
    assert len(rows) == 18 and [row["species"] for row in rows[:4]] == [
        "Aus primus",
        *(f"Aus primus × {name}" for name in NAMES[1:]),
        "Aus secundus × Aus primus",
    ]
    assert all(len(set(row["controls"]["blend"]["seeds"])) == 1 for row in rows), "one latent"
    assert [path.name for path in result.pictures] == ["board.png"]
    board = Image.open(tmp_path / "board.png")
    assert board.width > 96 and board.height > 96
    corner = np.asarray(board)[-32:, -32:]
    assert np.array_equal(corner, np.asarray(Image.open(result.collection.path(8))))


def test_variations_name_their_photograph_and_come_from_training_photographs_alone(
    generator: Generator, photographs: Collection, tmp_path: Path
) -> None:
    config = VaryConfig(species=NAMES[:2], num=2, strengths=(0.25, 1.0), controls=QUICK)
    result = vary(generator, photographs, config, tmp_path, Run.silent())
    train = photographs.training().select(species=NAMES[:2]).table.set_index("image_id")
    rows = rows_of(result.collection)
    assert len(rows) == 4 * len(train) and len({row["image_id"] for row in rows}) == len(rows)
    for row in rows:
        (parent,) = json.loads(row["parents"])
        assert row["species"] == train.loc[parent, "species"] and row["controls"]["vary"]["photograph"] == parent
        assert row["licence"] == "CC BY 4.0; CC0-1.0" and row["origin"] == "synthetic"
    near, far = (sorted(row["seed"] for row in rows if row["controls"]["vary"]["strength"] == strength) for strength in (0.25, 1.0))
    assert near == far and len(set(near)) == len(near)
    mark = read_provenance(result.collection.path(0))
    assert mark is not None and mark.digital_source_type == EDITED == "compositeWithTrainedAlgorithmicMedia"
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert sheet.shape == (32 * len(train), 32 * 5, 3)
    assert np.array_equal(sheet[:32, :32], photographs.training().select(species=NAMES[:2]).pixels(32)[0])


@pytest.mark.parametrize("split", ["test", "val"])
def test_photographs_that_are_not_for_training_are_refused(generator: Generator, photographs: Collection, tmp_path: Path, split: str) -> None:
    held = str(photographs.select(split=split).table["image_id"].iloc[0])
    for stage, config in ((vary, VaryConfig(photographs=(held,))), (inpaint, InpaintConfig(photographs=(held,), box=(0, 0, 0.5, 0.5)))):
        with pytest.raises(LeakageError, match=f"{held} is not a training photograph"):
            stage(generator, photographs, config, tmp_path / "out", Run.silent())
        with pytest.raises(CollectionError, match="'train'"):
            stage(generator, photographs.select(split=split), config.model_copy(update={"photographs": ()}), tmp_path / "out", Run.silent())
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_drawn_is_refused_before_anything_is_written(generator: Generator, photographs: Collection, tmp_path: Path) -> None:
    out, run = tmp_path / "out", Run.silent()
    images = np.zeros((3, 32, 32, 3), dtype=np.uint8)
    copies = Copies(GeneratorConfig(size=32), NAMES)
    copies.prepare(TrainingData(images, np.arange(3), np.arange(3), NAMES), Runtime("cpu"))
    repeats = Generator(Path("made"), copies, {"family": "copies", "generator_id": "copies-0123456789ab"}, [])
    with pytest.raises(UnsupportedError, match=r"copies cannot .*fastgan"):
        blend(repeats, BlendConfig(species=NAMES), out, run)
    with pytest.raises(UnsupportedError, match=r"copies cannot .*fastgan"):
        vary(repeats, photographs, VaryConfig(), out, run)
    with pytest.raises(UnsupportedError, match=r"copies cannot .*fastgan"):
        inpaint(repeats, photographs, InpaintConfig(box=(0, 0, 0.5, 0.5)), out, run)
    with pytest.raises(RecipeError, match="no control 'steps'"):
        vary(generator, photographs, VaryConfig(controls={"steps": 3}), out, run)
    with pytest.raises(UnknownNameError, match="Did you mean 'Aus primus'"):
        blend(generator, BlendConfig(species=("Aus primvs",)), out, run)
    with pytest.raises(UnknownNameError, match="photograph"):
        vary(generator, photographs, VaryConfig(photographs=("nowhere",)), out, run)
    with pytest.raises(InputError, match="contains no pixel"):
        inpaint(generator, photographs, InpaintConfig(box=(0.5, 0.5, 0.5, 0.5)), out, run)
    assert not out.exists()
    for wrong in ({"species": ()}, {"species": NAMES[:1], "layout": "board"}, {"species": NAMES, "of": "latent"}, {"species": NAMES, "steps": 1}):
        with pytest.raises(RecipeError):
            BlendConfig.parse(wrong)
    with pytest.raises(RecipeError, match="box or a mask"):
        InpaintConfig.parse({})


def filled(generator: Generator, photographs: Collection, out: Path, **config: Any) -> tuple[np.ndarray, np.ndarray]:
    """The photographs of a species and the same filled in, uint8."""
    chosen = photographs.training().select(species=NAMES[2])
    result = inpaint(generator, photographs, InpaintConfig(species=NAMES[2:], controls=QUICK, **config), out, Run.silent())
    assert [json.loads(parents) for parents in result.collection.table["parents"]] == [[name] for name in chosen.table["image_id"]]
    return chosen.pixels(32), np.stack([np.asarray(Image.open(result.collection.path(row))) for row in range(len(result.collection))])


def test_every_pixel_outside_a_box_or_mask_stays_as_it_is(generator: Generator, photographs: Collection, tmp_path: Path) -> None:
    hole = np.zeros((32, 32), dtype=bool)
    hole[8:24, 4:16] = True
    Image.fromarray(np.uint8(255) * hole).resize((128, 128), Image.Resampling.NEAREST).save(tmp_path / "mask.png")
    results = []
    for number, config in enumerate(({"box": (4, 8, 16, 24)}, {"box": (0.125, 0.25, 0.5, 0.75)}, {"mask": tmp_path / "mask.png"})):
        before, after = filled(generator, photographs, tmp_path / str(number), **config)
        assert np.array_equal(before[:, ~hole], after[:, ~hole]) and not np.array_equal(before, after)
        results.append(after)
    assert all(np.array_equal(results[0], other) for other in results[1:])
    sheet = np.asarray(Image.open(tmp_path / "0" / "sheet.png"))
    assert sheet.shape == (32 * len(before), 96, 3) and (sheet[8:24, 36:48] == 128).all()


def test_a_killed_run_goes_on_where_it_was(generator: Counted, photographs: Collection, tmp_path: Path) -> None:
    config = VaryConfig(species=NAMES[:1], num=2, controls=QUICK)
    whole = vary(generator, photographs, config, tmp_path / "whole", Run.silent()).collection
    names: Sequence[str] = whole.table["file_name"].tolist()
    for name in names[:3]:  # what a kill leaves: some images, one of them half, and no table
        (tmp_path / "killed" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(tmp_path / "whole" / name, tmp_path / "killed" / name)
    half = tmp_path / "killed" / names[2]
    half.write_bytes(half.read_bytes()[: half.stat().st_size // 2])
    generator.asked = 0
    again = vary(generator, photographs, config, tmp_path / "killed", Run.silent()).collection
    assert generator.asked == len(names) - 2
    assert files_of(again) == files_of(whole) and again.fingerprint == whole.fingerprint
