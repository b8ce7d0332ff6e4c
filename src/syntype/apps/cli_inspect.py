"""The commands ``inspect`` (what a collection holds, what is wrong with it, a map of its images), ``relabel`` and ``move`` (change it later)."""

from __future__ import annotations

from pathlib import Path

import click

from syntype.apps.cli_common import FOLDER, example, open_collection, output_options, run_stage, set_option, settings, show

__all__ = ["COMMANDS"]


@click.command(
    short_help="Summarise a collection and list its problems.",
    epilog=example(
        "syntype inspect out/fish",
        "syntype inspect out/fish --encoder lite2 --plot long-tail.png",
        "syntype inspect out/fish --verify",
        "syntype inspect out/fish --labels --out out/suspects",
        "syntype inspect out/synthetic --map --photographs out/fish --out out/map",
    ),
)
@click.argument("collection", type=FOLDER)
@click.option(
    "--encoder",
    metavar="NAME",
    help="Also search for near duplicates with the features of this encoder, for example lite2. With --labels: the encoder to use.  "
    "[default with --labels: lite2]",
)
@click.option("--plot", type=FOLDER, help="Write a plot of the images per species (PNG or SVG).")
@click.option("--verify", is_flag=True, help="Instead, read every image file and name those that are missing, changed, empty, damaged or unknown.")
@click.option("--labels", is_flag=True, help="Instead, search for photographs with a wrong name, and write a list and contact sheets to --out.")
@click.option("--map", "as_map", is_flag=True, help="Instead, lay the images out so that like ones lie together, and write the map to --out.")
@click.option("--photographs", type=FOLDER, help="With --map: a second collection to lay out with it, such as the photographs of synthetic images.")
@click.option("--out", type=FOLDER, help="With --labels and --map: folder to write to.")
@set_option
@output_options
def inspect(
    collection: Path,
    encoder: str | None,
    plot: Path | None,
    verify: bool,
    labels: bool,
    as_map: bool,
    photographs: Path | None,
    out: Path | None,
    overrides: tuple[str, ...],
    as_json: bool,
    quiet: bool,
) -> None:
    """Summarise COLLECTION: images per species, splits, licences, duplicates and problems.

    It reports what would make results unreliable, such as duplicates in different splits. Nothing is changed. With --verify the exit code is 2 if
    something is wrong with a file.

    With --labels it lists the photographs that most probably have a wrong name, each beside photographs to compare it with: suspects.csv,
    suspects.html and contact sheets. Settings for --set: size, folds, min_groups, neighbours, deviations, most, seed.

    With --map it writes map.csv and map.png, in which images that a pre-trained network describes alike lie close together. Settings for --set:
    size, most, seed.
    """
    _check_inspect(encoder, plot, verify, labels, as_map, photographs, out, bool(overrides))
    if verify:
        _verify(collection, as_json, quiet)
        return
    if labels and out is not None:
        _suspects(collection, encoder, out, overrides, as_json, quiet)
        return
    if as_map and out is not None:
        _map(collection, photographs, encoder, out, overrides, as_json, quiet)
        return
    from syntype.collection.inspection import inspect as stage
    from syntype.collection.inspection import plot_long_tail
    from syntype.run import Run

    opened = open_collection(collection)
    encode = None
    if encoder is not None:
        from syntype.encoders import load_encoder

        encode = load_encoder(encoder).encode
    result = stage(opened, Run(None, quiet=quiet), encode)
    if plot is not None:
        plot_long_tail(opened, plot)
    if as_json:
        show(result.summary(), True)
    else:
        print(result.text(), flush=True)


def _check_inspect(
    encoder: str | None, plot: Path | None, verify: bool, labels: bool, as_map: bool, photographs: Path | None, out: Path | None, has_settings: bool
) -> None:
    """Refuse options that do not belong together."""
    wrong = None
    if verify and (labels or as_map or encoder is not None or plot is not None):
        wrong = "--verify reads the files only; leave out --encoder, --plot, --labels and --map."
    elif labels and as_map:
        wrong = "--labels and --map are two commands; give one of them."
    elif (labels or as_map) and plot is not None:
        wrong = f"{'--labels' if labels else '--map'} draws no plot; leave out --plot."
    elif not (labels or as_map) and (out is not None or has_settings):
        wrong = "--out and --set belong to --labels and --map."
    elif not as_map and photographs is not None:
        wrong = "--photographs belongs to --map."
    elif (labels or as_map) and out is None:
        wrong = f"{'--labels' if labels else '--map'} needs --out: the folder to write to."
    if wrong is not None:
        raise click.UsageError(wrong, click.get_current_context())


def _map(folder: Path, photographs: Path | None, encoder: str | None, out: Path, overrides: tuple[str, ...], as_json: bool, quiet: bool) -> None:
    from syntype.curation.image_map import MapConfig
    from syntype.curation.image_map import map_images as stage

    config = settings(MapConfig, {"encoder": encoder}, overrides=overrides)
    opened = open_collection(folder)
    others = None if photographs is None else open_collection(photographs)
    result = run_stage(
        lambda run: stage(opened, config, out, run, others),
        "map",
        out,
        config,
        seed=config.seed,
        inputs={"collection": opened, **({} if others is None else {"photographs": others})},
        kept=f"{folder} is unchanged; delete {out} and start again.",
        quiet=quiet,
    )
    show(result.summary(), as_json, f"Next: look at {result.picture}")


def _suspects(folder: Path, encoder: str | None, out: Path, overrides: tuple[str, ...], as_json: bool, quiet: bool) -> None:
    from syntype.curation.suspects import SuspectsConfig
    from syntype.curation.suspects import find_suspects as stage

    config = settings(SuspectsConfig, {"encoder": encoder}, overrides=overrides)
    opened = open_collection(folder)
    result = run_stage(
        lambda run: stage(opened, config, out, run),
        "suspects",
        out,
        config,
        seed=config.seed,
        inputs={"collection": opened},
        kept=f"{folder} is unchanged; delete {out} and start again.",
        quiet=quiet,
    )
    show(result.summary(), as_json, f"Next: look at {result.page}")


def _verify(folder: Path, as_json: bool, quiet: bool) -> None:
    from syntype.collection import Collection
    from syntype.collection.verification import verify as stage
    from syntype.run import Run

    result = stage(Collection.open(folder, hashes=False), Run(None, quiet=quiet))
    if as_json:
        show(result.summary(), True)
    else:
        click.echo(result.text())
    if result.problems:
        click.get_current_context().exit(2)


@click.command(
    short_help="Correct names of photographs in a collection.",
    epilog=example(
        'syntype relabel out/fish --image fish-0017 --image fish-0018 --species "Naso lituratus" --who "A. Curator"',
        "syntype relabel out/fish --table corrected.csv",
        "syntype relabel out/fish --undo",
    ),
)
@click.argument("collection", type=FOLDER)
@click.option("--image", "images", multiple=True, metavar="ID", help="image_id of a photograph. Repeatable.")
@click.option("--species", metavar="NAME", help="With --image: the right name.")
@click.option("--leave-out", is_flag=True, help="With --image: leave these photographs out; nothing learns from them any more.")
@click.option("--table", type=FOLDER, help="CSV table with the columns image_id and species; an empty species leaves the photograph out.")
@click.option("--who", metavar="NAME", help="Your name, kept with the change.")
@click.option("--undo", is_flag=True, help="Take the latest change back that has not been taken back yet.")
@output_options
def relabel(
    collection: Path,
    images: tuple[str, ...],
    species: str | None,
    leave_out: bool,
    table: Path | None,
    who: str | None,
    undo: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Give photographs of COLLECTION other species, or leave them out. No file is changed or deleted, and --undo takes a change back.

    The column verbatim_name keeps the first name, and the folder changes/ in the collection what was changed, when and by whom. Generators,
    classifiers and studies that were made before keep the names that they learnt: make them again.
    """
    from syntype.collection.relabel import read_corrections, undo_relabel
    from syntype.collection.relabel import relabel as stage

    asked = (bool(images), table is not None, undo)
    if sum(asked) != 1 or (bool(images) and (species is None) == (not leave_out)):
        raise click.UsageError("Give --image with --species or --leave-out, or --table, or --undo.")
    if undo:
        result = undo_relabel(collection)
    else:
        result = stage(collection, dict.fromkeys(images, species) if table is None else read_corrections(table), who=who)
    if result.num_companions and not quiet:
        click.echo(
            f"{result.num_companions:,} photographs of the same groups (specimens, tracks) keep another name: look whether they are misnamed too.",
            err=True,
        )
    show(result.summary(), as_json, "" if undo else f"Take it back with: syntype relabel {collection} --undo")


@click.command(
    short_help="Move photographs from one collection to another.",
    epilog=example(
        "syntype move out/field-trip out/fish --dry-run",
        "syntype move out/field-trip out/fish",
        "syntype move out/fish out/sharks --image fish-0017 --image fish-0018",
        "syntype move out/field-trip out/fish --undo",
    ),
)
@click.argument("source", type=FOLDER)
@click.argument("target", type=FOLDER)
@click.option("--image", "images", multiple=True, metavar="ID", help="image_id of a photograph. Repeatable.  [default: all of SOURCE]")
@click.option("--who", metavar="NAME", help="Your name, kept with the change.")
@click.option("--dry-run", is_flag=True, help="Tell what would be moved, and write nothing.")
@click.option("--undo", is_flag=True, help="Take the latest move between the two back that has not been taken back yet.")
@output_options
def move(source: Path, target: Path, images: tuple[str, ...], who: str | None, dry_run: bool, undo: bool, as_json: bool, quiet: bool) -> None:
    """Move photographs of the collection SOURCE to the collection TARGET. To add photographs to a collection, collect them first on their own.

    All go to the training split of TARGET: what it keeps for tests, and to tune, stays as it is. Photographs of the same observation as one of
    these, or nearly the same picture, go to no split. Species are matched by name. A photograph whose very file TARGET has already stays in SOURCE.

    Studies and generators that were made before keep what they were made from: the fingerprint in their reports is that of the collection of then.
    """
    from syntype.collection.moving import move_photographs, undo_move

    if undo and (images or who or dry_run):
        raise click.UsageError("Give --undo alone.")
    result = undo_move(source, [target]) if undo else move_photographs(source, target, images or None, who=who, dry_run=dry_run)
    if not quiet and not undo:
        for sentence in result.sentences():
            click.echo(sentence, err=True)
    then = "" if undo else "Nothing was written." if dry_run else f"Take it back with: syntype move {source} {target} --undo"
    show({**({"dry_run": True} if dry_run else {}), **result.summary()}, as_json, then)


COMMANDS = (inspect, relabel, move)
