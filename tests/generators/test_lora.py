"""Adapters on pre-trained text-to-image models, compared with diffusers' own pipelines on tiny models with random weights."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made import make_collection, train_tiny
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.testing import assert_close

from syntype.collection import Collection
from syntype.compute.processes import WholeBatchRandom
from syntype.compute.runtime import Runtime
from syntype.compute.tensors import seeded_normal, to_tensor
from syntype.errors import CollectionError, InputError, RecipeError, UnsupportedError
from syntype.generators import load_generator
from syntype.generators.contract import Batch, TrainingData
from syntype.generators.engine.batches import training_data
from syntype.generators.engine.checkpoint import write_weights
from syntype.generators.families.lora import LoRA, LoRAConfig

SPECIES = ("Chaetodon trifascialis", "Zanclus cornutus")
PROMPT = "a photo of Chaetodon trifascialis"
BASES = ("stable_diffusion", "stable_diffusion_v", "stable_diffusion_xl", "flux2_klein")
SEEDS = [4, 5]
Make = Callable[..., LoRA]


def pipeline_of(folder: Path) -> Any:
    """Diffusers' own pipeline of a base, with the solver that is used here."""
    from diffusers import DiffusionPipeline, DPMSolverMultistepScheduler
    from diffusers.utils import logging

    logging.disable_progress_bar()
    pipeline = DiffusionPipeline.from_pretrained(folder)
    logging.enable_progress_bar()
    pipeline.set_progress_bar_config(disable=True)
    if hasattr(pipeline, "unet"):
        pipeline.scheduler = DPMSolverMultistepScheduler.from_config(pipeline.scheduler.config)
    return pipeline


def draw(pipeline: Any, noise: Tensor, guidance: float, text: str = PROMPT, **more: Any) -> Tensor:
    """Images that the pipeline draws, in [-1, 1]."""
    if "max_sequence_length" in pipeline.__call__.__doc__:
        more["max_sequence_length"] = 32
    shown = pipeline(
        prompt=[text] * len(noise), latents=noise, num_inference_steps=3, guidance_scale=guidance, height=32, width=32, output_type="pt", **more
    ).images
    return 2 * shown - 1


def photographs(count: int = 4) -> TrainingData:
    images = np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    return TrainingData(images, np.arange(count) % 2, np.arange(count), SPECIES, captions=("on sand", None, "at night", None)[:count])


def batch_of(data: TrainingData, rows: list[int] | None = None) -> Batch:
    chosen = np.arange(len(data.labels)) if rows is None else np.array(rows)
    return Batch(to_tensor(data.images[chosen]), torch.from_numpy(data.labels[chosen]), torch.from_numpy(chosen), 0)


@pytest.mark.parametrize(("name", "guidance"), [("stable_diffusion", 1.0), *((name, 3.0) for name in BASES), ("flux2_klein", 1.0)])
def test_images_are_those_of_diffusers_with_the_adapter_loaded_there(
    name: str, guidance: float, make: Make, tiny_base: Callable[[str], Path], tmp_path: Path
) -> None:
    model = make(name)
    images = model.sample(SPECIES[:1] * 2, SEEDS, steps=3, guidance=guidance)
    write_weights(tmp_path / "weights.safetensors", model.generator.state_dict())
    pipeline, noise = pipeline_of(tiny_base(name)), seeded_normal(SEEDS, model.latent_shape)
    if guidance == 1:
        without = draw(pipeline, noise, guidance)
        assert (images - without).abs().max() > 1e-3, "the adapter changes nothing"
    pipeline.load_lora_weights(tmp_path, weight_name="weights.safetensors")
    assert_close(images, draw(pipeline, noise, guidance), atol=1e-4, rtol=0)
    pipeline.fuse_lora()
    pipeline.unload_lora_weights()
    assert_close(images, draw(pipeline, noise, guidance), atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", ["stable_diffusion", "stable_diffusion_xl"])
def test_variations_are_those_of_diffusers(name: str, make: Make, tiny_base: Callable[[str], Path], tmp_path: Path) -> None:
    from diffusers import AutoPipelineForImage2Image

    model, images = make(name), to_tensor(photographs(2).images)
    write_weights(tmp_path / "weights.safetensors", model.generator.state_dict())
    pipeline = pipeline_of(tiny_base(name))
    pipeline.load_lora_weights(tmp_path, weight_name="weights.safetensors")
    solver = pipeline.scheduler
    pipeline = AutoPipelineForImage2Image.from_pipe(pipeline)
    pipeline.scheduler = solver
    pipeline.set_progress_bar_config(disable=True)
    given = {"image": model.pretrained.encode(images), "generator": [torch.Generator().manual_seed(seed) for seed in SEEDS]}
    shown = pipeline(prompt=[PROMPT] * 2, strength=0.6, num_inference_steps=5, guidance_scale=3.0, output_type="pt", **given).images
    assert_close(model.vary(images, SPECIES[:1] * 2, SEEDS, 0.6, steps=5, guidance=3.0), 2 * shown - 1, atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", ["stable_diffusion", "flux2_klein"])
def test_strengths_lead_from_the_photograph_to_a_sample(name: str, make: Make) -> None:
    model, images = make(name), to_tensor(photographs(2).images)
    reconstructed = model.pretrained.decode(model.pretrained.encode(images))
    assert_close(model.vary(images, SPECIES, SEEDS, 0.0), reconstructed)
    assert torch.equal(model.vary(images, SPECIES, SEEDS, 1.0), model.sample(SPECIES, SEEDS))


@pytest.mark.parametrize("name", BASES)
def test_whoever_knows_the_photograph_inpaints_it(name: str, make: Make) -> None:
    """With a denoiser that always points to known latents, these come out, whether they are drawn, varied or inpainted."""
    model = make(name)
    known, noise = torch.randn(2, *model.latent_shape), torch.randn(2, *model.latent_shape)
    free = torch.zeros(2, 1, *model.latent_shape[1:], dtype=torch.bool)
    free[:, :, 2:5, 2:5] = True
    process: Any = model.process

    def knows(x: Tensor, times: Tensor) -> Tensor:
        if name == "flux2_klein":
            return (x - known) / (times / 1000)[:, None, None, None]
        signal, amount = (scale[times.long()][:, None, None, None] for scale in (process.signal, process.amount))
        guessed = (x - signal * known) / amount
        return signal * guessed - amount * known if name.endswith("_v") else guessed

    for more in ({}, {"clean": known, "strength": 0.6}, {"clean": known, "free": free}):
        assert_close(process.denoise(knows, [noise], 6, **more), known, atol=2e-3, rtol=0)


def script_loss(name: str, pipeline: Any, clean: Tensor, noise: Tensor, places: Tensor, prompts: list[str]) -> Tensor:
    """The loss as diffusers' training scripts compute it (train_text_to_image_lora, train_dreambooth_lora_flux2_klein), with min-SNR 5."""
    from diffusers import DDPMScheduler, FlowMatchEulerDiscreteScheduler
    from diffusers.training_utils import compute_snr

    if name == "flux2_klein":
        scheduler = FlowMatchEulerDiscreteScheduler.from_config(pipeline.scheduler.config)
        times = scheduler.timesteps[999 - (places * 1000).long()]
        sigmas = torch.stack([scheduler.sigmas[(scheduler.timesteps == time).nonzero().item()] for time in times])[:, None, None, None]
        noisy = (1.0 - sigmas) * clean + sigmas * noise
        embeds, text_ids = pipeline.encode_prompt(prompts, max_sequence_length=32)
        ids = pipeline._prepare_latent_ids(noisy)
        found = pipeline.transformer(
            hidden_states=pipeline._pack_latents(noisy), timestep=times / 1000, guidance=None, encoder_hidden_states=embeds, txt_ids=text_ids,
            img_ids=ids, return_dict=False,
        )[0]  # fmt: skip
        return (pipeline._unpack_latents_with_ids(found, ids) - (noise - clean)).square().flatten(1).mean(1).mean()
    scheduler = DDPMScheduler.from_config(pipeline.scheduler.config)
    times = (places * 1000).long()
    embeds = pipeline.encode_prompt(prompts, "cpu", 1, False)[0] if name != "stable_diffusion_xl" else pipeline.encode_prompt(prompts)[0]
    more = {}
    if name == "stable_diffusion_xl":
        pooled = pipeline.encode_prompt(prompts, do_classifier_free_guidance=False)[2]
        more = {"text_embeds": pooled, "time_ids": torch.tensor([[32.0, 32, 0, 0, 32, 32]]).repeat(len(clean), 1)}
    found = pipeline.unet(scheduler.add_noise(clean, noise, times), times, embeds, added_cond_kwargs=more).sample
    velocity = name.endswith("_v")
    target = scheduler.get_velocity(clean, noise, times) if velocity else noise
    snr = compute_snr(scheduler, times)
    weights = torch.stack([snr, 5.0 * torch.ones_like(snr)], dim=1).min(dim=1)[0] / (snr + 1 if velocity else snr)
    return ((found - target).square().flatten(1).mean(1) * weights).mean()


@pytest.mark.parametrize("name", BASES)
def test_the_loss_is_that_of_diffusers_training_scripts(name: str, make: Make, tiny_base: Callable[[str], Path]) -> None:
    model, data = make(name, learning_rate=0.0), photographs()
    model.prepare(data, Runtime("cpu", "fp32"))
    torch.manual_seed(7)
    loss = model.training_step(batch_of(data))["loss"]

    torch.manual_seed(7)
    mirrored, told = torch.rand(4) < 0.5, torch.rand(4) >= 0.3
    images = torch.where(mirrored[:, None, None, None], to_tensor(data.images).flip(3), to_tensor(data.images)).contiguous()
    pipeline = pipeline_of(tiny_base(name))
    latents = pipeline.vae.encode(images).latent_dist.mode()
    if name == "flux2_klein":
        mean, var = pipeline.vae.bn.running_mean.view(1, -1, 1, 1), pipeline.vae.bn.running_var.view(1, -1, 1, 1)
        latents = (pipeline._patchify_latents(latents) - mean) / torch.sqrt(var + pipeline.vae.config.batch_norm_eps)
    else:
        latents = latents * pipeline.vae.config.scaling_factor
    clean = latents.half().float()  # which is how they are kept
    noise = torch.randn(clean.shape)
    places = torch.randn(4).sigmoid() if name == "flux2_klein" else torch.rand(4)
    prompts = [f"a photo of {SPECIES[label]}" for label in data.labels]
    for row, caption in enumerate(data.captions):
        prompts[row] += f", {caption}" if caption and told[row] else ""
    pipeline.load_lora_weights({key: tensor.detach() for key, tensor in model.generator.state_dict().items()})
    with torch.no_grad():
        assert_close(loss, script_loss(name, pipeline, clean, noise, places, prompts), atol=1e-5, rtol=1e-5)


def stepped(model: LoRA, data: TrainingData, rows: list[int] | None = None) -> tuple[Tensor, dict[str, Tensor]]:
    """Loss of a step, and the adapter after it."""
    model.prepare(data, Runtime("cpu", "fp32"))
    torch.manual_seed(3)
    loss = model.training_step(batch_of(data, rows))["loss"]
    return torch.as_tensor(loss), {name: tensor.clone() for name, tensor in model.generator.state_dict().items()}


@pytest.mark.parametrize("name", ["stable_diffusion", "flux2_klein"])
def test_a_step_in_parts_or_with_less_memory_is_the_same_step(name: str, make: Make) -> None:
    data = photographs()
    loss, after = stepped(make(name), data)
    for saving in ({"images_at_once": 3}, {"images_at_once": None, "gradient_checkpointing": True}):
        other_loss, other = stepped(make(name, **saving), data)
        assert_close(other_loss, loss)
        assert_close(other, after, atol=1e-5, rtol=1e-4)


def test_two_processes_compute_what_one_does(make: Make) -> None:
    data, settings = photographs(), {"learning_rate": 0.0}
    whole, _ = stepped(make("flux2_klein", **settings), data)
    shares = []
    for rank in range(2):
        with WholeBatchRandom(2, rank, 2):
            shares.append(stepped(make("flux2_klein", **settings), data, [2 * rank, 2 * rank + 1])[0])
    assert_close(torch.stack(shares).mean(), whole)


def test_weights_in_bfloat16_train_and_draw(make: Make) -> None:
    model, data = make("flux2_klein", base_precision="bf16"), photographs()
    exact = make("flux2_klein")
    assert_close(model.sample(SPECIES, SEEDS), exact.sample(SPECIES, SEEDS), atol=0.1, rtol=0)
    loss, _ = stepped(model, data)
    assert_close(loss, stepped(exact, data)[0], atol=0.05, rtol=0.05)
    assert {tensor.dtype for tensor in model.generator.state_dict().values()} == {torch.float32}


def trained_elsewhere(pipeline: Any, folder: Path, layers: list[str]) -> Path:
    """An adapter made with peft and saved with diffusers: rank 4, alpha 2."""
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    network = pipeline.unet if hasattr(pipeline, "unet") else pipeline.transformer
    part = "unet" if hasattr(pipeline, "unet") else "transformer"
    torch.manual_seed(9)
    network.add_adapter(LoraConfig(r=4, lora_alpha=2, target_modules=layers))
    for key, parameter in network.named_parameters():
        if "lora_B" in key:
            parameter.data = torch.randn(parameter.shape)
    about = {f"{part}_lora_adapter_metadata": network.peft_config["default"].to_dict()}
    pipeline.save_lora_weights(folder, **{f"{part}_lora_layers": get_peft_model_state_dict(network)}, **about)
    return folder / "pytorch_lora_weights.safetensors"


def in_kohya_format(file: Path, name: str) -> dict[str, Tensor]:
    """The same adapter by the names of kohya's scripts; alpha is a tensor of its own."""
    kohya = {}
    for key, tensor in load_file(file).items():
        layer, matrix = key.replace("unet.", "lora_unet.").rsplit(".lora_", 1)
        if name == "flux2_klein":
            layer = layer.replace("transformer.single_transformer_blocks", "lora_unet.single_blocks")
            layer = layer.replace("attn.to_qkv_mlp_proj", "linear1").replace("attn.to_out", "linear2")
        layer = layer.replace(".", "_")
        kohya[f"{layer}.lora_{'down' if matrix.startswith('A') else 'up'}.weight"] = tensor
        kohya[f"{layer}.alpha"] = torch.tensor(2.0)
    return kohya


@pytest.mark.parametrize("name", ["stable_diffusion", "stable_diffusion_xl", "flux2_klein"])
def test_an_adapter_trained_elsewhere_is_read(name: str, make: Make, tiny_base: Callable[[str], Path], tmp_path: Path) -> None:
    pipeline = pipeline_of(tiny_base(name))
    file = trained_elsewhere(
        pipeline, tmp_path, ["to_qkv_mlp_proj", "single_transformer_blocks.0.attn.to_out"] if name == "flux2_klein" else ["to_q", "to_v", "ff.net.2"]
    )
    save_file(in_kohya_format(file, name), tmp_path / "kohya.safetensors")
    model = make(name)
    expected = draw(pipeline, seeded_normal(SEEDS, model.latent_shape), 3.0)
    assert (expected - model.sample(SPECIES[:1] * 2, SEEDS, steps=3, guidance=3.0)).abs().max() > 1e-3
    for start in (file, tmp_path / "kohya.safetensors"):
        model = make(name, start_from=str(start))
        assert_close(model.sample(SPECIES[:1] * 2, SEEDS, steps=3, guidance=3.0), expected, atol=1e-4, rtol=0)
    again = LoRA(model.config.model_copy(update={"start_from": "not there any more"}), SPECIES)
    again.generator.load_state_dict(model.generator.state_dict())
    assert torch.equal(again.sample(SPECIES, SEEDS), model.sample(SPECIES, SEEDS))


def test_a_generator_is_an_adapter_trained_elsewhere_if_nothing_is_learnt(
    tiny_base: Callable[[str], Path], photographs: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Runtime, "peak_gb", 3.21)  # as with a graphics card
    file = trained_elsewhere(pipeline_of(tiny_base("stable_diffusion")), tmp_path, ["to_q", "to_v"])
    tensors = load_file(file)
    tensors["text_encoder.text_model.encoder.layers.0.self_attn.q_proj.lora_A.weight"] = torch.zeros(4, 32)
    tensors["text_encoder.text_model.encoder.layers.0.self_attn.q_proj.lora_B.weight"] = torch.zeros(32, 4)
    save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, tmp_path / "both.safetensors")
    settings = {**LoRAConfig.tiny().model_dump(exclude={"size"}), "base": str(tiny_base("stable_diffusion"))}
    settings |= {"start_from": str(tmp_path / "both.safetensors"), "learning_rate": 0.0}
    train_tiny("lora", photographs, tmp_path / "generator", model=settings, steps=1)
    told = (tmp_path / "generator" / "progress.jsonl").read_text()
    assert "also changes the text encoder (2 tensors)" in told and "is unknown: a study cannot tell" in told
    assert "Most memory held on the graphics card: 3.2 GB." in told
    generator = load_generator(tmp_path / "generator")
    saved = load_file(tmp_path / "generator" / "weights.safetensors")
    for key, tensor in load_file(file).items():
        assert_close(saved[key], tensor)
    assert generator.sample(["Aus primus"], [1]).shape == (1, 3, 32, 32)


def test_what_is_no_adapter_of_the_base_is_refused(make: Make, tiny_base: Callable[[str], Path], tmp_path: Path) -> None:
    file = trained_elsewhere(pipeline_of(tiny_base("stable_diffusion_xl")), tmp_path, ["to_k"])
    for name, message in [("stable_diffusion", "cannot be read as an adapter"), ("flux2_klein", "adapter|changes other layers")]:
        with pytest.raises(InputError, match=message) as caught:
            make(name, start_from=str(file))
        assert "\n" not in str(caught.value)
    save_file({"lora.weight": torch.zeros(3)}, tmp_path / "no.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"nothing")
    for wrong in ("no.safetensors", "broken.safetensors", "missing.safetensors"):
        with pytest.raises(InputError, match=wrong) as caught:
            make("stable_diffusion", start_from=str(tmp_path / wrong))
        assert "\n" not in str(caught.value)


def test_the_base_must_be_the_same_and_complete(
    tiny_base: Callable[[str], Path], photographs: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = tmp_path / "base"
    shutil.copytree(tiny_base("stable_diffusion"), base)
    settings = {**LoRAConfig.tiny().model_dump(exclude={"size"}), "base": str(base)}
    train_tiny("lora", photographs, tmp_path / "generator", model=settings, steps=1)
    config = json.loads((tmp_path / "generator" / "generator.json").read_text())["config"]
    assert config["base_fingerprint"] and config["texts"]["Aus primus"] == "Aus primus"
    weights = load_file(base / "unet" / "diffusion_pytorch_model.safetensors")
    weights["conv_in.bias"] += 1
    save_file(weights, base / "unet" / "diffusion_pytorch_model.safetensors")
    with pytest.raises(CollectionError, match="is another base than the one"):
        load_generator(tmp_path / "generator")
    (base / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"damaged")
    with pytest.raises(InputError, match=r"cannot be loaded .* Copy or download the base again") as caught:
        LoRA(LoRAConfig.tiny().model_copy(update={"base": str(base)}), SPECIES)
    assert "\n" not in str(caught.value)
    shutil.rmtree(base / "unet")
    with pytest.raises(InputError, match="unet"):
        LoRA(LoRAConfig.tiny().model_copy(update={"base": str(base)}), SPECIES)
    with pytest.raises(RecipeError, match=r"33x33 pixels, but each side must be a multiple of 4"):
        LoRA(LoRAConfig.tiny(33).model_copy(update={"base": str(tiny_base("flux2_klein"))}), SPECIES)
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(UnsupportedError, match=r"needs? the package peft.*syntype\[diffusion\]"):
        LoRA(LoRAConfig.tiny().model_copy(update={"base": str(tiny_base("flux2_klein"))}), SPECIES)


@pytest.mark.parametrize("name", ["stable_diffusion_xl", "flux2_klein"])
def test_the_plan_of_a_training_counts_the_adapter(name: str, make: Make, tiny_base: Callable[[str], Path]) -> None:
    told = LoRA.plan(LoRAConfig.tiny().model_copy(update={"base": str(tiny_base(name)), "rank": 500}), 4)
    assert told["base"] == str(tiny_base(name)) and told["gb_to_train"] >= 1
    size = sum(parameter.numel() for parameter in make(name, rank=500).generator.parameters())
    assert told["adapter"].startswith(f"rank 500, {size / 1e6:.1f} million parameters")


def test_texts_that_are_too_many_to_keep_are_encoded_again(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, data = make("stable_diffusion"), photographs()
    loss, _ = stepped(whole, data)
    assert whole.pretrained._texts is None and not whole.pretrained.keep_text_encoders
    for module in ("families.lora", "pretrained.text_to_image"):
        monkeypatch.setattr(f"syntype.generators.{module}.TEXTS_KEPT", 2)
    model = make("stable_diffusion")
    assert_close(stepped(model, data)[0], loss)
    assert model.pretrained._texts is not None and len(model.pretrained._known) == 2
    assert any("5 different texts are too many" in remark for remark in model.remarks)


def test_texts_name_the_species_and_take_their_context_from_others(make: Make, tmp_path: Path) -> None:
    collection = make_collection(tmp_path / "collection", {SPECIES[0]: 2, SPECIES[1]: 2, "Zebrasoma": 1}, split="train")
    table = collection.table.assign(
        caption=["on sand", None, "under a ledge", "at night", None], vernacular_name=["chevron butterflyfish"] * 2 + [None] * 3,
        genus=["Chaetodon"] * 2 + ["Zanclus"] * 2 + [None], family=["Chaetodontidae"] * 2 + ["Zanclidae"] * 2 + [None],
    )  # fmt: skip
    data = training_data(Collection.create(collection.root, table, name="told"), 32)
    assert data.captions == ("on sand", None, "under a ledge", "at night", None)
    model = make("stable_diffusion")
    model.prepare(data, Runtime("cpu", "fp32"))
    named = "a photo of Chaetodon trifascialis, chevron butterflyfish, Chaetodontidae"
    assert model._prompts[0] == (named, f"{named}, on sand") and model._prompts[1] == (named, named)
    drawn = {model.prompt_of(SPECIES[0], seed) for seed in range(20)}
    assert drawn == {f"{named}, under a ledge", f"{named}, at night"}
    assert {model.prompt_of(SPECIES[1], seed) for seed in range(20)} == {"a photo of Zanclus cornutus, Zanclidae, on sand"}
    assert model.prompt_of(SPECIES[0], 3, context=False) == named
    model.config = model.config.model_copy(update={"captions": {SPECIES[0]: ["on sand"]}})
    assert model.prompt_of(SPECIES[0], 1) == f"{named}, on sand", "with no other's captions, its own"
