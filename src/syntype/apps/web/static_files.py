"""The files that all pages load: style sheet, fonts, scripts. Their addresses name their content, so a browser asks for each of them once."""

from __future__ import annotations

import hashlib
import os
import re
from functools import cache
from pathlib import Path

from markupsafe import Markup
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

__all__ = ["KEPT", "STATIC", "script_tags", "static_address"]

KEPT = "public, max-age=31536000, immutable"
"""``Cache-Control`` of what never changes at its address."""
_FOLDER = Path(__file__).parent / "static"
_IMPORTED = re.compile(r'^import (?:[^"]* from )?"\./([\w-]+\.js)";', re.MULTILINE)


class _Static(StaticFiles):
    """Serves ``/static/VERSION/FILE``, which browsers may keep. Without a version, or with that of another Syntype, a file is served and not kept."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        version, _, name = path.partition(os.sep)
        answer = await super().get_response(name if re.fullmatch("[0-9a-f]{16}", version) else path, scope)
        if version == _version():
            answer.headers["Cache-Control"] = KEPT
        return answer


STATIC = _Static(directory=_FOLDER)


@cache
def _version() -> str:
    """Of all files together: scripts import each other by relative addresses, so they share one."""
    digest = hashlib.sha256()
    for path in sorted(_FOLDER.iterdir()):
        digest.update(f"{path.name}\n{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()[:16]


def static_address(name: str) -> str:
    """The address of a file in ``static/``."""
    return f"/static/{_version()}/{name}"


@cache
def script_tags(name: str) -> Markup:
    """The tags that run a script, and before it those that fetch what it imports, so that a browser need not read one file to learn of the next."""
    links = [Markup('<link rel="modulepreload" href="{}">').format(static_address(other)) for other in _imports(name)]
    return Markup("\n").join([*links, Markup('<script type="module" src="{}"></script>').format(static_address(name))])


def _imports(name: str) -> list[str]:
    """All scripts that a script imports, directly or by another one."""
    found: list[str] = []
    waiting = [name]
    while waiting:
        for other in _IMPORTED.findall((_FOLDER / waiting.pop()).read_text(encoding="utf-8")):
            if other not in found:
                found.append(other)
                waiting.append(other)
    return found
