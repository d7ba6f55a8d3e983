"""Code that brings a fast twin's values into its frame."""

from __future__ import annotations

from typing import Final, NamedTuple

from ..wasm import Operand, ValType
from . import _emit as emit
from ._additions import Additions, FrameAccess
from ._body import BodyWriter
from ._frames import RESUME_OFFSET, FrameLayout
from ._zeros import bits

__all__ = ["MANY_OPERANDS", "Copied", "FrameStores", "operand_below", "still_stored"]

MANY_OPERANDS: Final = 64
"""More operands than this don't go into temporary locals, of which there can be 50,000."""


class Copied(NamedTuple):
    """An operand that is in a temporary local as well."""

    height: int
    type: ValType
    local: int


class FrameStores:
    """Stores of locals and operands; the code is kept, since the same sets come again and again."""

    def __init__(
        self, writer: BodyWriter, frame: FrameLayout, access: FrameAccess, additions: Additions
    ) -> None:
        self._writer = writer
        self._frame = frame
        self._access = access
        self._additions = additions
        self._groups: dict[tuple[int, int], bytes] = {}
        self._masks: dict[int, bytes] = {}

    def locals(self, mask: int) -> bytes:
        """Stores the locals of *mask*."""
        if not mask:
            return b""
        code = self._masks.get(mask)
        if code is None:
            # Masks differ, but not everywhere: what eight neighbours need comes again and again.
            groups = enumerate(mask.to_bytes((mask.bit_length() + 7) // 8, "little"))
            code = b"".join([self._group(number, few) for number, few in groups if few])
            self._masks[mask] = code
        return code

    def _group(self, number: int, few: int) -> bytes:
        """Stores those of *few*, a mask, of the eight locals from ``8 * number`` on."""
        code = self._groups.get((number, few))
        if code is None:
            frame, store = self._frame, self._access.store_local
            code = self._groups[number, few] = b"".join(
                [store(frame.locals[i], frame.local(i), i) for i in bits(few << 8 * number)]
            )
        return code

    def operands(self, copied: list[Copied]) -> bytes:
        """Stores operands from their temporary locals."""
        frame, access = self._frame, self._access
        return b"".join(
            [access.store_local(type, frame.operand(height), local) for height, type, local in copied]
        )

    def unless_materialised(self, code: bytes) -> bytes:
        """*code*, skipped if the host has said by MATERIALISED that the frame is right as it is."""
        if not code:
            return b""
        # The flag is the sign bit.
        condition = self._access.load_i32(RESUME_OFFSET) + emit.i32_const(0) + b"\x4e"  # i32.ge_s
        return b"".join([condition, emit.IF_EMPTY, code, emit.END])

    # ── these emit ─────────────────────────────────────────────────────────────────────────────

    def expose(self, stack: Operand | None, low: int) -> list[Copied]:
        """Moves the operands from height *low* up into temporaries; lowest first."""
        moved: list[Copied] = []
        used: dict[ValType, int] = {}
        temporary = self._writer.temporary
        while stack is not None and stack.height >= low:
            type = stack.type
            number = used.get(type, 0)
            used[type] = number + 1
            moved.append(Copied(stack.height, type, temporary(type, number)))
            stack = stack.below
        self._writer.out += b"".join([emit.local_set(local) for _, _, local in moved])
        moved.reverse()
        return moved

    def peek(self, types: tuple[ValType, ...], base: int) -> list[Copied]:
        """Copies the topmost operands, of these types, into temporaries; the lowest is at *base*."""
        used: dict[ValType, int] = {}
        operands: list[Copied] = []
        for height, type in enumerate(types, base):
            number = used.get(type, 0)
            used[type] = number + 1
            operands.append(Copied(height, type, self._writer.temporary(type, number)))
        if len(operands) == 1:
            self._writer.out += emit.local_tee(operands[0].local)
        elif operands:
            self._writer.out += b"".join([emit.local_set(local) for _, _, local in reversed(operands)])
            self._writer.out += b"".join([emit.local_get(local) for _, _, local in operands])
        return operands

    def store_between(self, stack: Operand, low: int, high: int) -> None:
        """Stores the operands at heights ``[low, high)`` and leaves the stack as it is."""
        frame, access, out = self._frame, self._access, self._writer.out
        if stack.height + 1 - low <= MANY_OPERANDS:
            parts = []
            for height, type, local in self.expose(stack, low):
                if height < high:
                    parts.append(access.store_local(type, frame.operand(height), local))
                parts.append(emit.local_get(local))
            out += b"".join(parts)
            return
        back = []
        node: Operand | None = stack
        while node is not None and node.height >= low:
            local, offset = self._writer.temporary(node.type, 0), frame.operand(node.height)
            out += emit.local_set(local) + access.store_local(node.type, offset, local)
            back.append(access.address(node.type, offset) + self._additions.load(node.type, offset))
            node = node.below
        out += b"".join(reversed(back))

    def pop_into_frame(self, stack: Operand | None, low: int) -> None:
        """Stores the operands from height *low* up and takes them off the stack."""
        while stack is not None and stack.height >= low:
            local = self._writer.temporary(stack.type, 0)
            store = self._access.store_local(stack.type, self._frame.operand(stack.height), local)
            self._writer.out += emit.local_set(local) + store
            stack = stack.below


def operand_below(stack: Operand | None, high: int) -> Operand | None:
    """The topmost operand at a height under *high*."""
    while stack is not None and stack.height >= high:
        stack = stack.below
    return stack


def still_stored(stored: Operand | None, stack: Operand | None, most: int) -> Operand | None:
    """The topmost operand of the lowest *most* that are both stored and on the stack.

    The typed stack is a linked list, and an operand that has been popped is never on it again.

    :param stored: the topmost of those that were stored.
    """
    stored = operand_below(stored, most)
    while stored is not None and stack is not stored:
        if stack is None or stack.height < stored.height:
            stored = stored.below
        elif stack.height > stored.height:
            stack = stack.below
        else:
            stored, stack = stored.below, stack.below
    return stored
