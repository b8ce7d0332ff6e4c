"""The command line: ``syntype COMMAND``.

Exit codes: 0 done; 1 something went wrong that the user could not have mended; 2 the user's input is at fault; 130 Ctrl-C.
Standard output carries the result alone (one JSON object with ``--json``); everything else goes to standard error.
Commands import what they need when they run, so that ``syntype --help`` is quick.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence

import click

from syntype import __version__
from syntype.apps import cli_classify, cli_collections, cli_generators, cli_hybrids, cli_serve, cli_study, demo
from syntype.errors import SyntypeError

__all__ = ["cli", "main"]


class _Route(click.Group):
    """Lists its commands in the order in which they were added: the order of the data's route."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of the help page."""
        return list(self.commands)


@click.group(
    cls=_Route,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
    epilog="Guides: docs/index.md, or `make docs` for the same as a site.",
)
@click.version_option(__version__, prog_name="syntype")
@click.option("--debug", is_flag=True, envvar="SYNTYPE_DEBUG", help="Show the traceback of an error (also: SYNTYPE_DEBUG=1).")
def cli(debug: bool) -> None:
    """Synthetic photographs for rare species, and an honest answer to whether they help to identify them.

    The route: collect, train, adapt, generate, curate, study, report. `syntype demo --out out/demo` walks it once.
    """


for module in (cli_collections, cli_generators, cli_hybrids, cli_classify, cli_study, cli_serve, demo):
    for command in module.COMMANDS:
        cli.add_command(command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code; errors become one line on standard error."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in arguments or os.environ.get("SYNTYPE_DEBUG", "") not in ("", "0")
    try:
        outcome = cli.main(args=arguments, prog_name="syntype", standalone_mode=False)
        return outcome if isinstance(outcome, int) else 0
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return 2
    except click.UsageError as error:
        hint = f" Help: {error.ctx.command_path} --help" if error.ctx is not None else ""
        return _complain(error.format_message() + hint, 2)
    except click.ClickException as error:
        return _complain(error.format_message(), error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        return _complain("stopped by Ctrl-C. Nothing was left half-written.", 130)
    except BrokenPipeError:  # the reader, such as `head`, has gone
        sys.stderr.close()
        return 1
    except SyntypeError as error:
        if debug:
            traceback.print_exc()
        return _complain(str(error), error.exit_code)
    except Exception as error:
        if debug:
            traceback.print_exc()
            return 1
        where = _innermost(error)
        return _complain(f"unexpected {type(error).__name__}{where}: {error}. Run again with SYNTYPE_DEBUG=1 to see the traceback.", 1)


def _complain(message: str, code: int) -> int:
    click.echo("syntype: error: " + " ".join(message.split()), err=True)
    return code


def _innermost(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return f" at {os.path.basename(frames[-1].filename)}:{frames[-1].lineno}" if frames else ""


if __name__ == "__main__":
    sys.exit(main())
