"""What is appended to a module's index spaces, and the code that reaches a shadow frame.

Nothing of the original module changes its index but the globals that it defines: two of ours come before
them (see ``_stack_owner``).  Types, tables, the debug memory and helper functions are appended, most of
them when they are first asked for, so that a module that has no reference-typed local gets no reference
table.
"""

from __future__ import annotations

from typing import Final

from attrs import Factory, define, field

from ..errors import MalformedModuleError
from ..wasm import EXNREF, EXTERNREF, FUNCREF, I32, FuncType, Module, ValType, ref_type, sleb33
from . import _emit as emit
from ._frames import INSTANCE_OFFSET
from ._layout import INSTANCE_ID, STACK_SIZE
from ._stack_owner import OWN_GLOBALS

__all__ = [
    "COLD_PARAMS",
    "HOOK_TYPE",
    "KEEP",
    "REFERENCE_TABLE_SIZE",
    "TOP_TYPES",
    "Additions",
    "FrameAccess",
]

KEEP: Final = 1 << 30
"""Flag of a resume point: a fast twin leaves there with a frame that the host may have made whole."""

COLD_PARAMS: Final = (I32, I32)
"""Parameters of everything in a function slot: frame pointer, resume point."""

HOOK_TYPE: Final = FuncType((I32, I32, I32), (I32,))
"""Type of the hook: (kind, frame pointer, resume point) to 0 or a resume point plus 1."""

REFERENCE_TABLE_SIZE: Final = STACK_SIZE // 8
"""Elements of a table of references: one for each 8 bytes of the shadow stack."""

ANYREF = ref_type(True, -18)
_HEAP_NAMES = {-16: "func", -13: "func", -17: "extern", -14: "extern", -23: "exn", -12: "exn"}
TOP_TYPES: Final = {"func": FUNCREF, "extern": EXTERNREF, "any": ANYREF, "exn": EXNREF}

# By type code: opcodes of the load and of the store, and the logarithm of their alignment.
_ACCESSES = {
    0x7F: (b"\x28", b"\x36", 2),
    0x7E: (b"\x29", b"\x37", 3),
    0x7D: (b"\x2a", b"\x38", 2),
    0x7C: (b"\x2b", b"\x39", 3),
    0x7B: (b"\xfd\x00", b"\xfd\x0b", 3),
}


@define
class Additions:
    """The appended index spaces of one rewritten module (or of a companion, which shares them)."""

    module: Module
    sp: int = field()
    """Index of the global that is the shadow stack pointer: behind those that the module imports."""
    types: dict[FuncType, int] = field(factory=dict)
    reference_tables: dict[str, int] = field(factory=dict)
    helpers: dict[tuple[str, int, int], int] = field(factory=dict)
    executed: list[tuple[bytes, FuncType]] = field(factory=list)
    """Instructions that helper functions named ``"execute"`` execute, and their operands and results."""
    executed_numbers: dict[tuple[bytes, FuncType], int] = field(factory=dict)
    _leaves: dict[tuple[ValType, ...], int] = Factory(dict)
    _enters: dict[int, int] = Factory(dict)
    _stores: dict[tuple[ValType, int], bytes] = Factory(dict)
    _loads: dict[tuple[ValType, int], bytes] = Factory(dict)

    @sp.default
    def _sp_behind_imports(self) -> int:
        return sum(each.import_ is not None for each in self.module.globals)

    @property
    def instance(self) -> int:
        """Index of the global that holds the current instance's id."""
        return self.sp + 1

    def global_(self, index: int) -> int:
        """The index in the rewritten module of a global of the original."""
        return index if index < self.sp else index + OWN_GLOBALS

    @property
    def debug_memory(self) -> int:
        """Index of the debug memory."""
        return len(self.module.memories)

    @property
    def slots_table(self) -> int:
        """Index of the table that connects the twins."""
        return len(self.module.tables)

    def type_index(self, type: FuncType) -> int:
        """Index of an appended function type."""
        return self.types.setdefault(type, len(self.module.types) + len(self.types))

    def cold_type(self, results: tuple[ValType, ...]) -> int:
        """Index of the type that slow twins, stubs and exits have for these results."""
        return self.type_index(FuncType(COLD_PARAMS, results))

    def leave(self, results: tuple[ValType, ...]) -> int:
        """Index of the function that leads out of fast twins with these results.

        It comes after the original functions and as many stubs as there are such functions.
        """
        if not self._leaves:
            module = self.module
            kinds = dict.fromkeys(each.type.results for each in module.functions if each.body is not None)
            first = len(module.functions) + len(kinds)
            self._leaves.update((kind, first + number) for number, kind in enumerate(kinds))
        return self._leaves[results]

    def enter(self, type_index: int) -> int:
        """Index of the function that leads from fast twins of this type to flavours (see ``_direct``).

        These come after those that lead out.
        """
        if not self._enters:
            functions = [each for each in self.module.functions if each.body is not None]
            first = len(self.module.functions) + 2 * len({each.type.results for each in functions})
            types = dict.fromkeys(each.type_index for each in functions)
            self._enters.update((each, first + number) for number, each in enumerate(types))
        return self._enters[type_index]

    @property
    def enters(self) -> list[int]:
        """The type indices that :meth:`enter` knows, in the order of their functions."""
        return list(self._enters)

    def block_type(self, results: tuple[ValType, ...], params: tuple[ValType, ...] = ()) -> bytes:
        """A block type."""
        if params or len(results) > 1:
            return sleb33(self.type_index(FuncType(params, results)))
        return results[0].encode() if results else b"\x40"

    def helper(self, name: str, first: int, second: int = 0) -> int:
        """Number of the helper function that executes the instruction *name* with these immediates."""
        return self.helpers.setdefault((name, first, second), len(self.helpers))

    def executing(self, code: bytes, type: FuncType) -> int:
        """Number of the helper function that executes an instruction, of which *type* has the operands."""
        number = self.executed_numbers.get((code, type))
        if number is None:
            number = self.executed_numbers[code, type] = len(self.executed)
            self.executed.append((code, type))
        return self.helper("execute", number)

    def anticipate(self) -> None:
        """Append what functions will ask for, as far as their types tell.

        So it has the same indices in whatever order functions are rewritten, and in whatever process.
        """
        functions = {
            (function.type, function.body.local_groups): None
            for function in self.module.functions
            if function.body is not None
        }
        for type, groups in functions:
            if len(type.results) > 1:
                self.block_type(type.results)
            for each in (*type.params, *(each for _, each in groups), *type.results):
                if each.is_ref:
                    self.reference_table(each)

    # ── references ─────────────────────────────────────────────────────────────────────────────

    def reference_kind(self, type: ValType) -> str:
        """The hierarchy of a reference type: ``"func"``, ``"extern"``, ``"any"`` or ``"exn"``."""
        heap = type.heap
        assert heap is not None
        if heap < 0:
            return _HEAP_NAMES.get(heap, "any")
        if heap >= len(self.module.types):
            raise MalformedModuleError(f"unknown type {heap} (the module has {len(self.module.types)})")
        return "func" if isinstance(self.module.types[heap], FuncType) else "any"

    def reference_table(self, type: ValType) -> int:
        """Index of the table that holds references of this type."""
        kind = self.reference_kind(type)
        return self.reference_tables.setdefault(kind, self.slots_table + 1 + len(self.reference_tables))

    def null_of(self, type: ValType) -> bytes:
        """``ref.null`` of this type's hierarchy."""
        return emit.ref_null(TOP_TYPES[self.reference_kind(type)].code)

    def cast(self, type: ValType) -> bytes:
        """From the reference table's type to *type*; fails for an unset non-nullable local only."""
        top = TOP_TYPES[self.reference_kind(type)]
        if type == top:
            return b""
        heap = type.heap
        assert heap is not None
        if heap == top.heap:
            return b"\xd4"  # ref.as_non_null
        return (b"\xfb\x17" if type.nullable else b"\xfb\x16") + sleb33(heap)

    # ── frames ─────────────────────────────────────────────────────────────────────────────────

    def memory_access(self, opcode: int, offset: int, align: int = 0) -> bytes:
        """A load or store of the debug memory."""
        return bytes((opcode,)) + emit.memarg(align, self.debug_memory, offset)

    def store(self, type: ValType, offset: int) -> bytes:
        """What stores a value (the address, from :class:`FrameAccess`, lies below it)."""
        code = self._stores.get((type, offset))
        if code is None:
            if type.is_ref:
                code = emit.table_set(self.reference_table(type))
            else:
                _, opcode, align = _ACCESSES[type.code]
                code = opcode + emit.memarg(align, self.debug_memory, offset)
            self._stores[type, offset] = code
        return code

    def load(self, type: ValType, offset: int) -> bytes:
        """What replaces an address by the value stored there."""
        code = self._loads.get((type, offset))
        if code is None:
            if type.is_ref:
                code = emit.table_get(self.reference_table(type)) + self.cast(type)
            else:
                opcode, _, align = _ACCESSES[type.code]
                code = opcode + emit.memarg(align, self.debug_memory, offset)
            self._loads[type, offset] = code
        return code


class FrameAccess:
    """Code that reads and writes slots of the frame whose address is in one local."""

    def __init__(self, additions: Additions, fp: int) -> None:
        self._additions = additions
        self.fp: Final = emit.local_get(fp)
        """``local.get`` of the frame pointer."""
        self.sp: Final = emit.global_get(additions.sp)
        """``global.get`` of the shadow stack pointer."""
        self._set_sp: Final = emit.global_set(additions.sp)

    def place_of(self, type: ValType) -> str:
        """Where slots of this type are: in the table of their kind, or, if this is empty, in memory."""
        return self._additions.reference_kind(type) if type.is_ref else ""

    def address(self, type: ValType, offset: int) -> bytes:
        """What must lie below a value that is to be stored, or to be loaded from."""
        if type.is_ref:
            return b"".join([self.fp, emit.i32_const(3), b"\x76", emit.i32_const(offset >> 3), emit.I32_ADD])
        return self.fp

    def load(self, type: ValType, offset: int) -> bytes:
        """Pushes the slot's value."""
        return self.address(type, offset) + self._additions.load(type, offset)

    def reference(self, type: ValType, offset: int) -> bytes:
        """Pushes the slot's reference, as the top of its hierarchy: no cast can fail."""
        return self.address(type, offset) + emit.table_get(self._additions.reference_table(type))

    def store_local(self, type: ValType, offset: int, local: int) -> bytes:
        """Stores a local of the running function."""
        return b"".join(
            [self.address(type, offset), emit.local_get(local), self._additions.store(type, offset)]
        )

    def store_null(self, type: ValType, offset: int) -> bytes:
        """Stores a null reference."""
        additions = self._additions
        return b"".join([self.address(type, offset), additions.null_of(type), additions.store(type, offset)])

    def store_i32(self, offset: int, value: bytes) -> bytes:
        """Stores the u32 that *value* pushes."""
        return b"".join([self.fp, value, self._additions.memory_access(0x36, offset, 2)])

    def load_i32(self, offset: int) -> bytes:
        """Pushes the u32 at *offset*."""
        return self.fp + self._additions.memory_access(0x28, offset, 2)

    def zero(self, offset: int, size: int) -> bytes:
        """Fills part of the frame with zeros (numeric slots)."""
        if size <= 16:
            store = b"\x42\x00"
            return b"".join(
                [
                    self.fp + store + self._additions.memory_access(0x37, at, 3)
                    for at in range(offset, offset + size, 8)
                ]
            )
        return b"".join(
            [
                self.fp,
                emit.i32_const(offset),
                emit.I32_ADD,
                emit.i32_const(0),
                emit.i32_const(size),
                emit.memory_fill(self._additions.debug_memory),
            ]
        )

    def fill_null(self, type: ValType, offset: int, size: int) -> bytes:
        """Puts nulls into part of the frame (slots of references of *type*'s hierarchy)."""
        additions = self._additions
        table = additions.reference_table(type)
        return b"".join(
            [
                self.address(type, offset),
                additions.null_of(type),
                emit.i32_const(size >> 3),
                emit.table_fill(table),
            ]
        )

    def new_frame(self, size: int) -> bytes:
        """Pushes the address that a frame has, or would have if it is not on the shadow stack."""
        return b"".join([self.sp, emit.i32_const(size), emit.I32_SUB])

    def own_instance(self) -> bytes:
        """Makes this instance the current one."""
        load = self._additions.memory_access(0x28, INSTANCE_ID, 2)
        return b"".join([emit.i32_const(0), load, emit.global_set(self._additions.instance)])

    def topmost(self) -> bytes:
        """Makes the frame the topmost one, and this instance the current one: those above were unwound."""
        return self.fp + self._set_sp + self.own_instance()

    def push(self, function: int, escapable: bool) -> bytes:
        """Puts the frame onto the shadow stack.

        Without room there, the address is huge and the first store traps, with sp as it was.
        """
        parts = [self.store_i32(0, emit.i32_const(function))]
        if escapable:
            current = emit.global_get(self._additions.instance)
            parts += [self.store_i32(INSTANCE_OFFSET, current), self.own_instance()]
        parts += [self.fp, self._set_sp]
        return b"".join(parts)

    def pop(self, size: int, escapable: bool) -> bytes:
        """Takes the frame off the shadow stack."""
        code = self.fp + emit.i32_const(size) + emit.I32_ADD + self._set_sp
        if escapable:
            code += self.load_i32(INSTANCE_OFFSET) + emit.global_set(self._additions.instance)
        return code
