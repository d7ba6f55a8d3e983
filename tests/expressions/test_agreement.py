"""Random expressions: the host's evaluator and compiled code give the same bits, or both an error."""

from __future__ import annotations

import struct

from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from tests.expressions._machine import SCOPE, State, Unmet, compiled, host, typed, words
from trio_wasmdbg.errors import ExpressionError
from trio_wasmdbg.expressions._scalars import SHAPES
from trio_wasmdbg.wasm import F32, F64, I32, I64, ValType

EDGES = [n + d for n in (0, 1 << 31, 1 << 32, 1 << 53, 1 << 63, 1 << 24) for d in (-2, -1, 0, 1, 2)]


def integers(bits: int) -> st.SearchStrategy[int]:
    low, high = -(1 << bits - 1), (1 << bits - 1) - 1
    edges = [n for n in {*EDGES, *(-n for n in EDGES)} if low <= n <= high]
    return st.one_of(st.sampled_from(sorted(edges)), st.integers(low, high), st.integers(-20, 20))


VALUES: dict[ValType, st.SearchStrategy[int | float]] = {
    I32: integers(32),
    I64: integers(64),
    F32: st.floats(width=32, allow_nan=False),
    F64: st.floats(allow_nan=False),
}

STATES = st.builds(
    State,
    locals=st.fixed_dictionaries({n: VALUES[type] for n, type in enumerate(SCOPE.locals) if type in VALUES}),
    operands=st.tuples(*(VALUES[type] for type in SCOPE.operands)),
    globals=st.tuples(*(VALUES[type] for type in SCOPE.globals if type in VALUES)),
    vector=st.binary(min_size=16, max_size=16),
    reference=st.sampled_from([None, "something"]),
    pages=st.integers(0, 1),
)

LITERALS = st.one_of(
    integers(32).map(str),
    st.builds("{}{}".format, st.integers(0, (1 << 64) - 1).map(hex), st.sampled_from(["", "u", "L", "ul"])),
    st.floats(0, allow_nan=False, allow_infinity=False).map(repr),
    st.floats(0, width=32, allow_nan=False, allow_infinity=False).map("{!r}f".format),
)
NAMES = st.sampled_from(
    ["a", "b", "x", "y", "p", "$7", "stack[0]", "stack[1]", "stack[-1]", "g", "h", "global[a]"]
)
LANES = st.sampled_from(list(SHAPES.values())).flatmap(
    lambda shape: st.builds(
        f"{shape}({{}}, {{}})".format,
        st.sampled_from(["vector", "local[5]", "$5", "global[lanes]"]),
        st.integers(0, shape.lanes - 1),
    )
)
NULLS = st.builds(
    "({} {} null)".format, st.sampled_from(["ref", "nothing", "never"]), st.sampled_from(["==", "!="])
)
INTEGER_CASTS = st.sampled_from(["i32", "u32", "i64", "u64", "i8", "u8", "i16", "u16"])
CASTS = st.one_of(INTEGER_CASTS, st.sampled_from(["f32", "f64"]))
READS = st.sampled_from(
    [f"mem{kind}{memory}" for kind in ("8", "8u", "16", "16u", "32", "32u", "64", "64u", "f32", "f64")
     for memory in ("", "@1", "@2", "@3", "@4")]
)  # fmt: skip


def compound(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    whole = st.builds("({})({})".format, INTEGER_CASTS, inner)
    return st.one_of(
        st.builds("({} {} {})".format, inner, st.sampled_from(words("+ - * / < <= > >= == !=")), inner),
        st.builds("({} {} {})".format, whole, st.sampled_from(words("+ - * / % & | ^ << >>")), whole),
        st.builds("({} {} {})".format, whole, st.sampled_from(words("/ % << >>")), NAMES),
        st.builds("({} {} {})".format, inner, st.sampled_from(["&&", "||"]), inner),
        st.builds("({} ? {} : {})".format, inner, inner, inner),
        st.builds("({}) {}".format, CASTS, inner),
        st.builds("({}) ({})".format, CASTS, inner),
        st.builds("{}({})".format, st.sampled_from("-+!~"), inner),
        st.builds("{}[{}]".format, READS, whole),
        st.builds("{}[{} & 0xffff]".format, READS, whole),
    )


EXPRESSIONS = st.recursive(st.one_of(NAMES, NAMES, LITERALS, LANES, NULLS), compound, max_leaves=12)


def same(left: object, right: object) -> bool:
    if isinstance(left, float) and isinstance(right, float):
        return struct.pack("<d", left) == struct.pack("<d", right) or (left != left and right != right)
    return type(left) is type(right) and left == right


def with_locals(locals: dict[int, int | float]) -> State:
    return State(locals={0: 0, 1: 0, 2: 0.0, 3: 0.0, 4: 0, 7: 0} | locals)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(EXPRESSIONS, STATES)
@example("(f32) $7", with_locals({7: (1 << 60) + (1 << 36) + 1}))
@example("(f32) (u64) $7", with_locals({7: -(1 << 39) - 1}))
@example("b / $7", with_locals({1: -(1 << 63), 7: -1}))
@example("x * x", with_locals({2: 2.0**-75 * 1.5}))
@example("x * x", with_locals({2: 2.0**127}))
def test_host_and_guest_agree(text: str, state: State) -> None:
    try:
        expression = typed(text)
    except ExpressionError:
        assume(False)  # an operator that does not take these types
    on_host, in_guest = host(expression, state), compiled(expression, state)

    if isinstance(on_host, Unmet):
        assert isinstance(in_guest, Unmet), on_host
    else:
        assert same(on_host, in_guest), (on_host, in_guest)


CONVERSIONS = st.tuples(
    st.sampled_from(["a", "(u32) a", "b", "(u64) b", "x", "y"]),
    st.sampled_from(["i32", "u32", "i64", "u64", "f32", "f64", "i8", "u8", "i16", "u16"]),
)


@settings(max_examples=100, deadline=None)
@given(CONVERSIONS, STATES)
def test_conversions_agree(conversion: tuple[str, str], state: State) -> None:
    source, target = conversion
    expression = typed(f"({target}) {source}")

    assert same(host(expression, state), compiled(expression, state))
