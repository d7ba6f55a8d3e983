"""Companion modules: slow twins of some functions, or flavours of them, made when they are needed.

A companion is instantiated in the store of its main instance, imports everything that it works on
from there, and exports one function for each slow twin, to be put into that function's slot.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from attrs import field, frozen

from ..wasm import (
    FUNCREF,
    I32,
    I64,
    MAGIC,
    ExternKind,
    FuncType,
    Limits,
    SectionId,
    TableType,
    ValType,
    name,
    section,
    table_type,
    uleb,
    vector,
)
from . import _emit as emit
from ._additions import FrameAccess
from ._body import FastTwin
from ._code_map import CodeMap
from ._flavour import (
    MOST_OF_A_FLAVOUR,
    FlavourBuilder,
    FlavourOptions,
    NoFlavourError,
    adapter,
    leave_function,
)
from ._frames import RESUME_OFFSET
from ._hints import moved_hints
from ._imports import CompanionImports
from ._layout import KIND_TRAP
from ._loop_copy import LoopCopyBuilder, copy_type, edge_function, loop_adapter
from ._paying import begin_function, pay_back
from ._plans import FunctionPlan, Instrumented, no_tick
from ._recorder import RecordingBuilder
from ._sections import body, type_section
from ._slow_twin import SlowTwinBuilder
from ._trace import cut_function, note_function, stop_function
from ._watch import Condition, Conditions, outside_function, watch_function

__all__ = ["Companion", "Flavour", "FlavourCompanion", "Part", "flavours", "slow_twin", "slow_twin_part"]

EDGE_TYPE = FuncType((I32, I32, I32), (I32,))

_NEVER: Final = emit.local_groups([]) + emit.UNREACHABLE + emit.END
"""The body of a function of any type that is never called."""


def _is_called(index: int, bodies: Iterable[bytes]) -> bool:
    """Whether one of *bodies* calls a function, or has bytes that look like it."""
    calls = emit.call(index), emit.return_call(index)
    return any(call in code for code in bodies for call in calls)


@frozen
class Companion:
    """A module of whole slow twins.

    :ivar wasm: its bytes.  It imports the reserved exports of the main instance, and ``sp``, ``instance`` and
        ``hook``, all from the module named by the prefix.
    :ivar imports: the names of what it imports.
    :ivar entries: by function index, the export to be put into the function's slot.
    """

    wasm: bytes
    imports: tuple[str, ...]
    entries: dict[int, str]


def slow_twin(
    instrumented: Instrumented,
    indices: Sequence[int],
    tick: Callable[[], None] = no_tick,
    conditions: Conditions | None = None,
    *,
    casts: bool = False,
) -> Companion:
    """One companion with the slow twins of these functions.

    :param indices: function indices, of defined functions.
    :param tick: called now and then, as by :func:`~trio_wasmdbg.instrument.instrument`.
    :param conditions: when a stop byte of value 2 asks the host; one of value 1 always does.
    :param casts: whether the engine has ``ref.test``: it tells if an indirect call is going to trap.
    :raises LookupError: a function is imported, or does not exist.
    """
    conditions = conditions or {}
    plans = [instrumented.plan(index) for index in dict.fromkeys(indices)]
    imports = CompanionImports(instrumented)
    for plan in plans:
        imports.scan(plan, tick)
        for condition in conditions.get(plan.index, {}).values():
            imports.need_globals(condition.globals)
        tick()
    imports.finish()
    additions = imports.additions
    own = _own_functions(imports)
    functions, bodies, first = own.functions, list[bytes](), own.first
    chunks: list[int] = []
    names, entries = instrumented.names, dict[int, str]()
    exports = _memories(instrumented)
    for plan in plans:
        builder = SlowTwinBuilder(
            plan, imports, first=first, stop=own.stop, casts=casts,
            first_chunk=len(chunks), conditions=conditions.get(plan.index, {}), tick=tick,
        )  # fmt: skip
        made = builder.build()
        cold = uleb(additions.cold_type(instrumented.original.functions[plan.index].type.results))
        functions += [cold] * len(made)
        bodies += made
        if len(made) > 2:
            chunks += range(first + 1, first + len(made))
        entries[plan.index] = f"{names.prefix}s{plan.index}"
        exports.append(name(entries[plan.index]) + bytes((ExternKind.FUNCTION,)) + uleb(first))
        first += len(made)
        tick()
    wasm, _ = _assemble(
        imports, names.companion, functions, [*own.called_by(bodies), *bodies], exports, chunks
    )
    return Companion(wasm, imports.names, entries)


@frozen
class Part:
    """A module with some chunks of one function's slow twin; the one with its entry has a table for all.

    :ivar wasm: its bytes.  It imports what a :class:`Companion` does.
    :ivar imports: the names of what it imports.
    :ivar entry: the export to be put into the function's slot, if it has one.
    :ivar table: what the table is called: an export of the part with the entry, and an import of the others.
    :ivar chunks: which chunks are in it; instruction ``k`` of the function is in chunk ``k // size``.
    :ivar total: how many chunks there are.
    """

    wasm: bytes
    imports: tuple[str, ...]
    entry: str
    table: str
    chunks: range
    total: int


def slow_twin_part(
    instrumented: Instrumented,
    index: int,
    chunks: range,
    number: int,
    tick: Callable[[], None] = no_tick,
    conditions: Mapping[int, Condition] | None = None,
    *,
    size: int,
    most: int = 0,
    entry: bool,
    casts: bool = False,
) -> Part:
    """Some chunks of a slow twin, for those that are too large to be made as a whole at the first stop.

    What comes to a chunk that is not there yet asks the host for it (``KIND_CHUNK``).

    :param chunks: which; those of them that there are.
    :param number: tells this slow twin from others of its instance; the host is told.
    :param size: instructions in a chunk.
    :param most: instructions of neighbouring chunks that become one function.
    :param entry: with the entry.
    :raises LookupError: the function is imported, or does not exist.
    """
    plan, conditions = instrumented.plan(index), conditions or {}
    imports = CompanionImports(instrumented)
    catching = plan.catching()
    if catching:
        # Clauses are in force at instructions in other chunks, too.
        imports.need_tags()
    total = -(-(plan.instructions + len(catching)) // size)
    chunks = range(chunks.start, min(chunks.stop, total))
    part = range(chunks.start * size, min(chunks.stop * size, plan.instructions))
    # What throws for the host stands for instructions anywhere.
    imports.scan(plan, tick, part=None if catching else part)
    # What an instruction pushes is seen before the next one.
    typed = plan.typed_part(range(part.start, min(part.stop + 1, plan.instructions)), tick)
    for k, condition in conditions.items():
        if k in part:
            imports.need_globals(condition.globals)
    table = instrumented.names.chunks(number)
    if not entry:
        imports.table_of_chunks = table, total
    imports.finish()
    own = _own_functions(imports)
    together = max(most // size, 1)
    groups = [chunks[n : n + together] for n in range(0, len(chunks), together)]
    builder = SlowTwinBuilder(
        plan, imports, first=own.first, stop=own.stop, casts=casts, first_chunk=0, conditions=conditions,
        tick=tick if len(groups) > 1 else no_tick, number=number, chunk_size=size, typed=typed,
    )  # fmt: skip
    made = [*(builder.build_entry() if entry else ()), *builder.build_chunks(groups)]
    cold = uleb(imports.additions.cold_type(instrumented.original.functions[index].type.results))
    exports, name_of_entry = _memories(instrumented), ""
    begin, first = chunks.start, own.first + (2 if entry else 0)
    elements = [first + number // together for number in range(len(chunks))]
    if entry:
        name_of_entry = f"{instrumented.names.prefix}s{index}"
        exports.append(name(name_of_entry) + bytes((ExternKind.FUNCTION,)) + uleb(own.first))
        exports.append(name(table) + bytes((ExternKind.TABLE,)) + uleb(imports.chunk_table))
        missing = own.first + 1
        begin, made_here, elements = 0, elements, [missing] * total
        elements[chunks.start : chunks.stop] = made_here
    wasm, _ = _assemble(
        imports, instrumented.names.companion, [*own.functions, *[cold] * len(made)],
        [*own.called_by(made), *made], exports, elements, begin=begin,
    )  # fmt: skip
    return Part(wasm, imports.names, name_of_entry, table, chunks, total)


@frozen
class _Own:
    """The functions that the slow twins of a companion share.

    :ivar stop: index of the first of them.
    :ivar first: index of the first function after them.
    :ivar functions: their types' indices, encoded.
    """

    stop: int
    first: int
    functions: list[bytes]
    bodies: list[bytes]

    def called_by(self, made: Sequence[bytes]) -> list[bytes]:
        """The bodies; those that nobody calls are empty: compiling one takes as long as ten instructions."""
        callers = (*made, *self.bodies)
        return [
            own if _is_called(index, callers) else _NEVER for index, own in enumerate(self.bodies, self.stop)
        ]


def _own_functions(imports: CompanionImports) -> _Own:
    """In the order that :class:`~._slow_twin.SlowTwinBuilder` expects."""
    additions, stop, countdown = imports.additions, imports.function_count, imports.countdown
    layout, check = imports.owner.layout, FuncType((I32, I32, I32), (I32,))
    watch = FuncType((I32, I32, I64, I64, I32), (I32,))
    added = [
        (check, stop_function(additions, 0, stop + 1, countdown)),
        (FuncType((I32,), ()), note_function(additions, layout)),
        (FuncType((I32, I32), (I32,)), _ask(imports, KIND_TRAP)),
        (watch, watch_function(additions, layout, 0, countdown)),
        (FuncType((I64, I64, I64), (I32,)), outside_function()),
        (EDGE_TYPE, edge_function(additions, 0)),
        (check, begin_function(additions, countdown, stop)),
    ]
    types = [uleb(additions.type_index(type)) for type, _ in added]
    return _Own(stop, stop + len(added), types, [code for _, code in added])


@frozen
class Flavour:
    """A flavour that is wanted.

    :ivar index: function index, of a defined function.
    :ivar block: address of the bytes of its check sites, as many as the fast twin has, of
        :attr:`Layout.blocks <trio_wasmdbg.instrument.Layout>`; None, for a loop copy: the fast twin's.
    :ivar counters: if it records: address of its counters, of
        :attr:`Layout.counters <trio_wasmdbg.instrument.Layout>`, one for each of
        :meth:`FunctionPlan.leaders <trio_wasmdbg.instrument.FunctionPlan.leaders>`.
    :ivar loop: it is a copy of the loop that begins with this instruction, to be entered there.
    """

    index: int
    block: int | None
    options: FlavourOptions = field(factory=FlavourOptions)
    counters: int = 0
    loop: int | None = None


@frozen
class FlavourCompanion:
    """A module with flavours.

    :ivar wasm: its bytes.  It imports what a :class:`Companion` does.
    :ivar imports: the names of what it imports.
    :ivar entries: for each flavour, the export to be put into a slot.
    :ivar functions: for each that is not a loop copy, the export by which others call it (see
        ``Reserved.flavour``).
    :ivar code_map: from offsets in ``wasm`` to offsets in the original.
    """

    wasm: bytes
    imports: tuple[str, ...]
    entries: tuple[str, ...]
    functions: tuple[str, ...]
    code_map: CodeMap = field(repr=False)


def flavours(
    instrumented: Instrumented,
    wanted: Sequence[Flavour],
    *,
    called: str,
    outside: Mapping[int, str] = MappingProxyType({}),
    tick: Callable[[], None] = no_tick,
) -> FlavourCompanion:
    """A companion with flavours of functions, which call each other directly.

    :param wanted: at most one for each function.
    :param outside: further functions whose flavours, in other companions, they call; and the exports.
    :param called: the module's name, by which backtraces tell it from others.
    :param tick: called now and then, as by :func:`~trio_wasmdbg.instrument.instrument`.
    :raises NoFlavourError: one of the functions can't have the flavour.
    :raises LookupError: a function is imported, or does not exist.
    """
    imports = CompanionImports(instrumented, outside)
    if imports.shared_memory:
        raise NoFlavourError("its module has a shared memory")
    plans = [instrumented.plan(each.index) for each in wanted]
    members = {each.index for each in wanted if each.loop is None}
    for each, plan in zip(wanted, plans, strict=True):
        instructions = plan.instructions - (each.loop or 0)
        if instructions > MOST_OF_A_FLAVOUR:
            raise NoFlavourError(f"it has {instructions:,} instructions")
        if each.loop is not None and each.options.records is not None:
            raise NoFlavourError("a copy of a loop does not record")
        imports.scan(plan, tick, structured=True, inside=members)
        for condition in each.options.points.values():
            if condition is not None:
                imports.need_globals(condition.globals)
        tick()
    imports.finish()
    edge = imports.function_count
    functions = [uleb(imports.additions.type_index(EDGE_TYPE))]
    bodies = [edge_function(imports.additions, 0)]
    exports = _memories(instrumented)
    entries: list[str] = []
    direct: list[str] = []
    twins: list[FastTwin] = []
    # The edge function comes first, then adapters and what they enter by turns.
    inside = {each.index: edge + 2 * n + 2 for n, each in enumerate(wanted) if each.loop is None}
    cut = edge + 2 * len(wanted) + 1
    leaves: dict[tuple[ValType, ...], int] = {}
    for each, plan in zip(wanted, plans, strict=True):
        original = instrumented.original.functions[each.index]
        leave = leaves.setdefault(original.type.results, cut + 1 + len(leaves))
        twins.append(_builder(each, plan, imports, inside, edge, cut, leave, tick).build())
        entry = edge + len(bodies)
        if each.loop is None:
            enter, type_index = adapter(plan, imports, entry + 1), original.type_index
        else:
            enter = loop_adapter(plan, imports, each.loop, entry + 1)
            type_index = imports.additions.type_index(copy_type(plan, each.loop))
        functions += [uleb(imports.additions.cold_type(original.type.results)), uleb(type_index)]
        bodies += [enter, twins[-1].body]
        entries.append(f"{instrumented.names.prefix}s{len(entries)}")
        exports.append(name(entries[-1]) + bytes((ExternKind.FUNCTION,)) + uleb(entry))
        if each.loop is None and each.block is not None:
            direct.append(instrumented.names.flavour(each.block))
            exports.append(name(direct[-1]) + bytes((ExternKind.FUNCTION,)) + uleb(entry + 1))
        tick()
    indices = range(edge + 2, edge + len(bodies), 2)  # behind its adapter each
    hints = moved_hints(
        instrumented.original,
        ((each.index, index, twin) for each, index, twin in zip(wanted, indices, twins, strict=True)),
    )
    # All record alike.
    records = wanted[0].options.records
    functions.append(uleb(imports.additions.type_index(FuncType((I32, I32, I32), ()))))
    bodies.append(
        cut_function(
            imports.additions, instrumented.layout, traced=records != "coverage", counted=records != "trace"
        )
    )
    functions += [uleb(imports.additions.cold_type(results)) for results in leaves]
    bodies += [leave_function(imports, results) for results in leaves]
    for number in (0, cut - edge):
        # As in slow twins: most of them have no loop that is counted, and record nothing.
        if not _is_called(edge + number, bodies):
            bodies[number] = _NEVER
    wasm, offsets = _assemble(imports, called, functions, bodies, exports, hints=hints)
    code_map = CodeMap()
    for each, offset, twin in zip(wanted, offsets[2 : cut - edge : 2], twins, strict=True):
        code_map.add(each.index, offset, twin)
    return FlavourCompanion(wasm, imports.names, tuple(entries), tuple(direct), code_map)


def _builder(
    wanted: Flavour,
    plan: FunctionPlan,
    imports: CompanionImports,
    inside: Mapping[int, int],
    edge: int,
    cut: int,
    leave: int,
    tick: Callable[[], None],
) -> FlavourBuilder:
    options, block = wanted.options, wanted.block
    if wanted.loop is not None:
        return LoopCopyBuilder(
            plan, imports, options, loop=wanted.loop, edge=edge, block=block, inside=inside, tick=tick
        )
    assert block is not None
    if options.records is None:
        return FlavourBuilder(plan, imports, options, block=block, inside=inside, leave_by=leave, tick=tick)
    return RecordingBuilder(
        plan, imports, options, block=block, inside=inside, leave_by=leave, counters=wanted.counters,
        cut=cut, tick=tick,
    )  # fmt: skip


def _memories(instrumented: Instrumented) -> list[bytes]:
    """Exports of the memories that the original exports.

    A host function that a twin calls may ask its caller for a memory, by its export's name: all of WASI's do.
    """
    original = instrumented.original
    return [
        name(export.name) + bytes((ExternKind.MEMORY,)) + uleb(export.index)
        for export in original.exports
        if export.kind is ExternKind.MEMORY and not original.memories[export.index].type.limits.shared
    ]


def _assemble(
    imports: CompanionImports,
    called: str,
    functions: Sequence[bytes],
    bodies: Sequence[bytes],
    exports: Sequence[bytes],
    chunks: Sequence[int] = (),
    hints: Sequence[bytes] = (),
    begin: int = 0,
) -> tuple[bytes, list[int]]:
    """The module, and where its bodies (without their size) begin in it.

    :param functions: type indices of the functions, encoded.
    :param hints: what is to stand before the code section.
    :param chunks: functions that go into the table of chunks, from *begin* on.
    """
    import_payload = imports.encode()
    parts = [
        MAGIC,
        section(SectionId.TYPE, type_section(imports.additions)),
        section(SectionId.IMPORT, import_payload),
        section(SectionId.FUNCTION, vector(functions)),
    ]
    if chunks and imports.table_of_chunks is None:
        limits = Limits(len(chunks), len(chunks))
        parts.append(section(SectionId.TABLE, vector([table_type(TableType(FUNCREF, limits))])))
    parts.append(section(SectionId.EXPORT, vector(exports)))
    if chunks:
        segment = b"".join(
            [
                b"\x02",
                uleb(imports.chunk_table),
                emit.i32_const(begin),
                emit.END,
                b"\x00",
                vector(map(uleb, chunks)),
            ]
        )
        parts.append(section(SectionId.ELEMENT, vector([segment])))
    parts += hints
    entries = [body(code) for code in bodies]
    code = section(SectionId.CODE, vector(entries))
    end = sum(map(len, parts)) + len(code)
    offsets = []
    for entry, content in zip(reversed(entries), reversed(bodies), strict=True):
        offsets.append(end - len(content))
        end -= len(entry)
    parts.append(code)
    # Name section: subsection 0 is the module's name.
    label = name(called)
    parts.append(section(SectionId.CUSTOM, name("name") + b"\0" + uleb(len(label)) + label))
    return b"".join(parts), offsets[::-1]


def _ask(imports: CompanionImports, kind: int) -> bytes:
    """The body of (frame pointer, place (see ``_paying``)) -> i32.

    Stores the resume point, and asks the host.
    """
    access = FrameAccess(imports.additions, 0)
    return b"".join(
        [
            emit.local_groups([]),
            pay_back(imports.additions, imports.countdown, 1),
            access.store_i32(RESUME_OFFSET, emit.local_get(1)),
            emit.i32_const(kind),
            emit.local_get(0),
            emit.local_get(1),
            emit.call(0),
            emit.END,
        ]
    )
