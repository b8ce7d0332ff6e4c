"""Encoders, which turn images into feature vectors: the bundled EfficientNet-Lite networks, any model of timm and open_clip, saved
classifiers; zero-shot names, and which encoder does which duty."""

from syntype.encoders.backbones import BUNDLED, build_backbone, fold_batch_norm, is_backbone
from syntype.encoders.classifiers import CLASSIFIER_SCHEMA, SCRATCH, CacheHead, Head, SavedClassifier, build_classifier_backbone, read_classifier
from syntype.encoders.contract import Backbone, Preprocessing
from syntype.encoders.duties import DUTIES, check_duties, duty_conflict, may_generate, same_encoder
from syntype.encoders.encoder import Encoder, encode_collection, load_encoder
from syntype.encoders.zero_shot import ZeroShot, is_zero_shot, load_zero_shot

__all__ = [
    "BUNDLED",
    "CLASSIFIER_SCHEMA",
    "DUTIES",
    "SCRATCH",
    "Backbone",
    "CacheHead",
    "Encoder",
    "Head",
    "Preprocessing",
    "SavedClassifier",
    "ZeroShot",
    "build_backbone",
    "build_classifier_backbone",
    "check_duties",
    "duty_conflict",
    "encode_collection",
    "fold_batch_norm",
    "is_backbone",
    "is_zero_shot",
    "load_encoder",
    "load_zero_shot",
    "may_generate",
    "read_classifier",
    "same_encoder",
]
