"""What a companion module imports from its main instance, in which order.

Memories, tables and tags are imported all and in order, so that instructions keep their immediates; of
functions and globals only those that the slow twins need.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping

from attrs import define, field

from ..wasm import (
    FUNCREF,
    I32,
    I64,
    ExternKind,
    FuncType,
    GlobalType,
    Imm,
    Limits,
    MemoryType,
    TableType,
    TypedBody,
    global_type,
    in_pieces,
    memory_type,
    name,
    ref_type,
    table_type,
    uleb,
    vector,
)
from . import _emit as emit
from ._additions import HOOK_TYPE, REFERENCE_TABLE_SIZE, TOP_TYPES, Additions
from ._kinds import HELPED
from ._plans import FunctionPlan, Instrumented, no_tick
from ._shared import has_shared_memory, helper_number, shared_accesses, size_helper
from ._skeleton import PartlyTyped
from ._stack_owner import OWN_GLOBALS
from ._stack_owner import imports as stack_imports

__all__ = ["CompanionImports", "helper_type"]


def helper_type(additions: Additions, name: str, first: int, second: int) -> FuncType:
    """The type of a helper function: the operands and results of its instruction."""
    if name == "ref.func":
        return FuncType((), (FUNCREF,))
    if name.endswith(".drop"):
        return FuncType((), ())
    if name == "execute":
        return additions.executed[first][1]
    module = additions.module
    if name.startswith("array.new"):
        return FuncType((I32, I32), (ref_type(False, first),))
    if name.startswith("array.init"):
        return FuncType((ref_type(True, first), I32, I32, I32), ())
    where = module.memories[second].type if name == "memory.init" else module.tables[second].type
    return FuncType((where.address_type, I32, I32), ())


@define
class CompanionImports:
    """The imports of one companion, collected by :meth:`scan` before any code is made.

    The hook is function 0.
    """

    owner: Instrumented
    flavours: Mapping[int, str] = field(factory=dict)
    """Functions of which a flavour is imported instead of the fast twin, and its name."""
    additions: Additions = field(init=False)
    _functions: dict[int, int] = field(factory=dict)
    _helpers: dict[int, int] = field(factory=dict)
    _globals: dict[int, int] = field(factory=dict)
    table_of_chunks: tuple[str, int] | None = None
    """The name and size of a table of chunks that is imported, after all other tables."""
    _tags: bool = False
    _names: dict[str, None] = field(factory=dict)
    shared_memory: bool = field(init=False)

    def __attrs_post_init__(self) -> None:
        main = self.owner.additions
        self.shared_memory = has_shared_memory(main.module)
        self.additions = Additions(
            main.module,
            sp=0,
            reference_tables=dict(main.reference_tables),
            helpers=main.helpers,
            executed=main.executed,
            executed_numbers=main.executed_numbers,
        )

    @property
    def function_count(self) -> int:
        """Number of imported functions."""
        return 1 + len(self._functions) + len(self._helpers)

    @property
    def chunk_table(self) -> int:
        """Index of the companion's own table of chunks."""
        return self.additions.slots_table + 1 + len(self.additions.reference_tables)

    def function(self, index: int) -> int:
        """The companion's index of a function of the original."""
        return self._functions[index]

    def helper(self, name: str, first: int, second: int = 0) -> int:
        """The companion's index of a helper function."""
        return self._helpers[self.additions.helpers[name, first, second]]

    def executing(self, typed: TypedBody | PartlyTyped, k: int) -> int | None:
        """The companion's index of the helper function that executes instruction *k*, if it takes one."""
        if not self.shared_memory:
            return None
        number = helper_number(self.additions, typed, k)
        return None if number is None else self._helpers[number]

    def memory_size(self, memory: int) -> bytes:
        """Code that pushes the size of a memory in pages."""
        if not self.additions.module.memories[memory].type.limits.shared:
            return b"\x3f" + uleb(memory)
        return emit.call(self._helpers[size_helper(self.additions, memory)])

    @property
    def countdown(self) -> int:
        """Index of the global that counts instructions down: the last one, so known after the others."""
        return OWN_GLOBALS + len(self._globals)

    def global_(self, index: int) -> int:
        """The companion's index of a global of the original."""
        return self._globals[index]

    def scan(
        self,
        plan: FunctionPlan,
        tick: Callable[[], None] = no_tick,
        *,
        structured: bool = False,
        inside: Collection[int] = (),
        part: range | None = None,
    ) -> None:
        """Collects what the slow twin of this function will need.

        :param tick: called now and then: a function may have a million instructions.
        :param structured: it is for a copy that has the dead code as well.
        :param inside: functions that are in the companion themselves.
        :param part: the instructions that are of interest; default: all.
        """
        typed: TypedBody | PartlyTyped
        if part is None:
            typed, part = plan.typed(tick), range(plan.instructions)
        else:
            # Helpers are told by what is on the stack behind an instruction, too.
            typed = plan.typed_part(range(part.start, min(part.stop + 1, plan.instructions)), tick)
        shared, instructions = self.shared_memory, typed.instructions
        for k in in_pieces(part, tick):
            instruction = instructions[k]
            op, imm = instruction.op, instruction.imm
            kind = op.imm
            if kind is Imm.NONE:
                continue
            if not typed.reachable[k] and not (
                structured and (kind is Imm.GLOBAL or kind is Imm.TAG or kind is Imm.TRY_TABLE)
            ):
                continue
            if shared:
                number = helper_number(self.additions, typed, k)
                for memory in shared_accesses(self.additions.module, instruction):
                    self._helpers[size_helper(self.additions, memory)] = -1
                if number is not None:
                    self._helpers[number] = -1
                    continue
            if kind is Imm.TAG or kind is Imm.TRY_TABLE:
                self._tags = True
            elif kind is Imm.FUNCTION:
                if op.name == "ref.func":
                    self._need_helper("ref.func", imm)
                elif imm not in inside:
                    self._functions.setdefault(imm, 1 + len(self._functions))
            elif kind is Imm.GLOBAL:
                self._globals.setdefault(imm, OWN_GLOBALS + len(self._globals))
            elif op.code in HELPED:
                first, second = imm if isinstance(imm, tuple) else (imm, 0)
                self._need_helper(HELPED[op.code], first, second)

    def need_globals(self, indices: Iterable[int]) -> None:
        """Makes sure that these globals of the original are imported."""
        for index in indices:
            self._globals.setdefault(index, OWN_GLOBALS + len(self._globals))

    def need_tags(self) -> None:
        """Makes sure that the tags are imported."""
        self._tags = True

    def _need_helper(self, name: str, first: int, second: int = 0) -> None:
        self._helpers[self.additions.helpers[name, first, second]] = -1

    def finish(self) -> None:
        """Numbers the helpers, which come after the functions."""
        for place, number in enumerate(sorted(self._helpers)):
            self._helpers[number] = 1 + len(self._functions) + place

    @property
    def names(self) -> tuple[str, ...]:
        """What is imported, by reserved names, each once; known after :meth:`encode`."""
        return tuple(self._names)

    def encode(self) -> bytes:
        """The import section's contents."""
        owner, additions = self.owner, self.additions
        module, names = owner.original, owner.names
        entries: list[bytes] = []

        def add(item: str, kind: ExternKind, desc: bytes) -> None:
            self._names[item] = None
            entries.append(b"".join([name(names.prefix), name(item), bytes((kind,)), desc]))

        add(names.hook, ExternKind.FUNCTION, uleb(additions.type_index(HOOK_TYPE)))
        for index in self._functions:
            called = self.flavours.get(index, names.function(index))
            add(called, ExternKind.FUNCTION, uleb(module.functions[index].type_index))
        keys = {number: key for key, number in additions.helpers.items()}
        for number in sorted(self._helpers):
            type = helper_type(additions, *keys[number])
            add(names.helper(number), ExternKind.FUNCTION, uleb(additions.type_index(type)))
        for table in module.tables:
            add(names.table(table.index), ExternKind.TABLE, table_type(table.type))
        slots = TableType(FUNCREF, Limits(0))
        add(names.slots, ExternKind.TABLE, table_type(slots))
        for kind in additions.reference_tables:
            references = TableType(TOP_TYPES[kind], Limits(REFERENCE_TABLE_SIZE, REFERENCE_TABLE_SIZE))
            add(names.references(kind), ExternKind.TABLE, table_type(references))
        if self.table_of_chunks is not None:
            item, size = self.table_of_chunks
            add(item, ExternKind.TABLE, table_type(TableType(FUNCREF, Limits(size, size))))
        pages = owner.layout.memory_pages
        debug = memory_type(MemoryType(Limits(pages, pages)))
        for memory in module.memories:
            if memory.type.limits.shared:
                add(names.debug, ExternKind.MEMORY, debug)
            else:
                add(names.memory(memory.index), ExternKind.MEMORY, memory_type(memory.type))
        add(names.debug, ExternKind.MEMORY, debug)
        self._names.update(dict.fromkeys((names.sp, names.instance)))
        entries += stack_imports(names)
        if self._tags:
            for tag in module.tags:
                add(names.tag(tag.index), ExternKind.TAG, b"\x00" + uleb(tag.type.type_index))
        for index in self._globals:
            add(names.global_(index), ExternKind.GLOBAL, global_type(module.globals[index].type))
        add(names.countdown, ExternKind.GLOBAL, global_type(GlobalType(I64, True)))
        return vector(entries)
