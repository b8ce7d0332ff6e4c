"""Looks into an upload before it is imported, in a process of its own: whatever the tables in it are, the server goes on.

It is ``syntype collect UPLOAD --dry-run``, the very code of the import.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from syntype.apps.web.languages import gettext
from syntype.apps.web.limits import Limits
from syntype.apps.web.wording import in_the_studio
from syntype.errors import InputError, shortened

__all__ = ["look"]

_CODE = """
import resource, sys
with __import__("contextlib").suppress(ValueError, OSError):
    resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[1]), resource.getrlimit(resource.RLIMIT_AS)[1]))
from syntype.apps.cli import main
sys.exit(main(sys.argv[2:]))
"""
_MOST_OUTPUT = 100_000_000


def look(folder: Path, options: Sequence[str], limits: Limits) -> dict[str, Any]:
    """The summary of the preview of a folder; paths and messages are told from the folder on.

    Args:
        options: of ``syntype collect``.

    Raises:
        InputError: the folder cannot be read; the message is that of the command.
    """
    command = [sys.executable, "-c", _CODE, str(limits.look_bytes), "collect", str(folder), "--dry-run", "--json", *options]
    environment = {**os.environ, "SYNTYPE_DEBUG": "", "OMP_NUM_THREADS": "1"}
    too_large = InputError(gettext("the preview takes too long, or too much memory"), gettext("Send less at once, or choose the format yourself."))
    with TemporaryFile() as output, TemporaryFile() as messages:
        try:
            ended = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=messages, timeout=limits.look_seconds, env=environment, check=False
            )
        except subprocess.TimeoutExpired:
            raise too_large from None
        if ended.returncode == 0 and output.tell() <= _MOST_OUTPUT:
            output.seek(0)
            found: dict[str, Any] = json.loads(output.read())
            return _in_words(_from(found, folder))
        messages.seek(max(0, messages.tell() - 20_000))
        lines = messages.read().decode("utf-8", "replace").splitlines()
    told = [line.removeprefix("syntype: error: ") for line in lines if line.startswith("syntype: error: ")]
    if not told or "MemoryError" in told[-1]:
        raise too_large
    raise _Told(in_the_studio(_from(told[-1], folder)))


class _Told(InputError):
    """An error of the command, with its own words."""

    def __init__(self, message: str) -> None:
        reason, _, hint = message.partition(". ")
        super().__init__(reason, hint)
        self.args = (shortened(message, 1500),)


def _in_words(found: dict[str, Any]) -> dict[str, Any]:
    """What was found, its sentences in the words of the Studio."""
    refused = [{**item, "reason": in_the_studio(item["reason"]), "hint": in_the_studio(item["hint"], hint=True)} for item in found["refused_items"]]
    counts: dict[str, int] = {}
    for reason, number in found["refused"].items():
        counts[in_the_studio(reason)] = counts.get(in_the_studio(reason), 0) + number
    told = {"sentence": in_the_studio(found["sentence"]), "notes": [in_the_studio(note) for note in found["notes"]]}
    return {**found, **told, "refused_items": refused, "refused": counts}


def _from(value: Any, folder: Path) -> Any:
    """The same value, where paths in texts begin at the folder."""
    if isinstance(value, str):
        return value.replace(f"{folder}{os.sep}", "").replace(str(folder), "the upload")
    if isinstance(value, list):
        return [_from(item, folder) for item in value]
    if isinstance(value, dict):
        return {_from(key, folder): _from(item, folder) for key, item in value.items()}
    return value
