"""Parsing: precedence, errors with their place, and text that means harm."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.expressions._machine import SCOPE, State, compiled, host, typed, words
from trio_wasmdbg.errors import EvaluationError, ExpressionError, UsageError
from trio_wasmdbg.expressions import MAX_DEPTH, MAX_LENGTH, Scope, check, evaluate, parse
from trio_wasmdbg.expressions import _syntax as syntax

OPERATORS = ["||", "&&", "|", "^", "&", "==", "<", "<<", "+", "*"]


def shape(node: syntax.Node) -> str:
    """The tree with every parenthesis written out."""
    match node:
        case syntax.Constant(value=value):
            return str(value)
        case syntax.Name(name=name):
            return name
        case syntax.Slot(space=space, which=which):
            return f"{space}[{which}]"
        case syntax.Null():
            return "null"
        case syntax.Lane(shape=lanes, place=place, lane=lane):
            return f"{lanes}({shape(place)}, {lane})"
        case syntax.MemoryRead(access=access, memory=memory, address=address):
            return f"{access}@{memory}[{shape(address)}]"
        case syntax.Unary(op=op, operand=operand):
            return f"({op}{shape(operand)})"
        case syntax.Cast(target=target, operand=operand):
            return f"(({target}) {shape(operand)})"
        case syntax.Binary(op=op, left=left, right=right):
            return f"({shape(left)} {op} {shape(right)})"
        case syntax.Conditional(condition=condition, then=then, otherwise=otherwise):
            return f"({shape(condition)} ? {shape(then)} : {shape(otherwise)})"


@pytest.mark.parametrize("loose", range(len(OPERATORS)))
def test_precedence(loose: int) -> None:
    for tight in range(loose + 1, len(OPERATORS)):
        low, high = OPERATORS[loose], OPERATORS[tight]
        assert shape(parse(f"a {low} b {high} c").root) == f"(a {low} (b {high} c))"
        assert shape(parse(f"a {high} b {low} c").root) == f"((a {high} b) {low} c)"


@pytest.mark.parametrize("row", ["|| ||", "== !=", "< >=", "<< >>", "+ -", "* %", "/ *"])
def test_operators_of_one_precedence_group_to_the_left(row: str) -> None:
    first, second = row.split()
    assert shape(parse(f"a {first} b {second} c").root) == f"((a {first} b) {second} c)"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a?b:c?d:e", "(a ? b : (c ? d : e))"),
        ("a?b?c:d:e", "(a ? (b ? c : d) : e)"),
        ("a||b?c:d||e", "((a || b) ? c : (d || e))"),
        ("-a*b", "((-a) * b)"),
        ("!a==b", "((!a) == b)"),
        ("-(a+b)", "(-(a + b))"),
        ("a - -b", "(a - (-b))"),
        ("a--b", "(a - (-b))"),
        ("(u32)a+b", "(((u32) a) + b)"),
        ("(u32)-a", "((u32) (-a))"),
        ("-(u32)a", "(-((u32) a))"),
        ("(i8)(u16)a", "((i8) ((u16) a))"),
        ("(a)", "a"),
        ("(u32)(a)", "((u32) a)"),
        ("mem32 @ 1 [ a + 1 ] + 1", "(mem32@1[(a + 1)] + 1)"),
        ("mem8s[a]", "mem8@0[a]"),
        ("mem32[mem32[a]]", "mem32@0[mem32@0[a]]"),
        ("mem32[a ? b : c]", "mem32@0[(a ? b : c)]"),
        ("local[2]+stack[-1]", "(local[2] + stack[-1])"),
        ("global[$name]", "global[name]"),
        ("$local", "local"),
        ("i32x4(v, 3)+1", "(i32x4(v, 3) + 1)"),
        ("u8x16 ( stack[-1] , 15 )", "u8x16(stack[-1], 15)"),
        ("f64x2($0,1)", "f64x2(local[0], 1)"),
        ("a == null && null != $null", "((a == null) && (null != null))"),
        ("$i32x4", "i32x4"),
        ("$a.b-c", "(a.b - c)"),
        ("$12", "local[12]"),
        ('$"a b"', "a b"),
        (r'$"a\"\x62"', 'a"b'),
        ("\t a\r\n", "a"),
    ],
)
def test_shape(text: str, expected: str) -> None:
    assert shape(parse(text).root) == expected


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        ("", 1, "expected a value, not the end"),
        ("   ", 4, "expected a value, not the end"),
        ("1 +", 4, "expected a value, not the end"),
        ("1 + * 2", 5, "expected a value, not '*'"),
        ("(1 + 2", 1, "the '(' here is not closed"),
        ("1 + 2)", 6, "this ')' has no '('"),
        ("(1]", 1, "the '(' here is not closed"),
        ("mem32[1)", 1, "the '[' here is not closed"),
        ("mem32[1", 1, "the '[' here is not closed"),
        ("(1 ? 2)", 4, "this '?' has no ':'"),
        ("1 ? 2", 3, "this '?' has no ':'"),
        ("1 : 2", 3, "this ':' has no '?'"),
        ("(1 : 2) ? 3", 4, "this ':' has no '?'"),
        ("a b", 3, "expected an operator, not 'b'"),
        ("a[1]", 1, "'a' can't be indexed"),
        ("a = 1", 3, "an expression can't assign; write == to compare"),
        ("a.b", 2, "unexpected character '.'"),
        ("f(1)", 2, "functions can't be called in an expression"),
        ("mem33[0]", 1, "'mem33' can't be indexed; did you mean 'mem32' or 'memf32' or 'mem32u'?"),
        ("mem32", 6, "expected '[' after 'mem32', not the end"),
        ("mem32@x[0]", 7, "expected the index of a memory after '@', not 'x'"),
        ("mem32@0x1[0]", 7, "expected the index of a memory after '@', not '0x1'"),
        ("local", 1, "'local' is a keyword (write $ before it for a local of that name: $local)"),
        ("local[1 + 1]", 9, "local[…] takes a constant index: expected ']', not '+'"),
        ("local[", 7, "local[…] takes a number or a name, not the end"),
        ("stack[top]", 7, "stack[…] takes a number, not 'top'"),
        ("local[99999999999]", 7, "99999999999 is too large for an index"),
        ("i32x4", 1, "'i32x4' is a keyword (write $ before it for a local of that name: $i32x4)"),
        ("i32x4()", 7, "expected a value, not ')'"),
        ("i32x4(a)", 8, "i32x4(…) takes a place and a lane: expected ',', not ')'"),
        ("i32x4(a + b, 0)", 9, "i32x4(…) takes a place and a lane: expected ',', not '+'"),
        ("i32x4(1, 0)", 7, "i32x4(…) takes a local, operand or global, not '1'"),
        ("i32x4(null, 0)", 7, "i32x4(…) takes a local, operand or global, not 'null'"),
        ("i32x4(a, b)", 10, "i32x4(…) takes a constant lane, not 'b'"),
        ("i32x4(a, 0x1)", 10, "i32x4(…) takes a constant lane, not '0x1'"),
        ("i32x4(a, 1", 11, "i32x4(…) takes a constant lane: expected ')', not the end"),
        ("i32x4[0]", 1, "'i32x4' can't be indexed"),
        ("a, b", 2, "expected an operator, not ','"),
        ("12ab", 1, "'12ab' is not a number"),
        ("0x", 1, "'0x' is not a number"),
        ("0b12", 1, "'0b12' is not a number"),
        ("1.2.3", 1, "'1.2.3' is not a number"),
        ("1lul", 1, "'1lul' is not a number"),
        ("010", 1, "numbers don't begin with 0 (there are no octal ones)"),
        ("18446744073709551616", 1, "18446744073709551616 does not fit in 64 bits"),
        ("9223372036854775808", 1,
         "9223372036854775808 does not fit in 64 bits (write it with the suffix u)"),
        ("0x10000000000000000u", 1, "0x10000000000000000u does not fit in 64 bits"),
        ("1e999", 1, "1e999 is larger than any f64"),
        ("1e39f", 1, "1e39f is larger than any f32"),
        ("'ab'", 1, "this is not one character"),
        ("'a", 1, "this character literal has no end"),
        (r"'\q'", 1, r"unknown escape '\\q'"),
        (r"'\u{110000}'", 1, r"unknown escape '\\u{110000}'"),
        ('"text"', 1, "there are no strings; a log point shows the one at an address by {address:s}"),
        ("$", 1, '$ is followed by an index, a name, or a "quoted name"'),
        ("a # b", 3, "unexpected character '#'"),
        ("ä", 1, "unexpected character 'ä'"),
        ("a\0b", 2, "unexpected character '\\x00'"),
        ("__import__('os')", 11, "functions can't be called in an expression"),
        ("1\n+\n\n* 2", 6, "expected a value, not '*'"),
    ],
)  # fmt: skip
def test_syntax_error(text: str, column: int, message: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse(text)

    problem = caught.value
    assert (problem.message, problem.column, problem.text) == (message, column, text)
    lines = str(problem).split("\n")
    assert lines[0] == message
    assert lines[2].index("^") == column + 3
    assert len(lines) == 3, "whatever the text has in it, the picture is two lines"
    assert isinstance(problem, UsageError)


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        ("foo", 1, "no local or global is named 'foo'"),
        ("with_space", 1, "no local or global is named 'with_space'; did you mean 'with space'?"),
        ("gone", 1, "no local or global is named 'gone'"),
        ("local[foo]", 1, "no local is named 'foo'"),
        ("global[vectr]", 1, "no global is named 'vectr'"),
        ("local[vectr]", 1, "no local is named 'vectr'; did you mean 'vector' or 'never'?"),
        ("1 + local[9]", 5, "no local 9: there are 9"),
        ("$9", 1, "no local 9: there are 9"),
        ("local[-1]", 1, "no local -1: there are 9"),
        ("global[5]", 1, "no global 5: there are 5"),
        ("stack[3]", 1, "no operand 3: the operand stack holds 3 here"),
        ("stack[-4]", 1, "no operand -4: the operand stack holds 3 here"),
        ("vector", 1, "local 5 is of type v128: i32x4(…, 0) gives a lane of it"),
        ("!ref", 2, "local 6 is of type externref: a reference can be compared with null only"),
        ("ref == ref", 1, "local 6 is of type externref: a reference can be compared with null only"),
        ("i32x4(a, 0)", 7, "local 0 is of type i32: only a v128 has lanes"),
        ("i8x16(ref, 0)", 7, "local 6 is of type externref: only a v128 has lanes"),
        ("u64x2(vector, 2)", 1, "no lane 2: u64x2 has 2"),
        ("i8x16(vector, 16)", 1, "no lane 16: i8x16 has 16"),
        ("i32x4(vectr, 0)", 7, "no local or global is named 'vectr'; did you mean 'vector' or 'never'?"),
        ("a == null", 1, "local 0 is of type i32: only a reference can be null"),
        ("null == vector", 9, "local 5 is of type v128: only a reference can be null"),
        ("a + 1 == null", 3, "null is compared with a local, operand or global"),
        ("null == null", 1, "null is compared with a local, operand or global"),
        ("ref < null", 1, "local 6 is of type externref: a reference can be compared with null only"),
        ("null", 1, "null can be compared with a reference only, by == or !="),
        ("a ? null : 0", 5, "null can be compared with a reference only, by == or !="),
        ("mem8@5[0]", 1, "no memory 5: there are 5"),
        ("mem8[x]", 1, "an address is an integer, not an f32"),
        ("a + x % 2", 7, "'%' takes integers, not an f32 (a cast makes one: (i64) x)"),
        ("2 % x", 3, "'%' takes integers, not an f32 (a cast makes one: (i64) x)"),
        ("a << y", 3, "'<<' takes integers, not an f64 (a cast makes one: (i64) x)"),
        ("~x", 1, "'~' takes integers, not an f32 (a cast makes one: (i64) x)"),
    ],
)
def test_check_error(text: str, column: int, message: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        typed(text)

    assert (caught.value.message, caught.value.column) == (message, column)
    assert not isinstance(caught.value, EvaluationError)


def test_an_ambiguous_name() -> None:
    scope = Scope(locals=SCOPE.locals, local_names={0: "i", 1: "i"})

    with pytest.raises(ExpressionError, match=r"ambiguous: it means local\[0\] and local\[1\]"):
        check(parse("i + 1"), scope)


def test_a_scope_without_anything() -> None:
    assert evaluate(check(parse("1 + 1"), Scope()), State()) == 2


# ── hostile text ───────────────────────────────────────────────────────────────────────────────

DEEP = [
    ("(", "1", ")"),
    ("-", "1", ""),
    ("(u32)", "1", ""),
    ("!", "a", ""),
    ("mem32[", "a", "]"),
    ("a + ", "a", ""),
    ("a || ", "a", ""),
    ("a ? a : ", "a", ""),
    ("a ? ", "a", " : a"),
    ("1 + (a * ", "a", ")"),
    ("(f32)(i64)(a / ", "a", ")"),
]


@pytest.mark.parametrize(("before", "middle", "after"), DEEP)
def test_depth(before: str, middle: str, after: str) -> None:
    deepest = 0
    for count in (10, 90, 199, 500):
        text = before * count + middle + after * count
        try:
            expression = typed(text)
        except ExpressionError as problem:
            assert problem.message in (
                f"nested deeper than {MAX_DEPTH} levels",
                f"longer than {MAX_LENGTH} characters",
            )
        else:
            deepest = count
            # Whatever the parser lets through can be evaluated and compiled.
            assert type(host(expression, State())) is type(compiled(expression, State()))
    assert deepest


def test_depth_leaves_room_on_our_stack() -> None:
    """The deepest expression that is let through needs less than half of the usual recursion limit."""
    text = "(f32)" * 66 + "(i64)" * 66 + "(f64)" * 66 + "a"

    def depth() -> int:
        frame, n = sys._getframe(), 0
        while frame.f_back is not None:
            frame, n = frame.f_back, n + 1
        return n

    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(depth() + 480)
    try:
        expression = typed(text + " + a")
        host(expression, State())
        compiled(expression, State())
    finally:
        sys.setrecursionlimit(limit)


def test_length() -> None:
    with pytest.raises(ExpressionError) as caught:
        parse("a" * (MAX_LENGTH + 1))
    assert caught.value.column == MAX_LENGTH + 1
    assert shape(parse(" " * (MAX_LENGTH - 1) + "a").root) == "a"


PIECES = st.sampled_from(
    words(
        """a b x 1 0 1.5 'c' ( ) [ ] mem32[ mem8u@1[ local[ stack[ global[ (u32) (f64) + - * / % << >> < <=
        == != & && | || ^ ~ ! ? : { } @ $ $0 $a $" " ' \\ 0x 1e 1e5f ul \x00 é \u202e"""
    )
)


@settings(max_examples=1000, deadline=None)
@given(st.one_of(st.text(max_size=60), st.lists(PIECES, max_size=30).map("".join)))
def test_any_text_is_an_expression_or_an_expression_error(text: str) -> None:
    try:
        expression = typed(text)
    except ExpressionError as problem:
        assert 1 <= problem.column <= len(text) + 1
        assert len(str(problem).split("\n")) == 3
    else:
        host(expression, State())
