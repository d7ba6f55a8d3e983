"""Text into tokens: names, numbers, characters, punctuation."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import NamedTuple

from ..errors import ExpressionError
from ._arithmetic import round_f32
from ._scalars import Number, Scalar

__all__ = ["MAX_LENGTH", "Token", "error", "literal", "tokens", "unescape"]

MAX_LENGTH = 4096
"""Characters in an expression or template, at most."""

_TOKEN = re.compile(
    r"""
      (?P<space>  [ \t\r\n]+ )
    | (?P<number> 0[xXbB][A-Za-z0-9_]* | (?:\d|\.\d)(?:[eE][+-]?\d|[A-Za-z0-9_.])* )
    | (?P<name>   [A-Za-z_][A-Za-z0-9_]* )
    | (?P<dollar> \$"(?:[^"\\]|\\.)*" | \$[A-Za-z0-9_.]+ )
    | (?P<char>   '(?:[^'\\]|\\.)[^']{0,9}' )
    | (?P<op>     && | \|\| | == | != | <= | >= | << | >> | [-+*/%&|^~!<>?:(),\[\]@{}] )
    """,
    re.VERBOSE | re.ASCII | re.DOTALL,
)

_HINTS = {
    "=": "an expression can't assign; write == to compare",
    "'": "this character literal has no end",
    '"': "there are no strings; a log point shows the one at an address by {address:s}",
    "$": '$ is followed by an index, a name, or a "quoted name"',
}


class Token(NamedTuple):
    """A piece of text; *kind* is ``number name dollar char op`` or ``end``."""

    kind: str
    text: str
    at: int

    def __str__(self) -> str:
        return "the end" if self.kind == "end" else f"{self.text!r}"


def error(message: str, text: str, at: int) -> ExpressionError:
    """An error about the place *at* (characters from 0)."""
    return ExpressionError(message, text=text, column=at + 1)


def tokens(text: str, start: int = 0, end: int | None = None) -> Iterator[Token]:
    """The tokens of ``text[start:end]``, ending with one of kind ``end``.

    :raises ExpressionError: at a character that begins no token, when it is reached.
    """
    if len(text) > MAX_LENGTH:
        raise error(f"longer than {MAX_LENGTH} characters", text, MAX_LENGTH)
    at, stop = start, len(text) if end is None else end
    while at < stop:
        match = _TOKEN.match(text, at, stop)
        if match is None:
            raise error(_HINTS.get(text[at], f"unexpected character {text[at]!r}"), text, at)
        kind = match.lastgroup
        assert kind is not None
        if kind != "space":
            yield Token(kind, match.group(), at)
        at = match.end()
    yield Token("end", "", stop)


# ── literals ───────────────────────────────────────────────────────────────────────────────────

_INTEGER = re.compile(
    r"(?:0[xX](?P<hex>[0-9a-fA-F]+)|0[bB](?P<binary>[01]+)|(?P<decimal>0|[1-9][0-9]*))"
    r"(?P<suffix>[uU]?[lL]{0,2}|[lL]{1,2}[uU])"
)
_FLOAT = re.compile(r"((?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)([fF]?)")
_SUFFIXES = {"u": (Scalar.I32, Scalar.I64), "l": (Scalar.I32, Scalar.U32)}
"""Suffix to the types that it rules out."""
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u\{([0-9a-fA-F]{1,6})\}|(.))", re.DOTALL)
_ESCAPES = dict(zip("abfnrtv0e", "\a\b\f\n\r\t\v\0\x1b", strict=True)) | {char: char for char in "\\'\""}


def literal(token: Token, text: str) -> tuple[Number, Scalar]:
    """Value and type of a ``number`` or ``char`` token."""
    if token.kind == "char":
        char = unescape(token, text)
        if len(char) != 1:
            raise error("this is not one character", text, token.at)
        return ord(char), Scalar.I32
    if match := _INTEGER.fullmatch(token.text):
        return _integer(match, token, text)
    if re.fullmatch("0[0-9]+", token.text):
        raise error("numbers don't begin with 0 (there are no octal ones)", text, token.at)
    if match := _FLOAT.fullmatch(token.text):
        value = float(match[1])
        if match[2]:
            value = round_f32(value)
        if math.isinf(value):
            raise error(f"{token.text} is larger than any {'f32' if match[2] else 'f64'}", text, token.at)
        return value, Scalar.F32 if match[2] else Scalar.F64
    raise error(f"{token.text!r} is not a number", text, token.at)


def _integer(match: re.Match[str], token: Token, text: str) -> tuple[int, Scalar]:
    decimal = match["decimal"]
    if decimal:
        value = int(decimal) if len(decimal) <= 20 else 1 << 64
    else:
        value = int(match["hex"] or match["binary"], 16 if match["hex"] else 2)
    # C: the first type that holds it; a decimal number becomes unsigned only if it says so.
    suffix = match["suffix"].lower()
    ruled_out = {type for letter in suffix for type in _SUFFIXES[letter]}
    if decimal and "u" not in suffix:
        ruled_out |= {Scalar.U32, Scalar.U64}
    for type in (Scalar.I32, Scalar.U32, Scalar.I64, Scalar.U64):
        if type not in ruled_out and value < 1 << type.bits - type.signed:
            return value, type
    hint = " (write it with the suffix u)" if value < 1 << 64 else ""
    raise error(f"{token.text} does not fit in 64 bits{hint}", text, token.at)


def unescape(token: Token, text: str) -> str:
    r"""What stands between the quotes of a character or quoted name, escapes replaced.

    They are C's (``\n``, ``\x41``), and ``\u{1f600}`` as in WebAssembly's text format.
    """
    quote = token.text[-1]
    inside = token.text[token.text.index(quote) + 1 : -1]

    def replace(match: re.Match[str]) -> str:
        if code := match[1] or match[2]:
            number = int(code, 16)
            if number < 0x110000:
                return chr(number)
        elif match[3] in _ESCAPES:
            return _ESCAPES[match[3]]
        raise error(f"unknown escape {match.group()!r}", text, token.at)

    return _ESCAPE.sub(replace, inside)
