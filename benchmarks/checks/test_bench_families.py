"""The arithmetic, the pages and the processes of the benchmarks around generator families. What they measure is not checked."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from common import timing
from PIL import Image

from syntype.collection import Collection
from syntype.compute.tensors import to_tensor
from syntype.generators import TrainConfig, list_families, train
from syntype.generators.families.fastgan import FastGANConfig
from syntype.run import Run

BENCHMARKS = Path(__file__).parents[1]


@pytest.fixture
def script(request: pytest.FixtureRequest) -> ModuleType:
    """The benchmark that the check's parameter names."""
    return importlib.import_module(request.param)


def run(script: ModuleType, monkeypatch: pytest.MonkeyPatch, collection: Collection, folder: Path, *words: str) -> str:
    """Run a benchmark; the page that it writes."""
    where = ["--collection", str(collection.root), "--out", str(folder / "out"), "--docs", str(folder / "docs"), "--results", str(folder / "results")]
    monkeypatch.setattr(sys, "argv", [script.__name__, *where, *words])
    script.main()
    return (folder / "docs" / "benchmarks" / f"{script.__name__}.md").read_text(encoding="utf-8")


def row_of(page: str, name: str) -> list[str]:
    """Cells of the first line of a table that begins with a name."""
    return next(cells for line in page.splitlines() if (cells := [cell.strip() for cell in line.split("|")[1:-1]]) and cells[0] == name)


@pytest.mark.parametrize("script", ["families", "diffusion", "hybrids", "guidance"], indirect=True)
def test_without_photographs_nothing_is_measured(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["x", "--data", str(tmp_path / "nowhere"), "--out", str(tmp_path / "out"), "--docs", str(tmp_path)])
    script.main()
    assert "nothing measured" in capsys.readouterr().err
    assert not list((tmp_path / "out").iterdir())


TOY = """
import time
from peer_process import Session, serve

class Toy(Session):
    batch, precision, tried, seconds = 2, "fp32", {"fp32": 1.0}, 0.0
    steps = property(lambda self: self.taken)
    def __init__(self, photographs, folder, width):
        self.file, self.width = folder / "steps", width
        self.taken = int(self.file.read_text()) if self.file.exists() else 0
    def cycle(self):
        print("a word of the peer's own")
        self.taken += 1
        return 1.0
    def keep(self):
        self.file.write_text(str(self.taken))
    def sizes(self):
        return {"num_parameters": self.width, "num_trained": self.width}
    def fail(self, _):
        raise SystemExit(3)

serve(Toy)
"""


@pytest.mark.parametrize("script", ["peer_process"], indirect=True)
def test_a_peer_in_its_own_process_goes_on_where_it_was(script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "toy.py").write_text(TOY)
    (tmp_path / "packages" / "toy").mkdir(parents=True)
    monkeypatch.setenv("PYTHONPATH", str(BENCHMARKS))
    kind = type("Toy", (script.PeerProcess,), {"script": str(tmp_path / "toy.py"), "module": "toy", "packages_folder": "packages", "packages": ()})
    with kind(tmp_path / "peer", tmp_path, 7) as peer:
        result = script.train_for(peer, 5 / 60)
    assert (result["seconds"], result["steps"], result["images_per_second"], result["num_parameters"]) == (5.0, 5, 2.0, 7)
    assert result["megabytes"] > 1
    with kind(tmp_path / "peer", tmp_path, 7) as peer:
        assert peer.train(1)["steps"] == 6
        with pytest.raises(RuntimeError, match="toy ended with status 3"):
            peer.ask({"fail": 0})


@pytest.mark.parametrize("script", ["families"], indirect=True)
def test_a_family_and_a_peer_are_trained_judged_and_shown(
    script: ModuleType, small_collection: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stage(out: Path, words: list[object]) -> dict:
        assert words[:3] == ["train", "fastgan", small_collection.root] and words[-2:] == ["--minutes", 1.0]
        tiny = FastGANConfig.tiny(64).model_copy(update={"conditional": False}).model_dump(exclude={"size"})
        config = TrainConfig(family="fastgan", size=64, steps=1, batch_size=4, precision="fp32", model=tiny)
        result = train(small_collection, config, out, Run.silent()).summary()
        return {"result": result, "seconds": 4.0, "processor_seconds": 3.0, "megabytes": 321.0}

    def further(command: list[object]) -> dict:  # a quarter of the core went to something else
        assert command[0] == "train" and command[-1] == "--resume" and command[command.index("--minutes") + 1] == pytest.approx(4 / 3)
        folder = command[command.index("--out") + 1]
        return {**json.loads((folder / "generator.json").read_text(encoding="utf-8")), "steps": 90, "num_parameters": 5}

    photographs = small_collection.training().pixels(64)
    trained = {"seconds": 60.0, "steps": 4, "processor_seconds": 64.0, "num_parameters": 1000, "megabytes": 512.0}
    peer = SimpleNamespace(train=lambda _: trained, sample=lambda number: {"average": photographs[:number]}, sampled_per_second=2.5)
    monkeypatch.setattr(script, "stage", stage)
    monkeypatch.setattr(script, "syntype", further)
    monkeypatch.setitem(script.PEERS, script.DIFFUSION, lambda *_: nullcontext(peer))
    page = run(script, monkeypatch, small_collection, tmp_path, "--minutes", "1", "--rows", f"noise,fastgan,{script.DIFFUSION}")
    rest = [row for row in script.rows() if row not in ("noise", "fastgan", script.DIFFUSION)]
    assert f"Not measured yet: {', '.join(f'`{row}`' for row in rest)}." in page
    heads, cells = row_of(page, ""), row_of(page, "`fastgan`")
    ours = dict(zip(heads, cells, strict=True))
    assert (ours["Vendi ratio"], ours["steps"], ours["peak memory, MB"]) == ("–", "90", "321")  # knows no species
    assert (ours["CPU minutes"], ours["images/s, training"]) == ("1.00", "24")
    theirs = dict(zip(heads, row_of(page, f"`{script.DIFFUSION}`"), strict=True))
    assert (theirs["copies"], theirs["images/s, sampling"], theirs["peak memory, MB"], theirs["images/s, training"]) == ("100.0%", "2.5", "512", "1")
    assert theirs["CPU minutes"] == "1.07"
    with Image.open(tmp_path / "docs" / "images" / "families.png") as picture:
        assert "fastgan" in picture.info["Description"] and "Edinburgh" in picture.info["Source"]
    monkeypatch.setattr(script, "train", lambda *_: pytest.fail("trained again"))
    assert run(script, monkeypatch, small_collection, tmp_path, "--minutes", "1", "--rows", f"noise,fastgan,{script.DIFFUSION}") == page


@pytest.mark.parametrize("script", ["families"], indirect=True)
def test_advice_follows_from_the_figures(script: ModuleType) -> None:
    assert set(script.rows()) >= {"real", "projected", "fastgan", "collage", "noise", *script.PEERS}
    named = {"kid": 0.05, "coverage": 0.7, "vendi_ratio": 0.9, "sampled_per_second": 10.0, "copy_rate": 0.2}
    blind = {**named, "coverage": 0.8, "vendi_ratio": None, "copy_rate": 0.0, "sampled_per_second": 100.0}
    poor = {**named, "kid": 0.9, "coverage": 0.05}
    known = {"collage": {**named, "coverage": 0.75}, "cgan": named, "dcgan": blind, "wgan_gp": poor, script.DIFFUSION: {**blind, "kid": 0.04}}
    text = "\n".join(script.advice(known))
    assert "Any images: most of the photographs are covered by `dcgan` (0.80)" in text and "quickest to draw `dcgan` (100 images/s)" in text
    assert "A species by name: most of the photographs are covered by `cgan` (0.70)" in text
    assert "Unusable with so few photographs and so little training (coverage below 0.1): `wgan_gp` (0.05)." in text
    assert "curate before use: `cgan` (20.0%), `wgan_gp` (20.0%)." in text
    assert "covers 0.75: more than `cgan`." in text
    assert f"Nearer to the photographs than `{script.DIFFUSION}` (KID 0.040): no family." in text
    assert script.advice({"collage": named}) == ["No family has been measured yet."]


def test_ratios_of_turns_have_the_interval_of_their_logarithms() -> None:
    assert timing.ratio([3.0, 30.0, 6.0], [1.0, 10.0, 2.0]) == pytest.approx((3, 3, 3))  # whatever all met alike
    ratio, low, high = timing.ratio([2.0, 8.0], [1.0, 1.0])
    assert np.log([ratio, high / ratio, ratio / low]) == pytest.approx(np.log(2) * np.array([2, 12.706, 12.706]), rel=1e-3)
    assert timing.ratio([2.0], [1.0]) == (2.0, 0.0, float("inf"))


def contestant(name: str, speeds: list[float], parameters: int, flops: int) -> dict:
    return {"name": name, "speeds": speeds, "parameters": parameters, "flops": flops, "gflops": 1.0, "precision": "fp32", "tried": {"fp32": 1.0}}


STEPS = {
    "parameters": contestant("`ddpm`, width 112", [4.0, 5.0], 100, 10**12),
    "operations": contestant("`ddpm`, width 176", [2.5, 3.0], 250, 3 * 10**12),
    "peer": contestant("`peer`", [1.0, 1.25], 100, 3 * 10**12),
    "compared": {"parameters": list(timing.ratio([4.0, 5.0], [1.0, 1.25])), "operations": list(timing.ratio([2.5, 3.0], [1.0, 1.25]))},
}


@pytest.mark.parametrize("script", ["diffusion"], indirect=True)
def test_evaluations_are_compared_with_the_most_and_not_drawn_again(
    script: ModuleType, small_collection: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photographs, calls = to_tensor(small_collection.select(split="test").pixels(64)), []

    def sample(species: Sequence[str], seeds: Sequence[int], sampler: str, steps: int, guidance: float) -> torch.Tensor:
        calls.append((sampler, steps))
        return -photographs[: len(seeds)].roll(steps, 3)

    stub = SimpleNamespace(generator_id="ddpm-0", sample=sample, model=SimpleNamespace(is_conditional=True))
    monkeypatch.setattr(script, "load_generator", lambda _: stub)
    monkeypatch.setattr(script, "training_steps", lambda *_: STEPS)
    words = ("--generator", "x", "--evaluations", "2", "30", "--images", "99")
    page = run(script, monkeypatch, small_collection, tmp_path, *words)
    assert "- The same parameters (+0.0%; operations 0.33 times the peer's): **4.00 times**" in page and "Aim 3 times: **met**." in page
    assert row_of(page, "ddim")[3] != "1.00 ± 0.00" and page.count("| 30 |") == page.count("| 1.00 ± 0.00 |") == 2
    assert run(script, monkeypatch, small_collection, tmp_path, *words) == page
    assert len(calls) == 4


@pytest.mark.parametrize("script", ["diffusion"], indirect=True)
def test_evaluations_meet_their_aim_or_not(script: ModuleType) -> None:
    one = {"generator_id": "ddpm-0", "num_images": 9, "kid": 0.1, "kid_error": 0.01, "share_error": 0.02, "images_per_second": 3.0}
    shares = {("ddim", 10): 1.5, ("ddim", 20): 1.3, ("ddim", 250): 1.0, ("dpmsolver++", 20): 1.05, ("dpmsolver++", 250): 1.0}
    drawn = {str(key): {**one, "sampler": key[0], "evaluations": key[1], "share": share} for key, share in shares.items()}
    page = "\n".join(script.report({"rounds": 2, "seconds": 60}, {"steps": STEPS, "drawing": drawn}).body)
    assert "at most 1.1 times that with 250." in page and "- ddim: 1.30 ± 0.02 with 20, **missed by 0.20**." in page
    assert "- dpmsolver++: 1.05 ± 0.02 with 20, **met**." in page


@pytest.mark.slow
@pytest.mark.parametrize("script", ["diffusion"], indirect=True)
def test_our_diffusion_trains_in_a_process_of_its_own(script: ModuleType, small_collection: Collection) -> None:
    if "ddpm" not in list_families():
        pytest.skip("there is no family ddpm")
    with script.Ours(small_collection, 16) as ours:
        facts = ours.facts()
        assert facts["parameters"] > 1e5 and facts["flops"] > 1e9 and facts["precision"] in ("fp32", "bf16")
        assert ours.turn(0.1) > 0


@pytest.mark.parametrize("script", ["hybrids"], indirect=True)
def test_a_walk_is_measured_by_what_the_classifier_says(script: ModuleType) -> None:
    steps = np.linspace(0, 1, 9)
    images = np.round(255 * steps)[:, None, None, None].astype(np.uint8) * np.ones((1, 4, 4, 3), np.uint8)
    logits = np.stack([4 - 8 * steps, 8 * steps - 4, np.full(9, -1.0)], axis=1)
    found = script.walk(images, logits, 0, 1)
    assert found["rises"] == found["rises_of_two"] == pytest.approx(1)
    assert (found["starts"], found["ends"], found["neither"], found["middle_of_two"]) == (1, 1, 1, 0.5)
    assert found["to_nearer_end"] == pytest.approx(0.5, abs=0.01)
    back = script.walk(images, logits, 1, 0)
    assert back["rises"] == pytest.approx(-1) and (back["starts"], back["ends"]) == (0, 0)
    jump = script.walk(images[[0, 0, 0, 0, 0, 8, 8, 8, 8]], logits[[0, 0, 0, 0, 0, 8, 8, 8, 8]], 0, 1)
    assert jump["neither"] == jump["to_nearer_end"] == 0
    assert script.walk(images, np.zeros((9, 3)), 0, 1)["rises"] == 0
    both = script.summary([found, back])
    assert both["rises"] == pytest.approx(0) and both["rises_interval"] == pytest.approx([-1, 1]) and both["rises_share"] == 0.5
    assert both["num_between"] == 1 and both["rises_between"] == pytest.approx(1) and both["walks"]["rises"] == pytest.approx([1, -1])
    assert "rises_between" not in script.summary([back])


@pytest.mark.parametrize("script", ["hybrids"], indirect=True)
def test_no_walk_is_taken_twice(script: ModuleType) -> None:
    ends = script.walks(("a", "b", "c", "d"), ("d", "c", "b", "x"), 200, 2)
    assert len(ends) == 6 and {frozenset(pair) for pair, _ in ends} == {frozenset("bc"), frozenset("bd"), frozenset("cd")}
    assert len({seed for _, seeds in ends for seed in seeds}) == 12
    assert len(script.walks(("a", "b", "c", "d"), ("a", "b", "c", "d"), 2, 3)) == 6


class Judge:
    """Stands for a classifier: names the species whose mean photograph is nearest."""

    size = 64

    def __init__(self, collection: Collection) -> None:
        self.species, names = collection.species, collection.table["species"].to_numpy(dtype=object)
        pixels = collection.pixels(64).astype(np.float32).reshape(len(names), -1)
        means = np.stack([pixels[names == name].mean(0) for name in self.species])
        self.fitted = SimpleNamespace(
            backbone=SimpleNamespace(name="lite2"),
            predict_logits=lambda images: -np.square(images.reshape(len(images), 1, -1).astype(np.float32) - means).mean(2) / 100,
        )
        self.means = to_tensor(means.round().astype(np.uint8).reshape(-1, 64, 64, 3))


@pytest.mark.parametrize("script", ["hybrids"], indirect=True)
def test_ends_are_chosen_by_a_classifier(script: ModuleType, small_collection: Collection) -> None:
    judge, (first, second, other) = Judge(small_collection), (0, 1, 2)

    def blend(species: object, seeds: Sequence[tuple[int, int]], amounts: Sequence[float], of: str) -> torch.Tensor:
        """Species as asked for from the fourth try on, but for one end."""
        return torch.stack(
            [judge.means[(second if amount else first) if pair[0] >= 6 else other] for pair, amount in zip(seeds, amounts, strict=True)]
        )

    stub = SimpleNamespace(size=64, blend=blend)
    pair = (judge.species[first], judge.species[second])
    ends = script.with_good_ends(stub, "both", [(pair, (0, 1)), (pair[::-1], (2, 3))], judge)
    assert ends[0] == (pair, (6, 7))
    assert ends[1][0] == pair[::-1] and ends[1][1][0] in range(16, 32)


@pytest.mark.parametrize("script", ["hybrids"], indirect=True)
def test_generators_that_blend_are_measured_once(
    script: ModuleType, small_collection: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge, calls = Judge(small_collection), []

    def blend(species: Sequence[tuple[str, str]], seeds: object, amounts: Sequence[float], of: str) -> torch.Tensor:
        calls.append(of)
        a, b = (judge.means[[judge.species.index(pair[end]) for pair in species]] for end in (0, 1))
        return torch.lerp(a, b, torch.tensor(amounts)[:, None, None, None])

    config = SimpleNamespace(guidance_weight=0.0, guidance_classifier="lite2")
    model = SimpleNamespace(blend=blend, is_conditional=True, config=config)
    stub = SimpleNamespace(generator_id="toy-1", family="toy", folder="toy", species=judge.species, size=64, model=model, blend=blend)
    monkeypatch.setattr(script, "fitted_to", lambda *_: judge)
    monkeypatch.setattr(script, "outsider", lambda *_: judge)
    monkeypatch.setattr(script, "load_generator", lambda _: stub)
    page = run(script, monkeypatch, small_collection, tmp_path, "--generators", "toy", "--pairs", "3", "--draws", "1")
    assert "`toy` (*both*" in page and page.count("**met**") == 4 and page.count("| `toy-1` |") == 4
    with Image.open(tmp_path / "docs" / "images" / "hybrids.png") as picture:
        assert picture.size == (2 * 9 * 64, 2 * 4 * script.STRIPS * 64)
    calls.clear()
    assert run(script, monkeypatch, small_collection, tmp_path, "--generators", "toy") == page and not calls
    config.guidance_weight = 1.0
    with pytest.raises(SystemExit, match="trained by means of lite2"):
        script.main()


@pytest.mark.parametrize("script", ["guidance"], indirect=True)
def test_gain_and_cost_are_differences_of_the_same_seed(script: ModuleType, small_collection: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(script, "DEFAULT", 1.0)
    figures = dict.fromkeys(script.FIGURES, 0.5)
    known = {
        f"{weight:g}-{seed}": {**figures, "weight": weight, "seed": seed, "recognised": 0.2 * weight + 0.1 * seed, "kid": 0.1 + 0.01 * seed * weight}
        for weight, seed in ((0.0, 0), (0.0, 1), (1.0, 0), (1.0, 1), (4.0, 2))
    }
    assert script.differences(known, 1.0, "recognised") == pytest.approx([0.2, 0.2])
    assert script.interval([1.0, 3.0]) == pytest.approx((2, 12.706), rel=1e-3) and script.interval([1.0]) == (1.0, None)
    asked = [[weight, seed] for weight in (0.0, 1.0, 4.0) for seed in (0, 1)]
    page = "\n".join(script.report({"steps": 10, "images": 8, "asked": asked}, {"runs": known, **script.summary(known)}).body)
    assert "Not measured yet: 4 from seed 0, 4 from seed 1." in page
    gain = next(line for line in page.splitlines() if line.startswith("- Weight 1 (the default)"))
    assert "recognised **+20.0** ± 0.0 points," in gain and "KID **+0.005** ± 0.064 (the interval includes 0); 2 seeds." in gain
    assert "- Weight 4" not in page  # seed 2 was never trained without guidance
    judge = Judge(small_collection)
    named = np.array(judge.species, dtype=object)[[0, 1, 0]]
    means = judge.means.add(1).mul(127.5).round().byte().permute(0, 2, 3, 1).numpy()
    assert script.recognition(judge, means[[0, 1, 1]], named) == pytest.approx({"recognised": 2 / 3, "recall": 0.75})
