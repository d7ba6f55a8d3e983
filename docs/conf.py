"""Sphinx settings: MyST Markdown pages, docstrings read from the package."""

from __future__ import annotations

import enum
import shutil
import sys
from pathlib import Path
from typing import Any

import attrs
from docutils import nodes
from docutils.parsers.rst import Directive

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from trio_wasmdbg._version import __version__
from trio_wasmdbg.debuggee._util import NoPublicConstructor

project = "trio_wasmdbg"
author = "the trio_wasmdbg developers"
project_copyright = author
release = __version__
version = release.split(".dev")[0]

extensions = ["myst_parser", "sphinx.ext.autodoc"]
# The picture of the states is drawn by Graphviz; without it, its text is shown.
if shutil.which("dot"):
    extensions.append("sphinx.ext.graphviz")
graphviz_output_format = "svg"
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build", "newsfragments", "decisions/template.md"]

# Pygments' lexer of WebAssembly text knows no tags; such a listing is just less colourful.
suppress_warnings = ["misc.highlighting_failure"]

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"

html_theme = "furo"
html_title = "trio_wasmdbg"


class Listing(Directive):
    """The content as it is."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        text = "\n".join(self.content)
        return [nodes.literal_block(text, text, language="text")]


def without_constructor(
    app: Any, what: str, name: str, obj: Any, options: Any, signature: str | None, returns: str | None
) -> tuple[str | None, str | None]:
    """Nobody calls records, enumerations, and classes of which only the library makes objects."""
    private = isinstance(obj, NoPublicConstructor | enum.EnumType)
    if what == "class" and (private or attrs.has(obj)):
        return "", None
    return signature, returns


def setup(app: Any) -> None:
    """Sphinx calls this."""
    app.connect("autodoc-process-signature", without_constructor)
    if "sphinx.ext.graphviz" not in extensions:
        app.add_directive("graphviz", Listing)
