"""Names that are hard on files, pictures, pages and consoles, through every stage: a name is text and nothing else."""

from __future__ import annotations

YAML = ("2024", "2026-07-01", "no", "null", "1e5", "0x1F", "~", "on", "12:30", "NA", "None", "nan", "true", "007", "1.50", "{}", "a: b", "[x", "#1")
MARKUP = ("$x$", "$\\frac$", "_", "a_b^c", "100 %", "%s", "<b>bold", "<script>alert('x')</script>", "&amp;", "\"'quoted'\"", "{{ 7 * 7 }}", "`x`")
SCRIPTS = ("🐟🐠", "שלום עולם", "سمكة", "鱼类", "e\u0301\u0323\u0302x", "zero\u200bwidth\u200d", "\u202eover", "Cafe\u0301")
FILES = ("CON", "nul", "aux.txt", "..", ".", "a/b", "a\\b", "Aus primus", "aus primus", "AUS PRIMUS", "trailing.", "x" * 220, "鱼" * 70, "?#&=/%2F")
SPACES = (" leading", "trailing ", "two\nlines", "a\ttab")
NASTY = (*YAML, *MARKUP, *SCRIPTS, *FILES, *SPACES)
