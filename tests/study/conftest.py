"""A small reef, and stand-ins for what takes long: a nearest-mean classifier and a curation by a rule of thumb."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from syntype.collection import Collection
from syntype.collection.reef import ReefConfig, draw_reef
from syntype.curation.leaks import Leaks
from syntype.identification import ClassifierConfig, FeatureCache, LabelledImages, Speed
from syntype.run import Run


@pytest.fixture(scope="session")
def reef(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    """Four species with 12, 6, 4 and 4 training images."""
    config = ReefConfig(num_species=4, size=32, max_images=12, min_images=4, tail=1.0, num_val=2, num_test=5)
    return draw_reef(config, tmp_path_factory.mktemp("study") / "reef", Run.silent()).collection


@dataclass
class NearestMean:
    """Names the species whose mean training image is nearest."""

    means: np.ndarray

    def predict_logits(self, images: np.ndarray) -> np.ndarray:
        flat = images.reshape(len(images), 1, -1).astype(np.float32)
        return -np.square(flat - self.means).mean(axis=2)


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Replaces the classifier; the list says what every fit was given."""
    calls: list[dict[str, Any]] = []

    def fit(train: LabelledImages, counts_real: np.ndarray, num_species: int, config: ClassifierConfig, seed: int,
            val: LabelledImages | None = None, run: Run | None = None, cache: FeatureCache | None = None) -> NearestMean:  # fmt: skip
        calls.append({"num": len(train), "num_synthetic": int(train.synthetic.sum()), "counts": counts_real.tolist(), "config": config, "seed": seed,
                      "second_shares": None if train.second_shares is None else train.second_shares.tolist()})  # fmt: skip
        flat = train.images.reshape(len(train), -1).astype(np.float32)
        return NearestMean(np.stack([flat[train.labels == label].mean(axis=0) for label in range(num_species)])[None])

    monkeypatch.setattr(import_module("syntype.study.running"), "fit", fit)  # the package gives the function of that name
    monkeypatch.setattr(import_module("syntype.study.running"), "measure_speed", lambda config: Speed(0.01, 0.05))
    return calls


@pytest.fixture
def curations(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Replaces curation: refuses every third image, for one reason after the other."""
    calls: list[Path] = []
    monkeypatch.setattr("syntype.study.synthetic.curate", fake_curate(calls))
    study = import_module("syntype.study.study")  # the comparison of pictures, too: it has tests of its own
    monkeypatch.setattr(study, "held_back_apart", lambda real, images, **settings: (real, Leaks(sum(map(len, images)))))
    monkeypatch.setattr(study, "exchanged_species", lambda real, synthetic, size: None)
    return calls


def fake_curate(calls: list[Path], refuse_every: int = 3) -> Callable[..., None]:
    def curate(synthetic: Collection, real: Collection, config: Any, out: Path, run: Run) -> None:
        calls.append(out)
        table = synthetic.table.copy()
        refused = np.arange(len(table)) % refuse_every == 0
        table["verdict"] = np.where(refused, "refused", "accepted")
        table["reason"] = np.where(refused, np.array(["copy", "species", "distribution"])[np.arange(len(table)) // refuse_every % 3], None)
        first = real.training().table.groupby("species")["image_id"].first()
        table["nearest_real_id"] = table["species"].map(first)
        table["nearest_real_distance"] = 0.25
        table["file_name"] = [str(Path("images") / Path(name).name) for name in table["file_name"]]
        (out / "images").mkdir(parents=True)
        for row, name in enumerate(table["file_name"]):
            (out / name).write_bytes(synthetic.path(row).read_bytes())
        Collection.create(out, table, species=synthetic.species)

    return curate
