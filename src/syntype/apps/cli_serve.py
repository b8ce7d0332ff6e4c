"""The command that starts the web application: serve."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from syntype.apps.cli_common import FOLDER, example, settings
from syntype.errors import UnsupportedError

__all__ = ["COMMANDS"]


@click.command(
    short_help="Start the Studio, a web application.",
    epilog=example(
        "syntype serve out/studio",
        "syntype serve out/studio --host 0.0.0.0 --public reef-fish",
        "syntype serve out/studio --host 0.0.0.0 --database postgresql://syntype@db/studio",
        "syntype serve /shared/studio --host 0.0.0.0 --cluster lab.yaml --database postgresql://syntype@db/studio",
    ),
)
@click.argument("workspace", type=FOLDER)
@click.option("--host", help="Address to listen on. Any address other than 127.0.0.1 requires a token.  [default: 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on; 0 for any free port.  [default: 8765]")
@click.option(
    "--token",
    envvar="SYNTYPE_TOKEN",
    help="Access token, at least 12 characters: who has it may do everything, and gives others accounts on the page People.  "
    "[default: none on 127.0.0.1, else a random one that is printed once]",
)
@click.option("--https", is_flag=True, help="The Studio is behind an https proxy: send cookies over https only.")
@click.option("--database", metavar="URL", help="postgresql://USER@HOST/NAME, or sqlite:///FILE.  [default: SQLite in the workspace]")
@click.option(
    "--public",
    metavar="GENERATOR[,GENERATOR]",
    help="Generators of the workspace with which visitors may draw hybrids without the token, at /try. They can open nothing else.",
)
@click.option("--jobs", type=click.IntRange(1, 64), help="Number of jobs that run at the same time on this machine.  [default: 1]")
@click.option("--cluster", type=FOLDER, metavar="FILE", help="Where jobs run: a cluster file, such as lab.yaml.  [default: this machine]")
def serve(
    workspace: Path,
    host: str | None,
    port: int | None,
    token: str | None,
    https: bool,
    database: str | None,
    public: str | None,
    jobs: int | None,
    cluster: Path | None,
) -> None:
    """Start the Studio, a web application for all steps, with its data in the folder WORKSPACE.

    A missing folder is created. Ctrl-C stops the Studio; running jobs continue at the next start. Those of a cluster go on meanwhile.
    """
    if jobs is not None and cluster is not None:
        raise click.UsageError("--jobs is for jobs on this machine. With --cluster, the cluster file says how many run at the same time.")
    try:
        from syntype.apps.web.limits import StudioConfig
        from syntype.apps.web.server import serve as run
        from syntype.cluster import read_cluster
    except ModuleNotFoundError as error:
        raise UnsupportedError(f"the Studio needs the package {error.name}. Install it: pip install 'syntype[web]'") from None
    names = None if public is None else tuple(name for part in public.split(",") if (name := part.strip()))
    flags: dict[str, Any] = {"host": host, "port": port, "token": token, "https": https, "public": names, "jobs": jobs}
    if cluster is not None:
        flags["cluster"] = read_cluster(cluster).model_dump(mode="json", exclude_unset=True)
    run(workspace, settings(StudioConfig, flags), database)


COMMANDS = (serve,)
