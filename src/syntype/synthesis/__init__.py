"""Seeds to images: ``generate``, and the mark that every synthetic image carries."""

from __future__ import annotations

from syntype.synthesis.generate import GenerateConfig, GenerateResult, generate, image_seed
from syntype.synthesis.provenance import NOTICE, Mark, read_mark, write_image

__all__ = ["NOTICE", "GenerateConfig", "GenerateResult", "Mark", "generate", "image_seed", "read_mark", "write_image"]
