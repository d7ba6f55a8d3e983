"""NaNs with their bits.

Spec, "Values, Floating-Point": a NaN has a sign and a payload, and a program may tell them apart.  A Python
float can't always carry them: reading a signalling NaN of 32 bits makes it a quiet one.
"""

from __future__ import annotations

import struct
from typing import Final, final

__all__ = ["NaN"]

_FLOATS: Final = {32: "<f", 64: "<d"}


@final
class NaN(float):
    """A NaN of a guest: a float that knows its bits, and is written back with them.

    :ivar bits: as an unsigned integer.
    :ivar width: 32 or 64.
    """

    __slots__ = ("bits", "width")

    bits: int
    width: int

    def __new__(cls, bits: int, width: int) -> NaN:
        """:raises ValueError: these are no NaN's bits."""
        value: float = struct.unpack(_FLOATS[width], bits.to_bytes(width // 8, "little"))[0]
        if value == value:
            raise ValueError(f"{bits:#x} is the number {value!r}")
        made = super().__new__(cls, value)
        made.bits, made.width = bits, width
        return made

    def __repr__(self) -> str:
        return f"nan ({self.bits:#0{self.width // 4 + 2}x})"

    def __reduce__(self) -> tuple[type[NaN], tuple[int, int]]:
        return NaN, (self.bits, self.width)
