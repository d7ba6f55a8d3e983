"""The expression language: conditions and log points over the state of a paused function.

What this layer is: a small, typed, C-like language of numbers (with lanes of vectors, and tests of
references for null).  Text is parsed (:func:`parse`), checked
against what there is at a resume point (:func:`check`, :class:`Scope`), and then either compiled to
WebAssembly that runs in the guest (:func:`compile_condition`) or evaluated on the host
(:func:`evaluate`), with the same result bit for bit.  Templates of log points (:func:`parse_template`)
are built on it.  Nothing here ever takes text for Python.

What it may import: the standard library, attrs, and of the package ``wasm``, ``errors`` and ``addresses``.

Where to start reading: ``_scalars.py`` (the types), ``_parse.py``, ``_check.py``, ``_compile.py``.
"""

from ._check import check
from ._compile import ERROR, MET, NOT_MET, compile_condition, compile_value
from ._evaluate import Reader, evaluate, holds
from ._lexer import MAX_LENGTH
from ._parse import MAX_DEPTH, parse
from ._places import FramePlaces, LocalPlaces, Places, Scratch, SlotLayout
from ._scalars import Number, Scalar
from ._scope import Scope
from ._syntax import Expression
from ._template import (
    MAX_STRING,
    Template,
    TypedTemplate,
    check_template,
    format_template,
    parse_template,
)
from ._typed import References, TypedExpression

__all__ = [
    "ERROR",
    "MAX_DEPTH",
    "MAX_LENGTH",
    "MAX_STRING",
    "MET",
    "NOT_MET",
    "Expression",
    "FramePlaces",
    "LocalPlaces",
    "Number",
    "Places",
    "Reader",
    "References",
    "Scalar",
    "Scope",
    "Scratch",
    "SlotLayout",
    "Template",
    "TypedExpression",
    "TypedTemplate",
    "check",
    "check_template",
    "compile_condition",
    "compile_value",
    "evaluate",
    "format_template",
    "holds",
    "parse",
    "parse_template",
]
