"""Commands that generate images from other images: blend, vary, inpaint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from syntype.apps.cli_common import FOLDER, drawing_options, example, on_device, open_collection, out_option, plan_drawing, run_drawing, settings

__all__ = ["COMMANDS"]

num_option = click.option("--num", type=click.IntRange(min=1), help="Number of images per photograph (and strength).  [default: 1]")
species_option = click.option(
    "--species", multiple=True, help="Use photographs of this species. Repeatable.  [default: all species of both generator and collection]"
)
photographs_option = click.option(
    "--photograph",
    "photographs",
    multiple=True,
    metavar="IMAGE_ID",
    help="Use this photograph only. Repeatable.  [default: all training photographs]",
)


@click.command(
    short_help="Interpolate between species or individuals.",
    epilog=example(
        "syntype blend out/generator --species 'Chromis chrysura' --species 'Zanclus cornutus' --num 3 --out out/strip",
        "syntype blend out/generator --species 'Zanclus cornutus' --steps 30 --out out/two-individuals",
        "syntype blend out/generator --layout board --out out/board --species A --species B --species C",
    ),
)
@click.argument("generator", type=FOLDER)
@out_option("the images and overview images")
@click.option(
    "--species",
    multiple=True,
    required=True,
    help="Species to interpolate between, in order. Repeatable. A single species: between two of its individuals.",
)
@click.option(
    "--layout",
    type=click.Choice(["strip", "board"]),
    help="strip: in even steps from each species to the next. board: a grid of all pairs.  [default: strip]",
)
@click.option(
    "--of",
    type=click.Choice(["latent", "species", "both"]),
    help="What is interpolated along a strip: latent vector (individual), species, or both.  [default: both]",
)
@click.option("--steps", type=click.IntRange(min=2), help="Number of images from one species to the next, including both ends.  [default: 9]")
@click.option("--amount", type=click.FloatRange(0, 1), help="Weight of the column's species in a board; 0 is the row's species.  [default: 0.5]")
@click.option("--num", type=click.IntRange(min=1), help="Number of strips or boards, each with other seeds.  [default: 1]")
@drawing_options
def blend(
    generator: Path, out: Path, device: str | None, offload: bool, resume: bool, overrides: tuple[str, ...], dry_run: bool, as_json: bool,
    quiet: bool, **flags: Any,
) -> None:  # fmt: skip
    """Generate images between two or more species (hybrids), or between individuals, with a trained GENERATOR.

    The ends of a strip are the images that `generate` makes with the same seed. --out also gets overview images: strip.png, and the animations
    strip.gif and strip.webp; or board.png. Images of two species get the species name "A × B" and the label of both, by their parts: `classify
    train` and `study` use it. They also show what the generator has learnt.
    """
    from syntype.generators import load_generator
    from syntype.synthesis import BlendConfig
    from syntype.synthesis import blend as stage

    config = settings(BlendConfig, flags, overrides=overrides)
    trained = load_generator(generator)
    if dry_run:
        num_strip = config.steps + max(0, len(config.species) - 2) * (config.steps - 1)
        plan_drawing(as_json, out, config.num * (len(set(config.species)) ** 2 if config.layout == "board" else num_strip), trained.size, 5)
        return
    draw = lambda run: stage(on_device(trained, device, offload), config, out, run)  # noqa: E731
    run_drawing("blend", draw, config, out, {"generator": trained}, resume=resume, quiet=quiet, as_json=as_json)


@click.command(
    short_help="Generate variations of photographs.",
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
    help="How far to change the photograph: 0 least, 1 most. Repeatable.  [default: 0.5]",
)
@drawing_options
def vary(
    generator: Path,
    collection: Path,
    out: Path,
    device: str | None,
    offload: bool,
    resume: bool,
    overrides: tuple[str, ...],
    dry_run: bool,
    as_json: bool,
    quiet: bool,
    **flags: Any,
) -> None:
    """Generate variations of the training photographs in COLLECTION with a trained GENERATOR.

    This is useful for species with few photographs. Each image has the species of its photograph, which the column `parents` names. Test
    and validation photographs are rejected, because their variations would leak them into training. sheet.png shows photographs with their
    variations. Curate the images: at a low strength they may be copies.
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
    inputs, then = {"generator": trained, "collection": opened}, f"Next: syntype curate {out} --real {collection} --out out/curated"
    draw = lambda run: stage(on_device(trained, device, offload), opened, config, out, run)  # noqa: E731
    run_drawing("vary", draw, config, out, inputs, resume=resume, quiet=quiet, as_json=as_json, then=then)


@click.command(
    short_help="Replace a part of photographs by generated content.",
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
    help="Area to replace: fractions of the side if all are at most 1, else pixels of the generator's image.",
)
@click.option("--mask", type=FOLDER, help="Instead of --box, a mask image: white where to replace, black where to keep.")
@drawing_options
def inpaint(
    generator: Path,
    collection: Path,
    out: Path,
    device: str | None,
    offload: bool,
    resume: bool,
    overrides: tuple[str, ...],
    dry_run: bool,
    as_json: bool,
    quiet: bool,
    **flags: Any,
) -> None:
    """Replace a part of the training photographs in COLLECTION by content of a trained GENERATOR (inpainting).

    Give --box or --mask. The other pixels keep their values. The images are square crops of the photographs at the generator's size. sheet.png
    shows the photographs, the area and the results. With a GAN, `--set controls.search_steps=N` sets the number of optimisation steps.
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
    inputs = {"generator": trained, "collection": opened}
    draw = lambda run: stage(on_device(trained, device, offload), opened, config, out, run)  # noqa: E731
    run_drawing("inpaint", draw, config, out, inputs, resume=resume, quiet=quiet, as_json=as_json)


COMMANDS = (blend, vary, inpaint)
