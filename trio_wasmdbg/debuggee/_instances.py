"""An instrumented instance: what the user sees of it, and the arming of its check sites."""

from __future__ import annotations

import struct
import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, final

import trio
import wasmtime

from .. import capi
from ..engine import SLOT_LAYOUTS, Range, decode_value, encode_value
from ..errors import InternalError, StoreLimitError
from ..instrument import (
    PAID,
    PRECISE,
    READS,
    WATCH_BASE,
    WATCH_ENTRY_SIZE,
    WRITES,
    NoFlavourError,
    cover_of,
)
from ..wasm import ValType
from ._access import InstanceAccess
from ._armed import ArmedBytes, Wanted
from ._batches import ENOUGH_FLAVOURS, batch_of, batch_size
from ._conditions import TwinKey
from ._flavours import NOTHING, FlavourKey, Flavours, Wishes
from ._loops import MANY_COPIES, Loops
from ._modules import GuestModule
from ._recording import (
    Branch,
    Coverage,
    Executed,
    coverage_of,
    last_branches,
    last_instructions,
    notes_of,
)
from ._twins import Chunked, Twin
from ._util import NoPublicConstructor

if TYPE_CHECKING:
    from ._stores import StoreState

__all__ = ["GuestInstance"]

_MANY_TWINS = 1_000
"""Slow twins of one instance, besides the first of each function, from which on conditions are the
host's."""


_TOP_TYPES = {"func": "funcref", "extern": "externref", "any": "(ref null any)", "exn": "(ref null exn)"}
"""The type of the table that holds the references of a hierarchy."""


@final
class GuestInstance(InstanceAccess, metaclass=NoPublicConstructor):
    """An instance of a :class:`GuestModule`, as :meth:`Guest.instantiate` returns it.

    It shows the original module: its exports by name, and all of its functions, memories, globals
    and tables by index, exported or not.  Reading and writing is possible while the guest is not
    computing (paused, in a host function, complete); otherwise :exc:`WrongStateError`.
    """

    def __init__(
        self,
        store: wasmtime.Store,
        state: StoreState,
        module: GuestModule,
        raw: capi.RawInstance,
    ) -> None:
        self._store = store
        self._state = state
        self._module = module
        self._raw = raw
        self._names = names = module._instrumented.names
        self._layout = module._instrumented.layout
        self._debug_memory = capi.MemoryView(store, self._item(names.debug, wasmtime.Memory), fixed=True)
        self._keeps_all = module.frames == "exact"
        self._plans = module._instrumented.plans
        self._debug_bytes = self._debug_memory.view()
        """For the debug callback: while that runs, the store is certainly open."""
        self._slots = self._item(names.slots, wasmtime.Table)
        self._ref_tables: dict[str, wasmtime.Table] = {}
        self._installed: dict[int, TwinKey] = {}
        """By function: which of its slow twins is in its slot."""
        self._armed = ArmedBytes(self._debug_memory, self._layout, module.plan, self._installed)
        self._made: dict[tuple[int, TwinKey], wasmtime.Func] = {}
        self._with_twins: set[int] = set()
        """Functions of which there is a slow twin, whether it is in the slot or not."""
        self._companions = 0
        self._flavours = Flavours(self._debug_memory, self._layout, module.plan, self._set_slot)
        self._loops = Loops(self._debug_memory, module.plan, self._flavours)
        self._chunked: dict[int, Chunked] = {}
        """By number: the slow twins whose chunks are made when they are come to."""
        self._linker: tuple[capi.RawLinker, set[str]] | None = None
        """Made when the first companion needs it, with the names that it has."""
        self._hook: capi.Hook | None = None
        self._watched: list[Range] = []
        self._coverable = True
        """Flavours can compare accesses with what is watched."""
        self._exports: dict[str, Any] | None = None
        if not state.instances:
            sp, current = (self._item(name, wasmtime.Global) for name in (names.sp, names.instance))
            state.own_stack(store, sp, current)
        state.instances.append(self)
        self._id = len(state.instances)
        self._debug_memory.set_u32(self._layout.instance_id, self._id)

    def __repr__(self) -> str:
        return f"<GuestInstance {self._id} of {self._module!r}>"

    @property
    def id(self) -> int:
        """1 for the first instrumented instance of the store, and so on."""
        return self._id

    @property
    def module(self) -> GuestModule:
        return self._module

    @property
    def store(self) -> wasmtime.Store:
        return self._store

    # ── recordings ─────────────────────────────────────────────────────────────────────────────

    def last_instructions(self, count: int = 20) -> tuple[Executed, ...]:
        """The last instructions executed while recording, oldest first; 65,535 are kept.

        Works after a trap, too: "how did I get here".
        """
        self._require_quiet()
        return tuple(last_instructions(self, count))

    def last_branches(self, count: int = 20) -> tuple[Branch, ...]:
        """Where control went otherwise than to the next instruction, oldest first; works after a trap, too.

        Branches that were taken, calls of functions with a body, returns, exceptions: of what the last 65,535
        notes tell, which are instructions, or blocks with ``recording = "branches"``.
        """
        self._require_quiet()
        return tuple(last_branches(self, count))

    @property
    def executed_instructions(self) -> int:
        """How many instructions were executed while recording, exactly.

        With ``recording = "branches"``, those that begin a basic block.
        """
        self._require_quiet()
        return notes_of(self).total()

    def coverage(self) -> tuple[Coverage, ...]:
        """How often each instruction was executed while recording, of the functions that were called."""
        self._require_quiet()
        return tuple(coverage_of(self))

    def clear_recording(self) -> None:
        """Forget what was recorded."""
        self._require_quiet()
        notes_of(self).clear()

    # ── hooks and slow twins ───────────────────────────────────────────────────────────────────

    def _attach(self, store: wasmtime.Store) -> None:
        """Put the debug callback into the instance; once, right after instantiation."""
        # The C library keeps the closure, and the store owns the state: a strong reference would be
        # a cycle that nothing collects.
        owner, number = weakref.ref(self._state), self._id

        def on_hook(kind: int, fp: int, resume_point: int) -> int | None:
            state = owner()
            if state is None or state.core is None:
                return None  # nobody debugs: whoever polls sees a suspended guest and deletes it
            return state.core.calls.on_hook(number, kind, fp, resume_point)

        self._hook = capi.define_hook(None, store, "hook", on_hook)
        capi.table_set(store, self._slots, self._layout.hook_slot, self._hook.func)

    def _companions_linker(self, needed: Iterable[str]) -> capi.RawLinker:
        """A linker with the debugger's own items and these exports of the instance."""
        prefix, store = self._names.prefix, self._store
        if self._linker is None:
            assert self._hook is not None
            linker = capi.RawLinker.new(self._module.engine)
            own: dict[str, capi.Extern] = {
                **self._state.stack(self._names),
                self._names.countdown: self._state.countdown,
                self._names.hook: self._hook.func,
            }
            for name, item in own.items():
                linker.define(store, prefix, name, item)
            self._linker = linker, set(own)
        linker, linked = self._linker
        for name in needed:
            if name not in linked:
                self._link(name, self._raw.export(name))
        return linker

    def _set_slot(self, slot: int, func: wasmtime.Func) -> None:
        capi.table_set(self._store, self._slots, slot, func)

    def _link(self, name: str, item: capi.Extern) -> None:
        """Let further companions import an item by this reserved name."""
        assert self._linker is not None
        linker, linked = self._linker
        if name not in linked:
            linked.add(name)
            linker.define(self._store, self._names.prefix, name, item)

    def _resume(self, answer: int) -> None:
        """Answer the debug callback, in which the guest is suspended."""
        assert self._hook is not None
        self._hook.resume(answer)

    def _throw(self, exception: capi.WasmException) -> None:
        """Let the debug callback, in which the guest is suspended, throw."""
        assert self._hook is not None
        self._hook.throw(exception)

    def _has_slow_twin(self, function: int) -> bool:
        """Whether the function's slot leads to a slow twin already."""
        return function in self._installed

    def _evaluates(self, function: int, resume_point: int, texts: tuple[str, ...]) -> bool:
        """Whether the function's slow twin evaluates just these conditions there, or is yet to be made."""
        installed = self._installed.get(function)
        return installed is None or (resume_point, texts) in installed

    @property
    def slow_twins(self) -> int:
        """How many slow twins were made."""
        return len(self._made)

    @property
    def companions(self) -> int:
        """How many instances of the store hold this one's slow twins and flavours."""
        return self._companions

    async def _make_slow_twin(
        self,
        function: int,
        conditions: TwinKey = (),
        resume_point: int | None = None,
        until: int | None = None,
    ) -> None:
        """Put the function's slow twin into its slot; the guest must be suspended.

        A checkpoint.  Cancelled: the slot is as before.

        :param resume_point: where the guest is to go on in it, if that is known.
        :param until: and where it is likely to stop then.
        :param conditions: what it is to evaluate itself.  When very many kinds of twins have been made
            of an instance, this is left to the host: the store does not grow for ever.
        """
        # The first slow twin of each function is not counted: a pattern may put a condition into all of them.
        made = len(self._made) + self._flavours.companions + len(self._loops) - len(self._with_twins)
        made += sum(each.parts for each in self._chunked.values())
        if function in self._installed and made >= _MANY_TWINS:
            conditions = ()
        func = self._made.get((function, conditions))
        if func is None:
            func = await self._instantiate_twin(function, conditions, resume_point, until)
        self._set_slot(self._module.plan(function).slot, func)
        self._installed[function] = conditions
        self._armed.add_slow(function)
        self._flavours.slot_taken(function)

    async def _instantiate_twin(
        self, function: int, conditions: TwinKey, resume_point: int | None, until: int | None
    ) -> wasmtime.Func:
        others = [] if conditions else self._others(function)
        twin = await self._module.slow_twin(function, conditions, others, resume_point, until)
        made = self._instantiate_part(twin, function)
        if twin.number:
            # Parts that are made later find it there.
            self._link(twin.table, made.export(twin.table))
            self._chunked[twin.number] = Chunked(
                function, conditions, twin.chunk_size, twin.total, set(twin.chunks)
            )
        for other, export in twin.others.items():
            self._made.setdefault((other, ()), made.export(export))
        self._with_twins.update({function}, twin.others)
        for each, loops in twin.loops.items():
            self._loops.slow_twin_made(each, loops)
        func: wasmtime.Func = made.export(twin.export)
        self._made[function, conditions] = func
        return func

    async def _make_chunks(self, number: int, resume_point: int) -> None:
        """Make the chunk of slow twin *number* in which the guest, which is suspended there, is to go on.

        A checkpoint.  Cancelled: it is not there.
        """
        chunked = self._chunked[number]
        wanted = chunked.wanted(resume_point // chunked.size)
        twin = await self._module.chunks(chunked.function, chunked.conditions, number, wanted)
        # It puts itself into the table.
        self._instantiate_part(twin, chunked.function)
        chunked.made.update(wanted)
        chunked.parts += 1

    def _instantiate_part(self, twin: Twin, function: int) -> capi.RawInstance:
        made = self._instantiate(twin.compiled, twin.imports)
        if isinstance(made, str):
            # Wasmtime's limit of 10,000 instances, or the user's own Store.set_limits().
            raise StoreLimitError(
                f"the store has no room for the slow twin of {self._module.function_name(function)}: {made}"
            )
        return made

    def _others(self, function: int) -> list[int]:
        """Functions whose slow twins are to be in the same companion, so that the store does not get full."""
        size = batch_size(self._state.companions)

        def instructions(other: int) -> int | None:
            if (other, ()) in self._made or not self._module.is_instrumented(other):
                return None
            return self._module.plan(other).instructions

        return batch_of(function, len(self._module.original.functions), size, instructions)

    async def _go_on_flavoured(self, function: int, k: int, rearm: Callable[[], None]) -> None:
        """Let the guest, suspended in this function, go on in a flavour, which is made if need be.

        If there can't be one, or it is not wanted any more, it goes on in the slow twin, or in the stub,
        which asks again without offering.
        """
        key = self._flavours.wishes.of(function)
        if key is not None and self._flavours.at(function, k) == 0:
            await self._make_flavour(function, key)
            rearm()
        self._resume(-(self._flavours.at(function, k) or 0))

    async def _copy_of(self, function: int, loop: int, rearm: Callable[[], None]) -> int:
        """The slot of a copy of a loop, one that does what is wanted of its function now.

        The guest must be suspended.  Slow twins go on in the copy from their next edge into the loop on; and
        a fast twin that has left at the loop's check site does, if the hook answers with the negative slot.

        A checkpoint.  Cancelled: there is none, or it is there and will be used another time.

        :param loop: ordinal of the loop's opening instruction: the resume point before its first one's.
        :returns: 0 if there is none, because only the slow twin does what is wanted, or a copy can't be made.
        """
        slot, key = self._loops.at(function, loop), self._loops.key_of(function)
        if slot != 0 or key is None:
            await trio.lowlevel.checkpoint()
            return slot or 0
        try:
            many = len(self._loops) >= MANY_COPIES or self._state.companions >= ENOUGH_FLAVOURS
            if many or not self._flavours.has_room(1):
                await trio.lowlevel.checkpoint()
                raise NoFlavourError("there are as many as there may be")
            twin, block = await self._module._copies.get(function, key, loop)
            made = self._instantiate(twin.compiled, twin.imports)
            if isinstance(made, str):
                raise NoFlavourError(made)
        except NoFlavourError as why:
            self._loops.refuse(function, key, loop, str(why))
            return 0
        self._loops.add(
            function, key, loop, block,
            lambda slot: self._set_slot(slot, made.export(twin.export)),
        )  # fmt: skip
        if key != NOTHING:
            # Its check sites are armed until they are looked at.
            rearm()
        return self._loops.at(function, loop) or 0

    async def _make_flavour(self, function: int, key: FlavourKey) -> None:
        """Make a flavour of a function, or note why there can't be one; the guest must be suspended.

        A checkpoint.  Cancelled: there is none.
        """
        try:
            if self._state.companions >= ENOUGH_FLAVOURS:
                await trio.lowlevel.checkpoint()
                raise NoFlavourError("the store holds very many already")
            batch = await self._module._batches.get(function, key)
        except NoFlavourError as why:
            self._flavours.refused[function, key] = str(why)
            return
        for each in batch.in_order():
            if self._flavours.has(each):
                continue
            made: capi.RawInstance | str = "there are no slots left for it"
            if self._flavours.has_room(len(each.members)):
                made = self._instantiate(each.compiled, each.imports)
            if isinstance(made, str):
                self._flavours.refused[function, key] = made
                return
            for member in each.members:
                func: wasmtime.Func = made.export(member.called)
                # Later companions import it.
                self._link(member.called, func)
                self._flavours.add(member, func, made.export(member.entry))
            self._flavours.companions += 1

    def _instantiate(self, compiled: wasmtime.Module, imports: Iterable[str]) -> capi.RawInstance | str:
        """The companion, whose exports are to be put into slots; or why the store has no room for it."""
        # Only what is needed, and only reserved names: an export of the user's may be called "sp".
        linker = self._companions_linker(imports)
        future = capi.start_instantiate(self._store, linker, compiled)
        try:
            # A companion has no start function, and hardly any segments: one short poll, here and now.
            future.poll()
            result = future.outcome()
        finally:
            future.delete()
        if isinstance(result, capi.Failed):
            return result.message
        if not isinstance(result, capi.Returned):
            raise InternalError(f"a twin could not be instantiated: {result}")
        self._companions += 1
        made: capi.RawInstance = result.values[0]
        return made

    # ── arming ─────────────────────────────────────────────────────────────────────────────────

    def _rewatches(self, ranges: Sequence[Range]) -> bool:
        """Whether something is watched, and something else is to be."""
        return bool(self._watched and ranges) and list(ranges) != self._watched

    def _watch(self, ranges: Sequence[Range]) -> None:
        """Fill the guest's table of watched ranges; from any thread, but see :meth:`_rewatches`."""
        if list(ranges) == self._watched:
            return
        memory = self._debug_memory
        # Nothing is watched while the table changes.
        memory.write(WATCH_BASE, bytes(2))
        for number, (first, end, index, kinds) in enumerate(ranges):
            entry = struct.pack("<QQII8x", first, end, index, kinds)
            memory.write(self._layout.watch_entries + number * WATCH_ENTRY_SIZE, entry)
        memory.set_u32(WATCH_BASE + 4, len(ranges))
        cover = cover_of(ranges)
        self._coverable = cover is not None
        memory.write(self._layout.cover_base, cover or b"")
        active = [any(kinds & kind for _, _, _, kinds in ranges) for kind in (WRITES, READS)]
        memory.write(WATCH_BASE, bytes(active))
        self._watched = list(ranges)

    def _arm(self, wanted: Wanted, wishes: Wishes, *, still: bool) -> None:
        """Arm what is wanted, and lead the functions to these flavours; from any thread.

        :param still: the guest does not run meanwhile.
        """
        rearmed = self._armed.set(wanted)
        self._flavours.select(wishes, self._installed, rearmed=rearmed, still=still)
        self._loops.select(wishes)

    def _foresee_traps(self, on: bool) -> None:
        """Whether slow twins ask the host before an access that is out of bounds."""
        self._debug_memory.set_u8(WATCH_BASE + PRECISE, on)

    def _count_each(self) -> None:
        """Nothing of what the guest executes next is counted already."""
        self._debug_memory.set_u8(PAID, 0)

    def _memory_identities(self) -> list[bytes]:
        """For each memory, by index, what tells it from other memories of the store."""
        count = len(self._module.original.memories)
        return [capi.identity_of(self.memory(index)) for index in range(count)]

    def _memory_sizes(self) -> list[int]:
        """Bytes of each memory, by index."""
        count = len(self._module.original.memories)
        return [capi.MemoryView(self._store, self.memory(index)).size for index in range(count)]

    # ── shadow frames ──────────────────────────────────────────────────────────────────────────

    def _read_slot(self, valtype: ValType, address: int) -> object:
        """A local or operand from its place in the shadow frame."""
        layout = SLOT_LAYOUTS.get(valtype.code)
        if layout is None:  # a reference
            return capi.table_get(self._store, self._ref_table(valtype), address >> 3)
        value = self._debug_memory.unpack(layout, address)[0]
        # Of a NaN, a Python float has not all bits.
        return value if value == value else decode_value(valtype, self._debug_memory.read(address, 8))

    def _write_slot(self, valtype: ValType, address: int, value: object) -> None:
        """Set a local or operand in its place; TypeError or ValueError where it is not of its type."""
        if valtype.is_ref:
            top = _TOP_TYPES[self._module._instrumented.additions.reference_kind(valtype)]
            capi.table_set(self._store, self._ref_table(valtype), address >> 3, value, top)
        else:
            self._debug_memory.write(address, encode_value(valtype, value))

    def _ref_table(self, valtype: ValType) -> wasmtime.Table:
        name = self._names.references(self._module._instrumented.additions.reference_kind(valtype))
        table = self._ref_tables.get(name)
        if table is None:
            table = self._ref_tables[name] = self._raw.export(name)
        return table
