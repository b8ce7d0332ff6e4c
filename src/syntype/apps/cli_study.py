"""Commands that evaluate synthetic images: evaluate, study, report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from syntype.apps.cli_common import (
    FOLDER,
    example,
    open_collection,
    out_option,
    output_options,
    plan,
    run_stage,
    seed_option,
    set_option,
    settings,
    show,
    stage_options,
)

__all__ = ["COMMANDS"]


@click.command(short_help="Measure fidelity, diversity and copies.", epilog=example("syntype evaluate out/curated --real out/fish --split test"))
@click.argument("synthetic", type=FOLDER)
@click.option("--real", type=FOLDER, required=True, help="Collection of photographs to compare with.")
@click.option("--split", type=click.Choice(["train", "val", "test"]), help="Split of the photographs to compare with.  [default: test]")
@click.option("--encoder", help="Measure the distances in the features of this encoder too, for example timm:vit_base_patch14_dinov2.lvd142m.")
@seed_option
@set_option
@output_options
def evaluate(synthetic: Path, real: Path, overrides: tuple[str, ...], as_json: bool, quiet: bool, **flags: Any) -> None:
    """Compare the images of the collection SYNTHETIC with photographs.

    It measures fidelity (KID with its 95 % interval, precision, density), diversity (recall, coverage, Vendi score), the rate of copies of
    training photographs, and whether images lie nearer to training photographs than photographs do that no training has seen.

    With --encoder it adds distances in the features of another network, as published figures are given: KID, the Fréchet distance (FD, if there are
    more images than features), and CMMD if the network is a CLIP model (open_clip:NAME). They belong to that network; those of Lite0 stay.
    """
    from syntype.run import Run
    from syntype.study.fidelity import EvaluateConfig
    from syntype.study.fidelity import evaluate as stage

    config = settings(EvaluateConfig, flags, overrides=overrides)
    result = stage(open_collection(synthetic), open_collection(real), config, Run(None, quiet=quiet))
    show(result.summary(), as_json)


@click.command(
    short_help="Test whether synthetic images help identification.",
    epilog=example("syntype study out/fish --generator out/adapted --seeds 5 --out out/study", "syntype report out/study"),
)
@click.argument("collection", type=FOLDER)
@out_option("the study")
@click.option(
    "--generator", metavar="GENERATOR|FAMILY", help="Folder of a trained generator, or a family to train in the study.  [default: projected]"
)
@click.option("--synthetic", metavar="COLLECTION", help="Instead of --generator, a collection of synthetic images, from any generator.")
@click.option("--seeds", type=click.IntRange(min=1), help="Number of repetitions with different seeds; the same seeds for all arms.  [default: 5]")
@click.option(
    "--minutes", type=click.FloatRange(min=0, min_open=True), help="Training time in minutes of a family that is trained in the study.  [default: 30]"
)
@click.option("--quick", is_flag=True, help="A quick look: only the last layer is trained, on images of 128 pixels, and no settings are chosen.")
@click.option("--worth", is_flag=True, default=None, help="Also measure how many photographs the synthetic images are worth.")
@click.option(
    "--more-photographs", metavar="SOURCE", help="Further photographs of these species, in no split (collection, folder or table), for --worth."
)
@click.option(
    "--retrieve-from", metavar="SOURCE", help="Photographs of any content, for an arm that takes from them those most like the rare species."
)
@click.option("--zero-shot", metavar="ENCODER", help="Also name the test photographs with a model of images and texts, untrained (open_clip:NAME).")
@click.option("--processes", type=click.IntRange(min=1), help="Number of arms to train in parallel.  [default: one per core, at most 8; 1 on a GPU]")
@click.option("--cluster", type=FOLDER, metavar="FILE", help="Where to train the arms: a cluster file, such as lab.yaml.  [default: here]")
@stage_options
def study(
    collection: Path,
    out: Path,
    resume: bool,
    overrides: tuple[str, ...],
    dry_run: bool,
    as_json: bool,
    quiet: bool,
    cluster: Path | None,
    **flags: Any,
) -> None:
    """Test whether synthetic images help to identify the rare species of COLLECTION.

    The study trains classifiers with the same settings on different training sets ("arms"): photographs only, with standard methods for rare
    species, and with synthetic images. It compares their recall on the test photographs over several seeds, with confidence intervals, and
    gives a verdict: add, do not add, or not enough evidence. Without --generator the family `projected` is trained first, for --minutes.

    The classifier is a pre-trained network with the last quarter of its layers trained, on images of the photographs' size, up to 224 pixels. Every
    arm chooses its settings on the validation photographs, among equally many. On processor cores this takes hours: look first with --dry-run,
    which measures how many, or with --quick.
    """
    from syntype.cluster import read_cluster
    from syntype.study import StudyConfig, plan_study
    from syntype.study import study as stage
    from syntype.study.running import processes_for

    if cluster is not None:
        flags["cluster"] = read_cluster(cluster).model_dump(mode="json", exclude_unset=True)
    flags["quick"] = flags["quick"] or None  # so that --set quick=true works too
    flags["processes"] = flags["processes"] or processes_for(flags["device"] or "auto")
    config = settings(StudyConfig, flags, overrides=overrides)
    opened = open_collection(collection)
    if dry_run:
        planned = plan_study(opened, config)
        plan(
            as_json,
            out=out,
            images=len(opened),
            steps=planned.steps,
            minutes=planned.generator_minutes + planned.classifier_minutes,
            arms=len(planned.arms),
            seeds=config.seeds,
            classifiers=planned.num_classifiers,
            size=planned.size,
        )
        return
    result = run_stage(
        lambda run: stage(opened, config, out, run),
        "study",
        out,
        config,
        seed=config.seed,
        inputs={"collection": opened},
        kept=f"Finished arms are in {out}; continue with --resume.",
        resume=resume,
        quiet=quiet,
    )
    worth = result.results["worth"]
    show(result.summary(), as_json, "".join([f"{worth['sentence']}\n\n" if worth else "", f"The report: {result.report}"]))


@click.command(short_help="Write the report of a study.", epilog=example("syntype report out/study"))
@click.argument("study_folder", metavar="STUDY", type=FOLDER)
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
def report(study_folder: Path, as_json: bool) -> None:
    """Write the report of a finished STUDY again, as one self-contained HTML file.

    `syntype study` writes it too. Use this command after an update of Syntype.
    """
    from syntype.study import write_report

    show({"report": str(write_report(study_folder))}, as_json)


COMMANDS = (evaluate, study, report)
