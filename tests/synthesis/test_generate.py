"""Drawing images: one seed an image, a collection at every end, also after Ctrl-C."""

from __future__ import annotations

import hashlib
import importlib
import json
import pickle
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import imagehash
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from syntype.cluster import Cluster
from syntype.collection import Collection
from syntype.compute.runtime import Runtime
from syntype.errors import RecipeError, TrainingError, UnknownNameError, UnsupportedError
from syntype.generators.contract import TrainingData
from syntype.generators.engine.generator import Generator
from syntype.generators.families.collage import Collage, CollageConfig
from syntype.generators.families.fastgan import FastGAN, FastGANConfig
from syntype.recipe import Settings
from syntype.run import Run, read_events
from syntype.synthesis import NOTICE, GenerateConfig, _drawing, generate, image_seed, read_provenance

generate_module = importlib.import_module("syntype.synthesis.generate")  # the package has the function under this name

SPECIES = ("Chromis caerulea", 'Chromis "sp. A" & <cf.>', "Chromis/flava", "Čičavica žutá")


class Truncation(Settings):
    truncation: float = 1.0


class Recorder(Generator):
    """A trained collage generator that counts what it is asked for, and may be made to fail."""

    def __init__(self, **info: Any) -> None:
        rng = np.random.default_rng(1)
        images = rng.integers(0, 256, (8, 32, 32, 3), dtype=np.uint8)
        model = Collage(CollageConfig(size=32), SPECIES)
        model.Controls = Truncation
        model.prepare(TrainingData(images, np.arange(8) % 4, np.arange(8), SPECIES), Runtime("cpu"))
        super().__init__(Path("unused"), model, {"family": "collage", "generator_id": "collage-0123456789ab", **info}, ["0" * 64])
        self.asked = 0
        self.interrupt_after = 10**9
        self.controls: dict[str, Any] = {}

    def sample(self, species: Sequence[str], seeds: Sequence[int], **controls: Any) -> Tensor:
        if self.asked >= self.interrupt_after:
            raise KeyboardInterrupt
        self.asked += len(species)
        self.controls = controls
        return super().sample(species, seeds)


@pytest.fixture(scope="module")
def shared() -> Recorder:
    return Recorder()


def files_of(collection: Collection) -> dict[str, bytes]:
    return {str(name): (collection.root / str(name)).read_bytes() for name in collection.table["file_name"]}


def draw(generator: Generator, out: Path, **config: Any) -> Collection:
    return generate(generator, GenerateConfig(**config), out, Run.silent()).collection


def test_the_table_tells_what_the_files_are(shared: Recorder, tmp_path: Path) -> None:
    result = generate(shared, GenerateConfig(num=3, seed=5), tmp_path / "out", Run.silent())
    collection = Collection.open(tmp_path / "out")
    assert collection.species == SPECIES
    assert collection.counts() == dict.fromkeys(SPECIES, 3)
    assert collection.table["image_id"].is_unique
    for row, entry in enumerate(collection.table.to_dict("records")):
        content = collection.path(row).read_bytes()
        picture = Image.open(collection.path(row))
        mark = read_provenance(collection.path(row))
        assert mark is not None
        assert (mark.species, mark.seed, mark.generator_id) == (entry["species"], entry["seed"], entry["generator_id"])
        assert mark.digital_source_type == "compositeCapture"
        assert entry["seed"] == image_seed(5, entry["species"], row % 3)
        assert entry["sha256"] == hashlib.sha256(content).hexdigest()
        assert entry["phash"] == str(imagehash.phash(picture))
        assert (entry["width"], entry["height"]) == picture.size == (32, 32)
        assert (entry["origin"], entry["terms"]) == ("synthetic", NOTICE)
    for empty in ("split", "group", "controls", "verdict", "licence"):
        assert collection.table[empty].isna().all()
    assert all(len(json.loads(parents)) == 2 for parents in collection.table["parents"])  # the photographs of the animal and of the place
    summary = result.summary()
    assert summary.pop("images_per_second") > 0
    assert summary == {"num_images": 12, "num_species": 4, "generator_id": "collage-0123456789ab", "size": 32, "out": str(tmp_path / "out")}
    assert collection.info["history"][0]["generator_id"] == "collage-0123456789ab"


def test_an_images_pixels_are_what_the_generator_gives_for_its_seed(shared: Recorder, tmp_path: Path) -> None:
    collection = draw(shared, tmp_path, num=2, species=(SPECIES[1],))
    for row in range(2):
        expected = shared.sample([SPECIES[1]], [int(collection.table["seed"].iloc[row])])[0].permute(1, 2, 0)
        assert np.abs(np.asarray(Image.open(collection.path(row))) / 127.5 - 1 - expected.numpy()).max() <= 0.5 / 127.5 + 1e-6


def test_jobs_draw_the_same_images_and_the_missing_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere, submitted = Recorder(), list[list[str]]()
    monkeypatch.setattr(generate_module, "IMAGES_PER_JOB", 5)
    monkeypatch.setattr(generate_module, "load_generator", lambda folder: elsewhere)

    def run_jobs(jobs: Sequence[Any], cluster: Cluster, folder: Path, run: Run) -> dict[str, str]:
        """A place that does all jobs but those that fail."""
        submitted.append([job.name for job in jobs])
        for job in jobs[: 1 if len(submitted) == 1 else None]:
            pickle.loads(pickle.dumps(job.work))()
        return {"00000005": "memory ran out.", "00000010": "memory ran out."} if len(submitted) == 1 else {}

    monkeypatch.setattr(generate_module, "run_jobs", run_jobs)
    plain, here = draw(Recorder(), tmp_path / "plain", num=3), Recorder()
    config, cluster = GenerateConfig(num=3), Cluster(executor="processes")
    with pytest.raises(TrainingError, match=r"2 of 3 jobs failed\. Images from number 5: memory ran out"):
        generate(here, config, tmp_path / "jobs", Run.silent(), cluster=cluster)
    assert elsewhere.asked == 5
    drawn = generate(here, config, tmp_path / "jobs", Run.silent(), cluster=cluster).collection
    assert submitted[1] == ["00000005", "00000010"] and elsewhere.asked == 12 and here.asked == 0
    assert files_of(drawn) == files_of(plain) and drawn.table.equals(plain.table)
    generate(here, config, tmp_path / "jobs", Run.silent(), cluster=cluster)
    assert submitted[2] == [] and elsewhere.asked == 12


def test_drawing_again_gives_the_same_files(shared: Recorder, tmp_path: Path) -> None:
    first, second = draw(shared, tmp_path / "a", num=4), draw(shared, tmp_path / "b", num=4, batch_size=3)
    assert files_of(first) == files_of(second)
    assert first.fingerprint == second.fingerprint
    assert set(files_of(first).values()).isdisjoint(files_of(draw(shared, tmp_path / "c", num=4, seed=1)).values())


def test_five_are_the_beginning_of_ten_and_species_do_not_matter_to_each_other(shared: Recorder, tmp_path: Path) -> None:
    five = files_of(draw(shared, tmp_path / "five", num=5, species=(SPECIES[2],)))
    ten = files_of(draw(shared, tmp_path / "ten", num=10))
    assert len(ten) == 40
    assert five.items() <= ten.items()


def test_seeds_are_spread_over_63_bits_and_stay_as_they_are() -> None:
    seeds = [image_seed(base, name, index) for base in (0, 1) for name in SPECIES for index in range(200)]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert abs(np.mean([seed / 2**63 for seed in seeds]) - 0.5) < 0.03
    content = '[0, "Zanclus cornutus", 7]'  # written down so that no refactoring changes published images
    assert image_seed(0, "Zanclus cornutus", 7) == int(hashlib.sha256(content.encode()).hexdigest()[:16], 16) // 2


def test_unknown_species_are_refused_before_anything_is_written(shared: Recorder, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'Chromis caerulea'"):
        draw(shared, tmp_path / "out", num=1, species=(SPECIES[0], "Chromis cerulea"))
    assert not (tmp_path / "out").exists()


def test_a_generator_that_does_not_tell_species_apart_draws_only_what_it_was_adapted_to(tmp_path: Path) -> None:
    model = FastGAN(FastGANConfig.tiny().model_copy(update={"conditional": False}), SPECIES)
    generator = Generator(Path("base"), model, {"family": "fastgan", "generator_id": "fastgan-0123456789ab"}, [])
    for asked in ((), SPECIES[:1]):
        with pytest.raises(UnsupportedError, match=r"without species labels.*none yet.*syntype adapt.*model.conditional=true"):
            draw(generator, tmp_path / "refused", num=1, species=asked)
    generator.add_adapter("Cus novus", {})
    generator.add_adapter(SPECIES[0], {})  # one that it was trained on may be learnt by name afterwards
    with pytest.raises(UnsupportedError, match="Cus novus"):
        draw(generator, tmp_path / "refused", num=1, species=("Cus novus", SPECIES[1]))
    assert not (tmp_path / "refused").exists()
    assert draw(generator, tmp_path / "out", num=2).counts() == {"Cus novus": 2, SPECIES[0]: 2}


def test_names_that_look_alike_in_a_file_name_do_not_meet(tmp_path: Path) -> None:
    generator = Recorder()
    names = ("A b", "A_b", "A/b", "A  b")
    generator.model.species = names
    generator.model._label_of = {name: position for position, name in enumerate(names)}
    collection = draw(generator, tmp_path, num=1)
    assert len(set(files_of(collection).values())) == 4
    assert (tmp_path / "images" / "A_b" / "A_b-000000.png").is_file()
    assert all(tmp_path / "images" in collection.path(row).resolve().parents for row in range(4))


def test_ctrl_c_leaves_a_valid_collection_and_the_next_run_goes_on(tmp_path: Path) -> None:
    generator, out = Recorder(), tmp_path / "out"
    config = GenerateConfig(num=6, batch_size=5)
    generator.interrupt_after = 10
    with pytest.raises(KeyboardInterrupt):
        generate(generator, config, out, Run.start(out, "generate", config, seed=0, quiet=True))
    partial = Collection.open(out)
    assert len(partial) == 10
    assert all(partial.path(row).is_file() for row in range(10))
    assert not list(out.rglob("*.tmp"))
    assert json.loads((out / "run.json").read_text())["status"] == "interrupted"
    assert isinstance(read_events(out), list)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.png")}

    generator.interrupt_after = 10**9
    generator.asked = 0
    generate(generator, config, out, Run.start(out, "generate", config, seed=0, resume=True, quiet=True))
    assert generator.asked == 14
    assert all(path.stat().st_mtime_ns == when for path, when in before.items())
    assert files_of(Collection.open(out)) == files_of(draw(generator, tmp_path / "whole", num=6))


def test_ctrl_c_before_the_first_image_leaves_an_empty_collection(tmp_path: Path) -> None:
    generator = Recorder()
    generator.interrupt_after = 0
    with pytest.raises(KeyboardInterrupt):
        draw(generator, tmp_path, num=2)
    assert len(Collection.open(tmp_path)) == 0


def test_what_is_damaged_or_was_made_otherwise_is_drawn_again(tmp_path: Path) -> None:
    generator = Recorder()
    whole = draw(generator, tmp_path, num=2)
    expected = files_of(whole)
    content = whole.path(0).read_bytes()
    whole.path(0).write_bytes(content[: len(content) // 2])
    whole.path(1).unlink()
    whole.path(2).write_bytes(b"")
    generator.asked = 0
    assert files_of(draw(generator, tmp_path, num=2)) == expected
    assert generator.asked == 3
    for changed in ({"seed": 9}, {"controls": {"truncation": 0.5}}):
        generator.asked = 0
        draw(generator, tmp_path, num=2, **changed)
        assert generator.asked == 8
    generator.info["generator_id"] = "collage-another"
    generator.asked = 0
    draw(generator, tmp_path, num=2)
    assert generator.asked == 8


def test_controls_reach_the_generator_and_the_table(tmp_path: Path) -> None:
    generator = Recorder(licences=["CC BY 4.0", "CC0"])
    collection = draw(generator, tmp_path, num=1, species=SPECIES[:1], controls={"truncation": 0.5})
    assert generator.controls == {"truncation": 0.5}
    assert json.loads(collection.table["controls"][0]) == {"truncation": 0.5}
    assert collection.table["licence"][0] == "CC BY 4.0; CC0"


def test_a_control_that_the_family_does_not_have_is_refused_before_anything_is_written(shared: Recorder, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"family collage has no control 'truncatoin'\. Its controls: truncation"):
        draw(shared, tmp_path / "out", num=1, controls={"truncatoin": 0.5})
    with pytest.raises(RecipeError, match="truncation"):
        draw(shared, tmp_path / "out", num=1, controls={"truncation": "much"})
    assert not (tmp_path / "out").exists()


def test_jpeg_files_are_asked_for_by_format(shared: Recorder, tmp_path: Path) -> None:
    collection = draw(shared, tmp_path, num=1, format="jpeg", quality=80)
    assert all(name.endswith(".jpg") for name in collection.table["file_name"])
    with Image.open(collection.path(0)) as picture:
        assert picture.format == "JPEG"
    assert read_provenance(collection.path(0)) is not None


def test_values_that_are_not_finite_are_never_written(shared: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "sample", lambda species, seeds: torch.full((len(seeds), 3, 32, 32), float("nan")))
    with pytest.raises(TrainingError, match="infinite or NaN"):
        draw(shared, tmp_path, num=1)
    assert not list(tmp_path.rglob("*.png"))


def test_settings_are_strict() -> None:
    assert issubclass(GenerateConfig, Settings)
    for wrong in ({"num": 0}, {"num": 1, "seed": -1}, {"num": 1, "format": "gif"}, {"num": 1, "quality": 101}, {"num": 1, "unknown": 1}):
        with pytest.raises(ValueError, match="validation error"):
            GenerateConfig(**wrong)


def test_a_hundred_thousand_images_start_at_once(shared: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked_up: list[str] = []
    made = 0
    version, provenance = _drawing.metadata.version, generate_module.provenance_of

    def counted(*arguments: Any) -> Any:
        nonlocal made
        made += 1
        return provenance(*arguments)

    monkeypatch.setattr(_drawing.metadata, "version", lambda name: looked_up.append(name) or version(name))
    monkeypatch.setattr(generate_module, "provenance_of", counted)
    monkeypatch.setattr(shared, "interrupt_after", shared.asked + 64)
    _drawing._software.cache_clear()
    began = time.process_time()
    with pytest.raises(KeyboardInterrupt):
        generate(shared, GenerateConfig(num=25_000, batch_size=32), tmp_path / "out", Run.silent())
    assert time.process_time() - began < 5
    assert len(Collection.open(tmp_path / "out")) == 64
    assert made == 3 * 32 and looked_up == ["syntype"]  # two batches were drawn, the third was interrupted
