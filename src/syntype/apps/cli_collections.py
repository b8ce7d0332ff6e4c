"""Commands for collections: collect, reef, export."""

from __future__ import annotations

import re
import shlex
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from syntype.apps.cli_common import FOLDER, example, open_collection, out_option, output_options, run_stage, seed_option, set_option, settings, show
from syntype.errors import shortened

if TYPE_CHECKING:
    from syntype.collection.importers import CollectConfig

__all__ = ["COMMANDS"]


def _pairs(_context: click.Context, parameter: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:
    """``train=a.csv`` of each ``--split`` as a dict."""
    from syntype.collection.sources.base import parse_split

    found: dict[str, str] = {}
    for text in given:
        name, equals, table = text.partition("=")
        split = parse_split(name)
        if not equals or not table or split is None:
            raise click.BadParameter(f"{shortened(text)!r} is not like train=TABLE; the splits are train, val and test.", param=parameter)
        if split in found:
            raise click.BadParameter(f"the table of the split {split} is given twice.", param=parameter)
        found[split] = table
    return found


def _new_names(_context: click.Context, parameter: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:
    """``OLD=NEW`` of each ``--rename`` as a dict."""
    found: dict[str, str] = {}
    for text in given:
        old, equals, new = (part.strip() for part in text.partition("="))
        if not equals or not old or not new:
            raise click.BadParameter(f"{shortened(text)!r} is not like OLD=NEW, two names of species.", param=parameter)
        if found.setdefault(old, new) != new:
            raise click.BadParameter(f"{old} is given two new names.", param=parameter)
    return found


@click.command(
    short_help="Import photographs into a collection.",
    epilog=example(
        "syntype collect photographs/ --dry-run",
        "syntype collect photographs/ --out out/fish",
        "syntype collect labels.csv --species-column taxon --group-column specimen --out out/fish",
        "syntype collect fish-vista/ --split train=train.csv --split test=test.csv --out out/fish",
        'syntype collect gbif-download.zip --download --licence CC0 --licence "CC BY" --max-per-species 200 --out out/fish',
        "syntype collect labels.csv --names taxon.txt --out out/fish",
        'syntype collect photographs/ --rename "Naso literatus=Naso lituratus" --leave-out Unknown --default-licence "CC BY 4.0" --out out/fish',
        "syntype collect boxes.csv --box-column bbox --box-format size --out out/fish",
        "syntype collect photographs/ --boxes megadetector.json --min-confidence 0.4 --out out/mammals",
    ),
)
@click.argument("source", type=FOLDER)
@click.option("--out", type=FOLDER, help="Folder to write the collection to.  [required, but not with --dry-run]")
@click.option("--dry-run", is_flag=True, help="Tell what SOURCE holds and what would be imported, and write nothing.")
@click.option("--format", metavar="NAME", help="Read SOURCE as this format.  [default: as its content says; syntype formats lists the names]")
@click.option("--species", metavar="NAME", help="Species of all images, whatever their folders or tables say.  [default: as SOURCE says]")
@click.option("--file-column", help="Column of a table with the path of the image, relative to the table.")
@click.option("--species-column", help="Column with the species.")
@click.option("--group-column", help="Column with the specimen, observation or video track. Images of one group are always in the same split.")
@click.option("--split-column", help="Column with the author's splits: train, val or test. Without any, splits are drawn.")
@click.option(
    "--split",
    "splits",
    multiple=True,
    metavar="NAME=TABLE",
    callback=_pairs,
    help="Table of the split train, val or test, from SOURCE on. Repeatable.",
)
@click.option("--licence-column", help="Column with the licence.")
@click.option("--box-column", help="Column with the bounding box of the organism: four numbers in pixels.")
@click.option(
    "--box-format",
    type=click.Choice(["corners", "size"]),
    help="corners: left, top, right, bottom. size: left, top, width, height.  [default: what the format prescribes, or else corners]",
)
@click.option("--boxes", metavar="FILE", help="MegaDetector file whose boxes are laid over the images of SOURCE.")
@click.option(
    "--min-confidence",
    type=click.FloatRange(0, 1),
    metavar="SHARE",
    help="With --boxes: use boxes of which MegaDetector is at least this sure, from 0 to 1. Higher: fewer false animals, more animals missed.  "
    "[default: 0.2]",
)
@click.option(
    "--names",
    metavar="FILE",
    help="Checklist with accepted names and ranks: a Darwin Core taxon table, a folder with one, or a table with the columns name and accepted; "
    "or gbif, to ask GBIF.",
)
@click.option(
    "--rename",
    multiple=True,
    metavar="OLD=NEW",
    callback=_new_names,
    help="Import species OLD under the name NEW. Two with one NEW become one. Repeatable.",
)
@click.option("--leave-out", multiple=True, metavar="NAME", help="Do not import this species. Repeatable.")
@click.option("--default-licence", metavar="TEXT", help="Licence of the images of which SOURCE gives none.")
@click.option("--default-rights-holder", metavar="TEXT", help="Photographer or institution of the images of which SOURCE names none.")
@click.option("--images", metavar="FOLDER", help="Folder with the image files, if they do not lie beside the table.")
@click.option(
    "--origin",
    type=click.Choice(["real", "synthetic"]),
    help="Whether the images are photographs or synthetic.  [default: as the files say, or else real]",
)
@click.option("--download", is_flag=True, help="Fetch the images of which SOURCE has only the address. Look first with --dry-run.")
@click.option(
    "--licence",
    "licences",
    multiple=True,
    metavar="NAME",
    help='Import only images with this licence, for example CC0 or "CC BY". Repeatable.  [default: all]',
)
@click.option("--max-per-species", type=click.IntRange(min=1), metavar="N", help="Import at most N images of a species.  [default: all]")
@click.option("--resume", is_flag=True, help="Go on with an import that was stopped. What was downloaded is not fetched again.")
@seed_option
@set_option
@output_options
@click.pass_context
def collect(
    context: click.Context,
    source: Path,
    out: Path | None,
    dry_run: bool,
    resume: bool,
    overrides: tuple[str, ...],
    as_json: bool,
    quiet: bool,
    **flags: Any,
) -> None:
    """Import photographs into a new collection. Look first with --dry-run.

    \b
    SOURCE is recognised by its content. It may be
      a folder with one sub-folder for each species
      a table (CSV, TSV, Parquet) with a row for each image
      what other programs write (`syntype formats` lists them)
      another collection, or what `syntype export` wrote
      a zip or tar archive of any of these

    Every file is decoded and checked. Files that cannot be used are listed in refused.csv with the reason. The author's splits are kept. Without
    them, the images are split into training, validation and test images by group, so that images of one specimen, observation or video track are
    always in the same split.

    Images of which SOURCE has only the address are fetched with --download: a few at a time from each host, again after passing faults. Ctrl-C loses
    nothing: --resume goes on.
    """
    from syntype.collection.importers import CollectConfig
    from syntype.collection.importers import collect as stage

    config = settings(CollectConfig, flags, overrides=overrides)
    if flags["min_confidence"] is not None and config.boxes is None:
        raise click.UsageError("--min-confidence is for the boxes of a MegaDetector file; give that with --boxes.", context)
    if dry_run:
        _look(context, source, config, out, as_json)
        return
    if out is None:
        raise click.UsageError("--out is missing: the folder to write the collection to. With --dry-run nothing is written.", context)
    result = run_stage(
        lambda run: stage(source, config, out, run),
        "collect",
        out,
        config,
        seed=config.seed,
        inputs={"source": source, "names": Path(config.names) if config.names and Path(config.names).exists() else None},
        kept="Add --resume to go on.",
        resume=resume,
        quiet=quiet,
    )
    show(result.summary(), as_json, f"Next: syntype inspect {out}")


def _look(context: click.Context, source: Path, config: CollectConfig, out: Path | None, as_json: bool) -> None:
    """Print what an import would do."""
    from syntype.collection.preview import preview

    with redirect_stdout(sys.stderr):  # libraries print there
        found = preview(source, config)
    if as_json:
        show({"dry_run": True, **found.summary()}, True)
        return
    given: list[str] = []
    for option in context.command.params:
        if not isinstance(option, click.Option) or option.name in ("out", "dry_run", "resume", "as_json", "quiet"):
            continue
        if option.name == "download" and found.num_downloads:
            given.append(option.opts[-1])
        elif _was_given(context, option):
            value = context.params[str(option.name)]
            parts = [f"{key}={part}" for key, part in value.items()] if isinstance(value, dict) else value if isinstance(value, tuple) else [value]
            given += [option.opts[-1]] if option.is_flag else [word for part in parts for word in (option.opts[-1], str(part))]
    folder = out or Path("out") / (re.sub(r"[^a-z0-9]+", "-", source.resolve().stem.lower()).strip("-")[:40] or "collection")
    print(found.text(shlex.join(["syntype", "collect", str(source), *given, "--out", str(folder)]) if found.num_usable else ""), flush=True)
    if not found.num_usable:
        raise found.nothing(source)


def _was_given(context: click.Context, option: click.Option) -> bool:
    return context.get_parameter_source(str(option.name)) is click.core.ParameterSource.COMMANDLINE


@click.command(short_help="List the formats that can be imported.", epilog=example("syntype formats"))
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
def formats(as_json: bool) -> None:
    """List the formats that `syntype collect` reads, with the names for its option --format."""
    from syntype.collection.sources import READERS

    if as_json:
        show({"formats": {reader.name: reader.title for reader in READERS}}, True)
        return
    width = max(len(reader.name) for reader in READERS)
    for reader in READERS:
        print(f"{reader.name:<{width}}  {reader.title}", flush=True)


@click.command(short_help="Draw a test collection of invented fish species.", epilog=example("syntype reef --species 24 --size 64 --out out/reef"))
@out_option("the collection")
@click.option("--species", "num_species", type=click.IntRange(min=2), help="Number of species.  [default: 24]")
@click.option("--size", type=click.IntRange(16, 1024), help="Side of the images in pixels.  [default: 64]")
@seed_option
@set_option
@output_options
def reef(out: Path, overrides: tuple[str, ...], as_json: bool, quiet: bool, **flags: Any) -> None:
    """Draw a collection of invented fish species on a reef, to try Syntype without photographs.

    The number of images per species is long-tailed: few species are common and many are rare.
    """
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
    short_help="Pack a collection into one file for another program.",
    epilog=example(
        "syntype export out/curated --out out/export",
        "syntype export out/fish --layout coco --out out/for-a-detector",
        "syntype export out/curated --layout collection --all --out out/whole",
        "syntype export out/curated --layout hugging-face --sign --sign-cert chain.pem --sign-key key.pem --out out/hub",
    ),
)
@click.argument("collection", type=FOLDER)
@click.option("--out", type=FOLDER, required=True, help="Folder to write NAME.zip or NAME.csv to.")
@click.option(
    "--layout",
    type=click.Choice(["species", "collection", "hugging-face", "coco", "label-studio", "captions", "table"]),
    help="species: one folder per species and the table. collection: a collection, for Syntype. hugging-face: for Hugging Face's datasets and hub, "
    "with a data set card. coco: COCO JSON, for detectors. label-studio: tasks for Label Studio. captions: a text beside each "
    "image, for programs that train text-to-image models. table: the CSV file only.  [default: species]",
)
@click.option("--all", "everything", is_flag=True, help="Include images that curation or an expert refused.")
@click.option("--sign", is_flag=True, help="Add signed content credentials (C2PA) to the images that Syntype drew.")
@click.option(
    "--sign-cert",
    type=FOLDER,
    envvar="SYNTYPE_SIGN_CERT",
    help="With --sign: PEM file with your certificate and those of its issuers.  [default: what SYNTYPE_SIGN_CERT names]",
)
@click.option(
    "--sign-key",
    type=FOLDER,
    envvar="SYNTYPE_SIGN_KEY",
    help="With --sign: PEM file with the private key, without a password.  [default: what SYNTYPE_SIGN_KEY names]",
)
@output_options
@click.pass_context
def export(
    context: click.Context,
    collection: Path,
    out: Path,
    layout: str | None,
    everything: bool,
    sign: bool,
    sign_cert: Path | None,
    sign_key: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Pack COLLECTION into one file, with labels, licences and provenance, for other people and programs.

    Images that curation or an expert refused are left out unless --all is given. Every zip file can be read by Syntype again. Marks inside synthetic
    images are kept; with --sign these images say who vouches for them, in a form that cameras and image editors use too.
    """
    from syntype.collection.exports import ExportConfig
    from syntype.collection.exports import export as stage

    given = [option for option in context.command.params if option.name in ("sign_cert", "sign_key")]
    if not sign and any(isinstance(option, click.Option) and _was_given(context, option) for option in given):
        raise click.UsageError("--sign-cert and --sign-key say how to sign; add --sign.", context)
    signing = {"sign": True, "sign_cert": sign_cert, "sign_key": sign_key} if sign else {}
    config = settings(ExportConfig, {"layout": layout, "usable": not everything, **signing})
    opened = open_collection(collection)
    result = run_stage(
        lambda run: stage(opened, config, out, run),
        "export",
        out,
        config,
        seed=0,
        inputs={"collection": opened},
        kept=f"{collection} is unchanged; delete {out} and export again.",
        quiet=quiet,
    )
    show(result.summary(), as_json)


COMMANDS = (formats, collect, reef, export)
