"""What the operators do to values, bit for bit as WebAssembly does it.

Spec: "Execution, Numerics".  Differences from the instructions are the language's, and the compiler
emits code for them: dividing the smallest integer by -1 wraps instead of trapping, and floats are
converted to integers by saturation.
"""

from __future__ import annotations

import math
import struct

from ._scalars import Number, Scalar

__all__ = ["COMPARISONS", "binary", "convert", "narrow", "negate", "round_f32", "wrap"]

COMPARISONS = frozenset({"==", "!=", "<", "<=", ">", ">="})


def wrap(type: Scalar, value: int) -> int:
    """*value* modulo the width of an integer type, in that type's range."""
    value &= (1 << type.bits) - 1
    return value - (1 << type.bits) if type.signed and value >> type.bits - 1 else value


def round_f32(value: float) -> float:
    """The nearest ``f32``, ties to even; beyond the largest one infinity."""
    try:
        rounded: float = struct.unpack("<f", struct.pack("<f", value))[0]
    except OverflowError:
        return math.copysign(math.inf, value)
    return rounded


def _integer_to_f32(value: int) -> float:
    """The nearest ``f32``, rounded once: going by way of an ``f64`` would round twice."""
    excess = value.bit_length() - 53
    if excess > 0:
        # Keep 53 bits, the last of them set if anything was cut off: the f64 is exact then, lies
        # between the same two f32, and on the same side of their middle.
        low = abs(value) & (1 << excess) - 1
        magnitude = (abs(value) >> excess | (low != 0)) << excess
        value = magnitude if value > 0 else -magnitude
    return round_f32(float(value))


def convert(source: Scalar, target: Scalar, value: Number) -> Number:
    """*value* of type *source* as one of type *target*."""
    if target.is_float:
        if target is Scalar.F64:
            return float(value)
        return round_f32(float(value)) if source.is_float else _integer_to_f32(int(value))
    if not source.is_float:
        return wrap(target, int(value))
    # Spec: "trunc_sat_u", "trunc_sat_s".
    if math.isnan(value):
        return 0
    low = -(1 << target.bits - 1) if target.signed else 0
    high = (1 << target.bits - target.signed) - 1
    if math.isinf(value):
        return high if value > 0 else low
    return max(low, min(high, math.trunc(value)))


def narrow(value: int, bits: int, signed: bool) -> int:
    """The lowest *bits* bits of *value*, as a signed or unsigned number."""
    value &= (1 << bits) - 1
    return value - (1 << bits) if signed and value >> bits - 1 else value


def negate(type: Scalar, value: Number) -> Number:
    """``-value``; the smallest integer is its own negative."""
    return -value if type.is_float else wrap(type, -int(value))


def binary(op: str, type: Scalar, left: Number, right: Number) -> Number:
    """``left op right``, both of *type* (comparisons give 0 or 1).

    :raises ZeroDivisionError: integers only.
    """
    if op in COMPARISONS:
        return int(_compare(op, left, right))
    if type.is_float:
        value = _float(op, float(left), float(right))
        # Double rounding is harmless here: an f64 has more than twice the bits of an f32, plus 2.
        return round_f32(value) if type is Scalar.F32 else value
    return wrap(type, _integer(op, type, int(left), int(right)))


def _compare(op: str, left: Number, right: Number) -> bool:
    match op:
        case "==":
            return left == right
        case "!=":
            return left != right
        case "<":
            return left < right
        case "<=":
            return left <= right
        case ">":
            return left > right
        case _:
            return left >= right


def _integer(op: str, type: Scalar, left: int, right: int) -> int:
    match op:
        case "+":
            return left + right
        case "-":
            return left - right
        case "*":
            return left * right
        case "/":
            quotient = abs(left) // abs(right)
            return quotient if (left < 0) == (right < 0) else -quotient
        case "%":
            remainder = abs(left) % abs(right)
            return -remainder if left < 0 else remainder
        case "&":
            return left & right
        case "|":
            return left | right
        case "^":
            return left ^ right
        case "<<":
            return left << right % type.bits
        case ">>":
            return left >> right % type.bits
        case _:
            raise AssertionError(op)


def _float(op: str, left: float, right: float) -> float:
    match op:
        case "+":
            return left + right
        case "-":
            return left - right
        case "*":
            return left * right
        case "/":
            if right:
                return left / right
            if left == 0 or math.isnan(left):
                return math.nan
            return math.copysign(math.inf, left) * math.copysign(1.0, right)
        case _:
            raise AssertionError(op)
