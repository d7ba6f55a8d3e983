"""Reading instructions: function bodies and constant expressions.

Spec: "Binary Format, Instructions".  One loop without recursion; the branches stand in the order
of how often compilers emit such an instruction.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..errors import (
    InternalError,
    MalformedModuleError,
    ModuleError,
    UnsupportedFeatureError,
    UnsupportedInstructionError,
)
from ._instructions import (
    BlockType,
    BrOnCast,
    BrTable,
    CallIndirect,
    Catch,
    CatchKind,
    Instruction,
    MemArg,
    TryTable,
)
from ._leb import read_s32, read_s33, read_s64, read_u32, read_u64
from ._module import Function, Module, Range
from ._opcodes import OPS, Imm, Op
from ._pace import Tick, for_ever, no_tick
from ._problems import BytesError, UnsupportedBytesError
from ._read_types import SHORT_TYPES, read_heap_type, read_valtype
from ._types import ValType, ref_type

__all__ = ["read_body", "read_expression", "read_part", "read_word", "skip_expression"]

_ANY = 1 << 32
_LABELS_IN_TYPE_BODY = _ANY  # depths are checked where depths are known

# One-byte opcodes: the row, and its kind of immediate as a plain int (faster to compare than an enum).
_PREFIX, _UNKNOWN = 100, 101
_ROWS: list[Op] = [OPS.get(code, OPS[0x00]) for code in range(256)]
_KINDS: list[int] = [int(OPS[code].imm) if code in OPS else _UNKNOWN for code in range(256)]
for _code in (0xFB, 0xFC, 0xFD, 0xFE):
    _KINDS[_code] = _PREFIX

_LAST_INDEX = int(Imm.ELEM)
_I32, _I64, _F32, _F64, _V128 = int(Imm.I32), int(Imm.I64), int(Imm.F32), int(Imm.F64), int(Imm.V128)
_SHUFFLE, _MEMARG, _BLOCK, _END = int(Imm.SHUFFLE), int(Imm.MEMARG), int(Imm.BLOCK), int(Imm.END)

_NAMES_OF_INDICES = [
    "-",
    "local",
    "global",
    "function",
    "label",
    "type",
    "table",
    "memory",
    "tag",
    "data",
    "element",
]

_SHORT_BLOCKS: dict[int, BlockType] = {code: BlockType(None, (), (t,)) for code, t in SHORT_TYPES.items()}
_SHORT_BLOCKS[0x40] = BlockType(None, (), ())

BlockTypes = Callable[[int], BlockType]


def _limits(module: Module, local_count: int) -> list[int]:
    """How many there are of each kind of index, by ``Imm`` number (spec, "Validation, Contexts")."""
    return [
        0,
        local_count,
        len(module.globals),
        len(module.functions),
        _LABELS_IN_TYPE_BODY,
        len(module.types),
        len(module.tables),
        len(module.memories),
        len(module.tags),
        len(module.data_segments),
        len(module.elements),
    ]


def read_body(module: Module, function: Function, tick: Tick = no_tick) -> list[Instruction]:
    """The instructions of a function body, final ``end`` included; every index but labels is in range.

    :param tick: called about every 4,000 instructions.
    :raises MalformedModuleError: the bytes are no instructions.
    :raises UnsupportedInstructionError: an instruction of a proposal that is known by name only.
    """
    body = function.body
    if body is None:
        raise InternalError(f"function {function.index} is imported: it has no body to read")
    limits = _limits(module, len(function.type.params) + body.local_count)
    try:
        instructions, _ = _read(
            module.data, body.code_start, body.end, limits, _block_types(module), True, tick
        )
    except ModuleError as error:
        raise _in_function(error, module, function) from None
    return instructions


def read_part(module: Module, function: Function, start: int, end: int) -> list[Instruction]:
    """The instructions of a body in a range of the file; constructs need not begin or end there.

    :raises: as :func:`read_body`.
    """
    body = function.body
    if body is None:
        raise InternalError(f"function {function.index} is imported: it has no body to read")
    limits = _limits(module, len(function.type.params) + body.local_count)
    try:
        return _read(module.data, start, end, limits, _block_types(module), False, part=True)[0]
    except ModuleError as error:
        raise _in_function(error, module, function) from None


def read_expression(module: Module, range: Range) -> list[Instruction]:
    """The instructions of a constant expression, final ``end`` included; errors as :func:`read_body`."""
    limits = _limits(module, 0)
    return _read(module.data, range.start, range.end, limits, _block_types(module), True)[0]


def skip_expression(data: bytes, pos: int, end: int) -> int:
    """The offset after the constant expression at *pos*; indices are not checked."""
    return _read(data, pos, end, [_ANY] * (_LAST_INDEX + 1), _no_types, False)[1]


def read_word(module: Module, word: bytes) -> Instruction | None:
    """The instruction whose bytes these are, at offset 0.

    :returns: None if they are not exactly one, with indices (but of locals and labels) in range.
    """
    limits = _limits(module, _ANY)
    try:
        # Its own end, if it begins a construct, and the last.
        found = _read(word + b"\x0b\x0b", 0, len(word) + 2, limits, _block_types(module), False)[0][0]
    except ModuleError:
        return None
    return found if found.end == len(word) else None


def _in_function(error: ModuleError, module: Module, function: Function) -> ModuleError:
    """*error* with the function added to its message."""
    if error.function is not None:
        return error
    problem = error.problem if isinstance(error, BytesError | UnsupportedBytesError) else str(error)
    unsupported = isinstance(error, UnsupportedFeatureError)
    kind = UnsupportedInstructionError if unsupported else MalformedModuleError
    name = module.function_name(function.index)
    return kind(problem, offset=error.offset, function=function.index, function_name=name)


def _no_types(index: int) -> BlockType:
    raise MalformedModuleError("a block in a constant expression")


def _block_types(module: Module) -> BlockTypes:
    known: dict[int, BlockType] = {}

    def block_type(index: int) -> BlockType:
        found = known.get(index)
        if found is None:
            type = module.func_type(index)
            found = known[index] = BlockType(index, type.params, type.results)
        return found

    return block_type


def _read(
    data: bytes,
    pos: int,
    end: int,
    limits: Sequence[int],
    block_types: BlockTypes,
    whole: bool,
    tick: Tick = no_tick,
    *,
    part: bool = False,
) -> tuple[list[Instruction], int]:
    """Instructions up to the ``end`` that closes what *pos* stands in.

    :param whole: that ``end`` must lie exactly at *end*.
    :param part: all instructions up to *end* are wanted, whatever they close.
    :returns: the instructions, and the offset after them.
    """
    instructions: list[Instruction] = []
    append = instructions.append
    new = tuple.__new__  # NamedTuple's own constructor is a Python function
    record = Instruction
    kinds, rows, short_blocks = _KINDS, _ROWS, _SHORT_BLOCKS
    depth = end if part else 0
    imm: Any
    start = pos
    try:
        for _ in for_ever(tick):
            if pos >= end:
                break
            start = pos
            code = data[pos]
            kind = kinds[code]
            pos += 1
            if kind < 100:
                op = rows[code]
            else:
                op, pos = _prefixed(data, start, end, code)
                kind = int(op.imm)

            if kind <= _LAST_INDEX:
                if kind:
                    imm = data[pos]
                    pos += 1
                    if imm > 127:
                        byte = data[pos]
                        pos += 1
                        if byte < 128:
                            imm += (byte << 7) - 128
                        else:
                            imm, pos = read_u32(data, pos - 2, end)
                    if imm >= limits[kind]:
                        raise BytesError(f"unknown {_NAMES_OF_INDICES[kind]} {imm}", start)
                else:
                    imm = None
            elif kind == _I32:
                imm = data[pos]
                pos += 1
                if imm > 63:
                    if imm < 128:
                        imm -= 128
                    else:
                        imm, pos = read_s32(data, pos - 1, end)
            elif kind == _MEMARG:
                imm, pos = _memarg(data, pos, end, limits)
            elif kind == _END:
                imm = None
                if depth:
                    depth -= 1
                else:
                    append(new(record, (start, pos, op, None)))
                    if whole and pos != end:
                        raise BytesError("code after the final end", pos)
                    return instructions, pos
            elif kind == _BLOCK:
                depth += 1
                imm = short_blocks.get(data[pos])
                if imm is None:
                    imm, pos = _block_type(data, pos, end, block_types)
                else:
                    pos += 1
            elif kind == _I64:
                imm = data[pos]
                pos += 1
                if imm > 63:
                    if imm < 128:
                        imm -= 128
                    else:
                        imm, pos = read_s64(data, pos - 1, end)
            elif kind == _F64:
                imm = data[pos : pos + 8]
                pos += 8
            elif kind == _F32:
                imm = data[pos : pos + 4]
                pos += 4
            elif _V128 <= kind <= _SHUFFLE:
                imm = data[pos : pos + 16]
                pos += 16
            else:
                imm, pos = _rare(op, data, start, pos, end, limits, block_types)
                if kind == Imm.TRY_TABLE:
                    depth += 1
            append(new(record, (start, pos, op, imm)))
    except IndexError:
        # only `data[pos]` can raise it: the other lists are indexed by a byte or by a kind
        raise BytesError("unexpected end of file", start) from None
    if part and pos == end:
        return instructions, pos
    if pos > end:
        raise BytesError("instruction runs over the end of its function or section", start)
    raise BytesError("the final end is missing", pos)


def _prefixed(data: bytes, start: int, end: int, code: int) -> tuple[Op, int]:
    """The row of a prefixed (or unknown) instruction, and the offset after its number."""
    if _KINDS[code] == _UNKNOWN:
        raise BytesError(f"illegal opcode {code:#04x}", start)
    number, pos = read_u32(data, start + 1, end)
    op = OPS.get(code << 16 | number) if number < 0x10000 else None
    if op is None:
        raise BytesError(f"illegal opcode {code:#04x} {number}", start)
    return op, pos


def _memarg(data: bytes, pos: int, end: int, limits: Sequence[int]) -> tuple[MemArg, int]:
    """Spec, "Binary Format, Memory Instructions": bit 6 of the alignment says that a memory index follows."""
    start = pos
    align = data[pos]
    pos += 1
    memory = 0
    if align >= 32:
        align, pos = read_u32(data, start, end)
        if align & ~0x40 >= 32:
            raise BytesError("malformed memop flags", start)
        if align & 0x40:
            align &= ~0x40
            memory, pos = read_u32(data, pos, end)
    if memory >= limits[7]:
        raise BytesError(f"unknown memory {memory}", start)
    offset = data[pos]
    pos += 1
    if offset > 127:
        byte = data[pos]
        pos += 1
        if byte < 128:
            offset += (byte << 7) - 128
        else:
            offset, pos = read_u64(data, pos - 2, end)
    return tuple.__new__(MemArg, (align, offset, memory)), pos


def _block_type(data: bytes, pos: int, end: int, block_types: BlockTypes) -> tuple[BlockType, int]:
    """A block type that isn't one of the one-byte forms."""
    if data[pos] in (0x63, 0x64):
        result, after = read_valtype(data, pos, end)
        return BlockType(None, (), (result,)), after
    index, after = read_s33(data, pos, end)
    if index < 0:
        if index == -64:
            return _SHORT_BLOCKS[0x40], after
        raise BytesError("malformed block type", pos)
    try:
        return block_types(index), after
    except MalformedModuleError as error:
        raise BytesError(str(error), pos) from None


def _catches(data: bytes, pos: int, end: int, tags: int) -> tuple[tuple[Catch, ...], int]:
    count, pos = read_u32(data, pos, end)
    catches: list[Catch] = []
    for _ in range(count):
        if pos >= end or data[pos] > 3:
            raise BytesError("malformed catch clause", pos)
        start, kind = pos, CatchKind(data[pos])
        pos += 1
        tag: int | None = None
        if kind <= CatchKind.CATCH_REF:
            tag, pos = read_u32(data, pos, end)
            if tag >= tags:
                raise BytesError(f"unknown tag {tag}", start)
        label, pos = read_u32(data, pos, end)
        catches.append(Catch(kind, tag, label))
    return tuple(catches), pos


# Kinds with two indices: which limit each has, by its number in `Imm` (LABEL: not an index space).
_PAIRS: dict[Imm, tuple[Imm, Imm]] = {
    Imm.DATA_MEMORY: (Imm.DATA, Imm.MEMORY),
    Imm.MEMORY_MEMORY: (Imm.MEMORY, Imm.MEMORY),
    Imm.ELEM_TABLE: (Imm.ELEM, Imm.TABLE),
    Imm.TABLE_TABLE: (Imm.TABLE, Imm.TABLE),
    Imm.TYPE_FIELD: (Imm.TYPE, Imm.LABEL),
    Imm.TYPE_COUNT: (Imm.TYPE, Imm.LABEL),
    Imm.TYPE_DATA: (Imm.TYPE, Imm.DATA),
    Imm.TYPE_ELEM: (Imm.TYPE, Imm.ELEM),
    Imm.TYPE_TYPE: (Imm.TYPE, Imm.TYPE),
    Imm.CALL_INDIRECT: (Imm.TYPE, Imm.TABLE),
}


def _rare(
    op: Op, data: bytes, start: int, pos: int, end: int, limits: Sequence[int], block_types: BlockTypes
) -> tuple[Any, int]:
    """The immediates that are too rare to stand in the loop."""
    kind = op.imm
    pair = _PAIRS.get(kind)
    if pair is not None:
        first, pos = read_u32(data, pos, end)
        second, pos = read_u32(data, pos, end)
        for which, index in zip(pair, (first, second), strict=True):
            if index >= limits[which]:
                raise BytesError(f"unknown {_NAMES_OF_INDICES[which]} {index}", start)
        if kind is Imm.CALL_INDIRECT:
            return CallIndirect(first, second), pos
        return (first, second), pos
    if kind is Imm.BR_TABLE:
        count, pos = read_u32(data, pos, end)
        if count >= end - pos:
            raise BytesError("br_table runs over the end of its function", start)
        raw = data[pos : pos + count]
        if raw.isascii():  # every target is a single byte
            targets = tuple(raw)
            pos += count
        else:
            many: list[int] = []
            for _ in range(count):
                label, pos = read_u32(data, pos, end)
                many.append(label)
            targets = tuple(many)
        default, pos = read_u32(data, pos, end)
        return BrTable(targets, default), pos
    if kind is Imm.LANE:
        return data[pos], pos + 1
    if kind is Imm.MEMARG_LANE:
        arg, pos = _memarg(data, pos, end, limits)
        return (arg, data[pos]), pos + 1
    if kind is Imm.SELECT:
        count, pos = read_u32(data, pos, end)
        types: list[ValType] = []
        for _ in range(count):
            type, pos = read_valtype(data, pos, end)
            types.append(type)
        return tuple(types), pos
    if kind is Imm.HEAP_TYPE:
        heap, pos = read_heap_type(data, pos, end)
        if heap >= limits[Imm.TYPE]:
            raise BytesError(f"unknown type {heap}", start)
        return heap, pos
    if kind is Imm.TRY_TABLE:
        short = _SHORT_BLOCKS.get(data[pos])
        if short is None:
            short, pos = _block_type(data, pos, end, block_types)
        else:
            pos += 1
        catches, pos = _catches(data, pos, end, limits[Imm.TAG])
        return TryTable(short, catches), pos
    if kind is Imm.BR_ON_CAST:
        flags = data[pos]
        if flags > 3:
            raise BytesError("malformed br_on_cast flags", start)
        label, pos = read_u32(data, pos + 1, end)
        source, pos = read_heap_type(data, pos, end)
        target, pos = read_heap_type(data, pos, end)
        if max(source, target) >= limits[Imm.TYPE]:
            raise BytesError(f"unknown type {max(source, target)}", start)
        return BrOnCast(label, ref_type(bool(flags & 1), source), ref_type(bool(flags & 2), target)), pos
    if kind is Imm.FENCE:
        if data[pos] != 0:
            raise BytesError("the byte after atomic.fence is not zero", pos)
        return 0, pos + 1
    if kind is Imm.UNSUPPORTED:
        raise UnsupportedBytesError(f"instruction {op.name} (proposal {op.proposal}) is not supported", start)
    raise InternalError(f"no reader for immediates of kind {kind.name}")
