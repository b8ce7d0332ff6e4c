from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.optim import create_optimizer_v2
from torch import nn

from syntype.encoders import Backbone
from syntype.errors import RecipeError, UnsupportedError
from syntype.identification import Classifier, ClassifierConfig, LabelledImages, fit, load_classifier, save_classifier
from syntype.identification.adapters import adapted_layers, add_adapters
from syntype.identification.layers import freeze_early_layers, layer_numbers, parameter_groups
from syntype.recipe import write_yaml

COUNTS = np.array([6, 4])


def backbone_of(network: nn.Module) -> Backbone:
    return Backbone("timm:test", network.eval(), 8, (0.5,) * 3, (0.5,) * 3, "random")


def clip_tower(**vision: Any) -> nn.Module:
    text = {"context_length": 8, "vocab_size": 64, "width": 32, "heads": 2, "layers": 1}
    return open_clip.CLIP(embed_dim=16, vision_cfg={"image_size": 32, **vision}, text_cfg=text).visual.eval()


def own_tower() -> nn.Module:
    return clip_tower(layers=4, width=32, patch_size=8, head_width=16)


@pytest.mark.parametrize("name", ["test_vit", "test_efficientnet", "test_convnext"])
def test_learning_rates_and_weight_decay_of_layers_are_those_of_timm(name: str) -> None:
    network = timm.create_model(name, num_classes=0)
    expected = create_optimizer_v2(network, opt="adamw", lr=1.0, weight_decay=0.05, layer_decay=0.7)
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    numbers = layer_numbers(backbone_of(network))
    scales = {name: 0.7 ** (max(numbers.values()) - number) for name, number in numbers.items()}
    found = parameter_groups(network, 0.05, 1.0, scales)

    def by_name(groups: list[dict[str, Any]], rate: str) -> dict[str, tuple[float, float]]:
        return {names[id(one)]: (group[rate], group["weight_decay"]) for group in groups for one in group["params"]}

    ours, theirs = by_name(found, "highest"), by_name(expected.param_groups, "lr_scale")
    assert ours.keys() == theirs.keys() == set(names.values())
    assert all(ours[one] == pytest.approx(theirs[one]) for one in ours)
    if name == "test_vit":
        assert ours["pos_embed"] == pytest.approx((0.7**6, 0.0))  # no weight decay on what is no matrix, though it has three dimensions


def test_image_towers_of_open_clip_have_the_layers_of_timms_transformers() -> None:
    own = layer_numbers(backbone_of(own_tower()))
    by_layer = {number: {name for name in own if own[name] == number} for number in set(own.values())}
    assert {"conv1.weight", "class_embedding", "positional_embedding", "ln_pre.weight"} <= by_layer[0]
    assert {"proj", "ln_post.weight", "transformer.resblocks.3.mlp.c_fc.weight"} <= by_layer[4] and len(by_layer) == 5
    inside = clip_tower(timm_model_name="test_vit", image_size=160, timm_pool="", timm_proj="linear")
    plain, numbers = layer_numbers(backbone_of(timm.create_model("test_vit", num_classes=0))), layer_numbers(backbone_of(inside))
    assert {name.removeprefix("trunk."): number for name, number in numbers.items() if name.startswith("trunk.")} == plain
    assert numbers["head.proj.weight"] == max(plain.values())


def test_the_first_three_quarters_are_frozen_in_open_clip_too_and_an_unknown_order_is_told() -> None:
    tower = own_tower()
    freeze_early_layers(backbone_of(tower))
    trained = {name.split(".")[2] if "resblocks" in name else name for name, one in tower.named_parameters() if one.requires_grad}
    assert trained == {"3", "proj", "ln_post.weight", "ln_post.bias"}
    with pytest.raises(UnsupportedError, match="the order of its layers is not known"):
        layer_numbers(backbone_of(nn.Sequential(nn.Linear(2, 2))))


@pytest.mark.parametrize(
    ("network", "num_adapted"),
    [("test_vit", 24), ("test_resnet", 14), (own_tower, 4 * 3)],  # attention as a whole, and two layers, of each block
    ids=["timm transformer", "timm convolutions", "open_clip"],
)
def test_adapters_change_nothing_at_first_and_are_added_to_the_weights_at_the_end(network: Any, num_adapted: int) -> None:
    made = network() if callable(network) else timm.create_model(network, num_classes=0).eval()
    images = torch.randn(2, 3, *((32, 32) if callable(network) else (160, 160)), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before, weights = made(images), {name: value.clone() for name, value in made.state_dict().items()}
        assert len(adapted_layers(made)) == num_adapted
        adapted = add_adapters(made, rank=2, seed=0)
        torch.testing.assert_close(made(images), before)
    trained = {name: one for name, one in made.named_parameters() if one.requires_grad}
    assert all(".lora_" in name for name in trained)
    made(images).square().sum().backward()
    assert all(one.grad is not None for one in trained.values())
    with torch.no_grad():
        for one in trained.values():
            one.add_(0.02 * torch.randn_like(one))
        after, factors = made(images), {name: one.clone() for name, one in trained.items()}
        assert adapted.merge_and_unload() is made
        torch.testing.assert_close(made(images), after, rtol=1e-3, atol=1e-4)
    assert made.state_dict().keys() == weights.keys()
    for name, value in made.state_dict().items():
        stem = name.removesuffix(".weight")
        if f"{stem}.lora_A.default.weight" in factors and value.ndim == 2:
            change = 2 * factors[f"{stem}.lora_B.default.weight"] @ factors[f"{stem}.lora_A.default.weight"]
            torch.testing.assert_close(value, weights[name] + change)


def toy() -> LabelledImages:
    labels = np.repeat(np.arange(2), COUNTS)
    images = np.random.default_rng(0).integers(0, 60, size=(len(labels), 32, 32, 3), dtype=np.uint8)
    images[np.arange(len(labels)), :, :, labels] += 150
    return LabelledImages(images, labels)


def lora_config(tmp_path: Path) -> ClassifierConfig:
    torch.manual_seed(0)
    save_file(timm.create_model("test_resnet", num_classes=0).state_dict(), tmp_path / "own.safetensors")
    settings = {"backbone": f"timm:test_resnet:{tmp_path / 'own.safetensors'}", "tune": "lora", "lora_rank": 3, "device": "cpu"}
    return ClassifierConfig.parse({**settings, "size": 32, "encoder_size": 32, "steps": 3, "batch_size": 4, "views": 1})


def test_a_classifier_with_adapters_is_saved_whole_and_differs_by_low_ranks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config, before = lora_config(tmp_path), timm.create_model("test_resnet", num_classes=0, checkpoint_path=str(tmp_path / "own.safetensors"))
    first, again, other = (fit(toy(), COUNTS, 2, config, seed) for seed in (0, 0, 1))
    moved = 0
    for name, value in first.backbone.network.state_dict().items():
        change = value - before.state_dict()[name]
        assert torch.equal(value, again.backbone.network.state_dict()[name])
        if change.ndim == 4 and change.any():
            assert not torch.equal(value, other.backbone.network.state_dict()[name])
            assert torch.linalg.matrix_rank(change.flatten(1), rtol=1e-3) <= 3
            moved += 1
        else:
            assert not change.any()
    assert moved >= 5  # the others stand before a normalisation that is zero at first in a random network
    save_classifier(Classifier(first, ("Aus primus", "Aus secundus")), tmp_path / "saved")
    monkeypatch.setitem(sys.modules, "peft", None)  # only training needs it
    np.testing.assert_array_equal(load_classifier(tmp_path / "saved", "cpu").predict(toy().images), first.predict(toy().images))


def test_a_missing_package_and_a_backbone_without_training_are_told_before_anything_is_computed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(UnsupportedError, match=r"needs the package peft. Install it: pip install 'syntype\[diffusion\]'"):
        fit(toy(), COUNTS, 2, ClassifierConfig(tune="lora"), 0)
    with pytest.raises(RecipeError, match="adapts a pre-trained backbone"):
        ClassifierConfig.parse({"tune": "lora", "backbone": "scratch"})


def test_adapters_learn_as_fast_as_the_head_unless_told_otherwise(tmp_path: Path) -> None:
    asked = {"lora": {"tune": "lora"}, "all": {"tune": "all"}, "told": {"tune": "lora", "backbone_learning_rate_factor": 0.3}}
    found = {name: ClassifierConfig.parse(values) for name, values in asked.items()}
    assert {name: config.backbone_learning_rate_factor for name, config in found.items()} == {"lora": 1, "all": 0.1, "told": 0.3}
    write_yaml(tmp_path / "recipe.yaml", found["lora"])
    assert "backbone_learning_rate_factor: 1.0" in (tmp_path / "recipe.yaml").read_text()
