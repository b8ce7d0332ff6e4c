"""A Sphinx extension for the generated reference pages.

Settings classes list their fields: the type as the source has it, the default, the range, and the string literal that follows the field in the
source. Examples of commands are shown as code. The directive ``families`` writes a section for every generator family.
"""

from __future__ import annotations

import inspect
from typing import Any

import click
from docutils import nodes
from pydantic.fields import FieldInfo
from sphinx.application import Sphinx
from sphinx.domains.python import PyObject
from sphinx.pycode import ModuleAnalyzer
from sphinx.util.docutils import SphinxDirective

from syntype.generators import family, list_families
from syntype.generators.contract import ABILITIES
from syntype.recipe import Settings

__all__ = ["setup"]

_RANGES = {
    "ge": "at least",
    "gt": "more than",
    "le": "at most",
    "lt": "less than",
    "multiple_of": "a multiple of",
    "min_length": "of length at least",
}


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the hooks."""
    app.connect("autodoc-process-docstring", _add_fields)
    app.connect("autodoc-process-signature", _hide_signature)
    app.connect("sphinx-click-process-epilog", _show_as_code)
    app.add_directive("families", Families)
    for kind in PyObject.doc_field_types:
        if kind.name == "variable":
            kind.label = "Attributes"
    return {"parallel_read_safe": True}


def _add_fields(app: Sphinx, what: str, name: str, item: Any, options: Any, lines: list[str]) -> None:
    if what != "class" or not issubclass(item, Settings) or not item.model_fields:
        return
    lines += ["", "**Settings**", ""]
    for field, info in item.model_fields.items():
        written, described = _in_source(item, field)
        lines += [f"``{info.alias or field}`` : ``{written}``, {_default(info)}{_range(info)}", *(f"   {line}" for line in described or [""]), ""]


class Families(SphinxDirective):
    """A section for every family: what its file says of it, what it can do, and its settings."""

    def run(self) -> list[nodes.Node]:
        """Write the sections as Markdown, and parse them."""
        lines: list[str] = []
        for name in list_families():
            kind = family(name)
            abilities = [ability for ability, protocol in ABILITIES.items() if issubclass(kind, protocol)]
            lines += [f"## {name}", "", *(inspect.getdoc(inspect.getmodule(kind)) or "").splitlines(), ""]
            lines += [f"Commands besides `train` and `generate`: {', '.join(f'`{ability}`' for ability in abilities) or 'none'}.", ""]
            for field, info in kind.Config.model_fields.items():
                written, described = _in_source(kind.Config, field)
                lines += [f"- `{field}`: `{written}`, {_default(info)}{_range(info)}. {' '.join(described)}".replace("``", "`")]
            lines.append("")
        return self.parse_text_to_nodes("\n".join(lines), allow_section_headings=True)


def _in_source(kind: type[Settings], field: str) -> tuple[str, list[str]]:
    """The annotation of a field and the string below it, from the class of the hierarchy that declares it."""
    for owner in kind.__mro__:
        if field in inspect.get_annotations(owner):
            found = ModuleAnalyzer.for_module(owner.__module__).find_attr_docs().get((owner.__qualname__, field), [])
            return str(inspect.get_annotations(owner)[field]), [line for line in found if line.strip()]
    raise LookupError(f"{kind.__name__}.{field}")


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "required"
    value = info.get_default(call_default_factory=True)
    return "default: its own defaults" if isinstance(value, Settings) else f"default: ``{value!r}``"


def _range(info: FieldInfo) -> str:
    limits = [f"{words} {getattr(limit, key)}" for limit in info.metadata for key, words in _RANGES.items() if hasattr(limit, key)]
    return "".join(f", {limit}" for limit in limits)


def _hide_signature(app: Sphinx, what: str, name: str, item: Any, options: Any, signature: str, returned: str) -> tuple[str, str] | None:
    """Settings list their fields; what functions return is not built by a caller."""
    if what == "class":
        return "", ""
    return None


def _show_as_code(app: Sphinx, context: click.Context, lines: list[str]) -> None:
    """The example below a command's options, as code."""
    commands = [line.lstrip("| ") for line in lines if line.lstrip("| ").startswith("syntype ")]
    if commands:
        lines[:] = ["Example:", "", ".. code-block:: console", "", *(f"   $ {command}" for command in commands), ""]
