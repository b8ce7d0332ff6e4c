"""Encoders, which turn images into feature vectors: the bundled EfficientNet-Lite networks, any timm model, and saved classifiers."""

from syntype.encoders.backbones import BUNDLED, Backbone, build_backbone, fold_batch_norm
from syntype.encoders.classifiers import CLASSIFIER_SCHEMA, SCRATCH, CacheHead, Head, SavedClassifier, build_classifier_backbone, read_classifier
from syntype.encoders.encoder import Encoder, encode_collection, load_encoder

__all__ = [
    "BUNDLED",
    "CLASSIFIER_SCHEMA",
    "SCRATCH",
    "Backbone",
    "CacheHead",
    "Encoder",
    "Head",
    "SavedClassifier",
    "build_backbone",
    "build_classifier_backbone",
    "encode_collection",
    "fold_batch_norm",
    "load_encoder",
    "read_classifier",
]
