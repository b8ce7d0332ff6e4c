from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from syntype.collection import Collection
from syntype.errors import CollectionError, InputError, LeakageError
from syntype.identification import ClassifierConfig, ClassifierResult, load_classifier, predict, synthetic_images, train_classifier
from syntype.identification.identify import NearestPhotographs, identify
from syntype.identification.metrics import measure
from syntype.identification.plots import plot_confusion
from syntype.run import Run

CONFIG = ClassifierConfig(backbone="scratch", size=32, steps=20, batch_size=16, learning_rate=3e-3, device="cpu")
NAMES = ("Alpha rubra", "Beta viridis", "Gamma caerulea")


def paint(path: Path, species: int, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 100, size=(32, 32, 3), dtype=np.uint8)
    pixels[:, :, species] += 120
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def make_collection(folder: Path, counts: tuple[int, ...], splits: tuple[str | None, ...], first_seed: int) -> Collection:
    rows = []
    for species, count in enumerate(counts):
        for number in range(count):
            seed = first_seed + len(rows)
            paint(folder / f"images/{seed}.png", species, seed)
            rows.append(
                {
                    "image_id": f"{seed}",
                    "file_name": f"images/{seed}.png",
                    "species": NAMES[species],
                    "sha256": f"{seed:064x}",
                    "split": splits[number % len(splits)],
                }
            )
    table = pd.DataFrame(rows)
    table["origin"] = "real" if splits[0] else "synthetic"
    return Collection.create(folder, table, species=NAMES)


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    return make_collection(tmp_path_factory.mktemp("real"), (30, 15, 5), ("train", "train", "train", "val", "test"), 0)


@pytest.fixture(scope="module")
def trained(real: Collection, tmp_path_factory: pytest.TempPathFactory) -> ClassifierResult:
    return train_classifier(real, CONFIG, tmp_path_factory.mktemp("classifier"), Run.silent())


def test_training_writes_a_classifier_and_its_figures(trained: ClassifierResult) -> None:
    summary = trained.summary()
    assert summary["accuracy"] > 0.9
    assert (summary["num_train"], summary["num_synthetic"], summary["num_test"]) == (30, 0, 10)
    assert set(summary["bins"]) == {"2-10", "11-100", "101-500", ">500"}
    assert summary["bins"]["101-500"]["recall"] is None
    assert summary["top_5_accuracy"] == 1  # of three species
    assert 0 <= summary["calibration_error"] <= 1 and 0 <= summary["balanced_calibration_error"] <= 1
    json.dumps(summary, allow_nan=False)
    for name in ("weights.safetensors", "classifier.json", "confusion.png", "worst_pairs.csv", "MODEL_CARD.md"):
        assert (trained.folder / name).stat().st_size > 0
    assert "NaN" not in (trained.folder / "classifier.json").read_text()
    assert f"{summary['macro_recall']:.3f}" in (trained.folder / "MODEL_CARD.md").read_text()


def test_a_loaded_classifier_gives_the_same_probabilities(trained: ClassifierResult, real: Collection) -> None:
    loaded = load_classifier(trained.folder, device="cpu")
    assert loaded.species == NAMES
    probabilities = loaded.predict(real.pixels(32))
    np.testing.assert_array_equal(probabilities, trained.classifier.predict(real.pixels(32)))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    assert loaded.record["metrics"] == trained.summary()


def test_a_frozen_bundled_backbone_is_not_saved_with_the_head(real: Collection, tmp_path: Path) -> None:
    config = ClassifierConfig(size=32, encoder_size=32, steps=20, batch_size=8, views=1, device="cpu")
    result = train_classifier(real, config, tmp_path / "head", Run.silent())
    assert (tmp_path / "head/weights.safetensors").stat().st_size < 50_000
    loaded = load_classifier(tmp_path / "head", device="cpu")
    # the cache keeps features in half precision
    np.testing.assert_allclose(loaded.predict(real.pixels(32)), result.classifier.predict(real.pixels(32)), atol=2e-3)


def test_synthetic_images_join_the_training_but_neither_prior_nor_test(real: Collection, tmp_path: Path) -> None:
    synthetic = make_collection(tmp_path / "synthetic", (0, 0, 12), (None,), 1000)
    synthetic.table.loc[:1, "verdict"] = "refused"
    result = train_classifier(real, CONFIG.model_copy(update={"steps": 3}), tmp_path / "out", Run.silent(), synthetic)
    assert (result.num_train, result.num_synthetic, result.num_test) == (30, 10, 10)
    assert result.classifier.record["training"]["counts_real"] == {NAMES[0]: 18, NAMES[1]: 9, NAMES[2]: 3}


def test_what_the_table_says_of_a_synthetic_image_goes_into_its_label(real: Collection, tmp_path: Path) -> None:
    synthetic = make_collection(tmp_path / "synthetic", (0, 0, 4), (None,), 1000)
    first = {name: real.training().table.set_index("species")["image_id"].loc[name].iloc[0] for name in real.species}
    own, other = first[real.species[2]], first[real.species[1]]
    parents = [json.dumps([own, other]), json.dumps([own]), None, json.dumps(["unknown", other])]  # the animal's photograph, and that of its place
    synthetic.table["parents"] = pd.array(parents, dtype="string")
    found = synthetic_images(synthetic, real.training(), 32, real.species)
    assert found.partners is not None and found.partners.tolist() == [1, -1, -1, 1]
    assert found.synthetic.all() and found.labels.tolist() == [2] * 4 and found.margins is not None and np.isnan(found.margins).all()
    synthetic.table["margin"] = pd.array([0.5, None, -1.0, 2.0], dtype="Float64")
    margins = synthetic_images(synthetic, real.training(), 32, real.species).margins
    np.testing.assert_array_equal(margins, np.array([0.5, np.nan, -1.0, 2.0], np.float32))


def test_synthetic_images_of_test_images_are_refused(real: Collection, tmp_path: Path) -> None:
    test = real.select(split="test").table
    synthetic = make_collection(tmp_path / "synthetic", (2, 0, 0), (None,), 2000)
    synthetic.table.loc[0, "parents"] = json.dumps([test["image_id"].iloc[0]])
    with pytest.raises(LeakageError, match="parents"):
        train_classifier(real, CONFIG, tmp_path / "out", Run.silent(), synthetic)
    synthetic.table.loc[0, "sha256"] = test["sha256"].iloc[0]
    with pytest.raises(LeakageError, match="are test images"):
        train_classifier(real, CONFIG, tmp_path / "out", Run.silent(), synthetic)


def test_synthetic_images_of_an_unknown_species_are_refused(real: Collection, tmp_path: Path) -> None:
    synthetic = make_collection(tmp_path / "synthetic", (2, 0, 0), (None,), 3000)
    synthetic.table.loc[0, "species"] = "Delta ignota"
    with pytest.raises(CollectionError, match="Delta ignota"):
        train_classifier(real, CONFIG, tmp_path / "out", Run.silent(), synthetic)


def test_images_between_two_species_train_both_and_strange_ones_are_left_out(
    real: Collection, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    synthetic = make_collection(tmp_path / "synthetic", (0, 2, 4), (None,), 4000)
    table = synthetic.table.assign(label_weights=pd.array([None] * 6, dtype="string"))
    table.loc[2:4, "species"] = f"{NAMES[2]} × {NAMES[1]}"
    table.loc[2:4, "label_weights"] = json.dumps({NAMES[2]: 0.25, NAMES[1]: 0.75})
    table.loc[5, ["species", "label_weights"]] = [f"{NAMES[2]} × Nemo", json.dumps({NAMES[2]: 0.5, "Nemo": 0.5})]
    made = Collection.create(synthetic.root, table)
    found = synthetic_images(made.where(made.table.index < 5), real.training(), 32, real.species)
    assert found.labels.tolist() == [1] * 5 and found.seconds is not None and found.seconds.tolist() == [-1, -1, 2, 2, 2]
    run = Run(None)
    result = train_classifier(real, CONFIG.model_copy(update={"steps": 3}), tmp_path / "out", run, made)
    assert result.num_synthetic == 5
    assert "Not used: 1 image between two species of which the collection of photographs lacks one: 'Nemo'" in capsys.readouterr().err
    with pytest.raises(CollectionError, match="none of its images can be used"):
        train_classifier(real, CONFIG, tmp_path / "none", Run.silent(), made.where(made.table.index == 5))


def test_predict_reports_a_broken_image_and_goes_on(trained: ClassifierResult, tmp_path: Path) -> None:
    photographs = tmp_path / "photographs"
    for number in range(6):
        paint(photographs / f"{'deep/' if number % 2 else ''}{number}.png", number % 3, 5000 + number)
    (photographs / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 nothing more")
    (photographs / "empty.png").write_bytes(b"")
    (photographs / "notes.txt").write_text("not an image")
    result = predict(load_classifier(trained.folder, device="cpu"), photographs, tmp_path / "found/out.csv", Run.silent())
    assert (result.num_images, result.num_errors) == (6, 2)
    with (tmp_path / "found/out.csv").open(encoding="utf-8") as file:
        rows = {row["file_name"]: row for row in csv.DictReader(file)}
    assert set(rows) == {"0.png", "2.png", "4.png", "deep/1.png", "deep/3.png", "deep/5.png", "broken.jpg", "empty.png"}
    assert rows["broken.jpg"]["error"] and not rows["broken.jpg"]["species"]
    for name, row in rows.items():
        if row["species"]:
            assert row["species"] == NAMES[int(Path(name).stem) % 3]
            shares = [float(row[key]) for key in ("probability", "probability_2", "probability_3")]
            assert shares == sorted(shares, reverse=True) and sum(shares) == pytest.approx(1, abs=2e-3)
    assert sum(result.summary()["species"].values()) == 6


def test_names_can_be_written_as_pybioclip_writes_them(trained: ClassifierResult, tmp_path: Path) -> None:
    photographs = tmp_path / "photographs"
    for number in range(2):
        paint(photographs / f"{number}.png", number, 6000 + number)
    (photographs / "broken.jpg").write_bytes(b"no image")
    predict(trained.classifier, photographs, tmp_path / "out.csv", Run.silent(), "pybioclip")
    with (tmp_path / "out.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["file_name"] for row in rows] == ["0.png"] * 3 + ["1.png"] * 3
    assert (rows[0]["species"], rows[0]["genus"], rows[0]["species_epithet"], rows[0]["kingdom"]) == ("Alpha rubra", "Alpha", "rubra", "")
    assert sum(float(row["score"]) for row in rows[:3]) == pytest.approx(1, abs=1e-4)


def test_what_is_none_of_the_species_stands_out(trained: ClassifierResult, tmp_path: Path) -> None:
    photographs = tmp_path / "photographs"
    for number in range(12):
        paint(photographs / f"known-{number}.png", number % 3, 7000 + number)
    Image.fromarray(np.random.default_rng(0).integers(90, 110, size=(32, 32, 3), dtype=np.uint8)).save(photographs / "grey.png")
    predict(trained.classifier, photographs, tmp_path / "out.csv", Run.silent())
    with (tmp_path / "out.csv").open(encoding="utf-8") as file:
        ood = {row["file_name"]: float(row["out_of_distribution_score"]) for row in csv.DictReader(file)}
    assert all(0 <= value <= 1 for value in ood.values())
    assert ood.pop("grey.png") > np.mean(list(ood.values()))


def test_folders_that_hold_no_classifier_or_no_images_are_explained(trained: ClassifierResult, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a classifier"):
        load_classifier(tmp_path)
    with pytest.raises(InputError, match="holds no files"):
        predict(trained.classifier, tmp_path, tmp_path / "out.csv", Run.silent())
    with pytest.raises(InputError, match="is not a folder"):
        predict(trained.classifier, tmp_path / "absent", tmp_path / "out.csv", Run.silent())
    for name in ("classifier.json", "weights.safetensors"):
        (tmp_path / name).write_bytes((trained.folder / name).read_bytes())
    (tmp_path / "weights.safetensors").write_bytes(b"rubbish")
    with pytest.raises(InputError, match="is damaged"):
        load_classifier(tmp_path)


@pytest.mark.parametrize("num_species", [3, 80])
def test_the_confusion_is_drawn_for_few_and_for_many_species(num_species: int, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    labels = random.integers(0, num_species, 400)
    predicted = np.where(random.random(400) < 0.7, labels, random.integers(0, num_species, 400))
    found = measure(labels, predicted, np.full(num_species, 20))
    plot_confusion(found, [f"Genus species{i}" for i in range(num_species)], tmp_path / "confusion.png")
    with Image.open(tmp_path / "confusion.png") as image:
        assert min(image.size) > 200


def test_a_photograph_is_compared_with_training_photographs_of_likely_species(trained: ClassifierResult, real: Collection, tmp_path: Path) -> None:
    nearest, table = NearestPhotographs(trained.classifier, real, tmp_path / "features"), real.table
    row = int(np.flatnonzero(table["split"] == "test")[0])
    found = identify(trained.classifier, real.pixels(32)[row], nearest)
    assert found.species[0][0] == table["species"].iloc[row] == found.answer.name and found.none_of_these == (found.strangeness >= 0.95)
    splits = table.set_index("image_id")["split"]
    assert len(found.nearest) == 6 and {splits[one.image_id] for one in found.nearest} == {"train"}
    one = nearest.find(real.pixels(32)[row], (NAMES[2],))
    assert {photograph.species for photograph in one} == {NAMES[2]} and len(one) == 3  # all that it has
    assert nearest.find(real.pixels(32)[row], ()) == () and any((tmp_path / "features").iterdir())
    assert identify(trained.classifier, real.pixels(32)[row]).nearest == ()
