"""Image -> feature vector: the bundled EfficientNet-Lite networks and any timm model."""

from syntype.encoders.backbones import BUNDLED, Backbone, build_backbone
from syntype.encoders.encoder import Encoder, encode_collection, load_encoder

__all__ = ["BUNDLED", "Backbone", "Encoder", "build_backbone", "encode_collection", "load_encoder"]
