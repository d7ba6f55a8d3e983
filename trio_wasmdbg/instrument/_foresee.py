"""Traps that are seen coming: code that tells, from an instruction's operands, whether it is going to trap.

Slow twins have it before each instruction that may trap for another reason than an access to linear
memory (`_watch` has those) or arithmetic (`_kinds`), and execute it in precise mode.  Not foreseen are: a
stack that is exhausted, since no instruction tells how much of the machine's is left; an allocation that
fails; and the use of a segment that was dropped, whose length the guest can't ask for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from attrs import frozen

from ..wasm import I32, ArrayType, Instruction, MemArg, Module, SegmentMode, ValType, storage_size, uleb
from . import _emit as emit

__all__ = ["Foresight"]

_TRUE = emit.i32_const(1)
_IS_NULL = b"\xd1"
_OR = b"\x72"
_IF_I32 = b"\x04\x7f"

_NULL_FIRST = frozenset(
    {"struct.get", "struct.get_s", "struct.get_u", "struct.set", "array.len", "i31.get_s", "i31.get_u"}
    | {"ref.as_non_null", "throw_ref"}
)
_NULL_LAST = frozenset({"call_ref", "return_call_ref"})
_INDIRECT = frozenset({"call_indirect", "return_call_indirect"})


@frozen
class Foresight:
    """Makes the code for one companion.

    :ivar outside: code that calls :func:`~._watch.outside_function`.
    :ivar casts: whether the engine has ``ref.test``; without it, a function of a wrong type is not foreseen.
    """

    module: Module
    outside: bytes
    casts: bool

    def code(self, instruction: Instruction, loads: Sequence[bytes], types: Sequence[ValType]) -> bytes:
        """Code that pushes an i32, not 0 if *instruction* is going to trap; empty if that is not foreseen.

        :param loads: code that pushes each operand, lowest first; ``types`` of them.
        """
        name = instruction.op.name
        if name in _NULL_FIRST:
            return loads[0] + _IS_NULL if types[0].nullable else b""
        if name in _NULL_LAST:
            return loads[-1] + _IS_NULL if types[-1].nullable else b""
        if name in _INDIRECT:
            return self._indirect(instruction.imm, loads[-1], types[-1])
        if name.startswith("ref.cast"):
            # ref.test and ref.cast differ in their opcode alone.
            raw = self.module.data[instruction.offset : instruction.end]
            return loads[0] + raw[:1] + bytes((raw[1] - 2,)) + raw[2:] + emit.I32_EQZ
        if ".atomic." in name:
            return self._misaligned(instruction, loads[0], types[0])
        make = _MAKERS.get(name)
        return make(self, instruction.imm, loads, types) if make is not None else b""

    # ── tables ─────────────────────────────────────────────────────────────────────────────────

    def _table_size(self, table: int) -> bytes:
        wide = self.module.tables[table].type.limits.is64
        return b"\xfc\x10" + uleb(table) + (b"" if wide else b"\xad")

    def _range(self, start: bytes, start_type: ValType, count: bytes, limit: bytes) -> bytes:
        """Whether *count* (i64) from *start* on go beyond *limit* (i64)."""
        return _wide(start, start_type) + count + limit + self.outside

    def _indirect(self, imm: Any, index: bytes, type: ValType) -> bytes:
        outside = self._range(index, type, emit.i64_const(1), self._table_size(imm.table))
        element = index + emit.table_get(imm.table)
        if self.casts:
            # Null is of no type.
            wrong = element + b"\xfb\x14" + _heap(imm.type_index) + emit.I32_EQZ
        else:
            wrong = element + _IS_NULL
        return b"".join([outside, _IF_I32, _TRUE, emit.ELSE, wrong, emit.END])

    def _table_element(self, table: int, loads: Sequence[bytes], types: Sequence[ValType]) -> bytes:
        return self._range(loads[0], types[0], emit.i64_const(1), self._table_size(table))

    def _table_fill(self, table: int, loads: Sequence[bytes], types: Sequence[ValType]) -> bytes:
        return self._range(loads[0], types[0], _wide(loads[2], types[2]), self._table_size(table))

    def _table_copy(self, imm: Any, loads: Sequence[bytes], types: Sequence[ValType]) -> bytes:
        target, source = imm
        count = _wide(loads[2], types[2])
        return (
            self._range(loads[1], types[1], count, self._table_size(source))
            + self._range(loads[0], types[0], count, self._table_size(target))
            + _OR
        )

    def _table_init(self, imm: Any, loads: Sequence[bytes], types: Sequence[ValType]) -> bytes:
        segment, table = imm
        count = _wide(loads[2], types[2])
        return (
            self._range(loads[1], types[1], count, self._elements(segment))
            + self._range(loads[0], types[0], count, self._table_size(table))
            + _OR
        )

    # ── segments ───────────────────────────────────────────────────────────────────────────────

    def _elements(self, segment: int) -> bytes:
        found = self.module.elements[segment]
        # Active and declarative ones are dropped at instantiation.
        passive = found.mode is SegmentMode.PASSIVE
        return emit.i64_const(len(found.functions or found.expressions or ()) if passive else 0)

    def _bytes(self, segment: int) -> bytes:
        found = self.module.data_segments[segment]
        passive = found.mode is SegmentMode.PASSIVE
        return emit.i64_const(found.data.end - found.data.start if passive else 0)

    def _memory_init(self, imm: Any, loads: Sequence[bytes], types: Sequence[ValType]) -> bytes:
        return self._range(loads[1], types[1], _wide(loads[2], types[2]), self._bytes(imm[0]))

    def _scaled(self, array: int, count: bytes) -> bytes:
        type = self.module.types[array]
        assert isinstance(type, ArrayType)
        return _wide(count, I32) + emit.i64_const(storage_size(type.element)) + b"\x7e"

    def _array_new_data(self, imm: Any, loads: Sequence[bytes], types: Sequence[ValType]) -> bytes:
        return self._range(loads[0], I32, self._scaled(imm[0], loads[1]), self._bytes(imm[1]))

    def _array_new_elem(self, imm: Any, loads: Sequence[bytes], types: Sequence[ValType]) -> bytes:
        return self._range(loads[0], I32, _wide(loads[1], I32), self._elements(imm[1]))

    # ── arrays ─────────────────────────────────────────────────────────────────────────────────

    def _unless_null(self, references: Sequence[bytes], test: bytes) -> bytes:
        null = references[0] + _IS_NULL + b"".join(each + _IS_NULL + _OR for each in references[1:])
        return b"".join([null, _IF_I32, _TRUE, emit.ELSE, test, emit.END])

    def _array_range(self, array: bytes, start: bytes, count: bytes) -> bytes:
        return self._range(start, I32, count, array + b"\xfb\x0f\xad")  # array.len

    def _array_element(self, imm: Any, loads: Sequence[bytes], types: Sequence[ValType]) -> bytes:
        return self._unless_null([loads[0]], self._array_range(loads[0], loads[1], emit.i64_const(1)))

    def _array_fill(self, imm: Any, loads: Sequence[bytes], types: Sequence[ValType]) -> bytes:
        return self._unless_null([loads[0]], self._array_range(loads[0], loads[1], _wide(loads[3], I32)))

    def _array_copy(self, imm: Any, loads: Sequence[bytes], types: Sequence[ValType]) -> bytes:
        target, at, source, start, count = loads
        test = self._array_range(target, at, _wide(count, I32))
        test += self._array_range(source, start, _wide(count, I32)) + _OR
        return self._unless_null([target, source], test)

    def _array_init_data(self, imm: Any, loads: Sequence[bytes], types: Sequence[ValType]) -> bytes:
        target, at, start, count = loads
        test = self._array_range(target, at, _wide(count, I32))
        test += self._range(start, I32, self._scaled(imm[0], count), self._bytes(imm[1])) + _OR
        return self._unless_null([target], test)

    def _array_init_elem(self, imm: Any, loads: Sequence[bytes], types: Sequence[ValType]) -> bytes:
        target, at, start, count = loads
        test = self._array_range(target, at, _wide(count, I32))
        test += self._range(start, I32, _wide(count, I32), self._elements(imm[1])) + _OR
        return self._unless_null([target], test)

    # ── atomics ────────────────────────────────────────────────────────────────────────────────

    def _misaligned(self, instruction: Instruction, address: bytes, type: ValType) -> bytes:
        """Spec of the threads proposal, "Alignment": an atomic access whose address is no multiple of its
        size traps; so does waiting on a memory that is not shared."""
        name, width = instruction.op.name, instruction.op.width
        imm: MemArg = instruction.imm
        shared = self.module.memories[imm.memory].type.limits.shared
        if name.startswith("memory.atomic.wait") and not shared:
            return _TRUE
        if width < 2:
            return b""
        low = address + (b"" if type == I32 else b"\xa7")  # i32.wrap_i64
        low += emit.i32_const(imm.offset & width - 1) + emit.I32_ADD
        return low + emit.i32_const(width - 1) + emit.I32_AND


def _wide(code: bytes, type: ValType) -> bytes:
    return code + (b"\xad" if type == I32 else b"")  # i64.extend_i32_u


def _heap(index: int) -> bytes:
    """A heap type that is a type index, as s33."""
    return emit.i32_const(index)[1:]


_MAKERS: dict[str, Callable[[Foresight, Any, Sequence[bytes], Sequence[ValType]], bytes]] = {
    "table.get": Foresight._table_element,
    "table.set": Foresight._table_element,
    "table.fill": Foresight._table_fill,
    "table.copy": Foresight._table_copy,
    "table.init": Foresight._table_init,
    "memory.init": Foresight._memory_init,
    "array.new_data": Foresight._array_new_data,
    "array.new_elem": Foresight._array_new_elem,
    "array.get": Foresight._array_element,
    "array.get_s": Foresight._array_element,
    "array.get_u": Foresight._array_element,
    "array.set": Foresight._array_element,
    "array.fill": Foresight._array_fill,
    "array.copy": Foresight._array_copy,
    "array.init_data": Foresight._array_init_data,
    "array.init_elem": Foresight._array_init_elem,
}
