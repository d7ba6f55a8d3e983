"""Instructions in the text format (spec, "Text Format, Instructions")."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from typing import Any

from ._instructions import BlockType, CatchKind, Instruction, MemArg
from ._module import Module
from ._opcodes import Imm, Op
from ._types import HEAP_NAMES, ref_type

__all__ = ["disassemble"]


def disassemble(module: Module, instruction: Instruction, function: int | None = None) -> str:
    """An instruction in the text format, one line: ``i32.load offset=4``.

    Functions, globals and the like are shown by index, with the name (if there is one) in a comment:
    ``call 7 (;parse;)``.

    :param function: index of the function it is from, to find the names of locals by.
    """
    op, imm = instruction.op, instruction.imm
    if op.imm is Imm.NONE or op.imm is Imm.END:
        return op.name
    if op.imm is Imm.MEMARG:
        return op.name + _memarg(op, imm)
    if op.imm is Imm.MEMARG_LANE:
        return f"{op.name}{_memarg(op, imm[0])} {imm[1]}"
    if op.imm is Imm.BLOCK:
        return op.name + _block_type(imm)
    if op.imm is Imm.TRY_TABLE:
        catches = (
            f" ({CatchKind(c.kind).name.lower()}{'' if c.tag is None else f' {c.tag}'} {c.label})"
            for c in imm.catches
        )
        return op.name + _block_type(imm.block) + "".join(catches)
    if op.imm is Imm.SELECT:
        return f"select (result {' '.join(map(str, imm))})"
    if op.imm is Imm.HEAP_TYPE:
        if op.name == "ref.null":
            return f"ref.null {_heap(imm)}"
        return f"{op.name.removesuffix(' null')} {ref_type(op.name.endswith(' null'), imm)}"
    if op.imm is Imm.MEMORY or op.imm is Imm.MEMORY_MEMORY:
        return op.name + ("" if imm in (0, (0, 0)) else _numbers(imm))
    if op.imm is Imm.DATA_MEMORY or op.imm is Imm.ELEM_TABLE:
        # the text format has the segment last
        return f"{op.name}{_numbers((imm[1], imm[0]) if imm[1] else imm[0])}"
    if op.imm is Imm.CALL_INDIRECT:
        table = f" {imm.table}" if imm.table else ""
        return f"{op.name}{table} (type {imm.type_index})"
    if op.imm is Imm.BR_TABLE:
        return f"{op.name}{_numbers((*imm.targets, imm.default))}"
    if op.imm is Imm.BR_ON_CAST:
        return f"{op.name} {imm.label} {imm.source} {imm.target}"
    if op.imm is Imm.F32:
        return f"{op.name} {_float(imm, '<f', '<I', 23)}"
    if op.imm is Imm.F64:
        return f"{op.name} {_float(imm, '<d', '<Q', 52)}"
    if op.imm is Imm.V128:
        lanes = struct.unpack("<4I", imm)
        return f"{op.name} i32x4 {' '.join(f'{lane:#010x}' for lane in lanes)}"
    if op.imm is Imm.SHUFFLE:
        return f"{op.name}{_numbers(tuple(imm))}"
    if op.imm is Imm.FENCE:
        return op.name
    names = _names(module, op.imm)
    name = names.get(imm) if isinstance(imm, int) else None
    if op.imm is Imm.FUNCTION:
        name = module.function_name(imm)
    elif op.imm is Imm.LOCAL and function is not None:
        name = module.names.locals.get(function, {}).get(imm)
    return f"{op.name}{_numbers(imm)}{f' (;{_comment(name)};)' if name else ''}"


def _comment(name: str) -> str:
    """A name that can't end the comment that it stands in, nor the line."""
    printable = "".join(c if c.isprintable() else "?" for c in name)
    return printable.replace(";)", "?)").replace("(;", "(?")


def _names(module: Module, kind: Imm) -> Mapping[int, str]:
    names = module.names
    spaces = {
        Imm.GLOBAL: names.globals,
        Imm.TABLE: names.tables,
        Imm.TAG: names.tags,
        Imm.DATA: names.data,
        Imm.ELEM: names.elements,
        Imm.TYPE: names.types,
    }
    return spaces.get(kind, {})


def _numbers(imm: Any) -> str:
    return "".join(f" {n}" for n in (imm if isinstance(imm, tuple) else (imm,)))


def _memarg(op: Op, arg: MemArg) -> str:
    text = f" {arg.memory}" if arg.memory else ""
    if arg.offset:
        text += f" offset={arg.offset}"
    if 1 << arg.align != op.width:
        text += f" align={1 << arg.align}"
    return text


def _block_type(type: BlockType) -> str:
    if type.type_index is not None:
        return f" (type {type.type_index})"
    return f" (result {type.results[0]})" if type.results else ""


def _heap(heap: int) -> str:
    return HEAP_NAMES[heap] if heap < 0 else str(heap)


def _float(raw: bytes, floating: str, integer: str, mantissa: int) -> str:
    value: float = struct.unpack(floating, raw)[0]
    bits: int = struct.unpack(integer, raw)[0]
    if math.isnan(value):
        sign = "-" if bits >> (len(raw) * 8 - 1) else ""
        payload = bits & (1 << mantissa) - 1
        return f"{sign}nan" if payload == 1 << mantissa - 1 else f"{sign}nan:{payload:#x}"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return value.hex()
