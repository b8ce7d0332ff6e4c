"""Curation: which synthetic images may be used, and why the others may not."""
