"""Species named by texts: the probabilities of open_clip itself, taxonomic names, and texts that are embedded once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.testing import assert_close

import syntype.encoders.zero_shot as module
from syntype.collection import Collection
from syntype.encoders import load_zero_shot
from syntype.encoders.zero_shot import prompts
from syntype.errors import UnsupportedError

TAXA = {"Aus primus": "Ausidae", "Aus secundus": "Ausidae", "Bus tertius": "Busidae", "Bus quartus": "Busidae"}
PICTURES = np.random.default_rng(5).integers(0, 256, (3, 70, 70, 3), dtype=np.uint8)


@pytest.fixture
def named(small_collection: Collection) -> Collection:
    """The small collection with the families of its species."""
    table = small_collection.table.assign(
        family=small_collection.table["species"].map(TAXA), genus=small_collection.table["species"].str.split().str[0]
    )
    return Collection(small_collection.root, table, small_collection.species, small_collection.info)


@pytest.mark.parametrize("name", ["tiny-clip", "tiny-siglip"])
def test_probabilities_are_those_of_open_clip(name: str, clip_folders: dict[str, Path], named: Collection) -> None:
    import open_clip

    place = f"local-dir:{clip_folders[name]}"
    model, _, preprocess = open_clip.create_model_and_transforms(place)
    templates = [lambda one, number=number: prompts(one, {}, taxonomic=False)[number] for number in range(4)]
    with torch.inference_mode():
        texts = open_clip.build_zero_shot_classifier(model.eval(), open_clip.get_tokenizer(place), list(named.species), templates)
        features = model.encode_image(torch.stack([preprocess(Image.fromarray(one)) for one in PICTURES]), normalize=True)
        logits = model.logit_scale.exp() * features @ texts
        expected = logits.softmax(dim=1) if model.logit_bias is None else (logits + model.logit_bias).sigmoid()
    namer = load_zero_shot(f"open_clip:{place}", named)
    found = namer.probabilities(namer.encoder.encode(PICTURES))
    assert found.shape == (3, 4) and namer.is_sigmoid == (name == "tiny-siglip")
    assert_close(torch.from_numpy(found), expected, atol=1e-4, rtol=1e-4)


def test_texts_of_a_bioclip_model_hold_the_taxonomy(clip_folders: dict[str, Path], named: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[str] = []
    load = module.load_open_clip

    def noted(name: str) -> object:
        loaded = load(name)
        return type(loaded)(loaded.model, loaded.backbone, lambda texts: given.extend(texts) or loaded.tokenizer(texts))

    monkeypatch.setattr(module, "load_open_clip", noted)
    folder = clip_folders["tiny-clip"].parent / "bioclip"
    if not folder.exists():
        folder.symlink_to(clip_folders["tiny-clip"])
    name = f"open_clip:local-dir:{folder}"
    first = load_zero_shot(name, named)
    assert "a photo of Ausidae Aus primus." in given and "a photo of Aus primus." in given and "Busidae Bus quartus" in given
    number = len(given)
    np.testing.assert_array_equal(load_zero_shot(name, named).texts, first.texts)
    assert len(given) == number  # they were read from the disk
    load_zero_shot(name, named, ["Aus primus", "Cus novus"])
    assert len(given) == number + 18 and given[-1] == "Cus novus"


def test_an_encoder_of_images_alone_cannot_name_species(named: Collection) -> None:
    with pytest.raises(UnsupportedError, match=r"lite2: has no tower for texts.*open_clip:NAME"):
        load_zero_shot("lite2", named)
