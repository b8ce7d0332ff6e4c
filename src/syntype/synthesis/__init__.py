"""Synthetic images from a trained generator: ``generate``, ``blend``, ``vary``, ``inpaint``, and the provenance metadata in every image file."""

from __future__ import annotations

from syntype.synthesis.blend import BlendConfig, BlendResult, blend
from syntype.synthesis.generate import GenerateConfig, GenerateResult, generate, image_seed
from syntype.synthesis.photographs import InpaintConfig, InpaintResult, VaryConfig, VaryResult, inpaint, vary
from syntype.synthesis.provenance import NOTICE, Provenance, read_provenance, write_image

__all__ = [
    "NOTICE",
    "BlendConfig",
    "BlendResult",
    "GenerateConfig",
    "GenerateResult",
    "InpaintConfig",
    "InpaintResult",
    "Provenance",
    "VaryConfig",
    "VaryResult",
    "blend",
    "generate",
    "image_seed",
    "inpaint",
    "read_provenance",
    "vary",
    "write_image",
]
