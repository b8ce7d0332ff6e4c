"""The command that starts the web application: serve."""

from __future__ import annotations

from pathlib import Path

import click

from syntype.apps.cli_common import FOLDER, example, settings
from syntype.errors import UnsupportedError

__all__ = ["COMMANDS"]


@click.command(
    short_help="Start the Studio, a web application over a workspace.",
    epilog=example("syntype serve out/studio", "syntype serve out/studio --host 0.0.0.0 --database postgresql://syntype@db/studio"),
)
@click.argument("workspace", type=FOLDER)
@click.option("--host", help="Address to answer at; any but this machine's own demands a token.  [default: 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to answer at; 0 for any that is free.  [default: 8765]")
@click.option(
    "--token",
    envvar="SYNTYPE_TOKEN",
    help="What visitors must show, 12 characters or more.  [default: none on 127.0.0.1, elsewhere one is made and shown once]",
)
@click.option("--https", is_flag=True, help="A proxy in front of the Studio speaks https: cookies travel by that alone.")
@click.option("--database", metavar="URL", help="postgresql://USER@HOST/NAME instead of SQLite in the workspace.")
@click.option("--jobs", type=click.IntRange(1, 64), help="Jobs that run at the same time.  [default: 1]")
def serve(workspace: Path, host: str | None, port: int | None, token: str | None, https: bool, database: str | None, jobs: int | None) -> None:
    """Start the Studio over the folder WORKSPACE, which is made where it is missing. Ctrl-C stops it; jobs go on at the next start."""
    try:
        from syntype.apps.web.limits import StudioConfig
        from syntype.apps.web.server import serve as run
    except ModuleNotFoundError as error:
        raise UnsupportedError(f"the Studio needs the package {error.name}. Install it: pip install 'syntype[web]'") from None
    run(workspace, settings(StudioConfig, {"host": host, "port": port, "token": token, "https": https, "jobs": jobs}), database)


COMMANDS = (serve,)
