"""Small models of images and texts with random weights, as open_clip reads them from a folder or from a file of weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

__all__ = ["make_clip_folders"]

_TEXT = {"context_length": 24, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
CONFIGS: dict[str, dict[str, Any]] = {
    "tiny-clip": {
        "model_cfg": {
            "embed_dim": 24,
            "vision_cfg": {"image_size": 48, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
            "text_cfg": _TEXT,
        },
        "preprocess_cfg": {"resize_mode": "shortest", "interpolation": "bicubic"},
    },
    "tiny-siglip": {
        "model_cfg": {
            "embed_dim": 64,
            "init_logit_bias": -10.0,
            "custom_text": True,
            "vision_cfg": {"image_size": 64, "timm_model_name": "test_vit", "timm_model_pretrained": False, "timm_pool": "avg", "timm_proj": "none"},
            "text_cfg": {**_TEXT, "no_causal_mask": True, "pool_type": "last"},
        },
        "preprocess_cfg": {"resize_mode": "squash", "interpolation": "bilinear", "mean": [0.5, 0.5, 0.5], "std": [0.4, 0.5, 0.6]},
    },
}


def make_clip_folders(parent: Path) -> dict[str, Path]:
    """Folders as downloaded from the Hub, by name: ``open_clip_config.json`` and weights."""
    import open_clip

    folders = {}
    for name, config in CONFIGS.items():
        folder = folders[name] = parent / name
        folder.mkdir()
        (folder / "open_clip_config.json").write_text(json.dumps(config), encoding="utf-8")
        torch.manual_seed(len(name))
        model = open_clip.create_model(f"local-dir:{folder}", load_weights=False)
        with torch.no_grad():
            for parameter in model.visual.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.05)  # otherwise some layers begin as zero
        torch.save(model.state_dict(), folder / "open_clip_pytorch_model.bin")
    return folders
