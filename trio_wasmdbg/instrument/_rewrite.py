"""The module level: every function rewritten, and the sections put together again.

Sections come out in the order of the original's; what is not changed is copied as it is.  Nothing
shifts an index but two globals, which come before those that the module defines.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from ..errors import UnsupportedFeatureError
from ..wasm import (
    BY_NAME,
    FUNCREF,
    I32,
    MAGIC,
    ExternKind,
    Function,
    FuncType,
    Limits,
    MemoryType,
    Module,
    SectionId,
    TableType,
    ValType,
    memory_type,
    name,
    section,
    table_type,
    uleb,
)
from . import _emit as emit
from ._additions import HOOK_TYPE, KEEP, REFERENCE_TABLE_SIZE, TOP_TYPES, Additions, FrameAccess
from ._body import FastTwin
from ._direct import entering
from ._frames import MATERIALISED, RESUME_OFFSET, SLOW, FrameLayout
from ._hints import moved_hints
from ._imports import helper_type
from ._layout import ASK, HOOK_SLOT, KIND_LEFT, NO_DISPATCH, Layout, Reserved
from ._limits import check_limits, size_of_type, size_of_types
from ._modes import FrameMode
from ._opaque import opaque_twin
from ._outside import entered_from_outside
from ._plans import FunctionPlan, Instrumented, no_tick
from ._rewrite_function import FunctionRewriter
from ._sections import appended, body, exports, global_edits, kept_names, type_section
from ._shares import Made, accepted
from ._stack_owner import DEFINITIONS, OWN_GLOBALS, reserve

__all__ = ["instrument"]


def _no_progress(done: int, total: int) -> None:
    """The default *progress*."""


def instrument(
    module: Module,
    *,
    frames: FrameMode = "exact",
    tick: Callable[[], None] = no_tick,
    progress: Callable[[int, int], None] = _no_progress,
    made: dict[int, Made | None] | None = None,
) -> Instrumented:
    """Make *module* debuggable: give every function its fast twin.

    :param frames: how much of each frame is kept.
    :param tick: called about every 2,000 instructions, so that a worker thread may let others run.
    :param progress: called before each function that is rewritten here, and at the end: how many bytes of
        bodies are done, and of how many.
    :param made: what :class:`Share` has made of functions, by their indices, with the same *frames*; it is
        emptied.  The others, and those of which nothing came, are rewritten here.  The result is the same.
    :raises MalformedModuleError: a body can't be decoded (for a module that the engine accepts: a bug).
    :raises UnsupportedFeatureError: something in the module can't be made debuggable.
    """
    return _Rewriter(module, frames, tick, progress, made or {}).run()


class _Rewriter:
    def __init__(
        self,
        module: Module,
        frames: FrameMode,
        tick: Callable[[], None],
        progress: Callable[[int, int], None],
        made: dict[int, Made | None],
    ) -> None:
        self._module = module
        self._tick = tick
        self._progress = progress
        self._made = made
        self._additions = Additions(module)
        self._additions.anticipate()
        self._result = Instrumented(module, frames, Reserved.of(module), self._additions)
        self._escapable = entered_from_outside(module)
        self._first_slot = Layout.of(0, 0).first_function_slot - module.imported_functions
        self._tail_called: set[int] = set()
        self._functions = FunctionRewriter(module, frames, self._additions, self._escapable, tick)

    def run(self) -> Instrumented:
        module, result = self._module, self._result
        defined = [f for f in module.functions if f.body is not None]
        frames: list[FrameLayout] = []
        counts: list[int] = []
        first_sites: list[int] = []
        twins: list[FastTwin] = []
        sites = since = 0
        sizes = {f.index: f.body.end - f.body.start for f in defined if f.body is not None}
        total = sum(sizes.values())
        done = sum(sizes[index] for index, one in self._made.items() if one is not None)
        for function in defined:
            first_sites.append(sites)
            one = self._made.pop(function.index, None)
            if one is None:
                self._progress(done, total)
                done += sizes[function.index]
            rewritten = None if one is None else accepted(one, self._additions, function, sites)
            since += 100
            try:
                if rewritten is None:
                    rewritten = self._functions.rewrite(function, sites)
                    since += rewritten.instructions
            except UnsupportedFeatureError as error:
                twins.append(opaque_twin(self._additions, function, error, self._tail_called))
                result.opaque[function.index] = error
                frames.append(FrameLayout.of((), 0, False))
                counts.append(0)
                continue
            self._tail_called |= rewritten.tail_called
            frames.append(rewritten.frame)
            counts.append(rewritten.instructions)
            twins.append(rewritten.twin)
            sites += len(rewritten.twin.sites)
            if since >= 2000:
                since = 0
                self._tick()
        self._progress(total, total)
        # A tail call from a function that has put the outer instance back must lead to one that sets it
        # again; so must a call from an opaque function, which never sets it.  Which functions these are is
        # known only now; their sites stay the same.
        imported = module.imported_functions
        for index in sorted(self._tail_called - self._escapable):
            if index >= imported and index not in result.opaque:
                self._escapable.add(index)
                at = index - imported
                twins[at] = self._functions.rewrite(module.functions[index], first_sites[at]).twin
        stubs = len({function.type.results for function in defined})
        result.layout = layout = Layout.of(sites, sum(counts), len(defined), stubs)
        stop_base = layout.stops_base
        result.plans = [None] * imported
        for at, function in enumerate(defined):
            index = function.index
            if index in result.opaque:
                result.plans.append(None)
                continue
            result.plans.append(
                FunctionPlan(
                    index, self._first_slot + index, frames[at], index in self._escapable,
                    counts[at], first_sites[at], stop_base, twins[at].sites, result,
                )
            )  # fmt: skip
            stop_base += counts[at]
        result.wasm = self._assemble(defined, twins)
        return result

    # ── what is appended ───────────────────────────────────────────────────────────────────────

    def _stub(self, results: tuple[ValType, ...]) -> bytes:
        """What a slot holds before there is a slow twin.

        Goes on in the flavour that the host has told for this place, if any; else asks the host, which puts
        a slow twin into the slot meanwhile, or answers with the slot of a flavour, negative.
        """
        additions, access = self._additions, FrameAccess(self._additions, 0)
        first = self._module.imported_functions
        heads = self._result.layout.heads_base - 4 * first
        fp, rp, found = (emit.local_get(i) for i in range(3))
        function = access.load_i32(0) + emit.i32_const(SLOW - 1) + emit.I32_AND
        go = emit.return_call_indirect(additions.cold_type(results), additions.slots_table)
        load = additions.memory_access
        hook = emit.call_indirect(additions.type_index(HOOK_TYPE), additions.slots_table)
        return b"".join(
            [
                emit.local_groups([(1, I32)]),
                rp + emit.i32_const(ASK) + b"\x49",  # i32.lt_u: no flag
                emit.IF_EMPTY,
                function + emit.i32_const(2) + b"\x74" + load(0x28, heads, 2) + emit.local_tee(2),
                emit.IF_EMPTY,
                found + rp + emit.i32_const(2) + b"\x74" + emit.I32_ADD,
                load(0x28, 0, 2) + emit.local_tee(2) + emit.i32_const(0) + b"\x4a",  # i32.gt_s
                emit.IF_EMPTY,
                fp + rp + emit.i32_const(ASK) + emit.I32_ADD + found + go,
                emit.END,
                emit.END,
                emit.END,
                # KIND_LEFT with NO_DISPATCH, else KIND_SITE
                rp + emit.i32_const(31) + b"\x76" + emit.i32_const(KIND_LEFT) + b"\x6c",
                rp + emit.i32_const(ASK - 1) + emit.I32_AND + emit.local_set(1),
                fp + rp + emit.i32_const(HOOK_SLOT) + hook + emit.local_tee(2),
                emit.i32_const(0) + b"\x48",  # i32.lt_s
                emit.IF_EMPTY,
                fp + rp + emit.i32_const(0) + found + emit.I32_SUB + go,
                emit.END,
                found,
                emit.IF_EMPTY,
                found + emit.i32_const(1) + emit.I32_SUB + emit.local_set(1),
                emit.END,
                fp + rp + emit.i32_const(NO_DISPATCH) + b"\x72",  # i32.or
                function + emit.i32_const(self._first_slot) + emit.I32_ADD + go,
                emit.END,
            ]
        )

    def _leave(self, results: tuple[ValType, ...]) -> bytes:
        """Where fast twins go to leave, with frame and resume point: on to what is in the function's slot.

        It writes the header's second word.  The flag MATERIALISED stays as it is at a place marked KEEP.
        """
        additions, access = self._additions, FrameAccess(self._additions, 0)
        place = emit.i32_const(KEEP - 1) + emit.I32_AND
        return b"".join(
            [
                emit.local_groups([]),
                access.fp + emit.local_get(1) + place,
                access.load_i32(RESUME_OFFSET) + emit.i32_const(MATERIALISED) + emit.I32_AND,
                emit.i32_const(0),
                emit.local_get(1) + emit.i32_const(KEEP) + emit.I32_AND,
                b"\x1b\x72",  # select, i32.or
                additions.memory_access(0x36, RESUME_OFFSET, 2),
                access.fp + emit.local_get(1) + place,
                access.load_i32(0) + emit.i32_const(self._first_slot) + emit.I32_ADD,
                emit.return_call_indirect(additions.cold_type(results), additions.slots_table),
                emit.END,
            ]
        )

    def _helper(self, key: tuple[str, int, int]) -> tuple[FuncType, bytes]:
        """A function that executes one instruction which works on this module's own segments or functions."""
        instruction, first, second = key
        type = helper_type(self._additions, *key)
        code = b"".join([emit.local_get(i) for i in range(len(type.params))])
        if instruction == "execute":
            return type, emit.local_groups([]) + code + self._additions.executed[first][0] + emit.END
        code += BY_NAME[instruction].encoding + uleb(first)
        if instruction.endswith(".init") or instruction.startswith("array."):
            code += uleb(second)
        return type, emit.local_groups([]) + code + emit.END

    # ── sections ───────────────────────────────────────────────────────────────────────────────

    def _assemble(self, defined: list[Function], twins: list[FastTwin]) -> bytes:
        module, additions, names = self._module, self._additions, self._result.names
        layout = self._result.layout
        stub_of: dict[tuple[ValType, ...], int] = {}
        stubs: list[bytes] = []
        stub_types: list[int] = []
        slots: list[int] = []
        next_function = len(module.functions)
        for function in defined:
            results = function.type.results
            if results not in stub_of:
                stub_of[results] = next_function + len(stubs)
                stubs.append(self._stub(results))
                stub_types.append(additions.cold_type(results))
            slots.append(stub_of[results])
        leaves = [self._leave(results) for results in stub_of]
        stub_types += stub_types
        enters = [entering(additions, type_index) for type_index in additions.enters]
        first_helper = next_function + len(stubs) + len(leaves) + len(enters)
        helpers = [self._helper(key) for key in additions.helpers]
        types = [*stub_types, *additions.enters, *(additions.type_index(type) for type, _ in helpers)]

        table_count, memory_count = len(module.tables), len(module.memories)
        extra = 5 + len(additions.reference_tables) + len(helpers)  # exports besides one for each item
        size, of_items = size_of_types(module)
        more = 6 + len(additions.reference_tables) + sum(size_of_type(type) for type, _ in helpers)
        items = len(module.functions) + table_count + memory_count + len(module.globals) + len(module.tags)
        check_limits(
            {
                "units of size in the types of imports and exports": (size, size + of_items + more),
                "types": (len(module.types), len(module.types) + len(additions.types)),
                "functions": (len(module.functions), first_helper + len(helpers)),
                "imports": (len(module.imports), max(len(module.imports) + OWN_GLOBALS, items + extra)),
                "globals": (len(module.globals), len(module.globals) + OWN_GLOBALS),
                "exports": (len(module.exports), len(module.exports) + items + extra),
                # the slots, references, and in companions the chunks
                "tables": (table_count, table_count + 2 + len(additions.reference_tables)),
                "memories": (memory_count, memory_count + 1),
                "element segments": (len(module.elements), len(module.elements) + 2),
            }
        )
        by_id = {s.id: s for s in module.sections if s.id != SectionId.CUSTOM}
        extend = partial(appended, module)
        out: list[bytes] = [MAGIC, reserve(names)]

        def emit_section(id: SectionId, payload: bytes) -> None:
            out.append(section(id, payload))

        emit_section(SectionId.TYPE, type_section(additions))
        if SectionId.IMPORT in by_id:
            emit_section(SectionId.IMPORT, extend(by_id[SectionId.IMPORT], []))
        emit_section(SectionId.FUNCTION, extend(by_id.get(SectionId.FUNCTION), [uleb(t) for t in types]))
        tables = [table_type(TableType(FUNCREF, Limits(layout.slots, layout.slots)))]
        for kind in additions.reference_tables:
            limits = Limits(REFERENCE_TABLE_SIZE, REFERENCE_TABLE_SIZE)
            tables.append(table_type(TableType(TOP_TYPES[kind], limits)))
        edits = global_edits(additions, (t.init for t in module.tables))
        emit_section(SectionId.TABLE, extend(by_id.get(SectionId.TABLE), tables, edits))
        debug = memory_type(MemoryType(Limits(layout.memory_pages, layout.memory_pages)))
        emit_section(SectionId.MEMORY, extend(by_id.get(SectionId.MEMORY), [debug]))
        if SectionId.TAG in by_id:
            emit_section(SectionId.TAG, extend(by_id[SectionId.TAG], []))
        edits = global_edits(additions, (g.init for g in module.globals))
        emit_section(SectionId.GLOBAL, extend(by_id.get(SectionId.GLOBAL), [], edits, first=DEFINITIONS))
        added = self._exports(first_helper)
        emit_section(SectionId.EXPORT, extend(by_id.get(SectionId.EXPORT), added, exports(additions)))
        if defined or SectionId.ELEMENT in by_id:
            ranges = [r for e in module.elements for r in (e.offset, *(e.expressions or ()))]
            edits = global_edits(additions, ranges)
            segments = []
            for first_slot, found in (
                (layout.first_function_slot, slots), (layout.first_stub_slot, stub_of.values())
            ):  # fmt: skip
                if found:
                    place = uleb(additions.slots_table) + emit.i32_const(first_slot) + emit.END
                    segments.append(b"".join([b"\x02", place, b"\x00", uleb(len(found)), *map(uleb, found)]))
            emit_section(SectionId.ELEMENT, extend(by_id.get(SectionId.ELEMENT), segments, edits))
        if module.data_count is not None:
            emit_section(SectionId.DATA_COUNT, uleb(module.data_count))
        out += moved_hints(module, ((f.index, f.index, t) for f, t in zip(defined, twins, strict=True)))
        if defined or helpers:
            added = [*stubs, *leaves, *enters, *(code for _, code in helpers)]
            self._code_section(out, defined, twins, added)
        if SectionId.DATA in by_id:
            edits = global_edits(additions, (d.offset for d in module.data_segments))
            emit_section(SectionId.DATA, extend(by_id[SectionId.DATA], [], edits))
        kept = kept_names(module)
        if kept:
            emit_section(SectionId.CUSTOM, name("name") + kept)
        check_limits({"bytes": (len(module.data), sum(map(len, out)))})
        return b"".join(out)

    def _exports(self, first_helper: int) -> list[bytes]:
        module, additions, names = self._module, self._additions, self._result.names
        out: list[bytes] = []

        def add(item: str, kind: ExternKind, index: int) -> None:
            out.append(name(item) + bytes((kind,)) + uleb(index))

        add(names.debug, ExternKind.MEMORY, additions.debug_memory)
        add(names.slots, ExternKind.TABLE, additions.slots_table)
        add(names.sp, ExternKind.GLOBAL, additions.sp)
        add(names.instance, ExternKind.GLOBAL, additions.instance)
        for kind, index in additions.reference_tables.items():
            add(names.references(kind), ExternKind.TABLE, index)
        for number in range(len(additions.helpers)):
            add(names.helper(number), ExternKind.FUNCTION, first_helper + number)
        for function in module.functions:
            add(names.function(function.index), ExternKind.FUNCTION, function.index)
        for table in module.tables:
            add(names.table(table.index), ExternKind.TABLE, table.index)
        for memory in module.memories:
            add(names.memory(memory.index), ExternKind.MEMORY, memory.index)
        for global_ in module.globals:
            add(names.global_(global_.index), ExternKind.GLOBAL, additions.global_(global_.index))
        for tag in module.tags:
            add(names.tag(tag.index), ExternKind.TAG, tag.index)
        return out

    def _code_section(
        self, out: list[bytes], defined: list[Function], twins: list[FastTwin], added: list[bytes]
    ) -> None:
        """Appends the code section, and records where each body comes to lie."""
        bodies = [body(twin.body) for twin in twins] + [body(code) for code in added]
        count = uleb(len(bodies))
        size = len(count) + sum(map(len, bodies))
        header = bytes((SectionId.CODE,)) + uleb(size) + count
        offset = sum(map(len, out)) + len(header)
        for function, twin, entry in zip(defined, twins, bodies, strict=False):
            self._result.code_map.add(function.index, offset + len(entry) - len(twin.body), twin)
            offset += len(entry)
        out.append(header)
        out += bodies
