"""Floats of a guest that come by way of the engine, with the bits of those that are NaNs."""

from __future__ import annotations

from typing import Any

from .. import capi
from ..wasm import NaN

__all__ = ["carried", "with_bits"]


def with_bits(value: object) -> object:
    """A value as the user sees it: a float for :class:`capi.FloatBits`, and a :class:`NaN` for a NaN."""
    if not isinstance(value, capi.FloatBits):
        return value
    number = float(value)
    return number if number == number else NaN(value.bits, 32 if value.valtype == "f32" else 64)


def carried(exception: capi.WasmException) -> tuple[Any, ...]:
    """What an exception carries.

    :raises StoreClosedError: the store has been closed.
    """
    return tuple(map(with_bits, exception.read(bits=True)))
