"""What to say of a trap that is foreseen: its code, and in words what the instruction would do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import capi
from ..errors import InternalError
from ..instrument import accesses
from ..wasm import I32, ArrayType, FuncType, SegmentMode, storage_size
from ._accesses import memory_accesses
from ._frames import Frame
from ._instances import GuestInstance

__all__ = ["live_trap", "out_of_bounds"]

Told = tuple[str, str]
"""Name of the ``wasmtime.TrapCode``, and text."""

_MASK = (1 << 64) - 1


def live_trap(frame: Frame) -> Told:
    """Code and text of the trap that the next instruction is going to raise."""
    name = frame.instruction.op.name
    if name == "unreachable":
        return "UNREACHABLE", "wasm `unreachable` instruction executed"
    if ".trunc_" in name:
        value = frame.operand_stack[-1]
        if value != value:
            return "BAD_CONVERSION_TO_INTEGER", f"invalid conversion to integer: {name} of NaN"
        return "INTEGER_OVERFLOW", f"integer overflow: {name} of {value!r}"
    if ".div_" in name or ".rem_" in name:
        left, right = frame.operand_stack[-2:]
        if name.endswith("_u"):
            left %= 1 << int(name[1:3])
        if right == 0:
            return "INTEGER_DIVISION_BY_ZERO", f"integer divide by zero: {left} {name} {right}"
        return "INTEGER_OVERFLOW", f"integer overflow: {left} {name} {right}"
    told = _TELLERS.get(name, _nothing)(frame, name) or _atomic(frame, name)
    if told is not None:
        return told
    beyond = out_of_bounds(frame)
    if beyond is not None:
        return "MEMORY_OUT_OF_BOUNDS", beyond
    raise InternalError(f"a slow twin has foreseen a trap of {name}, which the host does not see")


def out_of_bounds(frame: Frame) -> str | None:
    """What the next instruction would touch outside of its memory, in words."""
    name, store = frame.instruction.op.name, frame.instance.store
    for (memory, address, size, _), access in zip(
        memory_accesses(frame), accesses(frame.instruction), strict=True
    ):
        limit = capi.MemoryView(store, frame.instance.memory(memory)).size
        if address + size > limit:
            offset = f" + {access.offset}" if access.offset else ""
            place = f"{address - access.offset:#x}{offset}"
            return f"out of bounds: {name} of {size} bytes at {place}, memory {memory} has {limit:#x} bytes"
    return None


# ── operands ───────────────────────────────────────────────────────────────────────────────────────


def _operands(frame: Frame, count: int) -> list[Any]:
    """The topmost operands, numbers unsigned."""
    found: list[Any] = []
    for valtype, value in zip(frame.operand_types[-count:], frame.operand_stack[-count:], strict=True):
        if isinstance(value, int) and not valtype.is_ref:
            value &= 0xFFFF_FFFF if valtype == I32 else _MASK
        found.append(value)
    return found


def _nothing(frame: Frame, name: str) -> Told | None:
    return None


def _null(name: str, code: str = "NULL_REFERENCE") -> Told:
    return code, f"null reference: {name} of null"


def _range(start: int, count: int) -> str:
    return f"element {start}" if count == 1 else f"{count} elements from {start} on"


# ── tables ─────────────────────────────────────────────────────────────────────────────────────────


def _beyond_table(instance: GuestInstance, table: int, start: int, count: int, name: str) -> Told | None:
    size = instance.table_size(table)
    if start + count <= size:
        return None
    text = f"out of bounds: {name} of {_range(start, count)}, table {table} has {size} elements"
    return "TABLE_OUT_OF_BOUNDS", text


def _beyond_elements(instance: GuestInstance, segment: int, start: int, count: int, name: str) -> Told | None:
    found = instance.module.original.elements[segment]
    passive = found.mode is SegmentMode.PASSIVE
    size = len(found.functions or found.expressions or ()) if passive else 0
    if start + count <= size:
        return None
    text = f"out of bounds: {name} of {_range(start, count)}, element segment {segment} has {size}"
    return "TABLE_OUT_OF_BOUNDS", text


def _beyond_data(instance: GuestInstance, segment: int, start: int, size: int, name: str) -> Told | None:
    found = instance.module.original.data_segments[segment]
    length = found.data.end - found.data.start if found.mode is SegmentMode.PASSIVE else 0
    if start + size <= length:
        return None
    where = f"{name} of {size} bytes at {start:#x}"
    text = f"out of bounds: {where}, data segment {segment} has {length:#x} bytes"
    return "MEMORY_OUT_OF_BOUNDS", text


def _table_element(frame: Frame, name: str) -> Told | None:
    operands = _operands(frame, frame.instruction.op.pop_count)
    return _beyond_table(frame.instance, frame.instruction.imm, operands[0], 1, name)


def _table_fill(frame: Frame, name: str) -> Told | None:
    start, _, count = _operands(frame, 3)
    return _beyond_table(frame.instance, frame.instruction.imm, start, count, name)


def _table_copy(frame: Frame, name: str) -> Told | None:
    target, source = frame.instruction.imm
    to, start, count = _operands(frame, 3)
    beyond = _beyond_table(frame.instance, source, start, count, name)
    return beyond or _beyond_table(frame.instance, target, to, count, name)


def _table_init(frame: Frame, name: str) -> Told | None:
    segment, table = frame.instruction.imm
    to, start, count = _operands(frame, 3)
    beyond = _beyond_elements(frame.instance, segment, start, count, name)
    return beyond or _beyond_table(frame.instance, table, to, count, name)


def _call_indirect(frame: Frame, name: str) -> Told | None:
    imm, instance = frame.instruction.imm, frame.instance
    (index,) = _operands(frame, 1)
    beyond = _beyond_table(instance, imm.table, index, 1, name)
    if beyond is not None:
        return beyond
    func = instance.table_element(index, table=imm.table)
    element = f"element {index} of table {imm.table}"
    if func is None:
        return "INDIRECT_CALL_TO_NULL", f"indirect call to null: {element}"
    function = instance.function_of(func)
    wanted = instance.module.original.func_type(imm.type_index)
    if function is None:
        return "BAD_SIGNATURE", f"indirect call type mismatch: {element} is not of type {_type(wanted)}"
    what = instance.module.function_name(function)
    actual = _type(instance.module.function_type(function))
    text = f"indirect call type mismatch: {element} is {what} of type {actual}, called as {_type(wanted)}"
    return "BAD_SIGNATURE", text


def _type(type: FuncType) -> str:
    return f"({', '.join(map(str, type.params))}) -> ({', '.join(map(str, type.results))})"


# ── references ─────────────────────────────────────────────────────────────────────────────────────


def _null_operand(frame: Frame, name: str) -> Told | None:
    return _null(name)


def _cast(frame: Frame, name: str) -> Told | None:
    (value,) = frame.operand_stack[-1:]
    after = frame._plan.operand_types(frame.resume_point + 1)[-1]
    shown = "null" if value is None else getattr(value, "kind", "a reference")
    return "CAST_FAILURE", f"cast failure: {name} of {shown} to {after}"


def _beyond_array(array: Any, start: int, count: int, name: str) -> Told | None:
    if array is None:
        return _null(name)
    if array.length is None or start + count <= array.length:
        return None
    text = f"out of bounds: {name} of {_range(start, count)}, the array has {array.length} elements"
    return "ARRAY_OUT_OF_BOUNDS", text


def _array_element(frame: Frame, name: str) -> Told | None:
    array, index, *_ = _operands(frame, frame.instruction.op.pop_count)
    return _beyond_array(array, index, 1, name)


def _array_fill(frame: Frame, name: str) -> Told | None:
    array, start, _, count = _operands(frame, 4)
    return _beyond_array(array, start, count, name)


def _array_copy(frame: Frame, name: str) -> Told | None:
    target, to, source, start, count = _operands(frame, 5)
    if target is None or source is None:
        return _null(name)
    return _beyond_array(target, to, count, name) or _beyond_array(source, start, count, name)


def _element_size(frame: Frame) -> int:
    type = frame.instance.module.original.types[frame.instruction.imm[0]]
    assert isinstance(type, ArrayType)
    return storage_size(type.element)


def _array_init_data(frame: Frame, name: str) -> Told | None:
    target, to, start, count = _operands(frame, 4)
    beyond = _beyond_array(target, to, count, name)
    size = count * _element_size(frame)
    return beyond or _beyond_data(frame.instance, frame.instruction.imm[1], start, size, name)


def _array_init_elem(frame: Frame, name: str) -> Told | None:
    target, to, start, count = _operands(frame, 4)
    beyond = _beyond_array(target, to, count, name)
    return beyond or _beyond_elements(frame.instance, frame.instruction.imm[1], start, count, name)


def _array_new_data(frame: Frame, name: str) -> Told | None:
    start, count = _operands(frame, 2)
    size = count * _element_size(frame)
    return _beyond_data(frame.instance, frame.instruction.imm[1], start, size, name)


def _array_new_elem(frame: Frame, name: str) -> Told | None:
    start, count = _operands(frame, 2)
    return _beyond_elements(frame.instance, frame.instruction.imm[1], start, count, name)


# ── memories ───────────────────────────────────────────────────────────────────────────────────────


def _memory_init(frame: Frame, name: str) -> Told | None:
    _, start, count = _operands(frame, 3)
    return _beyond_data(frame.instance, frame.instruction.imm[0], start, count, name)


def _atomic(frame: Frame, name: str) -> Told | None:
    if ".atomic." not in name:
        return None
    ((memory, address, size, _),) = memory_accesses(frame)
    if address % size:
        return "HEAP_MISALIGNED", f"unaligned atomic: {name} of {size} bytes at {address:#x}"
    if name.startswith("memory.atomic.wait"):
        shared = frame.instance.module.original.memories[memory].type.limits.shared
        if not shared:
            return "ATOMIC_WAIT_NON_SHARED_MEMORY", f"atomic wait on memory {memory}, which is not shared"
    return None


_Teller = Callable[[Frame, str], Told | None]

_TELLERS: dict[str, _Teller] = {
    "table.get": _table_element,
    "table.set": _table_element,
    "table.fill": _table_fill,
    "table.copy": _table_copy,
    "table.init": _table_init,
    "memory.init": _memory_init,
    "call_indirect": _call_indirect,
    "return_call_indirect": _call_indirect,
    "call_ref": _null_operand,
    "return_call_ref": _null_operand,
    "ref.as_non_null": _null_operand,
    "throw_ref": _null_operand,
    "struct.get": _null_operand,
    "struct.get_s": _null_operand,
    "struct.get_u": _null_operand,
    "struct.set": _null_operand,
    "i31.get_s": _null_operand,
    "i31.get_u": _null_operand,
    "array.len": _null_operand,
    "ref.cast": _cast,
    "ref.cast null": _cast,
    "array.get": _array_element,
    "array.get_s": _array_element,
    "array.get_u": _array_element,
    "array.set": _array_element,
    "array.fill": _array_fill,
    "array.copy": _array_copy,
    "array.init_data": _array_init_data,
    "array.init_elem": _array_init_elem,
    "array.new_data": _array_new_data,
    "array.new_elem": _array_new_elem,
}
