"""Train a classifier on a collection, evaluate it on the test images, and save it with the results."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from syntype.collection.soft_labels import blends_left_out, with_main_species
from syntype.collection.table import Collection
from syntype.curation.leaks import held_back_apart
from syntype.encoders import load_zero_shot
from syntype.errors import CollectionError, LeakageError
from syntype.identification.calibration import calibrate, calibration_error
from syntype.identification.classifier import ClassifierConfig, FittedClassifier, LabelledImages
from syntype.identification.features import FeatureCache
from syntype.identification.fit import fit
from syntype.identification.labelling import labelled, require_two_species
from syntype.identification.metrics import Metrics, measure
from syntype.identification.plots import plot_confusion
from syntype.identification.ranks import rank_metrics, ranks_of
from syntype.identification.storage import Classifier, save_classifier
from syntype.run import OWN_RUN, Run, keeps_run

__all__ = ["ClassifierResult", "train_classifier"]


COMPARED_AT = 64
"""Side in pixels at which training images are compared with validation and test images."""


@dataclass(frozen=True)
class ClassifierResult:
    """A trained classifier and its results on the test images.

    Attributes:
        folder: Folder of the classifier.
        classifier: The classifier.
        metrics: Accuracy, recall and F1 on the test images.
        num_train: Number of real training images.
        num_synthetic: Number of synthetic training images.
        num_test: Number of test images.
        probability_metrics: ``top_5_accuracy``, ``calibration_error`` and ``balanced_calibration_error``; see ``summary``.
        num_left_out: Number of validation and test images left out, because training images repeat them.
        rank_metrics: Accuracy at each rank, and share of the test images answered there (see ``ranks.rank_metrics``); empty if no ranks are known.
    """

    folder: Path
    classifier: Classifier
    metrics: Metrics
    num_train: int
    num_synthetic: int
    num_test: int
    probability_metrics: dict[str, float | None]
    num_left_out: int = 0
    rank_metrics: dict[str, dict[str, Any]] = field(default_factory=dict)

    def summary(self) -> dict[str, Any]:
        """Results for ``--json``.

        Returns:
            ``accuracy``, ``macro_recall``, ``macro_f1``, ``bins`` (recall per bin), ``top_5_accuracy``, ``calibration_error`` (expected
            calibration error; ``balanced_`` with equal weight for every species), ``num_train``, ``num_synthetic``, ``num_test`` and
            ``num_left_out`` (validation and test images that training images repeat). If genus, family or order are known, ``ranks``: for each
            rank ``accuracy``, the share ``answered`` there, and the share of these answers that is ``right``. Metrics are None without test
            images.
        """
        return {
            **self.metrics.summary(),
            **self.probability_metrics,
            **({"ranks": self.rank_metrics} if self.rank_metrics else {}),
            "num_train": self.num_train,
            "num_synthetic": self.num_synthetic,
            "num_test": self.num_test,
            "num_left_out": self.num_left_out,
        }


@keeps_run("classify")
def train_classifier(collection: Collection, config: ClassifierConfig, out: Path | str, run: Run = OWN_RUN,
                     synthetic: Collection | None = None) -> ClassifierResult:  # fmt: skip
    """Train a species classifier on a collection.

    It is trained on the split ``train``, and optionally on synthetic images. The split ``val`` selects the best step and calibrates the
    probabilities. The split ``test`` measures the result. Writes ``weights.safetensors``, ``classifier.json``, ``confusion.png``,
    ``worst_pairs.csv`` and ``MODEL_CARD.md`` into ``out``.

    Args:
        collection: Photographs with splits.
        config: Settings.
        out: Folder to write the classifier to.
        run: Records progress and events. Default: a run folder in ``out``, with progress on standard error.
        synthetic: Synthetic images to add to training. Images that curation or an expert refused are left out. Images between two species
            (``syntype blend``) train both, by the weights in the column ``label_weights``; those of a species that the collection does not have are
            left out.

    Returns:
        The classifier and its results on the test images.

    Raises:
        CollectionError: There are no training images, only one species has some, or the synthetic images show species that the
            collection does not have.
        LeakageError: A synthetic image is a test image or was made from one, or more training images repeat validation or test images than
            chance explains; ``leakage.html`` in ``out`` shows them.
        UnknownNameError: The backbone is not known.
        UnsupportedError: The weights of the backbone are not available.
        TrainingError: The loss became infinite or NaN.

    Example:
        >>> import syntype
        >>> reef = syntype.Collection.open("out/reef")
        >>> result = syntype.train_classifier(reef, syntype.ClassifierConfig(size=32, steps=20, views=1), "out/classifier")
        >>> 0 <= result.metrics.macro_recall <= 1
        True
    """
    out = Path(out)
    require_two_species(collection, synthetic)
    named = collection.where(collection.table["species"].notna())  # only they can be measured
    real, val, test = collection.training(), named.select(split="val"), named.select(split="test")
    added = None if synthetic is None else _without_strange_blends(synthetic.select(usable=True), collection.species, run)
    if added is not None:
        _check_leakage(added, test)
    by_species = [] if added is None else [with_main_species(added, collection.species)]
    known = [one.where(one.table["species"].isin(collection.species)) for one in by_species]
    collection, leaks = held_back_apart(collection, known, size=COMPARED_AT, run=run, out=out, seed=config.seed)
    val, test = collection.select(split="val"), collection.select(split="test")
    train = labelled(real, config.size, collection.species, added)
    counts = np.array(list(real.counts().values()), np.int64)
    held_out = LabelledImages(val.pixels(config.size), val.labels()) if len(val) else None
    names = None
    if config.head == "tip_adapter":
        by_name = load_zero_shot(config.backbone, collection)
        names = (by_name.scale * by_name.texts).astype(np.float32)
    cache = FeatureCache(collection.root / ".cache" / "views")
    fitted = fit(train, counts, len(collection.species), config, config.seed, held_out, run, cache, names)
    validated = None
    if held_out is not None:
        found = fitted.predict_logits(held_out.images)
        fitted = replace(fitted, calibration=calibrate(found, held_out.labels))
        validated = {**measure(held_out.labels, found.argmax(axis=1), counts).summary(), "num_images": len(held_out)}
    logits, labels = fitted.predict_logits(test.pixels(config.size)), test.labels()
    tested = measure(labels, logits.argmax(axis=1), counts)
    ranks = ranks_of(real, collection.species)
    at_ranks = {} if ranks is None else rank_metrics(fitted.calibration.probabilities(logits), labels, collection.species, ranks, config.sure)
    numbers = (len(real), len(train) - len(real), len(test))
    shares = _probability_metrics(logits, labels, fitted)
    result = ClassifierResult(Path(out), Classifier(fitted, collection.species), tested, *numbers, shares, len(leaks.left_out), at_ranks)
    record = {
        "training": {
            "collection": collection.name,
            "fingerprint": real.fingerprint,
            "synthetic": None if added is None else {"name": added.name, "fingerprint": added.fingerprint},
            "counts_real": dict(zip(collection.species, counts.tolist(), strict=True)),
            "best_step": fitted.best_step,
            "history": list(fitted.history),
            "validation": validated,
        },
        "metrics": result.summary(),
        "recall": {name: None if np.isnan(value) else float(value) for name, value in zip(collection.species, tested.recall, strict=True)},
    }
    result = replace(result, classifier=Classifier(fitted, collection.species, record, ranks))
    save_classifier(result.classifier, result.folder)
    plot_confusion(tested, collection.species, result.folder / "confusion.png")
    _write_worst_pairs(result)
    (result.folder / "MODEL_CARD.md").write_text(_model_card(result), encoding="utf-8")
    return result


def _probability_metrics(logits: np.ndarray, labels: np.ndarray, fitted: FittedClassifier) -> dict[str, float | None]:
    if not len(labels):
        return {"top_5_accuracy": None, "calibration_error": None, "balanced_calibration_error": None}
    num_higher = (logits > logits[np.arange(len(labels)), labels][:, None]).sum(axis=1)
    probabilities = fitted.calibration.probabilities(logits)
    return {
        "top_5_accuracy": float((num_higher < 5).mean()),
        "calibration_error": calibration_error(probabilities, labels),
        "balanced_calibration_error": calibration_error(probabilities, labels, balanced=True),
    }


def _without_strange_blends(synthetic: Collection, species: tuple[str, ...], run: Run) -> Collection:
    """The images without those between two species of which one is not in the vocabulary; a line says how many they are."""
    strange, told = blends_left_out(synthetic.table, species)
    if told:
        run.say(f"Not used: {told}.")
    if len(synthetic) and strange.all():
        raise CollectionError(f"{synthetic.root}: none of its images can be used: {told}. Blend species that the photographs show.")
    return synthetic.where(~strange)


def _check_leakage(synthetic: Collection, test: Collection) -> None:
    same = set(synthetic.hashed().table["sha256"]) & set(test.hashed().table["sha256"])
    parents = {parent for text in synthetic.table["parents"].dropna() for parent in json.loads(text)}
    used = parents & set(test.table["image_id"].dropna())
    if same or used:
        what = f"{len(same)} of its images are test images" if same else f"{len(used)} test images are parents of its images"
        raise LeakageError(
            f"{synthetic.root}: {what} (test split of {test.root}), so test results would be too good. Generate from training images only."
        )


def _write_worst_pairs(result: ClassifierResult) -> None:
    species, counts = result.classifier.species, result.metrics.counts_real
    with (result.folder / "worst_pairs.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["true_species", "identified_as", "num_images", "share", "num_training_images"])
        for true, predicted, number, share in result.metrics.worst_pairs():
            writer.writerow([species[true], species[predicted], number, f"{share:.4f}", int(counts[true])])


def _rank_lines(result: ClassifierResult, shown: Callable[[float | None], str]) -> list[str]:
    """The table of ranks of the model card; nothing if none are known."""
    if not result.rank_metrics:
        return []
    at = {name: [shown(row.get(key)) if key in row else "" for key in ("accuracy", "answered", "right")] for name, row in result.rank_metrics.items()}
    return [
        f"The answer is the lowest rank with a probability of at least {result.classifier.fitted.config.sure:g}; a genus, family or order has the "
        "sum of its species' probabilities.",
        "",
        "| rank | accuracy of the most probable | share of test images answered at this rank | share of these answers that is right |",
        "| --- | --- | --- | --- |",
        *(f"| {name} | {' | '.join(cells)} |" for name, cells in at.items()),
        "",
    ]


def _model_card(result: ClassifierResult) -> str:
    config, facts = result.classifier.fitted.config, result.summary()

    def shown(value: float | None) -> str:
        return "not measured" if value is None else f"{value:.3f}"

    untrained = {"prototype": "prototypes (not trained)", "tip_adapter": "names and photographs of the species (not trained)"}
    head = untrained.get(config.head or "", "cosine" if config.has_cosines else "linear")
    way = "frozen" if config.frozen else f"low-rank adapters of rank {config.lora_rank} trained" if config.tune == "lora" else "trained"
    trained = way + f"; head: {head}" + ("" if config.refit == "none" else f", second stage: {config.refit}")
    prior_free = config.loss in ("balanced_softmax", "logit_adjustment") or config.sampler == "balanced" or config.refit == "balanced"
    no_prior = " The probabilities assume that all species are equally frequent." if prior_free else ""
    rows = [f"| {name} | {row['num_species']} | {row['num_images']} | {shown(row['recall'])} |" for name, row in facts["bins"].items()]
    return "\n".join(
        [
            "# Classifier of " + str(result.classifier.record["training"]["collection"]),
            "",
            f"- Species: {len(result.classifier.species)}. Input: RGB squares of {config.size} pixels.",
            f"- Backbone: {config.backbone} ({result.classifier.fitted.backbone.weights}); {trained}.",
            f"- Loss: {config.loss}; sampler: {config.sampler}; {config.steps} steps of {config.batch_size} images; seed {config.seed}.",
            f"- Trained on {result.num_train} photographs and {result.num_synthetic} synthetic images; tested on {result.num_test} photographs "
            "of other groups (observations, specimens or tracks).",
            "",
            f"Accuracy {shown(facts['accuracy'])}, macro recall {shown(facts['macro_recall'])}, macro F1 {shown(facts['macro_f1'])} "
            f"(macro figures: mean over the species that have test images); "
            f"true species among the five most probable: {shown(facts['top_5_accuracy'])}. "
            f"Expected calibration error {shown(facts['calibration_error'])} (with equal weight for every species: "
            f"{shown(facts['balanced_calibration_error'])}).",
            "",
            "| real training images | tested species | test images | mean recall |",
            "| --- | --- | --- | --- |",
            *rows,
            "",
            *_rank_lines(result, shown),
            "The classifier always names one of its species, even if the image shows another species or no organism at all. "
            "The column `out_of_distribution_score` of `classify predict` detects some of these cases: only 5 % of the validation photographs score "
            "0.95 or more. The results hold for photographs like those of the collection. Other cameras, places or seasons may give worse results."
            + no_prior,
            "",
        ]
    )
