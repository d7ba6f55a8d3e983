"""Templates of log points: holes, formats, and what they show where there is no value."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.expressions._machine import SCOPE, State, words
from trio_wasmdbg.errors import EvaluationError, ExpressionError
from trio_wasmdbg.expressions import (
    MAX_LENGTH,
    MAX_STRING,
    Scope,
    check_template,
    format_template,
    parse_template,
)


def show(text: str, state: State | None = None) -> str:
    return format_template(check_template(parse_template(text), SCOPE), state or State())


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("", ""),
        ("plain", "plain"),
        ("{{}} {{a}}", "{} {a}"),
        ("{{{a}}}", "{7}"),
        ("a={a}, b={ b }!", "a=7, b=-5!"),
        ("{a}{b}", "7-5"),
        ("{a + 1}", "8"),
        ("{(a ? 1 : 2)}", "1"),
        ("{mem8u[(a ? 1 : 0)]:d}", "195"),
        ("{'}'} {':':c} {'{':c}", "125 : {"),
        ("{a:x} {a:#x} {a:#04x} {a:04x} {a:4}|", "7 0x7 0x07 0007    7|"),
        ("{b:x} {(i32) b:x} {(i32) b:#X}", "fffffffffffffffb fffffffb 0XFFFFFFFB"),
        ("{b:d} {b:05d} {b:5d}", "-5 -0005    -5"),
        ("{a:b} {a:#o} {a:#010b}", "111 0o7 0b00000111"),
        ("{(u32) -1} {(u64) b:d}", "4294967295 18446744073709551611"),
        ("{'A':c}{'\\n':c}{'\\e':c}{0x202e:c}{-1:c}", "A\\n\\x1b\\u202e\ufffd"),
        ("{x} {y} {0.1f} {1e100} {1.0/0} {-1.0/0} {16777216.0f}", "1.5 -0.25 0.1 1e+100 inf -inf 16777216.0"),
        ("{x:f} {x:.2f} {y:e} {y:g} {a:.1f} {y:08.3f}", "1.500000 1.50 -2.500000e-01 -0.25 7.0 -000.250"),
        ("{0:s}", "héllo\\x1b[2J"),
        ("{3:s}|{3:14s}|", "llo\\x1b[2J|llo\\x1b[2J    |"),
        ("{2:s}", "\\xa9llo\\x1b[2J"),
        ("{20:s}.", "."),
        ("{1 / (a - 7)} {mem8[b]}",
         "<division by zero> <out of bounds: mem8 at 0xfffffffffffffffb, memory 0 has 0x10000 bytes>"),
        ("{-1:s}", "<out of bounds: string at 0xffffffff, memory 0 has 0x10000 bytes>"),
    ],
)  # fmt: skip
def test_shows(template: str, expected: str) -> None:
    assert show(template) == expected


@pytest.mark.parametrize(
    ("template", "column", "message"),
    [
        ("a {", 3, "this '{' has no '}' (a brace itself is written '{{')"),
        ("a {b", 3, "this '{' has no '}' (a brace itself is written '{{')"),
        ("a {b:x", 3, "this '{' has no '}' (a brace itself is written '{{')"),
        ("a } b", 3, "this '}' has no '{' (a brace itself is written '}}')"),
        ("ab {}", 5, "expected a value, not the end"),
        ("ab {:x}", 5, "expected a value, not the end"),
        ("ab {1 +}", 8, "expected a value, not the end"),
        ("ab {a ? 1 : 2}", 7, "put a conditional in parentheses here: {(a ? b : c)}"),
        ("ab {(a}", 5, "the '(' here is not closed"),
        ("ab {a)}", 6, "this ')' has no '('"),
        ("ab {a!r}", 6, "expected an operator, not '!'"),
        ("ab {a.__class__}", 6, "unexpected character '.'"),
        ("ab {foo}", 5, "no local or global is named 'foo'"),
        ("ab {x:d}", 6, "format 'd' is for integers, and this is an f32"),
        ("ab {y:s}", 6, "format 's' is for integers, and this is an f64"),
        ("ab {a:.2d}", 7, "only f, e and g take a precision"),
        ("ab {a:q}", 7, "unknown format 'q': it is [#][0][width][.precision][kind], "
                        "kind one of d x X o b c s f e g"),
        ("ab {a:100x}", 7, "unknown format '100x': it is [#][0][width][.precision][kind], "
                           "kind one of d x X o b c s f e g"),
        ("ab {a:{b}}", 7, "unknown format '{b': it is [#][0][width][.precision][kind], "
                          "kind one of d x X o b c s f e g"),
    ],
)  # fmt: skip
def test_template_error(template: str, column: int, message: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        show(template)

    assert (caught.value.message, caught.value.column) == (message, column)
    assert caught.value.text == template
    assert not isinstance(caught.value, EvaluationError)


def test_a_string_without_an_end() -> None:
    class Filled(State):
        def read(self, memory: int, address: int, size: int) -> bytes:
            return ("é" * 40000).encode()[address : address + size]

    assert show("{0:s}", Filled()) == "é" * (MAX_STRING // 2) + "…"
    # The cut falls into the middle of a character.
    assert show("{1:s}", Filled())[-3:] == "éé…"


def test_a_string_in_a_module_without_memory() -> None:
    with pytest.raises(ExpressionError, match="reads memory 0, and there is none"):
        check_template(parse_template("{0:s}"), Scope())


def test_length() -> None:
    with pytest.raises(ExpressionError, match="longer than"):
        parse_template("x" * (MAX_LENGTH + 1))


@given(st.floats(width=32, allow_nan=False))
def test_an_f32_is_shown_by_its_shortest_digits(value: float) -> None:
    shown = show("{x}", State(locals={2: value}))

    if math.isinf(value):
        assert shown == repr(value)
    else:
        assert len(shown) <= len(repr(value))
        # Two f32 are never shown alike: the text, rounded to an f32, is the value again.
        assert show("{" + shown.lstrip("-") + "f == y}", State(locals={3: abs(value)})) == "1"


PIECES = st.sampled_from(words("{ } {{ }} : ? ( ) [ ] ' a x :x :s :.2f 1 mem8[ + $ \" é"))


@settings(max_examples=500, deadline=None)
@given(st.one_of(st.text(max_size=60), st.lists(PIECES, max_size=20).map("".join)))
def test_any_text_is_a_template_or_an_expression_error(text: str) -> None:
    try:
        shown = show(text)
    except ExpressionError as problem:
        assert 1 <= problem.column <= len(text) + 1
    else:
        assert "{" in text or "}" in text or shown == text
