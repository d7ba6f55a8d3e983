"""Templates of log points: text with ``{expression}`` or ``{expression:format}`` in it."""

from __future__ import annotations

import re
import struct
from typing import Final

from attrs import frozen

from ..errors import EvaluationError, ExpressionError
from ._check import check
from ._evaluate import Reader, evaluate
from ._lexer import MAX_LENGTH, error, tokens
from ._parse import parse_part
from ._scalars import Number, Scalar
from ._scope import Scope
from ._syntax import Expression
from ._typed import TypedExpression

__all__ = [
    "MAX_STRING",
    "Format",
    "Hole",
    "Template",
    "TypedTemplate",
    "check_template",
    "format_template",
    "parse_template",
]

MAX_STRING: Final = 200
"""Bytes of a guest's string that ``:s`` shows at most."""

_FORMAT = re.compile(r"(#?)(0?)([0-9]{0,2})(?:\.([0-9]{1,2}))?([dxXobcsfeg]?)", re.ASCII)
_BRACE = re.compile(r"\{\{|\}\}|[{}]")
_FLOATS: Final = frozenset("feg")
_KINDS: Final = "d x X o b c s f e g"


@frozen
class Format:
    """What stands after the colon: ``[#][0][width][.precision][kind]``.

    :ivar alternate: ``#``: ``0x``, ``0o`` or ``0b`` before the digits.
    :ivar zero: filled up with zeros rather than spaces.
    :ivar width: characters at least, 0 to 99.
    :ivar precision: digits after the point, None for the kind's own.
    :ivar kind: one of ``d x X o b c s f e g``, or empty.
    """

    alternate: bool
    zero: bool
    width: int
    precision: int | None
    kind: str


@frozen
class Hole:
    """A place to be filled; *at* is where its format stands in the text."""

    expression: Expression
    format: Format
    at: int


@frozen
class Template:
    """A parsed template: text and holes in turn."""

    text: str
    parts: tuple[str | Hole, ...]


@frozen
class TypedTemplate:
    """A checked template."""

    text: str
    parts: tuple[str | tuple[TypedExpression, Format], ...]


def parse_template(text: str) -> Template:
    """The parts of a template; ``{{`` and ``}}`` stand for braces.

    :raises ExpressionError: a brace without partner, a bad expression or format, or more than 4,096
        characters.
    """
    if len(text) > MAX_LENGTH:
        raise error(f"longer than {MAX_LENGTH} characters", text, MAX_LENGTH)
    parts: list[str | Hole] = []
    plain: list[str] = []
    at = 0
    while match := _BRACE.search(text, at):
        plain.append(text[at : match.start()])
        at = match.end()
        if match.group() == "}":
            raise error("this '}' has no '{' (a brace itself is written '}}')", text, match.start())
        if match.group() != "{":
            plain.append(match.group()[0])
            continue
        hole, at = _hole(text, match.start())
        parts += ["".join(plain), hole]
        plain.clear()
    plain.append(text[at:])
    parts.append("".join(plain))
    return Template(text, tuple(part for part in parts if part != ""))


def _hole(text: str, opening: int) -> tuple[Hole, int]:
    """The hole that begins at *opening*, and where the text goes on."""
    depth = 0
    for token in tokens(text, opening + 1):
        if token.kind == "end":
            break
        depth += {"(": 1, "[": 1, ")": -1, "]": -1}.get(token.text, 0)
        if token.text != "}" and (token.text != ":" or depth > 0):
            continue
        closing = text.find("}", token.at)
        if closing < 0:
            break
        try:
            expression = parse_part(text, opening + 1, token.at)
        except ExpressionError as problem:
            if token.text == ":" and problem.message == "this '?' has no ':'":
                hint = "put a conditional in parentheses here: {(a ? b : c)}"
                raise ExpressionError(hint, text=text, column=problem.column) from None
            raise
        return Hole(expression, _format(text, token.at + 1, closing), token.at), closing + 1
    raise error("this '{' has no '}' (a brace itself is written '{{')", text, opening)


def _format(text: str, start: int, end: int) -> Format:
    match = _FORMAT.fullmatch(text, start, end) if start < end else _FORMAT.match("")
    if match is None:
        wanted = f"[#][0][width][.precision][kind], kind one of {_KINDS}"
        raise error(f"unknown format {text[start:end]!r}: it is {wanted}", text, start)
    alternate, zero, width, precision, kind = match.groups()
    if precision is not None and kind not in _FLOATS:
        raise error("only f, e and g take a precision", text, start)
    return Format(bool(alternate), bool(zero), int(width or 0), int(precision) if precision else None, kind)


def check_template(template: Template, scope: Scope) -> TypedTemplate:
    """The template with every expression checked in *scope*.

    :raises ExpressionError: as :func:`~trio_wasmdbg.expressions.check`, or a format that the
        expression's type doesn't have.
    """
    parts: list[str | tuple[TypedExpression, Format]] = []
    for part in template.parts:
        if isinstance(part, str):
            parts.append(part)
            continue
        typed = check(part.expression, scope)
        kind = part.format.kind
        if kind and kind not in _FLOATS and typed.type.is_float:
            problem = f"format {kind!r} is for integers, and this is an {typed.type}"
            raise error(problem, template.text, part.at)
        if kind == "s" and not scope.memories:
            raise error("format 's' reads memory 0, and there is none", template.text, part.at)
        parts.append((typed, part.format))
    return TypedTemplate(template.text, tuple(parts))


# ── filling in ─────────────────────────────────────────────────────────────────────────────────


def format_template(template: TypedTemplate, reader: Reader) -> str:
    """The text, with values in place of the holes.

    An expression that has no value leaves the reason instead, as in ``<division by zero>``.
    """
    return "".join(part if isinstance(part, str) else _filled(*part, reader) for part in template.parts)


def _filled(expression: TypedExpression, format: Format, reader: Reader) -> str:
    try:
        shown = _shown(evaluate(expression, reader), expression.type, format, reader)
    except EvaluationError as problem:
        return f"<{problem.message}>"
    if format.zero and format.kind not in ("c", "s"):
        sign = re.match(r"[-+]?(?:0[xXob])?", shown)
        head = sign.end() if sign else 0
        return shown[:head] + shown[head:].rjust(format.width - head, "0")
    return shown.ljust(format.width) if format.kind in ("c", "s") else shown.rjust(format.width)


def _shown(value: Number, type: Scalar, format: Format, reader: Reader) -> str:
    kind = format.kind
    if kind == "":
        return _plain(value, type)
    if kind in _FLOATS:
        return f"{float(value):.{6 if format.precision is None else format.precision}{kind}}"
    number = int(value)
    pattern = number & (1 << type.bits) - 1
    if kind == "d":
        return str(number)
    if kind == "c":
        return _printable(chr(pattern) if pattern < 0x110000 else "\ufffd")
    if kind == "s":
        return _string(pattern, reader)
    # As in C, the bits: -1 is ffffffff.
    return f"{pattern:{'#' if format.alternate else ''}{kind}}"


def _plain(value: Number, type: Scalar) -> str:
    """Integers in decimal, floats with as few digits as tell them from their neighbours."""
    if type is not Scalar.F32:
        return repr(value)
    for digits in range(6, 9):
        short = float(f"{value:.{digits}g}")
        try:
            if struct.pack("<f", short) == struct.pack("<f", value):
                return repr(short)
        except OverflowError:  # rounded up beyond the largest f32
            continue
    return repr(float(f"{value:.9g}"))


def _string(address: int, reader: Reader) -> str:
    """The zero-terminated UTF-8 string at an address of memory 0, harmless to print."""
    limit = reader.memory_size(0)
    if address >= limit:
        return f"<out of bounds: string at {address:#x}, memory 0 has {limit:#x} bytes>"
    data = reader.read(0, address, min(MAX_STRING, limit - address))
    content, end, _ = data.partition(b"\0")
    # A cut may fall into the middle of a character: then that one goes, too.
    text = content.decode("utf-8", "ignore" if not end else "backslashreplace")
    return _printable(text) + ("" if end else "…")


def _printable(text: str) -> str:
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text
    )
