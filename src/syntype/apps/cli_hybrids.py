"""Commands for what lies between images, around photographs and within them: blend, vary, inpaint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from syntype.apps.cli_common import FOLDER, example, on_device, open_collection, out_option, plan_drawing, run_drawing, settings, stage_options

__all__ = ["COMMANDS"]

num_option = click.option("--num", type=click.IntRange(min=1), help="Images of each photograph (at each strength).  [default: 1]")
species_option = click.option(
    "--species", multiple=True, help="Photographs of this species. Repeatable.  [default: all that generator and collection share]"
)
photographs_option = click.option(
    "--photograph", "photographs", multiple=True, metavar="IMAGE_ID", help="This photograph alone. Repeatable.  [default: all for training]"
)


@click.command(
    short_help="Draw what lies between two species.",
    epilog=example(
        "syntype blend out/generator --species 'Chromis chrysura' --species 'Zanclus cornutus' --num 3 --out out/strip",
        "syntype blend out/generator --species 'Zanclus cornutus' --steps 30 --out out/two-individuals",
        "syntype blend out/generator --layout board --out out/board --species A --species B --species C",
    ),
)
@click.argument("generator", type=FOLDER)
@out_option("the images, and pictures of them side by side")
@click.option("--species", multiple=True, required=True, help="Where to go, in order. Repeatable; one alone: between two individuals of it.")
@click.option(
    "--layout", type=click.Choice(["strip", "board"]), help="A walk from each to the next, or every one with every other.  [default: strip]"
)
@click.option(
    "--of", type=click.Choice(["latent", "species", "both"]), help="What moves along a strip: the individual, its species, or both.  [default: both]"
)
@click.option("--steps", type=click.IntRange(min=2), help="Images from one species to the next, both included.  [default: 9]")
@click.option("--amount", type=click.FloatRange(0, 1), help="How far a board goes from the row's species to the column's.  [default: 0.5]")
@click.option("--num", type=click.IntRange(min=1), help="Strips or boards, each from other seeds.  [default: 1]")
@stage_options
def blend(
    generator: Path, out: Path, device: str | None, resume: bool, overrides: tuple[str, ...], dry_run: bool, as_json: bool, quiet: bool, **flags: Any
) -> None:
    """Draw hybrids: what a trained GENERATOR has between two species or more, in even steps.

    The ends of a strip are the images that `generate` draws with the same seed. Beside the images lie strip.png, strip.gif and strip.webp
    (there and back), or board.png. Images of two species are called "A × B": they are to look at, and no photographs of either.
    """
    from syntype.generators import load_generator
    from syntype.synthesis import BlendConfig
    from syntype.synthesis import blend as stage

    config = settings(BlendConfig, flags, overrides=overrides)
    trained = load_generator(generator)
    if dry_run:
        a_strip = config.steps + max(0, len(config.species) - 2) * (config.steps - 1)
        plan_drawing(as_json, out, config.num * (len(set(config.species)) ** 2 if config.layout == "board" else a_strip), trained.size, 5)
        return
    draw = lambda run: stage(on_device(trained, device), config, out, run)  # noqa: E731
    run_drawing("blend", draw, config, out, {"generator": str(generator)}, resume=resume, quiet=quiet, as_json=as_json)


@click.command(
    short_help="Draw variations of photographs.",
    epilog=example(
        "syntype vary out/generator out/fish --species 'Zanclus cornutus' --num 4 --strength 0.3 --strength 0.7 --out out/variations",
        "syntype vary out/adapted out/fish --photograph 0123 --num 20 --out out/variations",
    ),
)
@click.argument("generator", type=FOLDER)
@click.argument("collection", type=FOLDER)
@out_option("the synthetic collection")
@species_option
@photographs_option
@num_option
@click.option(
    "--strength",
    "strengths",
    multiple=True,
    type=click.FloatRange(0, 1),
    help="0 stays near the photograph, 1 owes it least. Repeatable.  [default: 0.5]",
)
@stage_options
def vary(
    generator: Path,
    collection: Path,
    out: Path,
    device: str | None,
    resume: bool,
    overrides: tuple[str, ...],
    dry_run: bool,
    as_json: bool,
    quiet: bool,
    **flags: Any,
) -> None:
    """Draw variations of the training photographs in COLLECTION with a trained GENERATOR: for species of which there are few.

    Each image names its photograph in the column `parents`, and has its species. Test photographs are refused: what is drawn from them
    would carry the answers into the training set. sheet.png shows photographs beside their variations. Curate what you draw: at a low
    strength it may be the photograph again.
    """
    from syntype.generators import load_generator
    from syntype.synthesis import VaryConfig
    from syntype.synthesis import vary as stage
    from syntype.synthesis.photographs import choose_photographs

    config = settings(VaryConfig, flags, overrides=overrides)
    trained, opened = load_generator(generator), open_collection(collection)
    if dry_run:
        images = len(choose_photographs(trained, opened, config)) * config.num * len(config.strengths)
        plan_drawing(as_json, out, images, trained.size, 1)
        return
    inputs, then = {"generator": str(generator), "collection": str(collection)}, f"Next: syntype curate {out} --real {collection} --out out/curated"
    draw = lambda run: stage(on_device(trained, device), opened, config, out, run)  # noqa: E731
    run_drawing("vary", draw, config, out, inputs, resume=resume, quiet=quiet, as_json=as_json, then=then)


@click.command(
    short_help="Draw a part of photographs anew.",
    epilog=example(
        "syntype inpaint out/generator out/fish --photograph 0123 --box 0.25 0.25 0.75 0.75 --num 4 --out out/filled",
        "syntype inpaint out/generator out/fish --species 'Zanclus cornutus' --mask mask.png --out out/filled",
    ),
)
@click.argument("generator", type=FOLDER)
@click.argument("collection", type=FOLDER)
@out_option("the synthetic collection")
@species_option
@photographs_option
@num_option
@click.option(
    "--box",
    nargs=4,
    type=float,
    metavar="LEFT TOP RIGHT BOTTOM",
    help="What to draw anew: shares of the side (all at most 1), or pixels of the generator's square.",
)
@click.option("--mask", type=FOLDER, help="An image file instead: white where to draw, black where to keep.")
@stage_options
def inpaint(
    generator: Path,
    collection: Path,
    out: Path,
    device: str | None,
    resume: bool,
    overrides: tuple[str, ...],
    dry_run: bool,
    as_json: bool,
    quiet: bool,
    **flags: Any,
) -> None:
    """Draw a part of the training photographs in COLLECTION anew with a trained GENERATOR; the rest stays as it is, pixel by pixel.

    What comes out is the square that the generator sees of a photograph, at the generator's size. sheet.png shows photographs, the hole,
    and what fills it. GANs search for what fits, `--set controls.search_steps=N` says how long.
    """
    from syntype.generators import load_generator
    from syntype.synthesis import InpaintConfig
    from syntype.synthesis import inpaint as stage
    from syntype.synthesis.photographs import choose_photographs

    config = settings(InpaintConfig, flags, overrides=overrides)
    trained, opened = load_generator(generator), open_collection(collection)
    if dry_run:
        plan_drawing(as_json, out, len(choose_photographs(trained, opened, config)) * config.num, trained.size, 1 / 30)
        return
    inputs = {"generator": str(generator), "collection": str(collection)}
    draw = lambda run: stage(on_device(trained, device), opened, config, out, run)  # noqa: E731
    run_drawing("inpaint", draw, config, out, inputs, resume=resume, quiet=quiet, as_json=as_json)


COMMANDS = (blend, vary, inpaint)
