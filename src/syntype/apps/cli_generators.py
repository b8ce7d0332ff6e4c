"""Commands for generators: families, train, generate, curate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from syntype.apps.cli_common import (
    FOLDER,
    drawing_options,
    example,
    on_device,
    open_collection,
    out_option,
    output_options,
    plan,
    plan_drawing,
    run_drawing,
    run_stage,
    seed_option,
    set_option,
    settings,
    show,
    stage_options,
)

__all__ = ["COMMANDS"]


@click.command(short_help="List the generator families.", epilog=example("syntype families"))
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
def families(as_json: bool) -> None:
    """List the generator families that `train` accepts.

    A family is a type of generative model, such as a GAN or a diffusion model. In brackets: the commands besides `generate` that it supports.
    """
    described = [_describe(name, words) for name, words in _known().items()]
    if as_json:
        show({"families": described}, True)
        return
    for item in described:
        abilities = f" [{', '.join(item['abilities'])}]" if item["abilities"] else ""
        print(f"{item['family']:<16} {item['description']}{abilities}", flush=True)


def _known() -> dict[str, str]:
    from syntype.generators import list_families

    return list_families()


def _describe(name: str, words: str) -> dict[str, Any]:
    """Name, description, whether it is trained, and which commands besides ``generate`` it supports."""
    from syntype.generators import family
    from syntype.generators.contract import ABILITIES

    kind = family(name)
    abilities = [ability for ability, protocol in ABILITIES.items() if issubclass(kind, protocol)]
    return {"family": name, "description": words.partition(": ")[2] or words, "learns": kind.learns, "abilities": abilities}


class _SpeciesLists(click.Command):
    """Accepts ``--only A B C`` for ``--only A --only B --only C`` (also ``--except``) if FAMILY and COLLECTION come first."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Insert the option before each further name, then parse as usual."""
        if len(args) < 2 or args[0].startswith("-") or args[1].startswith("-"):
            return super().parse_args(ctx, args)
        spread, current, filled = args[:2], "", False
        for word in args[2:]:
            if word.startswith("-"):
                current, filled = (word if word in ("--only", "--except") else ""), False
            elif current and filled:
                spread.append(current)
            else:
                filled = True
            spread.append(word)
        return super().parse_args(ctx, spread)


@click.command(
    cls=_SpeciesLists,
    short_help="Train a generator on photographs.",
    epilog=example(
        "syntype train pose_transfer out/fish --size 128 --out out/generator",
        "syntype train projected out/fish --except 'Neoglyphidodon nigroris' --minutes 45 --out out/learnt",
        "syntype train projected out/fish --out out/learnt --resume",
    ),
)
@click.argument("family")
@click.argument("collection", type=FOLDER)
@out_option("the generator")
@click.option("--size", type=click.IntRange(16, 1024), help="Side of the images in pixels.  [default: the family's own, mostly 64]")
@click.option("--minutes", type=click.FloatRange(min=0, min_open=True), help="Duration of the training in minutes. Give this, --steps or both.")
@click.option("--steps", type=click.IntRange(min=1), help="Largest number of training steps.")
@click.option("--only", multiple=True, metavar="SPECIES", help="Train on these species only (one or more names).")
@click.option("--except", "except_", multiple=True, metavar="SPECIES", help="Leave these species out (one or more names).")
@click.option("--recipe", metavar="NAME|FILE", help="Read the settings from a named recipe or a YAML file. Other options override it.")
@stage_options
def train(
    family: str,
    collection: Path,
    out: Path,
    recipe: str | None,
    resume: bool,
    overrides: tuple[str, ...],
    dry_run: bool,
    as_json: bool,
    quiet: bool,
    **flags: Any,
) -> None:
    """Train a generator of FAMILY on the training photographs of COLLECTION.

    One generator is made for all species. Families that learn need --minutes or --steps. Checkpoints are written during training; after Ctrl-C
    continue with --resume.
    `syntype families` lists the families. Begin with `pose_transfer`, which recombines cut-outs of the photographs in minutes and needs no training;
    `projected` is the first choice among those that learn.
    """
    from syntype.generators import TrainConfig
    from syntype.generators import train as stage
    from syntype.generators.engine.expected import expected
    from syntype.generators.engine.plans import plan_of
    from syntype.generators.engine.training import select_training

    if resume and recipe is None and (out / "recipe.yaml").is_file():
        recipe = str(out / "recipe.yaml")  # the settings that it was started with; options given now override them
    config = settings(TrainConfig, {"family": family, **flags}, recipe=recipe, overrides=overrides)
    opened = open_collection(collection)
    if dry_run:
        images, minutes, more = select_training(opened, config), config.minutes, plan_of(config)
        if not more:
            length: dict[str, Any] = {"minutes": minutes, "steps": config.steps, "batch_size": config.batch_size}
            minutes = expected(config.family, images.counts(), config.size, **length).minutes
        plan(as_json, out=out, images=len(images), steps=config.steps, minutes=minutes, **more)
        return
    result = run_stage(
        lambda run: stage(opened, config, out, run),
        "train",
        out,
        config,
        seed=config.seed,
        inputs={"collection": opened},
        kept=f"The last checkpoint is in {out}; continue with --resume.",
        resume=resume,
        quiet=quiet,
    )
    show(result.summary(), as_json, f"Next: syntype generate {out} --species NAME --num 20 --out out/synthetic")


@click.command(
    short_help="Generate synthetic images.",
    epilog=example("syntype generate out/adapted --species 'Neoglyphidodon nigroris' --num 200 --out out/synthetic"),
)
@click.argument("generator", type=FOLDER)
@out_option("the synthetic collection")
@click.option("--species", multiple=True, help="Species to generate. Repeatable.  [default: all species of the generator]")
@click.option("--num", type=click.IntRange(min=1), required=True, help="Number of images per species.")
@click.option("--cluster", type=FOLDER, metavar="FILE", help="Where to draw many images: a cluster file, such as lab.yaml.  [default: here]")
@drawing_options
def generate(
    generator: Path, out: Path, cluster: Path | None, device: str | None, offload: bool, resume: bool, overrides: tuple[str, ...], dry_run: bool,
    as_json: bool, quiet: bool, **flags: Any,
) -> None:  # fmt: skip
    """Generate synthetic images with a trained GENERATOR.

    The result is a collection. Every image has its own seed, and its file contains metadata that mark it as synthetic. Curate the images before
    you use them.
    """
    from syntype.cluster import read_cluster
    from syntype.generators import load_generator
    from syntype.synthesis import GenerateConfig
    from syntype.synthesis import generate as stage

    if cluster is not None and (device is not None or offload):
        option = "--device" if device is not None else "--offload"
        raise click.UsageError(f"{option} is for images that are drawn here. With --cluster, each job uses the device that its machine has.")
    place = None if cluster is None else read_cluster(cluster)
    config = settings(GenerateConfig, flags, overrides=overrides)
    trained = load_generator(generator)
    if dry_run:
        plan_drawing(as_json, out, config.num * len(config.species or trained.species), trained.size, 5)
        return
    run_drawing(
        "generate",
        lambda run: stage(on_device(trained, device, offload), config, out, run, cluster=place),
        config,
        out,
        {"generator": trained},
        resume=resume,
        quiet=quiet,
        as_json=as_json,
        then=f"Next: syntype curate {out} --real COLLECTION --out out/curated",
    )


@click.command(
    short_help="Check synthetic images, and reject unusable ones.", epilog=example("syntype curate out/synthetic --real out/fish --out out/curated")
)
@click.argument("synthetic", type=FOLDER)
@click.option("--real", type=FOLDER, required=True, help="Collection of photographs that the generator was trained on.")
@out_option("the curated collection")
@seed_option
@set_option
@output_options
def curate(synthetic: Path, real: Path, out: Path, overrides: tuple[str, ...], as_json: bool, quiet: bool, **flags: Any) -> None:
    """Check the images of the collection SYNTHETIC, and reject unusable ones.

    Three filters reject copies of training photographs, images that look like another species, and images unlike any photograph of their
    species (out of distribution). All images stay in the new collection, with the verdict `accepted` or `refused` and a reason.
    """
    from syntype.curation import CurateConfig
    from syntype.curation import curate as stage

    config = settings(CurateConfig, flags, overrides=overrides)
    drawn, photographs = open_collection(synthetic), open_collection(real)
    result = run_stage(
        lambda run: stage(drawn, photographs, config, out, run),
        "curate",
        out,
        config,
        seed=config.seed,
        inputs={"synthetic": drawn, "real": photographs},
        kept=f"{synthetic} is unchanged; delete {out} and curate again.",
        quiet=quiet,
    )
    show(result.summary(), as_json, f"Next: syntype evaluate {out} --real {real}")


COMMANDS = (families, train, generate, curate)
