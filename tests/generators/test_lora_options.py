"""Options of adapters on pre-trained models: drawing in few steps, with one network at a time on the card, prior preservation, AdamW in 8 bits."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from test_lora import PROMPT, SEEDS, SPECIES, Make, batch_of, photographs, pipeline_of, script_loss, stepped, trained_elsewhere
from torch.testing import assert_close

from syntype.apps.cli import main
from syntype.compute.runtime import Runtime
from syntype.compute.tensors import seeded_normal, to_tensor
from syntype.errors import CollectionError, InputError, RecipeError, UnsupportedError
from syntype.generators import load_generator
from syntype.generators.engine.checkpoint import write_weights
from syntype.generators.engine.generator import Generator
from syntype.generators.families.lora import LoRA, LoRAConfig
from syntype.generators.pretrained.bases import KNOWN_BASES
from syntype.generators.pretrained.few_steps import KNOWN_FEW_STEPS

USUAL = ("sampling_steps", "sampling_guidance")


@pytest.fixture(scope="module")
def few(tiny_base: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The file of an adapter for few steps: like those of others it also changes convolutions, which the own adapter does not."""
    folder = tmp_path_factory.mktemp("few")

    def get(name: str) -> Path:
        file = folder / name / "pytorch_lora_weights.safetensors"
        return file if file.exists() else trained_elsewhere(pipeline_of(tiny_base(name)), folder / name, ["to_q", "ff.net.2", "conv1"])

    return get


@pytest.mark.filterwarnings("ignore:Already found a `peft_config`:UserWarning")
@pytest.mark.parametrize(
    ("name", "solver", "scheduler"),
    [
        ("stable_diffusion", "lcm", "LCMScheduler"),
        ("stable_diffusion", "ddim", "DDIMScheduler"),
        ("stable_diffusion_xl", "euler", "EulerDiscreteScheduler"),
    ],
)
def test_images_in_few_steps_are_those_of_diffusers(
    name: str, solver: str, scheduler: str, make: Make, few: Callable[[str], Path], tiny_base: Callable[[str], Path], tmp_path: Path
) -> None:
    import diffusers

    model = make(name, USUAL, few_steps=str(few(name)), few_steps_solver=solver)
    images = model.sample(SPECIES[:1] * 2, SEEDS)
    write_weights(tmp_path / "own.safetensors", model.generator.state_dict())
    pipeline = pipeline_of(tiny_base(name))
    pipeline.scheduler = getattr(diffusers, scheduler).from_config(pipeline.scheduler.config, timestep_spacing="trailing")
    pipeline.load_lora_weights(tmp_path, weight_name="own.safetensors", adapter_name="own")
    pipeline.load_lora_weights(few(name).parent, weight_name=few(name).name, adapter_name="few")
    pipeline.set_adapters(["own", "few"])
    sources = [torch.Generator().manual_seed(seed) for seed in SEEDS]
    shown = pipeline(prompt=[PROMPT] * 2, generator=sources, num_inference_steps=4, guidance_scale=1, height=32, width=32, output_type="pt").images
    assert_close(images, 2 * shown - 1, atol=1e-4, rtol=0)
    assert_close(images[1:], model.sample(SPECIES[:1], SEEDS[1:]), atol=1e-5, rtol=0, msg="whatever else is drawn with it")


def test_an_adapter_for_few_steps_is_not_trained_and_serves_every_ability(make: Make, few: Callable[[str], Path]) -> None:
    data, settings = photographs(2), {"few_steps": str(few("stable_diffusion")), "few_steps_solver": "lcm"}
    plain, model = make("stable_diffusion"), make("stable_diffusion", USUAL, **settings)
    assert (model.config.sampling_steps, model.config.sampling_guidance) == (4, 1.0)
    assert model.generator.state_dict().keys() == plain.generator.state_dict().keys()
    model.generator.load_state_dict(plain.generator.state_dict())
    first = model.sample(SPECIES, SEEDS)  # as for a preview
    model.train()
    loss, after = stepped(model, data)
    expected, weights = stepped(plain.train(), data)
    assert torch.equal(loss, expected)
    assert_close(after, weights, rtol=0, atol=0)
    assert not torch.equal(model.sample(SPECIES, SEEDS), first)
    images = to_tensor(data.images)
    assert torch.equal(model.vary(images, SPECIES, SEEDS, 1.0), model.sample(SPECIES, SEEDS))
    assert not torch.equal(model.vary(images, SPECIES, SEEDS, 0.5), model.vary(images, SPECIES, [5, 4], 0.5))
    masks = torch.zeros(2, 1, 32, 32, dtype=torch.bool)
    masks[..., 8:20, 8:20] = True
    filled = model.inpaint(images, masks, SPECIES, SEEDS)
    assert torch.equal(torch.where(masks, images, filled), images) and torch.isfinite(filled).all()
    assert_close(model.blend([SPECIES], [(4, 5)], [1.0], "both"), model.sample(SPECIES[1:], [5]), atol=1e-5, rtol=0)


def test_an_adapter_for_few_steps_is_recorded_and_no_other_is_taken(make: Make, few: Callable[[str], Path], tmp_path: Path) -> None:
    file = tmp_path / "few.safetensors"
    file.write_bytes(few("stable_diffusion").read_bytes())
    model = make("stable_diffusion", USUAL, few_steps=str(file), few_steps_solver="ddim")
    told = (model.built_on or {})["few_steps"]
    assert told["name"] == str(file) and len(told["sha256"]) == 64 and model.licences[1] == f"unknown licence (weights of {file})"
    sources = Generator(tmp_path, model, {"generator_id": "lora-1", "family": "lora", "built_on": model.built_on}, ()).sources
    assert sources[-1] == f"adapter for few steps {file}, licence of its weights: unknown"
    model.eval().add_species("Cus novus", None)  # whose adapter comes later
    assert model.pretrained.denoiser.active_adapters() == ["default", "few_steps", "species"]
    save_file({name: 2 * tensor for name, tensor in load_file(file).items()}, file)
    with pytest.raises(CollectionError, match="another adapter for few steps than in training"):
        LoRA(model.config, SPECIES)


def test_what_is_no_adapter_for_few_steps_of_the_base_is_told_in_one_line(
    make: Make, few: Callable[[str], Path], tiny_base: Callable[[str], Path], tmp_path: Path
) -> None:
    other = trained_elsewhere(pipeline_of(tiny_base("stable_diffusion_xl")), tmp_path, ["to_k"])
    for name, settings, kind, words in [
        ("flux2_klein", {"few_steps": "latent-consistency/lcm-lora-sdxl"}, UnsupportedError, r"FLUX\.2-klein-4B --set model\.sampling_steps=4"),
        ("stable_diffusion", {"few_steps": "latent-consistency/lcm-lora-sdxl"}, UnsupportedError, "another kind of base .*lcm-lora-sdv1-5"),
        ("stable_diffusion", {"few_steps": str(few("stable_diffusion"))}, RecipeError, "few_steps_solver=lcm, ddim or euler"),
        ("stable_diffusion", {"few_steps": "no file", "few_steps_solver": "lcm"}, InputError, "is no adapter for few steps"),
        ("stable_diffusion", {"few_steps": str(other), "few_steps_solver": "lcm"}, InputError, "cannot be read as an adapter"),
    ]:
        with pytest.raises(kind, match=words) as caught:
            make(name, **settings)
        assert "\n" not in str(caught.value)
    model = make("stable_diffusion", few_steps=str(few("stable_diffusion")), few_steps_solver="lcm")
    with pytest.raises(RecipeError, match="steps=60 are too many"):
        model.sample(SPECIES, SEEDS, steps=60)
    assert {known.pipeline for known in KNOWN_FEW_STEPS.values()} == {base.pipeline for base in KNOWN_BASES.values() if base.kind == "unet"}


def test_a_known_adapter_for_few_steps_is_taken_from_the_hub_by_its_name(
    make: Make, few: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    asked = []
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda *given: asked.append(given) or str(few("stable_diffusion")))
    model = make("stable_diffusion", USUAL, few_steps="ByteDance/Hyper-SD:Hyper-SD15-4steps-lora.safetensors")
    assert asked == [("ByteDance/Hyper-SD", "Hyper-SD15-4steps-lora.safetensors")]
    assert (model.config.few_steps_solver, model.config.sampling_steps) == ("ddim", 4)
    assert (model.built_on or {})["few_steps"]["licence_url"].startswith("https://huggingface.co/ByteDance/Hyper-SD")
    plan = LoRA.plan(LoRAConfig.parse({"base": model.config.base, "size": 32, "few_steps": "latent-consistency/lcm-lora-sdv1-5"}), 2)
    assert plan["few_steps"] == "CreativeML Open RAIL++-M (weights of latent-consistency/lcm-lora-sdv1-5)"


@pytest.mark.parametrize("name", ["stable_diffusion_xl", "flux2_klein"])
def test_one_network_at_a_time_draws_the_same_images(name: str, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    images = to_tensor(photographs(2).images)
    plain, model = make(name), make(name)
    device, where = torch.device("cpu", 0), {}
    original = torch.nn.Module.to

    def to(network: torch.nn.Module, place: Any, *more: Any, **named: Any) -> torch.nn.Module:
        where[id(network)] = place
        return original(network, "cpu")

    model.offload(device)
    assert model.pretrained.device == device
    for network in model.pretrained.networks():
        where[id(network)] = "cpu"
    monkeypatch.setattr(torch.nn.Module, "to", to)
    seen = []
    predict = type(model.pretrained).predict

    def watched(self: Any, *given: Any) -> torch.Tensor:
        result = predict(self, *given)
        seen.append([where[id(network)] == device for network in self.networks()])
        return result

    monkeypatch.setattr(type(model.pretrained), "predict", watched)
    drawn = model.vary(images, SPECIES, SEEDS, 0.6, steps=2)
    last = [where[id(network)] == device for network in model.pretrained.networks()]
    monkeypatch.undo()
    assert torch.equal(drawn, plain.vary(images, SPECIES, SEEDS, 0.6, steps=2))
    assert all(row == [True, *[False] * (len(row) - 1)] for row in seen) and last[:2] == [False, True] and not any(last[2:])


def test_without_a_card_offloading_is_refused_in_one_line(
    make: Make, trained_folder: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    generator = Generator(tmp_path, make("stable_diffusion"), {"family": "lora"}, ())
    with pytest.raises(UnsupportedError, match=r"offload saves memory of a graphics card, and there is none .* Leave --offload out"):
        generator.to("cpu", offload=True)
    with pytest.raises(UnsupportedError, match="family copies has nothing to move"):
        load_generator(trained_folder("copies")).to("cuda", offload=True)
    words = ["generate", str(trained_folder("copies")), "--num", "1", "--out", str(tmp_path / "drawn"), "--device", "cpu", "--offload"]
    assert main(words) == 2
    assert "Leave --offload out." in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("name", ["stable_diffusion", "flux2_klein"])
def test_prior_preservation_is_dreambooths(name: str, make: Make, tiny_base: Callable[[str], Path]) -> None:
    """Loss on photographs + weight * loss on images that the model drew of the class before training."""
    settings: dict[str, Any] = {"prior_text": "a photo of a fish", "prior_images": 3, "prior_weight": 0.5, "images_at_once": 3, "learning_rate": 0.0}
    model, data = make(name, caption_dropout=1.0, flip=False, **settings), photographs()
    model.prepare(data, Runtime("cpu", "fp32"))
    alone = model.process.denoise(
        model._predictor(model.pretrained.embed(["a photo of a fish"]), model.Controls()), [seeded_normal([2], model.latent_shape)], 2
    )
    assert_close(model._prior[2:].float(), alone, atol=2e-3, rtol=1e-3)
    torch.manual_seed(7)
    loss = model.training_step(batch_of(data))["loss"]
    torch.manual_seed(7)
    torch.rand(4)  # captions
    clean = torch.cat([model._latents[row] for row in range(4)]).float()
    noise, places = torch.randn(clean.shape), model.process.draw_times(clean)
    old = model._prior[(torch.rand(4) * 3).long()].float()
    old_noise, old_places = torch.randn(old.shape), model.process.draw_times(old)
    pipeline = pipeline_of(tiny_base(name))
    pipeline.load_lora_weights({key: tensor.detach() for key, tensor in model.generator.state_dict().items()})
    with torch.no_grad():
        instance = script_loss(name, pipeline, clean, noise, places, [f"a photo of {SPECIES[label]}" for label in data.labels])
        prior = script_loss(name, pipeline, old, old_noise, old_places, ["a photo of a fish"] * 4)
    assert_close(loss, instance + 0.5 * prior, atol=1e-5, rtol=1e-5)


def test_adamw_in_8_bits_says_what_it_needs(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes.optim", None)
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(UnsupportedError, match="eight_bit needs the package bitsandbytes"):
        make("stable_diffusion", eight_bit=True).prepare(photographs(), Runtime("cpu", "fp32"))


def test_adamw_in_8_bits_trains_and_resumes(make: Make) -> None:
    pytest.importorskip("bitsandbytes")
    data = photographs()
    model, plain, again = (make("stable_diffusion", rank=256, learning_rate=1e-3, eight_bit=flag) for flag in (True, False, True))
    _, before = stepped(make("stable_diffusion", rank=256, learning_rate=0.0, weight_decay=0.0), data)
    after, expected = stepped(model, data)[1], stepped(plain, data)[1]
    assert {state["state1"].dtype for state in model.optimisers["adapter"].state.values()} >= {torch.uint8}
    moved = torch.cat([(expected[name] - before[name]).flatten() for name in before]).norm()
    assert torch.cat([(after[name] - expected[name]).flatten() for name in before]).norm() < 0.1 * moved
    again.prepare(data, Runtime("cpu", "fp32"))
    again.load_state_dict(model.state_dict())
    again.load_training_state(model.training_state())
    for one in (model, again):
        torch.manual_seed(5)
        one.training_step(batch_of(data))
    assert_close(dict(again.generator.state_dict()), dict(model.generator.state_dict()), rtol=0, atol=0)
