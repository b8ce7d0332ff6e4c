"""The command line: ``syntype COMMAND``.

Exit codes: 0 success; 1 an error that the user did not cause; 2 wrong input; 75 pre-empted by a cluster, to be continued with ``--resume``;
130 stopped by Ctrl-C.
Standard output holds only the result (one JSON object with ``--json``); messages and progress go to standard error.
Commands import their packages when they run, so that ``syntype --help`` is fast.
"""

from __future__ import annotations

import gc
import io
import os
import sys
import traceback
from collections.abc import Sequence

import click

from syntype import __version__
from syntype.apps import cli_adapt, cli_classify, cli_collections, cli_generators, cli_hybrids, cli_inspect, cli_serve, cli_study, demo
from syntype.errors import SyntypeError, shortened

__all__ = ["cli", "main"]


_MOST_BYTES = 1900
"""Size of an error message on the screen, whatever it quotes."""
SECTIONS = {
    "Photographs": ("formats", "collect", "inspect", "relabel", "move", "reef", "export"),
    "Generators": ("families", "train", "adapt"),
    "Synthetic images": ("generate", "blend", "vary", "inpaint", "curate", "evaluate"),
    "Identification": ("classify", "study", "report"),
    "All in one": ("demo", "serve", "jobs"),
}
"""Commands on the help page, in the order of use."""


class _SectionedGroup(click.Group):
    """Lists the commands of ``SECTIONS`` under their headings."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of the help page."""
        return [name for names in SECTIONS.values() for name in names]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write one list of commands per section."""
        width = max(map(len, self.commands))
        for heading, names in SECTIONS.items():
            with formatter.section(heading):
                formatter.write_dl([(f"{name:<{width}}", self.commands[name].get_short_help_str(100)) for name in names])


@click.group(
    cls=_SectionedGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
    epilog="Guides: docs/index.md, or `make docs` for the same as a site.",
)
@click.version_option(__version__, prog_name="syntype")
@click.option(
    "--debug", is_flag=True, envvar="SYNTYPE_DEBUG", help="Show the traceback of an error. The environment variable SYNTYPE_DEBUG=1 does the same."
)
def cli(debug: bool) -> None:
    """Generate synthetic photographs of rare species, and test whether they help to identify these species.

    The usual order: collect photographs, train a generator, adapt it to a rare species, generate images, curate them, and run a study, which
    compares classifiers trained with and without them. Each command writes a folder that the next one reads.
    `syntype demo --out out/demo` runs all steps on drawn fish.
    """


for module in (cli_collections, cli_inspect, cli_generators, cli_adapt, cli_hybrids, cli_classify, cli_study, cli_serve, demo):
    for command in module.COMMANDS:
        cli.add_command(command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code. An error is printed as one line on standard error."""
    gc.set_threshold(10_000, 10, 10)  # the search for unreachable objects took a sixth of the time until a command has imported what it needs
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a console that lacks a character shows ? instead
    debug = "--debug" in arguments or os.environ.get("SYNTYPE_DEBUG", "") not in ("", "0")
    try:
        outcome = cli.main(args=arguments, prog_name="syntype", standalone_mode=False)
        return outcome if isinstance(outcome, int) else 0
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.format_message(), file=sys.stderr)
        return 2
    except click.UsageError as error:
        hint = f" Help: {error.ctx.command_path} --help" if error.ctx is not None else ""
        return _print_error(error.format_message() + hint, 2)
    except click.ClickException as error:
        return _print_error(error.format_message(), error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        return _print_error("stopped by Ctrl-C. No file was left incomplete.", 130)
    except BrokenPipeError:  # the program that reads the output, such as `head`, has ended
        sys.stderr.close()
        return 1
    except SyntypeError as error:
        if debug:
            traceback.print_exc()
        return _print_error(str(error), error.exit_code)
    except Exception as error:
        from syntype.files import disk_problem

        if debug:
            traceback.print_exc()
            return 1
        if (problem := disk_problem(error, "the output")) is not None:
            return _print_error(str(problem), problem.exit_code)
        where = _location(error)
        return _print_error(f"unexpected {type(error).__name__}{where}: {error}. Run again with SYNTYPE_DEBUG=1 to see the traceback.", 1)


def _print_error(message: str, code: int) -> int:
    line = shortened(" ".join(message.split()), _MOST_BYTES)
    while (excess := len(line.encode("utf-8", "replace")) - _MOST_BYTES) > 0:
        line = shortened(line, len(line) - max(1, excess // 4))
    print(f"syntype: error: {line}", file=sys.stderr)
    return code


def _location(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return f" at {os.path.basename(frames[-1].filename)}:{frames[-1].lineno}" if frames else ""


if __name__ == "__main__":
    sys.exit(main())
