"""Reads the texts of the packages below the Studio out of their sources, for the catalogue: their messages, and the sentences of a study.

They stay English where they are made and kept. An f-string is a text with names in braces where its values go; the Studio recognises what was made of
it (``translated``).
"""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from syntype.apps.web.wording import in_the_studio

__all__ = ["BELOW", "texts_below"]

BELOW = "syntype/"
"""With which the place of such a text begins in the catalogue."""
_ROOT = Path(__file__).parents[2]
_MESSAGES = {
    "": ("files",),
    "study": ("pictures",),
    "collection": (
        "archives", "boxes", "costs", "decoding", "importers", "isolated", "moving", "relabel", "selection",
    ),
    "collection/sources": (
        "base", "box_corrections", "corrections", "delimited", "encodings", "finding", "folders", "image_files", "meanings", "naming", "recognition",
        "rows", "tables", "text_tables",
    ),
}  # fmt: skip
"""Modules, by their package, of which the messages count: what they raise, refuse and note when photographs are imported, moved or renamed."""
_STUDY = ("arms", "doubts", "plain_words", "provenance", "report", "sensitivity", "verdict", "worth", "worth_words")
"""Modules of ``study`` of which every sentence counts."""
_CALLS = {"InputError", "CollectionError", "UnsupportedError", "DiskError", "Refused", "refuse", "refused", "append", "told"}
_READS_AS_TEXT = re.compile(r"[A-Za-z]{2,}[,;:]? [A-Za-z{“]|\} [a-z]{4,}$")
_SENTENCES = re.compile(r"(?<=[.!?])\s+(?=[A-Z“{])")
_MOST = 24
"""Ways to fill in the words of one f-string that depend on a condition."""


def texts_below() -> Iterator[tuple[str, str | tuple[str, str]]]:
    """Each text, or the two forms of a text with a number, with the place where it stands."""
    for package, names in _MESSAGES.items():
        for name in names:
            module = _Module(_ROOT / package / f"{name}.py")
            for text in module.messages():
                yield module.place, text
            yield from ((module.place, forms) for forms in module.plurals())
    for name in _STUDY:
        module = _Module(_ROOT / "study" / f"{name}.py")
        for text in module.all_texts():
            yield module.place, text
        yield from ((module.place, forms) for forms in module.plurals())


class _Module:
    def __init__(self, path: Path) -> None:
        self.place = BELOW + path.relative_to(_ROOT).as_posix()
        self._tree = ast.parse(path.read_text(encoding="utf-8"))
        self._values: dict[str, list[ast.expr]] = {}
        for node in ast.walk(self._tree):
            if not isinstance(node, ast.Assign):
                continue
            for target in node.targets:
                pairs: Iterable[tuple[ast.expr, ast.expr]] = [(target, node.value)]
                if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                    pairs = zip(target.elts, node.value.elts, strict=False)
                for name, value in pairs:
                    if isinstance(name, ast.Name):
                        self._values.setdefault(name.id, []).append(value)

    def messages(self) -> Iterator[str]:
        """What is raised, refused or noted, in the words of the Studio."""
        for node in ast.walk(self._tree):
            if isinstance(node, ast.Call):
                called = node.func.id if isinstance(node.func, ast.Name) else node.func.attr if isinstance(node.func, ast.Attribute) else ""
                if called in _CALLS:
                    given = [*node.args, *(one.value for one in node.keywords if one.arg in ("reason", "hint"))]
                    yield from self._as_shown(itertools.chain.from_iterable(self._texts(one, set()) for one in given))
            elif isinstance(node, ast.Return) and isinstance(node.value, ast.Tuple):
                yield from self._as_shown(itertools.chain.from_iterable(self._texts(one, set()) for one in node.value.elts))

    def all_texts(self) -> Iterator[str]:
        """Every text but docstrings and parts of longer ones."""
        longer = [node for node in ast.walk(self._tree) if isinstance(node, ast.JoinedStr | ast.BinOp)]
        seen = {id(part) for node in longer for part in ast.walk(node) if part is not node}
        seen |= {id(node.value) for node in ast.walk(self._tree) if isinstance(node, ast.Expr)}
        seen |= {id(part) for node in ast.walk(self._tree) if isinstance(node, ast.Raise) for part in ast.walk(node)}
        for node in ast.walk(self._tree):
            if isinstance(node, ast.Constant | ast.JoinedStr) and id(node) not in seen:
                yield from self._as_shown(self._texts(node, set()))

    def plurals(self) -> Iterator[tuple[str, str]]:
        """What ``plural`` counts."""
        for node in ast.walk(self._tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "plural":
                words = [list(self._texts(one, set(), every=True)) for one in node.args[1:]]
                for position, one in enumerate(words[0] if words else ()):
                    several = words[1][min(position, len(words[1]) - 1)] if len(words) > 1 and words[1] else f"{one}s"
                    yield "{n} " + one, "{n} " + several

    @staticmethod
    def _as_shown(found: Iterable[str]) -> Iterator[str]:
        for text in found:
            if "{{" in text or '": ' in text or not _READS_AS_TEXT.search(text):
                continue
            text = re.sub(r"--\{\w+\}", "--species", text)  # the words of the Studio are the same for all of them
            hint = text[:1].isupper()
            for sentence in _SENTENCES.split(in_the_studio(text, hint=hint).strip()):
                literal = re.sub(r"\{\w+\}", "", sentence)
                if len(re.findall("[A-Za-z]", literal)) > 3 or "{" not in sentence:
                    yield re.sub(r"^\{\w+\}: ", "", sentence)

    def _texts(self, node: ast.expr, seen: set[str], *, every: bool = False) -> Iterator[str]:
        """The texts that an expression can be, with names in braces for what is not known."""
        if isinstance(node, ast.Constant):
            if isinstance(node.value, str):
                yield node.value
        elif isinstance(node, ast.JoinedStr):
            names: list[str] = []
            parts = [self._part(one, names) for one in node.values]
            yield from ("".join(chosen) for chosen in itertools.islice(itertools.product(*parts), _MOST))
        elif isinstance(node, ast.IfExp):
            yield from self._texts(node.body, seen)
            yield from self._texts(node.orelse, seen)
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            left, right = (list(self._texts(one, seen)) for one in (node.left, node.right))
            yield from (f"{a}{b}" for a in left for b in right)
        elif isinstance(node, ast.Lambda):
            yield from self._texts(node.body, seen)
        elif isinstance(node, ast.Tuple):
            for one in node.elts:
                yield from self._texts(one, seen)
        elif isinstance(node, ast.Name) and node.id not in seen:
            for value in self._values.get(node.id, ()):
                yield from self._texts(value, seen | {node.id})

    @staticmethod
    def _part(node: ast.expr, names: list[str]) -> list[str]:
        if isinstance(node, ast.Constant):
            return [str(node.value).replace("{", "{{").replace("}", "}}")]
        assert isinstance(node, ast.FormattedValue)
        value = node.value
        if isinstance(value, ast.IfExp) and all(isinstance(one, ast.Constant) and isinstance(one.value, str) for one in (value.body, value.orelse)):
            return [str(one.value) for one in (value.body, value.orelse) if isinstance(one, ast.Constant)]
        name = _name(value) or "value"
        names.append(name)
        return ["{" + (name if names.count(name) == 1 else f"{name}_{names.count(name)}") + "}"]


def _name(node: ast.AST) -> str | None:
    """What to call a value: its name, or that of what it is made of."""
    if isinstance(node, ast.Name):
        return node.id.strip("_").lower()
    if isinstance(node, ast.Attribute):
        return node.attr.strip("_").lower()
    inner = node.args if isinstance(node, ast.Call) else [node.value] if isinstance(node, ast.Subscript) else ast.iter_child_nodes(node)
    found = next((name for child in inner if (name := _name(child))), None)
    return found or (_name(node.func) if isinstance(node, ast.Call) else None)
