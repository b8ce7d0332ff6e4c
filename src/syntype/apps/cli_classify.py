"""Commands for classifiers: classify train, classify predict, classify export."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from syntype.apps.cli_common import (
    FOLDER,
    device_option,
    dry_run_option,
    example,
    kept_jobs,
    open_collection,
    out_option,
    output_options,
    plan,
    run_stage,
    seed_option,
    set_option,
    settings,
    show,
)

if TYPE_CHECKING:
    from syntype.collection import Collection
    from syntype.identification import ClassifierConfig

__all__ = ["COMMANDS"]

_FORWARD, _TRAINING = 0.01, 0.03
"""For ``--dry-run`` of a backbone that is not bundled: seconds for an image on two cores without a GPU."""


@click.group(
    short_help="Train a species classifier, use it, or export it.",
    epilog=example("syntype classify train out/fish --out out/classifier", "syntype classify predict out/classifier new/ --out names.csv"),
)
def classify() -> None:
    """Train a species classifier for collections with rare species, identify photographs with it, or export it."""


@classify.command(
    "train",
    short_help="Train a classifier and measure its recall.",
    epilog=example(
        "syntype classify train out/fish --synthetic out/curated --out out/classifier",
        "syntype classify train out/fish --grid grid.yaml --cluster lab.yaml --out out/grid",
        "syntype classify train out/fish --grid grid.yaml --cluster lab.yaml --out out/grid --resume",
    ),
)
@click.argument("collection", type=FOLDER)
@out_option("the classifier")
@click.option("--recipe", metavar="NAME|FILE", help="Read the settings from a named recipe or a YAML file. Other options override it.")
@click.option("--synthetic", type=FOLDER, help="Collection of synthetic images to add to training; rejected ones are left out.")
@click.option(
    "--backbone",
    help="Feature extractor: lite2 (bundled, pre-trained), timm:NAME[:FILE], open_clip:NAME[:FILE], or scratch (untrained).  [default: lite2]",
)
@click.option(
    "--loss",
    help="Loss: cross_entropy, focal, focal_alpha, class_balanced_focal, ldam_drw, logit_adjustment or balanced_softmax.  "
    "[default: balanced_softmax]",
)
@click.option("--sampler", help="How often species are drawn: natural, square_root or balanced.  [default: natural]")
@click.option("--steps", type=click.IntRange(min=1), help="Number of training steps.  [default: 2000]")
@click.option(
    "--grid",
    type=FOLDER,
    metavar="FILE",
    help="Train one classifier with every combination of the settings in a YAML file, such as 'learning_rate: [0.001, 0.003]'. "
    "The other settings are those of the other options.",
)
@click.option("--cluster", type=FOLDER, metavar="FILE", help="Where to compute a grid: a cluster file, such as lab.yaml.  [default: here]")
@click.option("--resume", is_flag=True, help="Train the missing combinations of the grid in the folder --out.")
@seed_option
@device_option
@set_option
@dry_run_option
@output_options
def classify_train(
    collection: Path,
    out: Path,
    recipe: str | None,
    synthetic: Path | None,
    grid: Path | None,
    cluster: Path | None,
    resume: bool,
    overrides: tuple[str, ...],
    dry_run: bool,
    as_json: bool,
    quiet: bool,
    **flags: Any,
) -> None:
    """Train a classifier on the training images of COLLECTION, and measure its recall on the test images.

    The validation images select the best step and calibrate the probabilities. --out gets the classifier, a model card, the confusion matrix and
    the most frequent confusions. Recall is also given per bin: species with 2-10, 11-100, 101-500 and more than 500 training photographs. If
    genus, family or order are known, so is the accuracy at each rank, and how many test images are answered there.

    With --grid, one classifier is trained with every combination of some settings, each in a folder of its own. `grid.csv` in the folder --out says
    which are done, which failed and why, and how good they are on the validation images, by which the best is told. The same command with --resume
    trains the missing ones.
    """
    if grid is None and (cluster is not None or resume):
        raise click.UsageError("--cluster and --resume are for many trainings: give --grid FILE with them.")
    from syntype.identification import ClassifierConfig, train_classifier

    config = settings(ClassifierConfig, flags, recipe=recipe, overrides=overrides)
    if grid is not None:
        _train_grid(collection, synthetic, grid, cluster, config, out, resume, dry_run, as_json, quiet)
        return
    opened = open_collection(collection)
    extra = None if synthetic is None else open_collection(synthetic)
    if dry_run:
        plan(as_json, out=out, images=_num_images(opened, extra), steps=config.steps, minutes=_minutes(config, opened, extra))
        return
    inputs = {"collection": opened, "synthetic": extra}
    result = run_stage(
        lambda run: train_classifier(opened, config, out, run, synthetic=extra),
        "classify",
        out,
        config,
        seed=config.seed,
        inputs=inputs,
        kept=f"Delete {out} and train again.",
        quiet=quiet,
    )
    show(result.summary(), as_json, f"Next: syntype classify predict {out} FOLDER --out names.csv")


def _num_images(collection: Collection, synthetic: Collection | None) -> int:
    return len(collection.training()) + (0 if synthetic is None else len(synthetic.select(usable=True)))


def _minutes(config: ClassifierConfig, collection: Collection, synthetic: Collection | None) -> float:
    """Estimated minutes of a training."""
    from syntype.encoders import BUNDLED, SCRATCH
    from syntype.identification import Speed, measure_speed

    own = config.backbone in (*BUNDLED, SCRATCH)  # others may have to be fetched first
    speed = measure_speed(config) if own else Speed(_FORWARD, _TRAINING)
    return speed.seconds(config, _num_images(collection, synthetic), len(collection.select(split=("val", "test")))) / 60


def _train_grid(
    collection: Path,
    synthetic: Path | None,
    grid: Path,
    cluster_file: Path | None,
    shared: ClassifierConfig,
    out: Path,
    resume: bool,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    from syntype.cluster import Cluster, read_cluster
    from syntype.identification.grid import combinations, is_trained, read_grid, train_grid

    config, cluster = read_grid(grid, shared), Cluster() if cluster_file is None else read_cluster(cluster_file)
    opened, extra = open_collection(collection), None if synthetic is None else open_collection(synthetic)
    if dry_run:
        every = [one for _, one in combinations(config)]
        missing = [one for number, one in enumerate(every, 1) if not (resume and is_trained(out / f"{number:04d}"))]
        minutes, steps = sum(_minutes(one, opened, extra) for one in missing), sum(one.steps for one in missing)
        images = _num_images(opened, extra)
        plan(as_json, out=out, images=images, steps=steps, minutes=minutes, trainings=len(missing), executor=cluster.executor)
        return
    result = run_stage(
        lambda run: train_grid(opened, config, out, run, synthetic=extra, cluster=cluster),
        "classify-grid",
        out,
        config,
        seed=shared.seed,
        inputs={"collection": opened, "synthetic": extra},
        kept=kept_jobs("classifiers trained", out, cluster),
        resume=resume,
        quiet=quiet,
    )
    show(result.summary(), as_json, f"Next: syntype classify predict {result.best} FOLDER --out names.csv")


@classify.command(
    "predict",
    short_help="Identify the species of photographs.",
    epilog=example("syntype classify predict out/classifier new-photographs/ --out names.csv"),
)
@click.argument("classifier", type=FOLDER)
@click.argument("folder", type=FOLDER)
@click.option("--out", type=FOLDER, required=True, help="CSV file to write, with the five most probable species of each photograph.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["syntype", "pybioclip"]),
    default="syntype",
    show_default=True,
    help="Columns of the CSV file: those of Syntype, or those of pybioclip.",
)
@click.option(
    "--sure",
    type=click.FloatRange(0, 1, min_open=True),
    help="Probability from which a name is sure. Below it the genus, family or order is named.  [default: the classifier's setting, 0.8]",
)
@device_option
@output_options
def classify_predict(
    classifier: Path, folder: Path, out: Path, form: Any, sure: float | None, device: str | None, as_json: bool, quiet: bool
) -> None:
    """Identify the species of all photographs in FOLDER and its sub-folders with a trained CLASSIFIER.

    If the classifier knows the genus, family or order of its species, the columns `name`, `rank` and `name_probability` give the lowest rank of which
    it is sure.

    The column `out_of_distribution_score` (0 to 1) shows which photographs may show none of the known species: from about 0.95 on. Files that
    cannot be read are listed with the error.
    """
    from syntype.identification import load_classifier, predict
    from syntype.run import Run

    result = predict(load_classifier(classifier, device or "auto"), folder, out, Run(None, quiet=quiet), form, sure)
    show(result.summary(), as_json)


@classify.command("export", short_help="Write a classifier as ONNX.", epilog=example("syntype classify export out/classifier --out out/fish.onnx"))
@click.argument("classifier", type=FOLDER)
@click.option("--out", type=FOLDER, required=True, help="ONNX file to write.")
@output_options
def classify_export(classifier: Path, out: Path, as_json: bool, quiet: bool) -> None:
    """Write CLASSIFIER as an ONNX file, for use without PyTorch.

    The file takes uint8 images and gives probabilities. It is compared with CLASSIFIER before it is kept. Needs: pip install 'syntype[onnx]'.
    """
    from syntype.identification import load_classifier
    from syntype.identification.export import export_onnx

    show(export_onnx(load_classifier(classifier, "cpu"), out).summary(), as_json)


COMMANDS = (classify,)
