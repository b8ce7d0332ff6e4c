"""Exports: a collection as one file that other programs open, with labels, licences and provenance.

stage.py      ``export``: which images, in which layout
layouts.py    the table of layouts; each of the modules below has one, called ``LAYOUT``
whole.py species_folders.py table_only.py hugging_face.py coco.py label_studio.py captions.py
package.py    the zip file: images first, then what describes them
file_names.py names of files that every operating system takes
signing.py    content credentials (C2PA) of synthetic images
licences.py croissant.py card.py   descriptions that several layouts have
"""

from syntype.collection.exports.layouts import LAYOUTS
from syntype.collection.exports.stage import ExportConfig, ExportResult, LayoutName, export

__all__ = ["LAYOUTS", "ExportConfig", "ExportResult", "LayoutName", "export"]
