"""Readers of what people keep photographs in: folders, tables and the formats of other programs."""

from syntype.collection.sources.base import SIDECARS, Entry, Listing, Packed, Refused, SourceConfig, species_name
from syntype.collection.sources.recognition import READERS, read_source, recognise

__all__ = ["READERS", "SIDECARS", "Entry", "Listing", "Packed", "Refused", "SourceConfig", "read_source", "recognise", "species_name"]
