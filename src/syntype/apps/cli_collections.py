"""Commands that make, look at and hand on collections: collect, reef, inspect, export."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from syntype.apps.cli_common import FOLDER, example, open_collection, out_option, output_options, run_stage, seed_option, set_option, settings, show

__all__ = ["COMMANDS"]


@click.command(
    short_help="Import photographs.",
    epilog=example(
        "syntype collect photographs/ --out out/fish", "syntype collect labels.csv --species-column taxon --group-column specimen --out out/fish"
    ),
)
@click.argument("source", type=FOLDER)
@out_option("the collection")
@click.option("--file-column", help="Column of the CSV with the image's path, relative to the CSV.")
@click.option("--species-column", help="Column with the species.")
@click.option("--group-column", help="Column with the specimen, observation or video track; one group never straddles two splits.")
@click.option("--licence-column", help="Column with the licence.")
@click.option("--box-column", help="Column with the animal's box: left, top, right, bottom in pixels.")
@click.option("--origin", type=click.Choice(["real", "synthetic"]), help="What the images are.  [default: real]")
@seed_option
@set_option
@output_options
def collect(source: Path, out: Path, overrides: tuple[str, ...], as_json: bool, quiet: bool, **flags: Any) -> None:
    """Import photographs: SOURCE is a folder with one folder per species, or a CSV file.

    Every file is decoded once; what cannot be used is set aside with the reason in OUT/refused.csv. Splits are made by group.
    """
    from syntype.collection.importers import CollectConfig
    from syntype.collection.importers import collect as stage

    config = settings(CollectConfig, flags, overrides=overrides)
    result = run_stage(
        lambda run: stage(source, config, out, run),
        "collect",
        out,
        config,
        seed=config.seed,
        inputs={"source": str(source)},
        kept=f"{out} is incomplete; delete it and collect again.",
        quiet=quiet,
    )
    show(result.summary(), as_json, f"Next: syntype inspect {out}")


@click.command(short_help="Draw a data set of made-up fish.", epilog=example("syntype reef --species 24 --size 64 --out out/reef"))
@out_option("the collection")
@click.option("--species", "num_species", type=click.IntRange(min=2), help="Number of species.  [default: 24]")
@click.option("--size", type=click.IntRange(16, 1024), help="Side of the images in pixels.  [default: 64]")
@seed_option
@set_option
@output_options
def reef(out: Path, overrides: tuple[str, ...], as_json: bool, quiet: bool, **flags: Any) -> None:
    """Draw the reef: fish of made-up species with a long tail, for trying things out without any photographs."""
    from syntype.collection.reef import ReefConfig, draw_reef

    config = settings(ReefConfig, flags, overrides=overrides)
    result = run_stage(
        lambda run: draw_reef(config, out, run),
        "reef",
        out,
        config,
        seed=config.seed,
        inputs={},
        kept=f"{out} is incomplete; delete it and draw again.",
        quiet=quiet,
    )
    show(result.summary(), as_json, f"Next: syntype inspect {out}")


@click.command(
    short_help="Describe a collection: long tail, bins, licences, problems.",
    epilog=example("syntype inspect out/fish", "syntype inspect out/fish --encoder lite2 --plot long-tail.png"),
)
@click.argument("collection", type=FOLDER)
@click.option("--encoder", metavar="NAME", help="Also look for near duplicates by features, for example lite2.")
@click.option("--plot", type=FOLDER, help="Write the long tail as a picture (PNG or SVG).")
@output_options
def inspect(collection: Path, encoder: str | None, plot: Path | None, as_json: bool, quiet: bool) -> None:
    """Describe a collection: the long tail, bins, splits, licences, duplicates and problems."""
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
        click.echo(result.text())


@click.command(
    short_help="Pack a collection as one file.",
    epilog=example("syntype export out/curated --out out/export", "syntype export out/curated --layout collection --all --out out/whole"),
)
@click.argument("collection", type=FOLDER)
@click.option("--out", type=FOLDER, required=True, help="Folder to write: it gets NAME.zip or NAME.csv.")
@click.option(
    "--layout",
    type=click.Choice(["species", "collection", "table"]),
    help="A folder per species and a CSV; a collection again, also for Hugging Face's imagefolder; or the CSV alone.  [default: species]",
)
@click.option("--all", "everything", is_flag=True, help="Also what curation or an expert refused.")
@output_options
def export(collection: Path, out: Path, layout: str | None, everything: bool, as_json: bool, quiet: bool) -> None:
    """Pack COLLECTION as one file to hand on; labels, licences and provenance travel with the images."""
    from syntype.collection.export import ExportConfig
    from syntype.collection.export import export as stage

    config = settings(ExportConfig, {"layout": layout, "usable": not everything})
    opened = open_collection(collection)
    result = run_stage(
        lambda run: stage(opened, config, out, run),
        "export",
        out,
        config,
        seed=0,
        inputs={"collection": str(collection)},
        kept=f"{collection} is unchanged; delete {out} and export again.",
        quiet=quiet,
    )
    show(result.summary(), as_json)


COMMANDS = (collect, reef, inspect, export)
