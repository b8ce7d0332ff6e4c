"""What families can do beside sampling. They are enumerated: a new one is tested for the abilities that it has."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.testing import assert_close

from syntype.collection import Collection
from syntype.compute.tensors import to_tensor
from syntype.errors import InputError, RecipeError, UnknownNameError, UnsupportedError
from syntype.generators import family, load_generator
from syntype.generators.contract import Blends, Inpaints, Varies
from syntype.generators.copy_paste.filling import blend_seamlessly
from syntype.generators.engine.checkpoint import read_state
from syntype.generators.engine.generator import Generator
from syntype.generators.engine.masked_patches import MaskedPatches
from syntype.generators.engine.previews import MAX_FRAMES, plot_curves, save_animation
from syntype.generators.families.fastgan import FastGAN, FastGANConfig
from syntype.generators.registry import families_that
from syntype.run import read_events

NAMES = ["Aus primus", "Aus secundus", "Bus tertius"]
TRAINED = Path(os.environ.get("SYNTYPE_GENERATOR", Path(__file__).parents[2] / "out" / "fish4knowledge" / "generator"))


@pytest.fixture(scope="module")
def trained(trained_folder: Callable[[str], Path]) -> Callable[[str], Generator]:
    """Tiny generators, each loaded once."""
    return cache(lambda name: load_generator(trained_folder(name)))


def quick(generator: Generator) -> dict[str, object]:
    """Settings with which an image takes few steps, of those that the family has."""
    few = {"steps": 4, "search_steps": 10, "resamples": 1}
    return {name: value for name, value in few.items() if name in generator.model.Controls.model_fields}


def some(photographs: Collection, count: int) -> tuple[Tensor, list[str]]:
    train_images = photographs.training()
    rows = np.linspace(0, len(train_images) - 1, count).astype(int)
    return to_tensor(train_images.pixels(32)[rows]), train_images.table["species"].iloc[rows].tolist()


@pytest.mark.parametrize("name", families_that(Blends))
@pytest.mark.usefixtures("small_batches")
def test_a_blend_ends_exactly_at_what_sample_draws(name: str, trained: Callable[[str], Generator]) -> None:
    generator = trained(name)
    controls = quick(generator)
    a, b = generator.sample(NAMES[:2], [3, 4], **controls)
    for of in ("both", "species", "latent") if generator.model.is_conditional else ("both", "latent"):
        images = generator.blend([(NAMES[0], NAMES[1])] * 3, [(3, 4)] * 3, [0.0, 0.5, 1.0], of, **controls)
        assert torch.equal(images[0], a)
        assert torch.isfinite(images).all() and images.min() >= -1 and images.max() <= 1
        assert not torch.equal(images[1], images[0]) and not torch.equal(images[1], images[2])
        if of == "both":
            assert torch.equal(images[2], b)
    apart = generator.blend([(NAMES[0], NAMES[1])] * 4, [(3, 4)] * 4, [0.0, 1.0, 0.0, 0.5], "both", individuals=[0.0, 1.0, 0.5, 0.0], **controls)
    assert torch.equal(apart[0], a) and torch.equal(apart[1], b)
    assert_close(apart[2:3], generator.blend([(NAMES[0], NAMES[1])], [(3, 4)], [0.5], "latent", **controls), atol=1e-5, rtol=0)
    if generator.model.is_conditional:
        assert_close(apart[3:], generator.blend([(NAMES[0], NAMES[1])], [(3, 4)], [0.5], "species", **controls), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", families_that(Blends))
@pytest.mark.usefixtures("small_batches")
def test_one_pair_is_one_image_whatever_the_batch(name: str, trained: Callable[[str], Generator]) -> None:
    generator = trained(name)
    controls = quick(generator)
    pairs = [(NAMES[i % 3], NAMES[(i + 1) % 3]) for i in range(10)]  # more than a batch
    seeds, amounts = [(i, 100 - i) for i in range(10)], [i / 9 for i in range(10)]
    together = generator.blend(pairs, seeds, amounts, **controls)
    assert torch.equal(together[9:], generator.blend(pairs[9:], seeds[9:], amounts[9:], **controls))
    assert torch.equal(together.flip(0), generator.blend(pairs[::-1], seeds[::-1], amounts[::-1], **controls))


@pytest.mark.parametrize("name", families_that(Varies))
def test_one_photograph_is_one_variation_whatever_the_batch(name: str, trained: Callable[[str], Generator], photographs: Collection) -> None:
    generator = trained(name)
    images, species = some(photographs, 9)
    together = generator.vary(images, species, range(9), 0.3, **quick(generator))
    assert together.shape == images.shape and torch.isfinite(together).all() and together.abs().max() <= 1
    assert torch.equal(together[8:], generator.vary(images[8:], species[8:], [8], 0.3, **quick(generator)))
    assert not torch.equal(together, generator.vary(images, species, range(9), 0.9, **quick(generator)))
    assert not torch.equal(together, generator.vary(images.flip(0), species, range(9), 0.3, **quick(generator)))


@pytest.mark.parametrize("name", families_that(Inpaints))
def test_known_pixels_are_unchanged_and_what_is_masked_is_not_looked_at(
    name: str, trained: Callable[[str], Generator], photographs: Collection
) -> None:
    generator = trained(name)
    images, species = some(photographs, 3)
    masks = torch.zeros(3, 1, 32, 32, dtype=torch.bool)
    masks[0, :, 4:20, 8:30] = masks[1, :, :, 16:] = masks[2, :, 31, 31] = True
    filled = generator.inpaint(images, masks, species, [0, 1, 2], **quick(generator))
    assert torch.equal(filled.masked_fill(masks, 0), images.masked_fill(masks, 0))
    assert torch.isfinite(filled).all() and filled.abs().max() <= 1 and not torch.equal(filled, images)
    spoilt = images.masked_fill(masks, 0.7)
    assert torch.equal(filled[1:], generator.inpaint(spoilt[1:], masks[1:], species[1:], [1, 2], **quick(generator)))


def test_a_family_without_the_ability_names_those_that_have_it(trained: Callable[[str], Generator]) -> None:
    generator, images = trained("copies"), torch.zeros(1, 3, 32, 32)
    with pytest.raises(UnsupportedError, match=r"family copies cannot interpolate between .*: .*fastgan.*projected"):
        generator.blend([(NAMES[0], NAMES[1])], [(0, 1)], [0.5])
    with pytest.raises(UnsupportedError, match=r"vary a photograph.*projected"):
        generator.vary(images, NAMES[:1], [0], 0.5)
    with pytest.raises(UnsupportedError, match=r"inpaint .*projected"):
        generator.inpaint(images, torch.ones(1, 1, 32, 32, dtype=torch.bool), NAMES[:1], [0])


def made(adapters: int = 0) -> Generator:
    """An untrained generator, and species whose weights differ from its own in every way that adapters do."""
    torch.manual_seed(0)
    model = FastGAN(FastGANConfig.tiny(32), NAMES)
    generator = Generator(Path("made"), model, {"family": "fastgan", "generator_id": "fastgan-0123456789ab"}, [])
    own = {name: tensor.clone() for name, tensor in model.generator.state_dict().items()}
    for number in range(adapters):
        changed = {"new_row.embedding.weight": torch.randn(1, own["embedding.weight"].shape[1])}
        changed["to_rgb.weight"] = own["to_rgb.weight"] + 0.2 * torch.randn_like(own["to_rgb.weight"])
        changed["start_norm.norm.num_batches_tracked"] = torch.tensor(7 + number)
        if number:  # kernels as factors, as `modulate` keeps them
            kernel = own["blocks.0.convs.0.weight"]
            changed["factor_out.blocks.0.convs.0.weight"], changed["factor_into.blocks.0.convs.0.weight"] = (torch.randn(n) for n in kernel.shape[:2])
        generator.add_adapter(f"Cus {number}", changed)
    return generator


def test_controls_and_arguments_are_checked() -> None:
    generator = made()
    with pytest.raises(RecipeError, match=r"no control 'inpaint_stepz'\. Its controls: search_steps, search_learning_rate"):
        generator.sample(NAMES[:1], [0], inpaint_stepz=3)
    with pytest.raises(RecipeError, match="search_learning_rate"):
        generator.vary(torch.zeros(1, 3, 32, 32), NAMES[:1], [0], 0.5, search_learning_rate=-1)
    with pytest.raises(InputError, match=r"amount 1\.5"):
        generator.blend([(NAMES[0], NAMES[1])], [(0, 1)], [1.5])
    with pytest.raises(InputError, match=r"strength -0\.1"):
        generator.vary(torch.zeros(1, 3, 32, 32), NAMES[:1], [0], -0.1)
    with pytest.raises(UnknownNameError, match="Aus primus"):
        generator.blend([(NAMES[0], "Aus primvs")], [(0, 1)], [0.5])


@pytest.mark.parametrize(("first", "second"), [("Aus primus", "Cus 0"), ("Cus 0", "Cus 1"), ("Cus 1", "Aus secundus")])
def test_between_adapted_species_weights_are_interpolated_and_put_back(first: str, second: str) -> None:
    generator = made(2)
    before = {name: tensor.clone() for name, tensor in generator.model.generator.state_dict().items()}
    ends = generator.sample([first, second], [5, 6])
    images = generator.blend([(first, second)] * 4, [(5, 6)] * 4, [0.0, 0.25, 0.25, 1.0])
    assert torch.equal(images[0], ends[0]) and torch.equal(images[3], ends[1]) and torch.equal(images[1], images[2])
    assert all(torch.equal(tensor, before[name]) for name, tensor in generator.model.generator.state_dict().items())

    # the same by hand: a quarter of the way from one set of weights to the other
    sides = []
    for name in (first, second):
        state = {key: tensor.clone() for key, tensor in before.items()}
        for key, tensor in generator._adapters.get(name, {}).items():
            if not key.startswith("factor_"):
                state[key] = tensor.clone()
            elif key.startswith("factor_out."):
                kernel = key.removeprefix("factor_out.")
                into = generator._adapters[name][f"factor_into.{kernel}"]
                state[kernel] = before[kernel] * (1 + torch.outer(tensor, into))[:, :, None, None]
        sides.append(state)
    model = made(2).model
    model.generator.load_state_dict({key: (0.75 * sides[0][key] + 0.25 * sides[1][key]).to(before[key].dtype) for key in before})
    assert_close(images[1], model.blend([(first, second)], [(5, 6)], [0.25], "both")[0], atol=1e-4, rtol=0)
    latent = generator.blend([(first, second)], [(5, 6)], [0.25], "latent")
    assert_close(latent, generator.blend([(first, first)], [(5, 6)], [0.25], "both"), atol=1e-5, rtol=0)


def test_a_variation_arrives_at_what_sample_draws() -> None:
    generator = made()
    wanted = generator.sample(NAMES[:1], [5])
    assert_close(generator.vary(torch.zeros(1, 3, 32, 32), NAMES[:1], [5], 1.0, search_steps=1), wanted, atol=1e-5, rtol=0)


def test_a_loaded_generator_works_out_the_codes_that_training_used(trained: Callable[[str], Generator], photographs: Collection) -> None:
    generator = trained("projected")
    photographs = photographs.training()
    images, labels = to_tensor(photographs.pixels(32)), torch.from_numpy(photographs.labels())
    codes = generator.model.codes_of(images, labels)
    mean = torch.stack([codes[labels == label].mean(0) for label in range(3)])
    mirrored = generator.model.codes_of(images.flip(3), labels)
    both = torch.stack([mirrored[labels == label].mean(0) for label in range(3)])
    assert_close(mean + both, torch.zeros(3, 8), atol=1e-3, rtol=0)  # codes are what is left of a species' mean, mirrored photographs included
    bank = generator.model.generator.bank
    assert all((bank.codes - code).abs().amax(1).min() < 1e-3 for code in codes[:5]), "the codes that it remembers are those of its photographs"
    state = read_state(generator.folder)["model"]
    assert torch.equal(bank.projection, state["instances.projection"]) and torch.equal(bank.mean, state["instances.mean"])


def test_weights_from_before_photographs_could_be_varied_still_draw(trained: Callable[[str], Generator]) -> None:
    generator = trained("projected")
    kind, old = type(generator.model), generator.model.generator.state_dict()
    old = {name: tensor for name, tensor in old.items() if name not in ("bank.gain", "bank.projection", "bank.mean")}
    model = kind(generator.model.config, generator.species)
    model.generator.load_state_dict(old)
    older = Generator(generator.folder, model, generator.info, [])
    assert torch.equal(older.sample(NAMES, [0, 1, 2]), generator.sample(NAMES, [0, 1, 2]))
    with pytest.raises(UnsupportedError, match="--resume"):
        older.vary(torch.zeros(1, 3, 32, 32), NAMES[:1], [0], 0.5)


def test_strength_leads_away_from_the_photograph(fish4knowledge: Path) -> None:
    """On a generator that has learnt something: in pixels, and in the instance codes of what is drawn."""
    collection = TRAINED.parents[0] / "collection"
    if not (TRAINED / "generator.json").is_file() or not (collection / "collection.json").is_file():
        pytest.skip("no generator trained on fish4knowledge here (make bench; or set SYNTYPE_GENERATOR to its folder, with the collection beside it)")
    generator = load_generator(TRAINED)
    if not len(generator.model.generator.bank.projection):
        pytest.skip(f"{TRAINED} was trained before photographs could be varied")
    shown = Collection.open(collection).training()
    shown = shown.where(shown.table["species"].isin(generator.species))
    mask = np.zeros(len(shown), dtype=bool)
    mask[np.linspace(0, len(shown) - 1, 24).astype(int)] = True
    shown = shown.where(mask)
    images, species = to_tensor(shown.pixels(generator.size)), shown.table["species"].tolist()
    labels = generator.model.labels_of(species)
    with torch.no_grad():
        wanted = generator.model.codes_of(images, labels)
        distances = []
        for strength in (0.0, 0.5, 1.0):
            drawn = generator.vary(images, species, range(24), strength)
            codes = generator.model.codes_of(drawn, labels)
            distances.append((float((drawn - images).abs().mean()), float((codes - wanted).norm(dim=1).mean())))
    for near, far in pairwise(distances):
        assert near[0] < far[0] and near[1] < far[1], distances


def test_what_fills_a_hole_is_joined_to_what_is_around_it() -> None:
    line = torch.linspace(-0.5, 0.5, 32)
    images = line.expand(2, 3, 32, 32)
    masks = torch.zeros(2, 1, 32, 32, dtype=torch.bool)
    masks[:, :, 10:20, 8:24] = True
    joined = blend_seamlessly(images + 0.3, images.masked_fill(masks, float("nan")), masks)
    assert_close(joined, images.contiguous(), atol=1e-4, rtol=0)  # a drawing that is too bright everywhere: the membrane is exact


@pytest.mark.parametrize("name", ["projected", "copies"])
def test_training_leaves_pictures_of_its_course(name: str, trained: Callable[[str], Generator]) -> None:
    folder = trained(name).folder
    events = [event for event in read_events(folder) if event["event"] == "validation"]
    if name == "copies":
        assert not events and not (folder / "losses.png").exists() and not (folder / "progress.webp").exists()
        return
    assert [event["step"] for event in events] == [2, 3] and all(0 < event["masked_patch_error"] < 2 for event in events)
    with Image.open(folder / "progress.webp") as course, Image.open(folder / "previews/step-000002.png") as grid:
        assert course.size == grid.size
    with Image.open(folder / "losses.png") as curves:
        assert min(curves.size) > 100


@pytest.mark.parametrize(("name", "different"), [("dcgan", 24), ("cgan", 8)])
def test_previews_waste_no_row_on_images_that_are_the_same(name: str, different: int, trained: Callable[[str], Generator]) -> None:
    """Of a family that knows no species, three rows of eight are 24 images; of one that does, a column has one seed, and a row one species."""
    with Image.open(trained(name).folder / "previews/step-000002.png") as grid:
        tiles = np.asarray(grid).reshape(3, 32, 8, 32, 3).swapaxes(1, 2).reshape(24, -1)
    assert len(np.unique(tiles[:different], axis=0)) == different


def test_masked_patches_are_of_validation_photographs_alone(photographs: Collection) -> None:
    patches = MaskedPatches.from_collection(photographs, made().model)
    assert patches is not None and 0 < patches.masks_N1HW.float().mean() < 0.15
    held = to_tensor(photographs.select(split="val").pixels(32))
    assert all((held - image).abs().amax((1, 2, 3)).min() == 0 for image in patches.images_NCHW)
    assert MaskedPatches.from_collection(photographs.select(split="train"), made().model) is None
    assert MaskedPatches.from_collection(photographs, family("copies")(family("copies").Config(size=32), NAMES)) is None


def test_the_course_of_many_previews_has_a_bounded_number_of_frames(tmp_path: Path) -> None:
    random = np.random.default_rng(0)  # the encoder drops frames that look like the one before
    for step in range(1, 101):
        Image.new("RGB", (20, 10), (*tuple(random.integers(0, 256, 2).tolist()), 0)).save(tmp_path / f"step-{step:06d}.png")
    Image.new("RGB", (20, 10), (0, 0, 255)).save(tmp_path / "final-000100.png")
    save_animation(tmp_path, tmp_path / "course.webp")
    with Image.open(tmp_path / "course.webp") as course:
        assert course.n_frames == MAX_FRAMES
        course.seek(MAX_FRAMES - 1)
        assert np.asarray(course.convert("RGB"))[0, 0, 2] > 200, "the last frame is the last preview"


def test_curves_need_something_to_show(tmp_path: Path) -> None:
    plot_curves([{"event": "message", "text": "x"}], tmp_path / "none.png")
    assert not list(tmp_path.iterdir())
    plot_curves([{"event": "step", "step": step, "time": "", "loss": 1 / step} for step in range(1, 200)], tmp_path / "some.png")
    assert [path.name for path in tmp_path.iterdir()] == ["some.png"]
