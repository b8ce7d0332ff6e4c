"""Tiny text-to-image models with random weights, in the layout in which diffusers saves its pipelines."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

__all__ = ["BASES"]

CHAT = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def make_stable_diffusion(folder: Path, *, prediction: str = "epsilon") -> Path:
    """Like Stable Diffusion 1.5: one text encoder, a U-Net, latents of half the side."""
    from diffusers import PNDMScheduler, StableDiffusionPipeline

    torch.manual_seed(0)
    schedule: dict[str, Any] = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
    scheduler = PNDMScheduler(**schedule, prediction_type=prediction, skip_prk_steps=True, set_alpha_to_one=False)
    tokenizer, text_encoder = clip(folder, 32, pooled=False)
    pipeline = StableDiffusionPipeline(
        vae(), text_encoder, tokenizer, unet(32), scheduler, safety_checker=None, feature_extractor=None, requires_safety_checker=False
    )
    pipeline.save_pretrained(folder)
    return folder


def make_stable_diffusion_xl(folder: Path) -> Path:
    """Like Stable Diffusion XL: two text encoders, and a U-Net that is told the image's size."""
    from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline

    torch.manual_seed(1)
    scheduler = EulerDiscreteScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1, timestep_spacing="leading")
    first, second = clip(folder, 32, pooled=False), clip(folder, 16, pooled=True)
    more = {"addition_embed_type": "text_time", "addition_time_embed_dim": 8, "projection_class_embeddings_input_dim": 6 * 8 + 16}
    pipeline = StableDiffusionXLPipeline(vae(), first[1], second[1], first[0], second[0], unet(48, **more), scheduler, add_watermarker=False)
    pipeline.save_pretrained(folder)
    return folder


def make_flux2_klein(folder: Path) -> Path:
    """Like FLUX.2 klein: a Qwen3 text encoder, of which three layers are used, and a transformer that predicts a velocity."""
    from diffusers import AutoencoderKLFlux2, FlowMatchEulerDiscreteScheduler, Flux2KleinPipeline, Flux2Transformer2DModel
    from transformers import Qwen2TokenizerFast, Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(2)
    tokenizer = Qwen2TokenizerFast.from_pretrained(bpe(folder / "tokenizer", ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], end_of_word=False))
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    tokenizer.chat_template = CHAT
    text_encoder = Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=len(tokenizer) + 8, hidden_size=8, intermediate_size=16, num_hidden_layers=28, num_attention_heads=2,
            num_key_value_heads=1, head_dim=4, max_position_embeddings=512, initializer_range=0.5,
        )
    )  # fmt: skip
    transformer = Flux2Transformer2DModel(
        patch_size=1, in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2, joint_attention_dim=24,
        timestep_guidance_channels=16, axes_dims_rope=(4, 4, 4, 4), guidance_embeds=False,
    )  # fmt: skip
    autoencoder = AutoencoderKLFlux2(
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2, block_out_channels=(8, 8), layers_per_block=1,
        latent_channels=4, norm_num_groups=4, sample_size=32, use_quant_conv=False, use_post_quant_conv=False,
    )  # fmt: skip
    autoencoder.bn.running_mean.normal_(0, 0.2)
    autoencoder.bn.running_var.uniform_(0.5, 1.5)
    scheduler = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, shift=3.0)
    pipeline = Flux2KleinPipeline(scheduler, autoencoder, text_encoder, tokenizer, transformer)
    pipeline.save_pretrained(folder)
    return folder


def vae() -> Any:
    """An autoencoder with latents of half the side, four channels."""
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2, block_out_channels=(8, 8), layers_per_block=1,
        latent_channels=4, norm_num_groups=4, sample_size=32, scaling_factor=0.18215,
    )  # fmt: skip


def unet(text_features: int, **more: Any) -> Any:
    """A U-Net of two resolutions, the coarser with attention to the text."""
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        sample_size=16, in_channels=4, out_channels=4, block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4, attention_head_dim=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=text_features, **more,
    )  # fmt: skip


def clip(folder: Path, features: int, *, pooled: bool) -> tuple[Any, Any]:
    """A CLIP tokenizer of single letters and a text encoder."""
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

    tokenizer = CLIPTokenizer.from_pretrained(bpe(folder / "tokenizer", ["<|startoftext|>", "<|endoftext|>"], end_of_word=True))
    tokenizer.model_max_length = 77
    config = CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=features, intermediate_size=32, num_hidden_layers=2, num_attention_heads=4, projection_dim=features,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    return tokenizer, (CLIPTextModelWithProjection if pooled else CLIPTextModel)(config)


def bpe(folder: Path, special: list[str], *, end_of_word: bool) -> Path:
    """Files of a byte-pair tokenizer whose tokens are the 256 bytes."""
    from tokenizers.pre_tokenizers import ByteLevel

    letters = sorted(ByteLevel.alphabet())
    tokens = [*letters, *(f"{letter}</w>" for letter in letters if end_of_word), *special]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({token: number for number, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return folder


BASES: dict[str, Callable[[Path], Path]] = {
    "stable_diffusion": make_stable_diffusion,
    "stable_diffusion_v": partial(make_stable_diffusion, prediction="v_prediction"),
    "stable_diffusion_xl": make_stable_diffusion_xl,
    "flux2_klein": make_flux2_klein,
}
