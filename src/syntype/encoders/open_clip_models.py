"""Models of images and texts from open_clip (BioCLIP, SigLIP, CLIP, ...): built-in names, the Hugging Face Hub, folders and files of weights.

Library: open_clip, MIT. Weights have licences of their own: see the model's page on the Hub.
"""

from __future__ import annotations

import copy
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from syntype.encoders.contract import Backbone, Preprocessing, digest_weights, name_and_file
from syntype.encoders.hub import from_hub, without_messages
from syntype.errors import UnknownNameError, UnsupportedError, shortened

__all__ = ["PREFIX", "OpenClipModel", "build_open_clip_backbone", "empty_open_clip_network", "load_open_clip"]

PREFIX = "open_clip:"
_CONFIG = "open_clip_config.json"
"""Name of the file that describes a model in a folder or on the Hub."""

_SMALLEST_TEXT = {"context_length": 1, "vocab_size": 1, "width": 8, "heads": 1, "layers": 1}
"""A tower for texts that is not used."""


@dataclass(frozen=True)
class OpenClipModel:
    """A model of images and texts.

    Attributes:
        model: open_clip's model, in inference mode.
        backbone: Its image tower.
        tokenizer: Texts -> token numbers, int64, shape (num_texts, context_length).
    """

    model: Any
    backbone: Backbone
    tokenizer: Callable[[list[str]], Tensor]


def build_open_clip_backbone(name: str) -> Backbone:
    """Build the image tower of ``open_clip:NAME[:FILE]``; see ``build_backbone``. Its features are those of ``encode_image``, not normalised.

    Raises:
        UnknownNameError: open_clip has no such model or weights.
        UnsupportedError: open_clip is not installed, or the weights cannot be downloaded or read, or do not fit the model.
    """
    return _image_tower(name, *_load(name))


def load_open_clip(name: str) -> OpenClipModel:
    """Load the whole model ``open_clip:NAME[:FILE]``, with the tower for texts. Raises the same errors as ``build_open_clip_backbone``."""
    import open_clip

    model, architecture, source = _load(name)
    place, _ = name_and_file(name.removeprefix(PREFIX))
    with from_hub(name, PREFIX, place):
        tokenizer = open_clip.get_tokenizer(place)
    return OpenClipModel(model, _image_tower(name, model, architecture, source), tokenizer)


def empty_open_clip_network(architecture: dict[str, Any]) -> nn.Module:
    """The image tower of a ``Backbone.architecture``, with random weights. Nothing is downloaded."""
    image_alone = {name: value for name, value in architecture["model_cfg"].items() if name != "multimodal_cfg"}
    return _tower_of(_built({**architecture, "model_cfg": {**image_alone, "text_cfg": _SMALLEST_TEXT}}))


def _load(name: str) -> tuple[Any, dict[str, Any], str]:
    """The model with its weights, its architecture, and the source of the weights."""
    try:
        import open_clip
    except ImportError:
        raise UnsupportedError(f"backbone {name}: needs the package open_clip. Install it: pip install 'syntype[clip]'") from None

    place, weights = name_and_file(name.removeprefix(PREFIX))
    is_built_in = ":" not in place
    if is_built_in and place not in open_clip.list_models():
        raise UnknownNameError("open_clip model", place, open_clip.list_models(), "A model on the Hugging Face Hub is open_clip:hf-hub:OWNER/NAME.")
    file = weights if weights is not None and Path(weights).is_file() else None
    if is_built_in and file is None:
        weights = _tag(place, weights)
    elif weights is not None and file is None:
        raise UnsupportedError(
            f"backbone {name}: there is no file {weights}. Give a file of weights, or leave it out to download the published ones."
        )
    with from_hub(name, PREFIX, place):
        architecture = _architecture(place)
        model: Any = None if file is not None else open_clip.create_model(place, pretrained=weights, require_pretrained=True)
    if file is not None:
        model = _from_file(name, place, architecture, file)
    architecture["preprocess_cfg"] = json.loads(json.dumps(model.visual.preprocess_cfg))
    architecture["fixed_size"] = _side(model.visual.preprocess_cfg)
    return model.eval(), architecture, file or weights or place.partition(":")[0]


def _tag(model: str, asked: str | None) -> str:
    """The published weights of a built-in model: those asked for, or the only ones."""
    import open_clip

    tags = open_clip.list_pretrained_tags_by_model(model)
    if asked is None and len(tags) == 1:
        return str(tags[0])
    if asked not in tags:
        hint = f"Give open_clip:{model}:TAG with one of these, or open_clip:{model}:FILE with a file of weights."
        raise UnknownNameError(f"file or published weights of {model}", asked or "(none given)", tags, hint)
    return str(asked)


def _architecture(place: str) -> dict[str, Any]:
    """Description of a model as its ``open_clip_config.json`` has it."""
    import open_clip

    if ":" not in place:
        return {"model_cfg": open_clip.get_model_config(place), "preprocess_cfg": _common_preprocessing(place)}
    scheme, _, where = place.partition(":")
    if scheme == "local-dir":
        file = Path(where) / _CONFIG
    else:
        from huggingface_hub import hf_hub_download

        file = Path(hf_hub_download(where, _CONFIG))
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found


def _common_preprocessing(model: str) -> dict[str, Any]:
    """The preprocessing of a built-in model's published weights, for weights from a file; empty, as open_clip's usual one, if they differ in it."""
    import open_clip

    names = ("mean", "std", "interpolation", "resize_mode")
    published = [open_clip.get_pretrained_cfg(model, tag) for tag in open_clip.list_pretrained_tags_by_model(model)]
    settings = [{name: one[name] for name in names if one.get(name) is not None} for one in published]
    return settings[0] if settings and all(one == settings[0] for one in settings) else {}


def _built(architecture: dict[str, Any]) -> Any:
    """A model with random weights."""
    import open_clip

    with tempfile.TemporaryDirectory() as folder, without_messages():
        (Path(folder) / _CONFIG).write_text(json.dumps(architecture), encoding="utf-8")
        return open_clip.create_model(f"local-dir:{folder}", load_weights=False, pretrained_text=False).eval()


def _from_file(name: str, place: str, architecture: dict[str, Any], file: str) -> Any:
    import open_clip

    model = _built(copy.deepcopy(architecture))
    try:
        with without_messages():
            open_clip.load_checkpoint(model, file)
    except Exception as error:  # not readable, or tensors are missing or have another shape
        reason = shortened(" ".join(str(error).split()), 200)
        raise UnsupportedError(f"backbone {name}: {file} does not hold weights of {place} ({reason}). Check the model's name and the file.") from None
    return model


def _side(settings: dict[str, Any]) -> int:
    size = settings["size"]
    return int(size if isinstance(size, int) else size[-1])


def _tower_of(model: Any) -> nn.Module:
    tower = model.visual
    if getattr(tower, "output_tokens", False):  # of models that also write captions: pooled features alone
        tower.output_tokens = False
    found: nn.Module = tower
    return found


def _image_tower(name: str, model: Any, architecture: dict[str, Any], source: str) -> Backbone:
    import open_clip

    settings = dict(model.visual.preprocess_cfg)
    transform = open_clip.transform.image_transform_v2(open_clip.transform.PreprocessCfg(**settings), is_train=False)
    preprocessing = Preprocessing(transform, _side(settings), json.loads(json.dumps(settings)))
    return Backbone(name, _tower_of(model).eval(), int(architecture["model_cfg"]["embed_dim"]), tuple(settings["mean"]), tuple(settings["std"]),
                    f"{source} ({digest_weights(model)})", preprocessing, architecture)  # fmt: skip
