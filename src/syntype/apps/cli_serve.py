"""The command that starts the web application: serve."""

from __future__ import annotations

from pathlib import Path

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
    ),
)
@click.argument("workspace", type=FOLDER)
@click.option("--host", help="Address to listen on. Any address other than 127.0.0.1 requires a token.  [default: 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on; 0 for any free port.  [default: 8765]")
@click.option(
    "--token",
    envvar="SYNTYPE_TOKEN",
    help="Access token that users must enter, at least 12 characters.  [default: none on 127.0.0.1, else a random one that is printed once]",
)
@click.option("--https", is_flag=True, help="The Studio is behind an https proxy: send cookies over https only.")
@click.option("--database", metavar="URL", help="PostgreSQL database, postgresql://USER@HOST/NAME.  [default: SQLite in the workspace]")
@click.option(
    "--public",
    metavar="GENERATOR[,GENERATOR]",
    help="Generators of the workspace with which visitors may draw hybrids without the token, at /try. They can open nothing else.",
)
@click.option("--jobs", type=click.IntRange(1, 64), help="Number of jobs that run at the same time.  [default: 1]")
def serve(
    workspace: Path, host: str | None, port: int | None, token: str | None, https: bool, database: str | None, public: str | None, jobs: int | None
) -> None:
    """Start the Studio, a web application for all steps, with its data in the folder WORKSPACE.

    A missing folder is created. Ctrl-C stops the Studio; running jobs continue at the next start.
    """
    try:
        from syntype.apps.web.limits import StudioConfig
        from syntype.apps.web.server import serve as run
    except ModuleNotFoundError as error:
        raise UnsupportedError(f"the Studio needs the package {error.name}. Install it: pip install 'syntype[web]'") from None
    names = None if public is None else tuple(name for part in public.split(",") if (name := part.strip()))
    run(workspace, settings(StudioConfig, {"host": host, "port": port, "token": token, "https": https, "public": names, "jobs": jobs}), database)


COMMANDS = (serve,)
