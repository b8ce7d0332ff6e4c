"""Parameters and memory of training on a base, from its configuration alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from syntype.errors import InputError
from syntype.generators.pretrained.bases import DEFAULT_BASE, Description, describe_base
from syntype.generators.pretrained.estimate import _follow, card_gb, estimate

pytest.importorskip("transformers")

SD15, SDXL = "stable-diffusion-v1-5/stable-diffusion-v1-5", "stabilityai/stable-diffusion-xl-base-1.0"
ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
UNET = {
    "_class_name": "UNet2DConditionModel", "sample_size": 8, "block_out_channels": (8, 16), "layers_per_block": 1, "cross_attention_dim": 12,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"), "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"), "norm_num_groups": 4,
    "attention_head_dim": 4,
}  # fmt: skip
VAE = {"_class_name": "AutoencoderKL", "block_out_channels": (4, 8), "down_block_types": ("DownEncoderBlock2D",) * 2,
       "up_block_types": ("UpDecoderBlock2D",) * 2, "norm_num_groups": 4, "layers_per_block": 1}  # fmt: skip
TINY = Description("tiny", "unet", "StableDiffusionPipeline", None, None, {"unet": UNET, "vae": VAE})
PLAIN = {"adapted": ATTENTION, "rank": 16, "shape": (512, 512), "images_at_once": 1, "gradient_checkpointing": True}


# Published: the papers of Stable Diffusion and SDXL (table 1: U-Net 860 M and 2.6 B), the sizes of the files on the hub at two bytes a parameter.
@pytest.mark.parametrize(
    ("name", "published"),
    [
        (DEFAULT_BASE, {"transformer": 7.75e9 / 2, "text_encoder": 8.05e9 / 2, "vae": 168e6 / 2}),
        (SDXL, {"unet": 2_567_463_684, "text_encoder": 123_060_480, "text_encoder_2": 694_659_840, "vae": 83_653_863}),
        (SD15, {"unet": 859_520_964, "text_encoder": 123_060_480, "vae": 83_653_863}),
    ],
)
def test_parameters_are_as_many_as_published(name: str, published: dict[str, float]) -> None:
    need = estimate(describe_base(name), **PLAIN)
    assert set(need.parameters) == set(published)
    for part, number in published.items():
        assert need.parameters[part] == pytest.approx(number, rel=2e-3), part
    weights = 2 * sum(published.values()) / 2**30
    assert weights < need.least_gb <= need.training_gb < weights + 2 and weights + 1 < need.sampling_gb < weights + 3
    assert need.adapter_mb == pytest.approx(4e-6 * need.adapter_parameters)


def test_an_adapter_has_the_parameters_that_peft_gives_it() -> None:
    peft = pytest.importorskip("peft")
    from diffusers import UNet2DConditionModel

    unet = UNet2DConditionModel.from_config(UNET)
    unet.add_adapter(peft.LoraConfig(r=3, target_modules=list(ATTENTION)))
    added = sum(parameter.numel() for name, parameter in unet.named_parameters() if "lora" in name)
    assert estimate(TINY, **{**PLAIN, "rank": 3}).adapter_parameters == added


def kept_by_torch(unet: nn.Module, *, checkpointing: bool) -> int:
    """Bytes that autograd keeps of a real step, with torch's own checkpointing."""
    weights = {parameter.untyped_storage().data_ptr() for parameter in unet.parameters()}
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.numel() and tensor.untyped_storage().data_ptr() not in weights:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    if checkpointing:
        unet.enable_gradient_checkpointing()  # type: ignore[operator]
    else:
        unet.disable_gradient_checkpointing()  # type: ignore[operator]
    inputs = torch.randn(2, 4, 16, 16, dtype=torch.bfloat16), torch.ones(2, dtype=torch.bfloat16), torch.randn(2, 77, 12, dtype=torch.bfloat16)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        unet(*inputs)
    return sum(storage.nbytes() for storage in kept.values())


@pytest.mark.parametrize("checkpointing", [True, False])
def test_as_much_is_kept_for_the_backward_pass_as_in_a_real_step(checkpointing: bool) -> None:
    from diffusers import UNet2DConditionModel

    unet = UNet2DConditionModel.from_config(UNET).to(torch.bfloat16).train().requires_grad_(False)
    for name, parameter in unet.named_parameters():
        parameter.requires_grad_(name.endswith(tuple(f"{end}.weight" for end in ATTENTION)))
    real = kept_by_torch(unet, checkpointing=checkpointing)
    with torch.device("meta"):
        followed = _follow(unet.to("meta"), "unet", (16, 16), 77, 2, checkpointing=checkpointing).kept
    assert followed == pytest.approx(real, rel=0.05)


def test_more_images_and_larger_ones_need_more_and_checkpointing_less() -> None:
    def needed(**changed: object) -> float:
        return estimate(TINY, **{**PLAIN, **changed}).training_gb  # type: ignore[arg-type]

    plain = needed()
    assert needed(images_at_once=4) > plain and needed(shape=(512, 1024)) > plain and needed(gradient_checkpointing=False) > plain
    assert needed(rank=4096) > plain and needed(precision="fp32") > plain
    assert needed(shape=(509, 509)) <= plain, "sides are rounded up to what the denoiser can divide"


def test_the_plan_says_what_fits_and_that_it_is_estimated() -> None:
    need = estimate(describe_base(SD15), **{**PLAIN, "images_at_once": 16, "gradient_checkpointing": False})
    told = need.plan(8.0, "--set model.images_at_once=1")
    assert told["licence_of_base"].startswith("CreativeML OpenRAIL-M (https://") and told["parameters"]["unet"] == "860 million"
    assert "does not fit on the card here (8 GB)" in told["card"] and "fits on the card here (8 GB)" in told["with_less_memory"]
    assert "with --set model.images_at_once=1" in told["with_less_memory"] and "not measured" in told["memory"]
    assert "no graphics card here" in need.plan(None, "")["card"]
    assert "with_less_memory" not in estimate(TINY, **PLAIN).plan(None, "")
    assert card_gb() is None or card_gb() > 1  # type: ignore[operator]


def test_a_folder_is_estimated_from_its_own_files(tmp_path: Path) -> None:
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    encoder = CLIPTextModel(CLIPTextConfig(hidden_size=12, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2, vocab_size=99))
    for part, network in {"unet": UNet2DConditionModel.from_config(UNET), "vae": AutoencoderKL.from_config(VAE), "text_encoder": encoder}.items():
        network.save_pretrained(tmp_path / part)
    (tmp_path / "model_index.json").write_text(
        '{"_class_name": "StableDiffusionPipeline", "unet": ["a", "b"], "vae": ["a", "b"], "text_encoder": ["a", "b"]}'
    )
    need = estimate(describe_base(str(tmp_path)), **PLAIN)
    assert need.parameters["text_encoder"] == sum(parameter.numel() for parameter in encoder.parameters())
    assert need.parameters["unet"] == estimate(TINY, **PLAIN).parameters["unet"]


@pytest.mark.parametrize(
    ("description", "adapted", "words"),
    [
        (TINY, ("nothing",), "tiny: has no layer called nothing"),
        (Description("x", "unet", "P", None, None, {"unet": UNET}), ATTENTION, "x: has no unet or transformer, or no vae"),
        (
            Description("x", "unet", "P", None, None, {"unet": {**UNET, "norm_num_groups": 3}, "vae": VAE}),
            ATTENTION,
            "configuration of unet cannot be used",
        ),
    ],
)
def test_a_configuration_that_cannot_be_used_is_told_in_one_line(description: Description, adapted: tuple[str, ...], words: str) -> None:
    with pytest.raises(InputError, match=words):
        estimate(description, **{**PLAIN, "adapted": adapted})
