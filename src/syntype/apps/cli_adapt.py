"""Commands that adapt a generator to one species or to many, here or on a cluster: adapt, jobs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from syntype.apps.cli_common import FOLDER, example, kept_jobs, open_collection, out_option, plan, run_stage, settings, show, stage_options

if TYPE_CHECKING:
    from syntype.collection import Collection
    from syntype.generators import Generator

__all__ = ["COMMANDS"]


@click.command(
    short_help="Adapt a generator to new species with few photographs.",
    epilog=example(
        "syntype adapt out/generator out/fish --species 'Neoglyphidodon nigroris' --shots 6 --out out/adapted",
        "syntype adapt out/generator out/fish --all-rare --cluster lab.yaml --out out/all",
        "syntype adapt out/generator out/fish --all-rare --cluster lab.yaml --out out/all --resume",
    ),
)
@click.argument("generator", type=FOLDER)
@click.argument("collection", type=FOLDER)
@out_option("the adapted generator")
@click.option("--species", help="Species to learn.")
@click.option("--all-rare", is_flag=True, help="Instead of --species: learn each species with training photographs that GENERATOR does not know.")
@click.option("--species-list", type=FOLDER, metavar="FILE", help="Instead of --species: learn the species in a text file, one name a line.")
@click.option("--cluster", type=FOLDER, metavar="FILE", help="Where to compute many species: a cluster file, such as lab.yaml.  [default: here]")
@click.option(
    "--method",
    help="Adaptation method: modulate, finetune, freeze-d, ewc, or encode (in seconds, without training).  "
    "[default: modulate, or finetune if the family has no other]",
)
@click.option("--shots", type=click.IntRange(min=1), help="Number of training photographs to use.  [default: 6]")
@click.option("--steps", type=click.IntRange(min=1), help="Number of training steps; `encode` takes none.  [default: 300]")
@click.option("--recipe", metavar="NAME|FILE", help="Read the settings from a named recipe or a YAML file. Other options override it.")
@stage_options
def adapt(
    generator: Path,
    collection: Path,
    out: Path,
    recipe: str | None,
    resume: bool,
    overrides: tuple[str, ...],
    dry_run: bool,
    as_json: bool,
    quiet: bool,
    species: str | None,
    all_rare: bool,
    species_list: Path | None,
    cluster: Path | None,
    **flags: Any,
) -> None:
    """Adapt a trained GENERATOR to more species, each with a few training photographs from COLLECTION.

    Only the weights that change are saved. The result refers to GENERATOR, which must be kept, and its other species do not change.

    With --all-rare or --species-list, many species are learnt, each as it would be learnt alone, and `species.csv` in the folder --out says which are
    done, which failed, and why. The same command with --resume learns the missing ones.
    """
    if sum((species is not None, all_rare, species_list is not None)) != 1:
        raise click.UsageError("Give one of --species NAME, --all-rare and --species-list FILE.")
    if species is not None and cluster is not None:
        raise click.UsageError("--cluster is for many species: give --all-rare or --species-list FILE with it.")
    from syntype.generators import load_generator

    if resume and recipe is None and (out / "recipe.yaml").is_file():
        recipe = str(out / "recipe.yaml")  # the settings that it was started with; options given now override them
    trained, opened = load_generator(generator), open_collection(collection)
    if species is None:
        _adapt_many(trained, opened, out, recipe, species_list, cluster, flags, overrides, resume, dry_run, as_json, quiet)
        return
    from syntype.adaptation import AdaptConfig
    from syntype.adaptation import adapt as stage
    from syntype.adaptation.learning import choose_photographs

    config = settings(AdaptConfig, {"species": species, **flags}, recipe=recipe, overrides=overrides)
    if dry_run:
        photographs = choose_photographs(opened, config.species, config.shots, config.seed)
        minutes = _minutes(trained, config.training_steps * config.batch_size)
        plan(as_json, out=out, images=len(photographs), steps=config.training_steps, minutes=minutes)
        return
    result = run_stage(
        lambda run: stage(trained, opened, config, out, run),
        "adapt",
        out,
        config,
        seed=config.seed,
        inputs={"generator": trained, "collection": opened},
        kept=f"{generator} is unchanged; the progress so far is in {out}: continue with --resume.",
        resume=resume,
        quiet=quiet,
    )
    show(result.summary(), as_json, f"Next: syntype generate {out} --species '{species}' --num 20 --out out/synthetic")


def _minutes(generator: Generator, images: int) -> float | None:
    """Estimated minutes for training on so many images; None for a family whose speed on a graphics card is not known."""
    from syntype.generators.contract import Plans
    from syntype.generators.engine.expected import images_per_second

    return None if isinstance(generator.model, Plans) else images / images_per_second(generator.size) / 60


def _adapt_many(
    generator: Generator,
    collection: Collection,
    out: Path,
    recipe: str | None,
    species_list: Path | None,
    cluster_file: Path | None,
    flags: dict[str, Any],
    overrides: tuple[str, ...],
    resume: bool,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    from syntype.adaptation import AdaptManyConfig, adapt_many, read_species_list, species_to_learn
    from syntype.cluster import Cluster, read_cluster

    cluster = Cluster() if cluster_file is None else read_cluster(cluster_file)
    names = species_to_learn(generator, collection) if species_list is None else read_species_list(species_list)
    config = settings(AdaptManyConfig, {"species": names, **flags}, recipe=recipe, overrides=overrides)
    if dry_run:
        minutes = _minutes(generator, len(names) * config.training_steps * config.batch_size)
        tasks = -(-len(names) // config.species_per_task)
        steps = len(names) * config.training_steps
        plan(as_json, out=out, images=len(collection), steps=steps, minutes=minutes, species=len(names), tasks=tasks, executor=cluster.executor)
        return
    result = run_stage(
        lambda run: adapt_many(generator, collection, config, out, run, cluster=cluster),
        "adapt-many",
        out,
        config,
        seed=config.seed,
        inputs={"generator": generator, "collection": collection},
        kept=kept_jobs("species learnt", out, cluster),
        resume=resume,
        quiet=quiet,
    )
    show(result.summary(), as_json, f"Next: syntype generate {out} --num 20 --out out/synthetic")


@click.command(short_help="Show or cancel the jobs of a command.", epilog=example("syntype jobs out/all", "syntype jobs out/all --cancel"))
@click.argument("folder", metavar="OUT", type=FOLDER)
@click.option("--cancel", is_flag=True, help="Cancel the jobs. Each has its last checkpoint.")
@click.option("--log", metavar="JOB", help="Print the messages of one job.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
def jobs(folder: Path, cancel: bool, log: str | None, as_json: bool) -> None:
    """Show the jobs that a command with --cluster has submitted for its folder OUT, and that it has not seen end.

    The jobs of a cluster go on when the command is stopped. The same command with --resume waits for them, and goes on.
    """
    from syntype.cluster import cancel_jobs, job_states
    from syntype.errors import InputError, UnknownNameError

    places = sorted(path.parent for path in (folder / "cluster").rglob("jobs.json"))
    if not places:
        raise InputError("has no jobs", "Give the folder --out of a command that was started with --cluster.", file=folder)
    if cancel:
        show({"cancelled": sum(map(cancel_jobs, places))}, as_json)
        return
    states = [state for place in places for state in job_states(place)]
    if log is not None:
        found = next((state for state in states if state.name == log), None)
        if found is None:
            raise UnknownNameError("job", log, [state.name for state in states])
        print(found.log.read_text(encoding="utf-8", errors="replace") if found.log.is_file() else "(no messages yet)", flush=True)
        return
    if not states and not as_json:
        print("There are no jobs left.", flush=True)
        return
    described = [{"job": one.name, "id": one.identifier, "state": "there" if one.alive else "ended", "log": str(one.log)} for one in states]
    show({"jobs": described}, as_json)


COMMANDS = (adapt, jobs)
