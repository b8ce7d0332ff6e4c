"""The arithmetic of the benchmarks, and what they do without photographs. What they measure is not checked."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import calibration
import classifier_speed
import experiments
import fidelity
import gpu
import numpy as np
import pytest
import speed
import torch
from common import judging, stepping, timing
from PIL import Image
from scipy.stats import binom
from torch import nn
from torch.nn import functional as F

from syntype.collection import Collection
from syntype.compute.runtime import Runtime
from syntype.generators import load_generator
from syntype.generators.engine.batches import training_data
from syntype.generators.engine.training import TrainConfig, train
from syntype.generators.families.projected import ProjectedConfig, ProjectedGAN
from syntype.run import Run


@pytest.mark.parametrize("module", [fidelity, speed], ids=lambda module: module.__name__)
def test_without_photographs_nothing_is_measured(
    module: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [module.__name__, "--data", str(tmp_path / "nowhere"), "--out", str(tmp_path / "out")])
    module.main()
    assert "nothing measured" in capsys.readouterr().err
    assert not list((tmp_path / "out").iterdir())


def fidelity_arguments(collection: Collection, folder: Path) -> list[str]:
    """The command line of ``fidelity``, with everything that it writes in a folder."""
    outputs = [text for name in ("out", "docs", "results") for text in (f"--{name}", str(folder / name))]
    return ["fidelity", "--collection", str(collection.root), *outputs]


def test_known_rows_make_the_page_and_are_not_measured_again(
    small_collection: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    where = fidelity_arguments(small_collection, tmp_path)
    page = tmp_path / "docs" / "benchmarks" / "fidelity.md"
    monkeypatch.setattr(sys, "argv", [*where, "--rows", "real,noise"])
    fidelity.main()
    first = page.read_text(encoding="utf-8")
    assert "| training photographs |" in first and "| random pixels" in first
    assert "Not measured yet: `copies`, `collage`, `fastgan`, `projected`, `lightweight-gan`, `lightweight-gan-small`." in first
    row = next(line for line in first.splitlines() if line.startswith("| training photographs"))
    assert row.split("|")[8].strip() == "100.0%"  # a photograph of the training split is a copy of itself
    monkeypatch.setattr(fidelity, "measure", lambda *_: pytest.fail("measured again"))
    fidelity.main()
    assert page.read_text(encoding="utf-8") == first
    monkeypatch.setattr(sys, "argv", [*where, "--rows", "rael"])
    with pytest.raises(SystemExit):
        fidelity.main()
    assert "unknown rows: rael" in capsys.readouterr().err


class Pretender:
    """Stands for ``lightweight-gan``; its averaged weights draw photographs, its others noise."""

    images: np.ndarray

    def __init__(self, *_: object) -> None:
        self.seconds = 0.0

    def __enter__(self) -> Pretender:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def train(self, seconds: float) -> dict[str, object]:
        self.seconds += seconds and seconds + 1
        figures = {"steps": 4, "images_per_second": 1.5, "images_per_second_now": 1.5, "num_parameters": 1000, "num_trained": 1500}
        return {"seconds": self.seconds, **figures, "arithmetic": "bf16", "tried": {"fp32": 1.0, "bf16": 1.5}}

    def sample(self, number: int) -> dict[str, np.ndarray]:
        noise = np.random.default_rng(0).integers(0, 256, (number, 64, 64, 3), dtype=np.uint8)
        return {"weights": noise, "average": self.images[:number]}


def test_the_peer_is_judged_by_what_draws_better(small_collection: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Pretender.images = small_collection.training().pixels(64)
    monkeypatch.setattr(fidelity, "Peer", Pretender)
    where = fidelity_arguments(small_collection, tmp_path)
    monkeypatch.setattr(sys, "argv", [*where, "--rows", "lightweight-gan", "--minutes", "0.1"])
    fidelity.main()
    page = (tmp_path / "docs" / "benchmarks" / "fidelity.md").read_text(encoding="utf-8")
    cells = [cell.strip() for cell in next(line for line in page.splitlines() if line.startswith("| `lightweight-gan` |")).split("|")]
    assert cells[7:-1] == ["–", "100.0%", "1.5", "4", "1,000", "0.1"]
    assert "fp32 1.00 images/s, bf16 1.50 images/s in the trial; ran in bf16" in page
    with Image.open(tmp_path / "docs" / "images" / "fidelity.png") as picture:
        assert "lightweight-gan" in picture.info["Description"] and "Edinburgh" in picture.info["Source"]


def test_the_jackknife_finds_the_spread_of_kid() -> None:
    def draw(seed: int) -> tuple[np.ndarray, np.ndarray]:
        random = np.random.default_rng(seed)
        return random.normal(size=(120, 8)), random.normal(size=(120, 8)) + 0.5

    samples = [draw(seed) for seed in range(60)]
    true = np.std([judging.kid(x, y) for x, y in samples])
    estimates = [judging.kid_error(x, np.arange(120), y) for x, y in samples]
    assert np.mean(estimates) == pytest.approx(true, rel=0.3)


def test_photographs_are_drawn_with_the_same_species_and_none_twice(small_collection: Collection) -> None:
    species = np.array(["Bus tertius", "Aus primus", "Bus tertius", "Aus primus", "Aus primus"], dtype=object)
    rows = judging.drawn_like(species, small_collection)
    assert small_collection.table["species"].to_numpy()[rows].tolist() == species.tolist()
    assert len(set(rows)) == len(rows)


def test_aims_say_by_how_much_they_are_missed() -> None:
    lines = fidelity.aims({"projected": {"kid": 0.1, "coverage": 0.7, "vendi_ratio": 0.4}, "lightweight-gan": {"kid": 0.6}})
    assert [("**met**" in line, "missed by" in line) for line in lines] == [(False, True), (True, False), (True, False), (False, True)]
    assert "missed by 0.040" in lines[0]


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_operations_are_counted_in_both_directions(kind: torch.dtype) -> None:
    images = torch.randn(2, 8, 16, 16, requires_grad=True)
    layers = [nn.Conv2d(8, 8, 3, padding=1, groups=8).requires_grad_(False), nn.Conv2d(8, 4, 3, padding=1)]
    with stepping.Operations() as counter, torch.autocast("cpu", kind, enabled=kind is torch.bfloat16):
        x = layers[1](layers[0](images))
        torch.autograd.grad(x.float().sum(), (images, layers[1].weight))
    frozen, trained = 2 * 9 * 2 * 8 * 16**2, 2 * 9 * 2 * 8 * 4 * 16**2
    assert counter.total == 2 * frozen + 3 * trained  # forward, to the images, to the weights


def test_a_step_is_divided_among_its_parts(small_collection: Collection, tmp_path: Path) -> None:
    data, runtime = training_data(small_collection.training(), 32), Runtime("cpu", "fp32")
    model = ProjectedGAN(ProjectedConfig.tiny(), data.species)
    model.prepare(data, runtime)
    loop = stepping.Unsaved(model, data, runtime, TrainConfig(family="projected", size=32, batch_size=4, minutes=1), tmp_path / "out", Run.silent())
    assert stepping.flops_of_a_step(loop) > 1e6 and loop.step == 1
    parts = speed.profile(loop, steps=2)
    assert loop.step == 4 and not (tmp_path / "out").exists()
    whole = parts.pop("all")
    assert sum(parts.values()) == pytest.approx(whole)
    named = {"generator, forward", "generator, backward", "features, forward", "features, backward", "heads, forward", "heads, backward"}
    assert named | {"augmentation, forward", "augmentation, backward", "optimisers", "data, forward", "moving average, forward"} <= set(parts)
    assert min(value for name, value in parts.items() if name != "the rest") > 0
    assert "forward" not in vars(model.generator)  # the labels are gone


def test_rounds_that_were_stopped_go_on(tmp_path: Path) -> None:
    calls = []

    def turn(name: str, stops_at: int) -> float:
        calls.append(name)
        if len(calls) == stops_at:
            raise KeyboardInterrupt
        return float(len(calls))

    with pytest.raises(KeyboardInterrupt):
        timing.rounds(tmp_path / "rounds.json", {name: lambda name=name: turn(name, 4) for name in "ab"}, 3)
    found = timing.rounds(tmp_path / "rounds.json", {name: lambda name=name: turn(name, 99) for name in "ab"}, 3)
    assert calls == ["a", "b", "a", "b", "b", "a", "b"]
    assert found == {"a": [1, 3, 6], "b": [2, 5, 7]}


def test_the_peak_is_that_of_a_convolution(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "SHAPES", ((2, 8, 8),))
    assert 0 < speed.peak(torch.float32, 0.01) < 1e5
    images, weights = torch.randn(2, 8, 8, 8, requires_grad=True), torch.randn(8, 8, 3, 3, requires_grad=True)
    with stepping.Operations() as counter:
        torch.autograd.grad(F.conv2d(images, weights, padding=1).sum(), (images, weights))
    assert counter.total == 3 * 2 * 9 * 2 * 8**2 * 8**2  # what ``peak`` divides by the time


@pytest.mark.slow
def test_miniature_studies_are_seldom_wrong() -> None:
    """The cheaper version of ``benchmarks/calibration.py``: bounds that a study with 5 % errors and 80 % power fails once in a hundred times."""
    nothing = [calibration.miniature(calibration.SCENARIOS["nothing, few"], number) for number in range(1000, 1060)]
    truth = [calibration.miniature(calibration.SCENARIOS["truth"], number) for number in range(1000, 1020)]
    assert sum(row["verdict"] == "add" for row in nothing) <= binom.ppf(0.99, len(nothing), 0.05)
    assert sum(row["against_real"]["interval"][0] > 0 for row in truth) >= binom.ppf(0.01, len(truth), 0.8)
    assert calibration.miniature(calibration.SCENARIOS["nothing, few"], 1000) == nothing[0]


def test_training_speeds_are_compared_round_by_round_in_both_precisions() -> None:
    found = {"net, fp32, syntype": [20.0, 40.0], "net, fp32, timm": [10.0, 20.0], "net, bf16, syntype": [5.0, 5.0], "net, bf16, timm": [10.0, 10.0]}
    page = "\n".join(classifier_speed.report({"rounds": 2, "steps": 9}, classifier_speed.summary(found, ["net"])).body)
    assert "| net | fp32 | 30 | 15 | 2.00 (2.00 to 2.00) | **met**. |" in page
    assert "| net | bf16 | 5 | 10 | 0.50 (0.50 to 0.50) | **missed by 0.50**. |" in page


def test_a_recipe_of_two_phases_is_measured_in_both(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = tmp_path / "tiny.yaml"
    model = "{autoencoder_steps: 20, channels: 16, channel_multipliers: [1, 2], residual_blocks: 1, attention_levels: 1, autoencoder_crop: 32}"
    recipe.write_text(f"family: latent_diffusion\nsize: 32\nbatch_size: 4\nsteps: 120\nmodel: {model}\n", encoding="utf-8")
    found = gpu.recipe(str(recipe), "cpu", 0.1)
    speeds = {phase: one["images_per_second"] for phase, one in found["phases"].items()}
    assert found["minutes"] == pytest.approx(4 * (20 / speeds["autoencoder"] + 100 / speeds["denoiser"]) / 60)
    assert all(one["tflops"] > 0 for one in found["phases"].values())
    page = "\n".join(gpu.report({"seconds": 0.1, "device": "cpu"}, {"peak": {"tflops": 1.0}, "recipes": {"tiny": found}, "networks": {}}).body)
    assert "| tiny | autoencoder | 4 |" in page and "| tiny | denoiser | 4 |" in page
    if not torch.cuda.is_available():
        monkeypatch.setattr(sys, "argv", ["gpu", "--out", str(tmp_path / "out")])
        gpu.main()
        assert "nothing measured" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_a_route_fills_up_known_species_from_their_own_photographs_and_never_past_the_mark(small_collection: Collection) -> None:
    known = small_collection.species[:2]
    task = experiments.Task.of(small_collection, known)
    real = task.train.labels()
    for label, name in enumerate(task.train.species):
        lacking = max(experiments.FILL_TO - int((real == label).sum()), 0) if name in known else 0
        assert (task.labels == label).sum() == lacking
        used = np.bincount(task.rows[task.labels == label], minlength=len(real))
        assert not used[real != label].any()
        assert not lacking or np.ptp(used[real == label]) <= 1, "every photograph equally often"
    assert all(own != other for own, other in zip(task.names, task.relatives, strict=True))
    rows = {name: {"effect": {"value": value}} for name, value in (("a", -0.1), ("b", 0.02), ("c", -0.3))}
    assert experiments.best_of(rows) == "b"


def test_collages_of_lents_animals_are_a_route_of_their_own(small_collection: Collection, tmp_path: Path) -> None:
    train(small_collection, TrainConfig(family="pose_transfer", size=experiments.SIZE, device="cpu"), tmp_path / "pose_transfer", Run.silent())
    generator = load_generator(tmp_path / "pose_transfer")
    routes, task = experiments.routes_of(generator), experiments.Task.of(small_collection, generator.species, 20)
    collages, lent = (routes[name](generator, task) for name in (experiments.COLLAGED, "pose_transfer"))
    assert collages.shape == lent.shape == (len(task.labels), experiments.SIZE, experiments.SIZE, 3)
    assert not np.array_equal(collages, lent)


def test_what_is_known_of_routes_is_kept_and_not_measured_again(tmp_path: Path) -> None:
    path, measured = tmp_path / "experiments.json", []

    def measure() -> dict:
        measured.append(1)
        return {"figure": len(measured)}

    for _ in range(2):
        experiments.once(path, measure, "reef", "routes", "head", "collages")
    experiments.remember(path, {"words": "fish"}, "reef", "about")
    experiments.once(path, measure, "photographs", "finals", "head")
    known = experiments.read(path)
    stamp = known["reef"]["routes"]["head"]["collages"].pop("measured")
    assert stamp == known["photographs"]["finals"]["head"].pop("measured") and set(stamp) == {"date", "commit", "machine", "command", "software"}
    assert known == {
        "reef": {"routes": {"head": {"collages": {"figure": 1}}}, "about": {"words": "fish"}},
        "photographs": {"finals": {"head": {"figure": 2}}},
    }
