"""Sphinx settings of the documentation; `make docs` builds it into `out/docs`."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

from syntype import __version__

logging.getLogger("faiss.loader").setLevel(logging.WARNING)  # it tells which processor instructions it tries

project = "Syntype"
author = "the Syntype developers"
copyright = "the Syntype developers, Apache-2.0"
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_click", "sphinx_copybutton", "reference_pages"]
exclude_patterns = ["_ext", "examples"]

html_theme = "furo"
html_title = "Syntype"
html_show_sphinx = False
smartquotes = False  # it would turn the two hyphens of an option into a dash

# Markdown. Headings get the anchors that repository browsers give them, so that links work in both places.
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 4

# Docstrings. A name between single backticks is code, as in Markdown.
default_role = "code"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints_format = "short"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
add_module_names = True
maximum_signature_line_length = 88

# Types of other projects, whose documentation is not linked, and names that are not part of the public API.
nitpick_ignore_regex = [
    ("py:.*", r"(numpy|np|torch|pandas|pd|pathlib|collections|inspect|typing|pydantic|click)\..*"),
    ("py:.*", r"(Path|Sequence|Mapping|Callable|Iterable|Tensor|ndarray|Settings|Form|BlendOf|P|T)"),
    ("py:.*", r"syntype\.(?!(.*Config|.*Result|Collection|Run)$).*"),
    ("py:class", r"optional|Literal.*|.*[\[\]'].*"),
]

copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
