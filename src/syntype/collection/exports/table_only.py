"""Layout ``table``: the table alone, as CSV. Its ``file_name`` is relative to the collection's folder."""

from __future__ import annotations

from syntype.collection.exports.base import Layout

__all__ = ["LAYOUT"]

LAYOUT = Layout("table", "the table alone (CSV)")
