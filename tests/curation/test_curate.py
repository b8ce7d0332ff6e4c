from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from syntype.collection import Collection
from syntype.collection.reef import ReefConfig, draw_images, draw_reef
from syntype.curation import CurateConfig, curate
from syntype.encoders import load_zero_shot
from syntype.errors import CollectionError, RecipeError, UnknownNameError
from syntype.run import Run

REEF = ReefConfig(num_species=3, size=64, max_images=24, min_images=12, num_val=3, num_test=2)
NUM_FRESH = 18


@pytest.fixture(scope="module")
def reef(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    return draw_reef(REEF, tmp_path_factory.mktemp("curate") / "reef", Run.silent()).collection


def write(folder: Path, images: list[np.ndarray | bytes], species: list[str], **columns: list[str | None]) -> Collection:
    """A synthetic collection of arrays, or of the bytes of files."""
    import hashlib

    (folder / "images").mkdir(parents=True)
    names, digests = [], []
    for number, image in enumerate(images):
        path = folder / "images" / f"{number:03}.png"
        if isinstance(image, bytes):
            path.write_bytes(image)
        else:
            Image.fromarray(image).save(path)
        names.append(f"images/{number:03}.png")
        digests.append(hashlib.sha256(path.read_bytes()).hexdigest())
    table = pd.DataFrame({"image_id": [f"s{n}" for n in range(len(images))], "file_name": names, "species": species, "sha256": digests, **columns})
    return Collection.create(folder, table.assign(origin="synthetic"), history=[{"stage": "generate"}])


@pytest.fixture(scope="module")
def judged(reef: Collection, tmp_path_factory: pytest.TempPathFactory) -> tuple[Collection, Collection]:
    """Fresh fish, mirrored copies, the same fish under another name, noise, and a file of the test split; then curated."""
    train, val = reef.training(), reef.select(split="val")
    labels = np.arange(NUM_FRESH) % 3
    fresh = list(draw_images(REEF, labels, np.arange(NUM_FRESH) + 1, 64))
    copies = [image[:, ::-1].copy() for image in train.pixels(64)[:8]]
    noise = list(np.random.default_rng(0).integers(0, 256, (6, 64, 64, 3), dtype=np.uint8))
    images = [*fresh, *copies, *noise, val.path(0).read_bytes(), fresh[0]]
    names = [reef.species[label] for label in labels]
    species = [*names, *train.table["species"].tolist()[:8], *[reef.species[0]] * 6, val.table["species"].iloc[0], names[0]]
    last = [None] * (len(images) - 1)
    folder = tmp_path_factory.mktemp("judged")
    synthetic = write(folder / "synthetic", images, species, verdict=[*last, "refused"], reason=[*last, "expert"], reviewer=[*last, "somebody"])
    return synthetic, curate(synthetic, reef, CurateConfig(), folder / "curated", Run.silent()).collection


def test_every_image_stays_and_opens(judged: tuple[Collection, Collection]) -> None:
    synthetic, curated = judged
    again = Collection.open(curated.root)
    assert again.table["image_id"].tolist() == synthetic.table["image_id"].tolist()
    np.testing.assert_array_equal(again.pixels(64), synthetic.pixels(64))


def test_copies_and_noise_are_refused_and_fresh_ones_mostly_not(judged: tuple[Collection, Collection], reef: Collection) -> None:
    table = judged[1].table
    fresh, copies, noise = table.iloc[:NUM_FRESH], table.iloc[NUM_FRESH : NUM_FRESH + 8], table.iloc[NUM_FRESH + 8 : NUM_FRESH + 14]
    assert (fresh["reason"] == "copy").fillna(False).sum() <= 1  # the threshold is set so that 1.5 % of other photographs are taken for copies
    assert (fresh["verdict"] == "accepted").mean() > 0.5
    assert (copies["reason"] == "copy").all()
    assert copies["nearest_real_id"].tolist() == reef.training().table["image_id"].tolist()[:8]
    assert (noise["verdict"] == "refused").all()
    assert table["nearest_real_distance"].notna().all()


def test_a_file_of_the_held_back_splits_is_a_copy(judged: tuple[Collection, Collection], reef: Collection) -> None:
    row = judged[1].table.iloc[-2]
    assert (row["verdict"], row["reason"], row["nearest_real_distance"]) == ("refused", "copy", 0)
    assert row["nearest_real_id"] == reef.select(split="val").table["image_id"].iloc[0]


def test_an_expert_is_not_overruled(judged: tuple[Collection, Collection]) -> None:
    row = judged[1].table.iloc[-1]
    assert (row["verdict"], row["reason"], row["reviewer"]) == ("refused", "expert", "somebody")


def test_each_refusal_is_explained_by_number_and_threshold(judged: tuple[Collection, Collection]) -> None:
    table = judged[1].table
    history = json.loads((judged[1].root / "collection.json").read_text())["history"]
    assert [step["stage"] for step in history] == ["generate", "curate"]
    thresholds = history[1]["thresholds"]
    held_back = len(table) - 2
    for number, row in enumerate(table.itertuples()):
        if number >= held_back:
            continue
        copy = row.nearest_real_distance <= thresholds["nearest_real_distance"]["copy_at_or_below"]
        species = row.margin < thresholds["margin"]["accepted_from"][row.species]
        distribution = row.typicality < thresholds["typicality"]["accepted_from"][row.species]
        reason = "copy" if copy else "species" if species else "distribution" if distribution else None
        assert (None if pd.isna(row.reason) else row.reason) == reason
        assert row.verdict == ("accepted" if reason is None else "refused")


def test_summary_adds_up_and_curating_again_gives_the_same(judged: tuple[Collection, Collection], reef: Collection, tmp_path: Path) -> None:
    result = curate(judged[1], reef, CurateConfig(), tmp_path / "again", Run.silent())
    summary = result.summary()
    assert summary["num_images"] == summary["num_accepted"] + sum(summary["refused"].values()) + summary["num_refused_by_expert"]
    assert list(summary["refused"]) == ["copy", "species", "distribution"]
    pd.testing.assert_series_equal(result.collection.table["reason"], judged[1].table["reason"])


def test_test_images_teach_nothing(judged: tuple[Collection, Collection], reef: Collection, tmp_path: Path) -> None:
    """Without its test split the same thresholds come out."""
    blind = Collection(reef.root, reef.table[reef.table["split"] == "train"].reset_index(drop=True), reef.species, reef.info)
    result = curate(judged[0], blind, CurateConfig(), tmp_path / "blind", Run.silent())
    assert result.collection.info["history"][-1]["thresholds"] == judged[1].info["history"][-1]["thresholds"]


def test_what_cannot_be_judged_is_said_clearly(reef: Collection, tmp_path: Path) -> None:
    image = np.zeros((64, 64, 3), np.uint8)
    unknown = write(tmp_path / "unknown", [image], ["Nemo nemo"])
    with pytest.raises(UnknownNameError, match="Nemo nemo"):
        curate(unknown, reef, CurateConfig(), tmp_path / "out", Run.silent())
    unnamed = write(tmp_path / "unnamed", [image], [None])  # type: ignore[list-item]
    with pytest.raises(CollectionError, match="no species"):
        curate(unnamed, reef, CurateConfig(), tmp_path / "out", Run.silent())
    with pytest.raises(CollectionError, match="has no images"):
        curate(unnamed.where(np.zeros(1, bool)), reef, CurateConfig(), tmp_path / "out", Run.silent())
    without = Collection(
        reef.root, reef.table[(reef.table["species"] != reef.species[0]) | (reef.table["split"] != "train")].reset_index(drop=True), reef.species
    )
    with pytest.raises(CollectionError, match="no training photographs"):
        curate(write(tmp_path / "one", [image], [reef.species[0]]), without, CurateConfig(), tmp_path / "out", Run.silent())
    with pytest.raises(CollectionError, match="new folder"):
        curate(unknown, reef, CurateConfig(), unknown.root, Run.silent())


def test_experts_verdicts_stand_both_ways_but_a_copy_stays_refused(reef: Collection, tmp_path: Path) -> None:
    copy, noise = reef.training().pixels(64)[0], np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    name = str(reef.training().table["species"].iloc[0])
    accepted: dict[str, list[str | None]] = {"verdict": ["accepted", "accepted", None], "reviewer": ["Ada", "Ada", None]}
    made = write(tmp_path / "made", [copy, noise, noise[::-1].copy()], [name] * 3, **accepted)
    result = curate(made, reef, CurateConfig(), tmp_path / "curated", Run.silent())
    table = result.collection.table
    assert table["verdict"].tolist() == ["refused", "accepted", "refused"]
    assert table["reason"].iloc[0] == "copy" and pd.isna(table["reason"].iloc[1])
    assert [None if pd.isna(value) else value for value in table["reviewer"]] == [None, "Ada", None]
    assert table["verdict_before"].iloc[1] == "refused" and result.summary()["num_accepted_by_expert"] == 1


def test_every_unknown_species_is_told_with_its_number_and_the_nearest_name(reef: Collection, tmp_path: Path) -> None:
    image = np.zeros((64, 64, 3), np.uint8)
    name = reef.species[0]
    made = write(tmp_path / "made", [image] * 3, [name.upper(), name.replace(" ", "_"), name.upper()])
    with pytest.raises(UnknownNameError) as raised:
        curate(made, reef, CurateConfig(), tmp_path / "out", Run.silent())
    assert f"2 images of {name.upper()!r} (nearest known name: {name!r})" in str(raised.value)
    assert f"1 image of {name.replace(' ', '_')!r}" in str(raised.value)


def test_another_encoder_judges_species_by_their_names_or_means(
    judged: tuple[Collection, Collection], reef: Collection, clip_folders: dict[str, Path], tmp_path: Path
) -> None:
    name = f"open_clip:local-dir:{clip_folders['tiny-clip']}"
    margins = {}
    for by in ("zero_shot", "nearest_mean"):
        config = CurateConfig.parse({"encoder": name, "margin": by})
        curated = curate(judged[0], reef, config, tmp_path / by, Run.silent()).collection
        margins[by], looks_like = curated.table["margin"].to_numpy(float), curated.table["looks_like"].tolist()
        if by == "zero_shot":
            named = looks_like
        step = curated.info["history"][-1]
        assert step["encoder"].startswith(name) and step["settings"]["margin"] == by
    namer = load_zero_shot(name, reef)
    logits, labels = namer.logits(namer.encoder.encode(judged[0].pixels(64))), [reef.species.index(one) for one in judged[0].table["species"]]
    expected = [row[label] - np.delete(row, label).max() for row, label in zip(logits, labels, strict=True)]
    np.testing.assert_allclose(margins["zero_shot"], expected, atol=1e-3)
    others = [np.where(np.arange(len(row)) == label, -np.inf, row).argmax() for row, label in zip(logits, labels, strict=True)]
    assert named == [reef.species[other] for other in others]
    assert not np.allclose(margins["nearest_mean"], margins["zero_shot"])


def test_encoders_that_cannot_curate_are_refused() -> None:
    with pytest.raises(RecipeError, match=r"'lite0' cannot be used to choose synthetic images"):
        CurateConfig.parse({"encoder": "lite0"})
    with pytest.raises(RecipeError, match="zero_shot names species by texts, which 'lite2' does not know"):
        CurateConfig.parse({"margin": "zero_shot"})


def test_images_between_two_species_are_judged_and_keep_their_label(reef: Collection, tmp_path: Path) -> None:
    fish = draw_images(REEF, [0, 1], [5, 6], 64)
    copy, noise = reef.training().pixels(64)[0], np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    one, other = reef.species[:2]
    weights: list[str | None] = [json.dumps({one: 0.25, other: 0.75})] * 4
    made = write(tmp_path / "made", [*fish, copy, noise], [f"{one} × {other}"] * 4, label_weights=weights)
    table = curate(made, reef, CurateConfig(), tmp_path / "out", Run.silent()).collection.table
    assert table["species"].tolist() == made.table["species"].tolist() and table["label_weights"].tolist() == weights
    assert table["reason"].iloc[2] == "copy" and table["reason"].iloc[3] in ("species", "distribution")
    assert (table["margin"].iloc[:2] > 0).all(), "they look like one of the two"
    strange = write(tmp_path / "strange", [noise], [f"{one} × Nemo"], label_weights=[json.dumps({one: 0.5, "Nemo": 0.5})])
    with pytest.raises(CollectionError, match="lacks one: 'Nemo'"):
        curate(strange, reef, CurateConfig(), tmp_path / "none", Run.silent())
