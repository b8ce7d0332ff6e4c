"""Image -> feature vector: the bundled EfficientNet-Lite networks and any timm model."""

from syntype.encoders.backbones import BUNDLED, Backbone, build_backbone, fold_batch_norm
from syntype.encoders.encoder import Encoder, encode_collection, load_encoder

__all__ = ["BUNDLED", "Backbone", "Encoder", "build_backbone", "encode_collection", "fold_batch_norm", "load_encoder"]
