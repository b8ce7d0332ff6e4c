"""Export of a classifier as ONNX, for use without PyTorch. The result is checked against the original.

Needs the packages of the extra ``onnx``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from syntype.errors import SyntypeError, UnsupportedError, checks_arguments
from syntype.files import atomic_write
from syntype.identification.storage import Classifier

__all__ = ["ExportResult", "export_onnx"]

_OPSET = 18
_TOLERANCE = 1e-3
"""Largest accepted difference of probabilities. ONNX Runtime rounds in a different order."""


@dataclass(frozen=True)
class ExportResult:
    """Result of ``export_onnx``.

    Attributes:
        path: The ONNX file.
        num_checked: Number of images on which it was compared with the classifier.
        largest_difference: Largest difference between the probabilities of both.
    """

    path: Path
    num_checked: int
    largest_difference: float

    def summary(self) -> dict[str, Any]:
        """Values for ``--json``."""
        return {"file": str(self.path), "num_checked": self.num_checked, "largest_difference": self.largest_difference}


class _EndToEnd(nn.Module):
    """uint8 images -> probabilities."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        fitted = classifier.fitted
        self.network, self.head, self.backbone = fitted.backbone.network, fitted.head, fitted.backbone
        self.side = fitted.backbone.fixed_size or fitted.config.input_size or fitted.config.size
        self.temperature = fitted.calibration.temperature

    def forward(self, images_NHWC: Tensor) -> Tensor:
        x = images_NHWC.permute(0, 3, 1, 2).float() / 127.5 - 1
        if x.shape[-1] != self.side:
            x = F.interpolate(x, size=(self.side, self.side), mode="bicubic", align_corners=False).clamp(-1, 1)
        return (self.head(self.network(self.backbone.normalise(x))) / self.temperature).softmax(dim=1)


@checks_arguments
def export_onnx(classifier: Classifier, out: Path) -> ExportResult:
    """Write a classifier as one ONNX file and compare what it gives with what the classifier gives.

    The input ``images`` takes uint8, shape (N, size, size, 3), RGB, any N; the output ``probabilities`` is float32, shape (N, C). The file's
    metadata hold, as JSON, the species' names in the order of the output (``species``), the images' side (``size``), and the temperature that
    the probabilities already have (``calibration``).

    Args:
        classifier: as ``load_classifier`` gives it.
        out: the ONNX file to write.

    Returns:
        the file, on how many images both were compared, and the largest difference of their probabilities.

    Raises:
        UnsupportedError: the packages are missing, or the classifier scales its images down, for which ONNX has no smooth filter.
        SyntypeError: the two differ.
    """
    try:
        import onnx
        import onnxruntime
        import onnxscript  # noqa: F401  (torch.onnx.export needs it)
    except ImportError as error:
        raise UnsupportedError(f"ONNX needs the package {error.name}. Install it: pip install 'syntype[onnx]'") from None
    size, config = classifier.size, classifier.fitted.config
    side = classifier.fitted.backbone.fixed_size or config.input_size
    if side and side < size:
        raise UnsupportedError(
            f"this classifier scales images of {size} px down to {side}, for which ONNX has no filter. Train with size at most encoder_size."
        )
    model_with_input = _EndToEnd(classifier).cpu().eval()
    images = _test_images(size)
    out = Path(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    with torch.inference_mode(), atomic_write(out) as temporary:
        batch = torch.export.Dim("batch", min=1)
        program = torch.onnx.export(
            model_with_input,
            (torch.from_numpy(images),),
            input_names=["images"],
            output_names=["probabilities"],
            dynamic_shapes={"images_NHWC": {0: batch}},
            opset_version=_OPSET,
            dynamo=True,
            verbose=False,
        )
        assert program is not None
        model = program.model_proto
        known = {"species": list(classifier.species), "calibration": {"temperature": model_with_input.temperature}, "size": size}
        onnx.helper.set_model_props(model, {name: json.dumps(value, ensure_ascii=False) for name, value in known.items()})
        onnx.save(model, str(temporary))
        session = onnxruntime.InferenceSession(str(temporary), providers=["CPUExecutionProvider"])
        differences = [
            np.abs(session.run(["probabilities"], {"images": part})[0] - classifier.predict(part)).max() for part in (images, images[:1], images[1:4])
        ]
        if max(differences) > _TOLERANCE:
            raise SyntypeError(f"{out}: its probabilities differ from the classifier's by up to {max(differences):.4f}. Nothing was written.")
    return ExportResult(out, len(images), float(max(differences)))


def _test_images(size: int, number: int = 16) -> np.ndarray:
    """Images for the comparison: noise at several scales and brightnesses; uint8, shape (number, size, size, 3)."""
    source = torch.Generator().manual_seed(0)
    layers = [F.interpolate(torch.rand(number, 3, side, side, generator=source), size=(size, size), mode="bilinear") for side in (2, 4, 8, size)]
    light = torch.rand(number, 1, 1, 1, generator=source) + 0.5
    return (torch.stack(layers).mean(0) * light).clamp(0, 1).mul(255).to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()
