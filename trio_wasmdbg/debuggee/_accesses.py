"""The accesses to memory that a frame's next instruction is going to make, with their addresses."""

from __future__ import annotations

from ..instrument import accesses
from ..wasm import I32
from ._frames import Frame

__all__ = ["memory_accesses"]


def memory_accesses(frame: Frame) -> list[tuple[int, int, int, int]]:
    """(memory, address, bytes, kinds of access) of the instruction that comes next."""
    instruction = frame.instruction
    found = accesses(instruction)
    if not found:
        return []
    count = instruction.op.pop_count
    operands = [
        int(value) & 0xFFFF_FFFF if valtype == I32 else value
        for valtype, value in zip(frame.operand_types[-count:], frame.operand_stack[-count:], strict=True)
    ]
    return [
        (
            access.memory,
            (operands[access.address] & (1 << 64) - 1) + access.offset,
            operands[access.length] & (1 << 64) - 1 if access.size is None else access.size,
            access.kind,
        )
        for access in found
    ]
