"""Instructions and their immediates as records.  Spec: "Structure, Instructions"."""

from __future__ import annotations

from enum import IntEnum
from typing import Any, NamedTuple

from ._opcodes import Op
from ._types import ValType

__all__ = [
    "BlockType",
    "BrOnCast",
    "BrTable",
    "CallIndirect",
    "Catch",
    "CatchKind",
    "Instruction",
    "MemArg",
    "TryTable",
]


class MemArg(NamedTuple):
    """Immediate of loads, stores and atomics; ``align`` is the exponent of two."""

    align: int
    offset: int
    memory: int


class BlockType(NamedTuple):
    """Type of a block.

    :ivar type_index: type index, or None for the short forms (no parameters, at most one result).
    """

    type_index: int | None
    params: tuple[ValType, ...]
    results: tuple[ValType, ...]


class BrTable(NamedTuple):
    """Immediate of ``br_table``: branch depths."""

    targets: tuple[int, ...]
    default: int


class CallIndirect(NamedTuple):
    """Immediate of ``call_indirect`` and ``return_call_indirect``."""

    type_index: int
    table: int


class CatchKind(IntEnum):
    """Clauses of ``try_table``."""

    CATCH = 0
    CATCH_REF = 1
    CATCH_ALL = 2
    CATCH_ALL_REF = 3


class Catch(NamedTuple):
    """A clause of ``try_table``; ``tag`` is None for the catch-all kinds.

    The label counts from outside the ``try_table``: 0 is the construct that encloses it.
    """

    kind: CatchKind
    tag: int | None
    label: int


class TryTable(NamedTuple):
    """Immediate of ``try_table``."""

    block: BlockType
    catches: tuple[Catch, ...]


class BrOnCast(NamedTuple):
    """Immediate of ``br_on_cast`` and ``br_on_cast_fail``."""

    label: int
    source: ValType
    target: ValType


class Instruction(NamedTuple):
    """One instruction.

    :ivar offset: file offset of its opcode.
    :ivar end: file offset after its last byte.
    :ivar imm: its immediate; :class:`Imm` says what that is for ``op.imm``.
    """

    offset: int
    end: int
    op: Op
    imm: Any
