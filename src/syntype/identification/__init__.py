"""Classifiers for long-tailed species data: training, calibration, prediction and export."""

from syntype.identification.augment import AugmentConfig
from syntype.identification.classifier import ClassifierConfig, FittedClassifier, LabelledImages
from syntype.identification.features import FeatureCache
from syntype.identification.fit import fit, refit
from syntype.identification.labelling import labelled, synthetic_images
from syntype.identification.metrics import Metrics, measure
from syntype.identification.predict import PredictResult, predict
from syntype.identification.storage import Classifier, load_classifier, save_classifier
from syntype.identification.timing import Speed, measure_speed
from syntype.identification.train import ClassifierResult, train_classifier

__all__ = [
    "AugmentConfig",
    "Classifier",
    "ClassifierConfig",
    "ClassifierResult",
    "FeatureCache",
    "FittedClassifier",
    "LabelledImages",
    "Metrics",
    "PredictResult",
    "Speed",
    "fit",
    "labelled",
    "load_classifier",
    "measure",
    "measure_speed",
    "predict",
    "refit",
    "save_classifier",
    "synthetic_images",
    "train_classifier",
]
