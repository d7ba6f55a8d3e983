"""Constants and result patterns of scripts, and raw values of the C API that keep every bit.

wasmtime-py's own values lack v128 and the garbage-collected references, and a Python float does not
keep an f32's NaN payload: so calls of the runner go by ``wasmtime_val_t``.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, Final

from wasmtime import _bindings as c

from tests.spec._wast import Form

__all__ = ["Raw", "constant", "describe", "matches", "release", "take"]

I32, I64, F32, F64, V128, FUNC, EXTERN, ANY, EXN = range(9)
_KINDS: Final = {
    "func": FUNC, "nofunc": FUNC, "extern": EXTERN, "noextern": EXTERN, "exn": EXN, "noexn": EXN,
    "any": ANY, "eq": ANY, "i31": ANY, "struct": ANY, "array": ANY, "none": ANY,
}  # fmt: skip
_LANES: Final = {
    "i8x16": (16, 1),
    "i16x8": (8, 2),
    "i32x4": (4, 4),
    "i64x2": (2, 8),
    "f32x4": (4, 4),
    "f64x2": (2, 8),
}

Raw = tuple[int, bytes]
"""A value: its kind, and the 24 bytes of its union."""


# ── numbers ────────────────────────────────────────────────────────────────────────────────────


def integer(text: str, size: int) -> bytes:
    """An integer literal of *size* bytes, signed or unsigned."""
    return (int(text.replace("_", ""), 0 if "x" in text else 10) & (1 << 8 * size) - 1).to_bytes(
        size, "little"
    )


def float_bits(text: str, size: int) -> int:
    """The bits of a float literal, rounded once (spec, "Text Format, Floating-Point")."""
    mantissa, exponent = (23, 8) if size == 4 else (52, 11)
    sign = text.startswith("-")
    text = text.lstrip("+-").replace("_", "")
    top = ((1 << exponent) - 1) << mantissa
    if text == "inf":
        bits = top
    elif text.startswith("nan"):
        bits = top | (int(text[4:], 16) if ":" in text else 1 << (mantissa - 1))
    else:
        bits = _round(_fraction(text), mantissa, exponent)
    return bits | sign << (mantissa + exponent)


def _fraction(text: str) -> Fraction:
    base, mark, factor = (16, "p", 2) if text[:2].lower() == "0x" else (10, "e", 10)
    digits, _, power = text.lower().removeprefix("0x").partition(mark)
    whole, _, part = digits.partition(".")
    value = Fraction(int(whole + part or "0", base), base ** len(part))
    return value * Fraction(factor) ** int(power or "0")


def _round(value: Fraction, mantissa: int, exponent: int) -> int:
    if not value:
        return 0
    bias = (1 << (exponent - 1)) - 1
    power = value.numerator.bit_length() - value.denominator.bit_length()
    if value < Fraction(2) ** power:
        power -= 1
    power = max(power, 1 - bias)
    scaled = value / Fraction(2) ** (power - mantissa)
    number = scaled.numerator // scaled.denominator
    rest = scaled - number
    if rest > Fraction(1, 2) or (rest == Fraction(1, 2) and number & 1):
        number += 1
    # a subnormal has no implicit bit; a carry moves into the exponent by itself
    bits = number + ((power + bias - 1) << mantissa)
    return min(bits, ((1 << exponent) - 1) << mantissa)


def _lane(text: str, shape: str, size: int) -> bytes:
    if shape.startswith("f"):
        return float_bits(text, size).to_bytes(size, "little")
    return integer(text, size)


# ── arguments ──────────────────────────────────────────────────────────────────────────────────


def constant(form: Form, context: Any) -> c.wasmtime_val_t:
    """A ``wasmtime_val_t`` (which the caller unroots) from a constant of a script."""
    head, rest = form.head, [str(item) for item in form.items[1:]]
    value = c.wasmtime_val_t()
    if head in ("i32.const", "i64.const"):
        wide = head == "i64.const"
        _set(value, I64 if wide else I32, integer(rest[0], 8 if wide else 4))
    elif head in ("f32.const", "f64.const"):
        size = 8 if head == "f64.const" else 4
        _set(value, F64 if size == 8 else F32, float_bits(rest[0], size).to_bytes(size, "little"))
    elif head == "v128.const":
        _, size = _LANES[rest[0]]
        _set(value, V128, b"".join(_lane(text, rest[0], size) for text in rest[1:]))
    elif head == "ref.null":
        _set(value, _KINDS.get(rest[0], FUNC), bytes(24))
    elif head == "ref.extern":
        _set(value, EXTERN, bytes(24))
        c.wasmtime_externref_new(context, int(rest[0]) + 1, _FINALIZER(), ctypes.byref(value.of.externref))
    elif head == "ref.host":
        made = c.wasmtime_externref_t()
        c.wasmtime_externref_new(context, int(rest[0]) + 1, _FINALIZER(), ctypes.byref(made))
        raw = c.wasmtime_externref_to_raw(context, ctypes.byref(made))
        _set(value, ANY, bytes(24))
        c.wasmtime_anyref_from_raw(context, raw, ctypes.byref(value.of.anyref))
        c.wasmtime_externref_unroot(ctypes.byref(made))
    else:
        raise NotImplementedError(f"constant {head}")
    return value


_FINALIZER = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


def _set(value: Any, kind: int, data: bytes) -> None:
    value.kind = kind
    ctypes.memmove(ctypes.addressof(value) + 8, data, len(data))


# ── results ────────────────────────────────────────────────────────────────────────────────────


def take(value: Any) -> Raw:
    """Kind and bytes of a ``wasmtime_val_t``; references stay rooted until :func:`release`."""
    return value.kind, ctypes.string_at(ctypes.addressof(value) + 8, 24)


def release(values: Sequence[Any]) -> None:
    """Gives back the roots of an array of values."""
    for value in values:
        if value.kind >= EXTERN:
            c.wasmtime_val_unroot(ctypes.byref(value))


def _is_null(value: Raw) -> bool:
    return value[1][:8] == bytes(8)


def _nan(data: bytes, size: int, kind: str) -> bool:
    bits = int.from_bytes(data[:size], "little")
    mantissa, exponent = (23, 8) if size == 4 else (52, 11)
    bits &= (1 << (mantissa + exponent)) - 1
    quiet = ((1 << exponent) - 1) << mantissa | 1 << (mantissa - 1)
    return bits == quiet if kind == "nan:canonical" else bits & quiet == quiet


def _number(text: str, shape: str, size: int, data: bytes) -> bool:
    if text in ("nan:canonical", "nan:arithmetic"):
        return _nan(data, size, text)
    return _lane(text, shape, size) == data[:size]


def matches(form: Form, value: Raw, context: Any) -> bool:
    """Whether a result is what a script expects (spec repository, "Scripts", result patterns)."""
    head, rest = form.head, form.items[1:]
    kind, data = value
    if head == "either":
        return any(isinstance(one, Form) and matches(one, value, context) for one in rest)
    texts = [str(item) for item in rest]
    if head in ("i32.const", "i64.const", "f32.const", "f64.const"):
        expected = {"i32": I32, "i64": I64, "f32": F32, "f64": F64}[head[:3]]
        return kind == expected and _number(texts[0], head[0], 8 if "64" in head else 4, data)
    if head == "v128.const":
        count, size = _LANES[texts[0]]
        return kind == V128 and all(
            _number(texts[1 + i], texts[0], size, data[i * size : (i + 1) * size]) for i in range(count)
        )
    if head == "ref.null":
        return kind >= FUNC and _is_null(value) and (not texts or _KINDS.get(texts[0], kind) == kind)
    if kind < FUNC or _is_null(value):
        return False
    if head == "ref.func":
        return kind == FUNC
    if head == "ref.extern":
        return kind == EXTERN and (not texts or _host_number(value, context) == int(texts[0]))
    if head == "ref.exn":
        return kind == EXN
    if kind != ANY:
        return False
    if head == "ref.host":
        return _host_number(value, context) == int(texts[0])
    if head == "ref.any":
        return True
    tests = {
        "ref.struct": c.wasmtime_anyref_is_struct,
        "ref.array": c.wasmtime_anyref_is_array, "ref.eq": c.wasmtime_anyref_is_eqref,
    }  # fmt: skip
    reference = c.wasmtime_anyref_t.from_buffer_copy(data)
    if head == "ref.i31":
        # wasmtime_anyref_is_i31 says yes to everything that is not null
        return bool(
            c.wasmtime_anyref_i31_get_u(context, ctypes.byref(reference), ctypes.byref(ctypes.c_uint32()))
        )
    return bool(tests[head](context, ctypes.byref(reference)))


def _host_number(value: Raw, context: Any) -> int:
    kind, data = value
    if kind == EXTERN:
        reference = c.wasmtime_externref_t.from_buffer_copy(data)
    else:
        found = c.wasmtime_anyref_t.from_buffer_copy(data)
        if c.wasmtime_anyref_is_eqref(context, ctypes.byref(found)):
            return -1
        # ``extern.convert_any`` does not change a reference's representation
        reference = c.wasmtime_externref_t()
        raw = c.wasmtime_anyref_to_raw(context, ctypes.byref(found))
        c.wasmtime_externref_from_raw(context, raw, ctypes.byref(reference))
    address = ctypes.cast(c.wasmtime_externref_data(context, ctypes.byref(reference)), ctypes.c_void_p)
    return (address.value or 0) - 1


def describe(value: Raw) -> str:
    """For messages."""
    kind, data = value
    if kind in (I32, I64):
        size = 4 if kind == I32 else 8
        return f"i{size * 8} {int.from_bytes(data[:size], 'little', signed=True)}"
    if kind in (F32, F64):
        size = 4 if kind == F32 else 8
        number = struct.unpack("<f" if size == 4 else "<d", data[:size])[0]
        return f"f{size * 8} {number} ({int.from_bytes(data[:size], 'little'):#x})"
    if kind == V128:
        return f"v128 {data[:16].hex()}"
    name = ("funcref", "externref", "anyref", "exnref")[kind - FUNC]
    return f"{name} null" if _is_null(value) else name
