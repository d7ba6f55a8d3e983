"""The shadow frame: where a function's locals and operands live while somebody may look at them.

A frame is a piece of the debug memory, 16-aligned, addressed by its lowest byte ``fp``::

    +0   u32  function index | SLOW
    +4   u32  resume point | MATERIALISED
    +8   u32  the instance that was current before (functions that can be entered from outside only)
    +12  u32  the resume point at which its fast twin was left (while the slow twin runs it)
    +16  the locals, parameters first, one slot each
    ...  the operand stack, bottom first, one slot each

Slots have 8 bytes, or 16 in a function that uses ``v128``.  A reference can't be stored in linear
memory: its slot stays empty, and the reference is element ``address >> 3`` of the appended
table of its kind.
"""

from __future__ import annotations

from attrs import frozen

from ..wasm import ValType

__all__ = [
    "ENTERED_OFFSET",
    "FUNCTION",
    "HEADER_SIZE",
    "INSTANCE_OFFSET",
    "MAX_FRAME",
    "MATERIALISED",
    "RESUME_OFFSET",
    "SLOW",
    "FrameLayout",
]

HEADER_SIZE = 16
RESUME_OFFSET = 4
INSTANCE_OFFSET = 8
ENTERED_OFFSET = 12

MAX_FRAME = 1 << 20
"""Bytes that one frame may take: a part of the stack that leaves room for others."""

SLOW = 0x8000_0000
"""Flag in the first header word: the slow twin runs this frame, so every slot is up to date."""

FUNCTION = ~SLOW
"""Mask of the function index in the first header word."""

MATERIALISED = 0x8000_0000
"""Flag in the second header word: the host has written the zeros of locals that a fast frame in a call, or
one that was just left, does not have (see :meth:`FunctionPlan.unassigned
<trio_wasmdbg.instrument.FunctionPlan.unassigned>`)."""


@frozen
class FrameLayout:
    """Where things lie in the frames of one function.  All offsets are bytes from ``fp``.

    :ivar size: whole size, a multiple of 16.
    :ivar slot_size: 8 or 16.
    :ivar locals: types of all locals, parameters first.
    """

    size: int
    slot_size: int
    locals: tuple[ValType, ...]

    @classmethod
    def of(cls, locals: tuple[ValType, ...], operands: int, wide: bool) -> FrameLayout:
        """The layout for *operands* operand slots; *wide* if one of the slots is a ``v128``."""
        slot = 16 if wide else 8
        size = HEADER_SIZE + slot * (len(locals) + operands)
        return cls((size + 15) & ~15, slot, locals)

    def local(self, index: int) -> int:
        """Offset of local *index*."""
        return HEADER_SIZE + self.slot_size * index

    def operand(self, height: int) -> int:
        """Offset of the operand that has *height* operands below it."""
        return HEADER_SIZE + self.slot_size * (len(self.locals) + height)
