"""Watched memory: which accesses an instruction makes, and the guest's own comparison with the ranges.

The ranges stand in a table in the debug memory::

    +0   u8   some range is watched for writes
    +1   u8   some range is watched for reads
    +2   u8   accesses that are out of bounds ask the host before they trap
    +4   u32  number of entries
    +16  the entries, 32 bytes each: u64 first address, u64 end (exclusive), u32 memory index,
         u32 flags (1: reads, 2: writes)

While nothing is watched an access costs one byte load and a branch.  Otherwise it calls
:func:`watch_function`, and the host only where a range is touched.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

from attrs import frozen

from ..wasm import I32, Instruction, MemArg, Module, ValType
from . import _emit as emit
from ._additions import Additions, FrameAccess
from ._frames import RESUME_OFFSET, FrameLayout
from ._layout import KIND_WATCH, WATCH_BASE, WATCH_ENTRY_SIZE, Layout
from ._paying import pay_back

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "PRECISE",
    "READS",
    "WRITES",
    "Access",
    "Condition",
    "ConditionPlaces",
    "Conditions",
    "accesses",
    "arguments",
    "bounds",
    "is_precise",
    "is_watched",
    "outside_function",
    "watch_function",
]

PRECISE: Final = 2
"""Offset of the byte that switches precise mode on."""

READS: Final = 1
WRITES: Final = 2

_ACTIVE: Final = {WRITES: (0x2D, 0), READS: (0x2D, 1), READS | WRITES: (0x2F, 0)}
"""By kind of access: the load, and where from, that tells whether anything of it is watched."""


@frozen
class ConditionPlaces:
    """Where a condition's code finds things in a slow twin, or in a flavour.

    :ivar layout: of the frame; ``fp`` is the index of the local with its address.
    :ivar scratch: (type, 0 or 1) to the index of a local that is free.
    :ivar reference: code that pushes the reference of the frame's slot at an offset.
    :ivar global_: index in the original to index here; memories have the same index.
    :ivar operands: None where locals and operands are in the frame.  Else the locals are the function's own;
        operands of these heights are in these locals, the others in the frame.
    """

    layout: FrameLayout
    fp: int
    debug_memory: int
    scratch: Callable[[ValType, int], int]
    reference: Callable[[ValType, int], bytes]
    global_: Callable[[int], int]
    operands: Mapping[int, int] | None = None


class Condition(Protocol):
    """When a stop byte of value 2 asks the host (see :mod:`trio_wasmdbg.expressions`)."""

    @property
    def globals(self) -> frozenset[int]:
        """The globals that it reads."""

    def code(self, places: ConditionPlaces, /) -> bytes:
        """Code that pushes an i32: 0 where the guest goes on."""


Conditions = Mapping[int, Mapping[int, "Condition"]]
"""By function index and resume point."""


@frozen
class Access:
    """One access to linear memory.

    :ivar address: which of the instruction's operands is the address, counted from the lowest.
    :ivar size: bytes, or None: the operand ``length`` holds them.
    :ivar kind: :data:`READS`, :data:`WRITES`, or both.
    """

    memory: int
    address: int
    offset: int
    size: int | None
    kind: int
    length: int = 0


def accesses(instruction: Instruction) -> tuple[Access, ...]:
    """The accesses that an instruction makes to linear memories, in order."""
    op, imm = instruction.op, instruction.imm
    if op.width:
        memarg: Any = imm if isinstance(imm, MemArg) else imm[0]
        kind = WRITES if op.writes else READS
        if ".rmw" in op.name:
            kind = READS | WRITES
        return (Access(memarg.memory, 0, memarg.offset, op.width, kind),)
    if op.name == "memory.fill":
        return (Access(imm, 0, 0, None, WRITES, 2),)
    if op.name == "memory.copy":
        target, source = imm
        return (Access(source, 1, 0, None, READS, 2), Access(target, 0, 0, None, WRITES, 2))
    if op.name == "memory.init":
        return (Access(imm[1], 0, 0, None, WRITES, 2),)
    return ()


def is_watched(additions: Additions, access: Access) -> bytes:
    """Code that pushes an i32: not 0 if any memory is watched for this kind of access."""
    load, offset = _ACTIVE[access.kind]
    return emit.i32_const(0) + additions.memory_access(load, WATCH_BASE + offset)


def arguments(access: Access, loads: list[bytes], types: Sequence[ValType]) -> bytes:
    """The last three operands of :func:`watch_function`.

    :param loads: code that pushes each operand of the instruction, lowest first; ``types`` of them.
    """
    address, size = _range(access, loads, types)
    return b"".join([address, size, emit.i32_const(access.memory << 2 | access.kind)])


def _range(access: Access, loads: list[bytes], types: Sequence[ValType]) -> tuple[bytes, bytes]:
    """Code that pushes the address of an access, and the bytes it spans, as i64."""
    address = loads[access.address] + _extend(types[access.address])
    if access.offset:
        address += emit.i64_const(access.offset) + b"\x7c"  # i64.add
    if access.size is not None:
        return address, emit.i64_const(access.size)
    return address, loads[access.length] + _extend(types[access.length])


def is_precise(additions: Additions) -> bytes:
    """Code that pushes an i32: not 0 if accesses are to be checked before they are made."""
    return emit.i32_const(0) + additions.memory_access(0x2D, WATCH_BASE + PRECISE)


def bounds(
    module: Module, access: Access, loads: list[bytes], types: Sequence[ValType], size: bytes
) -> bytes:
    """The operands of :func:`outside_function`: address, size, and the memory's size, all i64.

    :param size: code that pushes the memory's size in pages.
    """
    limits = module.memories[access.memory].type.limits
    size += b"" if limits.is64 else b"\xad"
    if limits.page_size_log2:
        size += emit.i64_const(limits.page_size_log2) + b"\x86"  # i64.shl
    return b"".join([*_range(access, loads, types), size])


def outside_function() -> bytes:
    """The body of (address i64, size i64, limit i64) -> i32: whether the range goes beyond the limit."""
    get = emit.local_get
    end = get(0) + get(1) + b"\x7c"
    return b"".join(
        [
            emit.local_groups([]),
            end + get(2) + b"\x56",  # i64.gt_u
            end + get(0) + b"\x54",  # i64.lt_u: beyond 2 to the power of 64
            b"\x72",
            emit.END,
        ]
    )


def _extend(type: ValType) -> bytes:
    return b"\xad" if type == I32 else b""  # i64.extend_i32_u


def watch_function(additions: Additions, layout: Layout, hook: int, countdown: int) -> bytes:
    """The body of (frame pointer, place (see ``_paying``), address i64, size i64, memory << 2 | kind) -> i32.

    Asks the host if a watched range is touched, and returns its answer; else 0.
    """
    fp, rp, address, size, what, entry, left = range(7)
    load32 = additions.memory_access

    def field(opcode: int, offset: int) -> bytes:
        return emit.local_get(entry) + additions.memory_access(opcode, offset)

    get = emit.local_get
    return b"".join(
        [
            emit.local_groups([(2, I32)]),
            pay_back(additions, countdown, rp),
            emit.i32_const(0),
            load32(0x28, WATCH_BASE + 4),
            emit.local_set(left),
            emit.i32_const(layout.watch_entries),
            emit.local_set(entry),
            emit.BLOCK_EMPTY,  # $none
            get(size) + b"\x50" + emit.br_if(0),  # i64.eqz
            emit.LOOP_EMPTY,
            get(left) + emit.I32_EQZ + emit.br_if(1),
            emit.BLOCK_EMPTY,  # $next
            # the kind of access
            get(what) + field(0x28, 20) + emit.I32_AND + emit.i32_const(3) + emit.I32_AND,
            emit.I32_EQZ + emit.br_if(0),
            # the memory
            get(what) + emit.i32_const(2) + b"\x76" + field(0x28, 16) + b"\x47" + emit.br_if(0),
            # address >= end, or address + size <= first
            get(address) + field(0x29, 8) + b"\x5a" + emit.br_if(0),
            get(address) + get(size) + b"\x7c" + field(0x29, 0) + b"\x58" + emit.br_if(0),
            FrameAccess(additions, fp).store_i32(RESUME_OFFSET, get(rp)),
            emit.i32_const(KIND_WATCH) + get(fp) + get(rp) + emit.call(hook) + emit.RETURN,
            emit.END,
            get(entry) + emit.i32_const(WATCH_ENTRY_SIZE) + emit.I32_ADD + emit.local_set(entry),
            get(left) + emit.i32_const(1) + emit.I32_SUB + emit.local_set(left),
            emit.br(0),
            emit.END,
            emit.END,
            emit.i32_const(0),
            emit.END,
        ]
    )
