"""Sphinx settings: MyST Markdown pages, docstrings read from the package."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from trio_wasmdbg._version import __version__

project = "trio_wasmdbg"
author = "the trio_wasmdbg developers"
project_copyright = author
release = __version__
version = release.split(".dev")[0]

extensions = ["myst_parser", "sphinx.ext.autodoc"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build", "newsfragments", "decisions/template.md"]

# Pygments' lexer of WebAssembly text knows no tags; such a listing is just less colourful.
suppress_warnings = ["misc.highlighting_failure"]

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_default_options = {"members": True, "show-inheritance": True}

html_theme = "furo"
html_title = "trio_wasmdbg"
