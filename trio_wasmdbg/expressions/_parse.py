"""Tokens into a syntax tree: operator precedence with an explicit stack, so no text can exhaust ours.

Two states alternate: a value is expected, or what follows a value.  Operators wait on a stack until
the next one binds no tighter; an opening bracket waits for its partner.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Final, Literal

from attrs import define, field

from ..errors import ExpressionError
from ._lexer import Token, error, literal, tokens, unescape
from ._scalars import ACCESSES, NARROW, SHAPES, Access, Scalar
from ._syntax import (
    Binary,
    Cast,
    Conditional,
    Constant,
    Expression,
    Lane,
    MemoryRead,
    Name,
    Node,
    Null,
    Slot,
    Unary,
)

__all__ = ["MAX_DEPTH", "near_misses", "parse", "parse_part"]

MAX_DEPTH: Final = 200
"""Levels of a syntax tree, at most: whatever walks one later may recurse."""

BINARY: Final = {
    op: precedence
    for precedence, row in enumerate(
        ("||", "&&", "|", "^", "&", "== !=", "< <= > >=", "<< >>", "+ -", "* / %"), start=2
    )
    for op in row.split()
}
"""Precedence of each binary operator, as in C; all of them group to the left."""

_PREFIX: Final = 20
_CONDITIONAL: Final = 1
_OPEN: Final = 0
"""Precedence of what only its closing partner takes off the stack."""

_TYPES: Final = {str(scalar) for scalar in Scalar} | set(NARROW)
_SPACES: Final[dict[str, Literal["local", "stack", "global"]]] = {
    space: space for space in ("local", "stack", "global")
}
_KEYWORDS: Final = {*_TYPES, *_SPACES, *ACCESSES, *SHAPES, "null"}


@define
class _Waiting:
    """An operator or bracket whose last operand is not complete.

    :ivar kind: ``binary prefix cast ( [ ? :``.
    """

    kind: str
    token: Token
    precedence: int
    access: Access | None = None
    memory: int = 0


def parse(text: str) -> Expression:
    """The syntax tree of an expression.

    :raises ExpressionError: *text* is not one, is longer than 4,096 characters, or nests deeper than
        200 levels (a chain of operators counts: ``a + b + c`` has three).
    """
    return parse_part(text, 0, len(text))


def parse_part(text: str, start: int, end: int) -> Expression:
    """Like :func:`parse`, of ``text[start:end]``; places count in the whole *text*."""
    return Expression(text, _Parser(text, list(tokens(text, start, end))).run())


def near_misses(name: str, candidates: Iterable[str]) -> str:
    """``"; did you mean 'a' or 'b'?"``, or nothing."""
    close = difflib.get_close_matches(name[:64], candidates, n=3, cutoff=0.6)
    return f"; did you mean {' or '.join(map(repr, close))}?" if close else ""


@define
class _Parser:
    text: str
    tokens: list[Token]
    _next: int = 0
    _waiting: list[_Waiting] = field(factory=list)
    _values: list[tuple[Node, int]] = field(factory=list)
    """Complete operands, each with its depth."""

    def run(self) -> Node:
        """Parses all tokens."""
        while True:
            self._value()
            if self._after_value():
                return self._values[0][0]

    def _take(self) -> Token:
        token = self.tokens[self._next]
        self._next = min(self._next + 1, len(self.tokens) - 1)
        return token

    def _peek(self, distance: int = 0) -> str:
        return self.tokens[min(self._next + distance, len(self.tokens) - 1)].text

    def _fail(self, message: str, token: Token) -> ExpressionError:
        return error(message, self.text, token.at)

    # ── where a value is expected ──────────────────────────────────────────────────────────────

    def _value(self) -> None:
        """Reads prefix operators and opening brackets, and the simple value after them."""
        while True:
            token = self._take()
            if token.text in ("-", "+", "~", "!"):
                self._waiting.append(_Waiting("prefix", token, _PREFIX))
            elif token.text == "(" and self._peek() in _TYPES and self._peek(1) == ")":
                self._waiting.append(_Waiting("cast", self._take(), _PREFIX))
                self._take()
            elif token.text == "(":
                self._waiting.append(_Waiting("(", token, _OPEN))
            elif token.kind == "name" and (self._peek() == "[" or token.text in ACCESSES):
                if token.text in _SPACES:
                    return self._push(self._slot(token))
                self._memory(token)
            elif token.text in SHAPES and self._peek() == "(":
                return self._push(self._lane(token))
            else:
                return self._push(self._simple(token))

    def _simple(self, token: Token) -> Node:
        if token.kind in ("number", "char"):
            return Constant(*literal(token, self.text), token.at)
        if token.kind == "name":
            if token.text == "null":
                return Null(token.at)
            if token.text in _KEYWORDS:
                hint = f"write $ before it for a local of that name: ${token.text}"
                raise self._fail(f"{token.text!r} is a keyword ({hint})", token)
            return Name(token.text, token.at)
        if token.kind == "dollar":
            if token.text.startswith('$"'):
                return Name(unescape(token, self.text), token.at)
            name = token.text[1:]
            if name.isdigit():
                return Slot("local", self._index(token, name), token.at)
            return Name(name, token.at)
        raise self._fail(f"expected a value, not {token}", token)

    def _index(self, token: Token, digits: str) -> int:
        if len(digits) > 10:
            raise self._fail(f"{digits} is too large for an index", token)
        return int(digits)

    def _slot(self, token: Token) -> Slot:
        """``local[3]``: the index is part of the name, not an expression."""
        self._take()
        sign = -1 if self._peek() == "-" else 1
        if sign < 0:
            self._take()
        inside = self._take()
        which: int | str
        if inside.kind == "number" and inside.text.isdigit():
            which = sign * self._index(inside, inside.text)
        elif inside.kind == "dollar" and inside.text.startswith('$"') and sign > 0:
            which = unescape(inside, self.text)
        elif inside.kind in ("name", "dollar") and token.text != "stack" and sign > 0:
            which = inside.text.removeprefix("$")
        else:
            wanted = "a number" if token.text == "stack" else "a number or a name"
            raise self._fail(f"{token.text}[…] takes {wanted}, not {inside}", inside)
        closing = self._take()
        if closing.text != "]":
            raise self._fail(f"{token.text}[…] takes a constant index: expected ']', not {closing}", closing)
        return Slot(_SPACES[token.text], which, token.at)

    def _lane(self, token: Token) -> Lane:
        """``i32x4(x, 2)``: the lane is part of the instruction, not an expression."""
        self._take()
        inside = self._take()
        if inside.text in _SPACES and self._peek() == "[":
            place: Node = self._slot(inside)
        else:
            place = self._simple(inside)
        if not isinstance(place, Name | Slot):
            raise self._fail(f"{token.text}(…) takes a local, operand or global, not {inside}", inside)
        comma, lane = self._take(), self._take()
        if comma.text != ",":
            raise self._fail(f"{token.text}(…) takes a place and a lane: expected ',', not {comma}", comma)
        if lane.kind != "number" or not lane.text.isdigit():
            raise self._fail(f"{token.text}(…) takes a constant lane, not {lane}", lane)
        closing = self._take()
        if closing.text != ")":
            raise self._fail(f"{token.text}(…) takes a constant lane: expected ')', not {closing}", closing)
        return Lane(SHAPES[token.text], place, self._index(lane, lane.text), token.at)

    def _memory(self, token: Token) -> None:
        access = ACCESSES.get(token.text)
        if access is None:
            hint = near_misses(token.text, [*ACCESSES, *_SPACES])
            raise self._fail(f"{token.text!r} can't be indexed{hint}", token)
        memory = 0
        if self._peek() == "@":
            self._take()
            index = self._take()
            if index.kind != "number" or not index.text.isdigit():
                raise self._fail(f"expected the index of a memory after '@', not {index}", index)
            memory = self._index(index, index.text)
        opening = self._take()
        if opening.text != "[":
            raise self._fail(f"expected '[' after {token.text!r}, not {opening}", opening)
        self._waiting.append(_Waiting("[", token, _OPEN, access, memory))

    # ── after a value ──────────────────────────────────────────────────────────────────────────

    def _after_value(self) -> bool:
        """Reads closing brackets and the operator after them; True at the end of the text."""
        while True:
            token = self._take()
            if token.kind == "end":
                self._reduce(_CONDITIONAL)
                if self._waiting:
                    raise self._unclosed(self._waiting[-1])
                return True
            if token.kind == "op" and token.text in ")]":
                self._close(token)
            elif token.text in BINARY:
                precedence = BINARY[token.text]
                self._reduce(precedence)
                self._waiting.append(_Waiting("binary", token, precedence))
                return False
            elif token.text == "?":
                # Groups to the right: the ':' of a conditional on the left stays.
                self._reduce(_CONDITIONAL + 1)
                self._waiting.append(_Waiting("?", token, _OPEN))
                return False
            elif token.text == ":":
                self._reduce(_CONDITIONAL)
                if not self._waiting or self._waiting[-1].kind != "?":
                    raise self._fail("this ':' has no '?'", token)
                question = self._waiting.pop().token
                self._waiting.append(_Waiting(":", question, _CONDITIONAL))
                return False
            elif token.text == "(":
                raise self._fail("functions can't be called in an expression", token)
            else:
                raise self._fail(f"expected an operator, not {token}", token)

    def _unclosed(self, waiting: _Waiting) -> ExpressionError:
        if waiting.kind == "?":
            return self._fail("this '?' has no ':'", waiting.token)
        return self._fail(f"the {waiting.kind!r} here is not closed", waiting.token)

    def _close(self, token: Token) -> None:
        self._reduce(_CONDITIONAL)
        partner = {")": "(", "]": "["}[token.text]
        if not self._waiting:
            raise self._fail(f"this {token.text!r} has no {partner!r}", token)
        opening = self._waiting.pop()
        if opening.kind != partner:
            raise self._unclosed(opening)
        if opening.access is not None:
            address, depth = self._values.pop()
            read = MemoryRead(opening.access, opening.memory, address, opening.token.at)
            self._push(read, depth + 1)

    def _reduce(self, precedence: int) -> None:
        """Completes the waiting operators that bind at least as tight as *precedence*."""
        while self._waiting and self._waiting[-1].precedence >= precedence:
            operator = self._waiting.pop()
            token = operator.token
            node, depth = self._values.pop()
            if operator.kind == "prefix":
                self._push(Unary(token.text, node, token.at), depth + 1)
            elif operator.kind == "cast":
                self._push(Cast(token.text, node, token.at), depth + 1)
            elif operator.kind == "binary":
                left, left_depth = self._values.pop()
                self._push(Binary(token.text, left, node, token.at), max(left_depth, depth) + 1)
            else:
                then, then_depth = self._values.pop()
                condition, condition_depth = self._values.pop()
                deepest = max(condition_depth, then_depth, depth)
                self._push(Conditional(condition, then, node, token.at), deepest + 1)

    def _push(self, node: Node, depth: int = 1) -> None:
        if depth > MAX_DEPTH:
            raise error(f"nested deeper than {MAX_DEPTH} levels", self.text, node.at)
        self._values.append((node, depth))
