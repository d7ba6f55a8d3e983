"""Runs modules plain or instrumented, by Wasmtime's synchronous calls and raw values.

Twelve modes, see :data:`MODES`.  The hook is a raw C callback; it makes slow twins where they are asked
for and answers 0 ("go on") to everything.
"""

from __future__ import annotations

import ctypes
import itertools
import os
from collections.abc import Sequence
from functools import cache
from random import Random
from typing import Any, Final
from unittest.mock import patch

import wasmtime
from wasmtime import _bindings as c

from tests.spec._values import Raw, take
from trio_wasmdbg import capi
from trio_wasmdbg.addresses import InstrumentedOffset
from trio_wasmdbg.instrument import (
    COVERS,
    DIRECT,
    FRAME_MODES,
    KIND_HOT,
    KIND_LEFT,
    KIND_SCALE,
    KIND_SITE,
    LOOPS,
    NOTES,
    READS,
    SLOW,
    STACK_SIZE,
    WRITES,
    CodeMap,
    ConditionPlaces,
    Flavour,
    FlavourOptions,
    FrameMode,
    Instrumented,
    NoFlavourError,
    Notes,
    Recorded,
    Recording,
    _details,
    cover_of,
    flavours,
    instrument,
    slow_twin,
    slow_twin_part,
)
from trio_wasmdbg.wasm import decode_module, uleb

__all__ = ["MODES", "Failure", "Instance", "World", "engine"]

MODES: Final = (
    "plain", "fast", "leaving", "live leaving", "flavoured", "watched", "covered", "traced", "looping",
    "slow", "late", "stepped",
)  # fmt: skip
"""Plain; fast twins with nothing armed; each activation leaves its fast twin at the first check site after
its entry; the same with frames that keep what is live only; flavours that test at every other instruction;
that only compare accesses; that count blocks; that trace them as well; slow twins, from which each loop is
entered in its copy; slow twins everywhere; the same with chunks that are made when they are come to; a stop
at every instruction.

Besides these there is, for fuzzing, ``"scattered"``: sites and stops at random, others at each stop; likewise
``"post-mortem scattered"``, and ``"live scattered"``, where locals that are not kept are overwritten at each
stop.  In ``"flavoured scattered"``, flavours are entered or not, and their check sites armed, at random as
well; likewise copies of loops in ``"looping scattered"`` and its kin, and flavours in ``"covered scattered"``
and ``"traced scattered"``, where slow twins count as well.  In ``"noted"`` slow twins do everywhere: all that
count must find the same.  In ``"late scattered"``, chunks are made when they are come to."""


def _split(mode: str) -> tuple[FrameMode, str]:
    """How frames are kept, and the rest."""
    for frames in FRAME_MODES:
        if mode.startswith(f"{frames} "):
            return frames, mode.removeprefix(f"{frames} ")
    return "exact", mode


_LOOPING: Final = "looping "
_RECORDS: Final[dict[str, Recording]] = {"covered": "coverage", "traced": "instructions"}

_KINDS: Final = ("flavoured", "watched", *_RECORDS)
"""Of flavours."""

_LATE: Final = "late "
_CHUNK: Final = 7
"""Instructions in a chunk that is made when it is come to."""

_BATCH: Final = 400
"""Slow twins in one companion."""

SPECTEST: Final = """
(module
  (global (export "global_i32") i32 (i32.const 666))
  (global (export "global_i64") i64 (i64.const 666))
  (global (export "global_f32") f32 (f32.const 666.6))
  (global (export "global_f64") f64 (f64.const 666.6))
  (table (export "table") 10 20 funcref)
  (table (export "table64") i64 10 20 funcref)
  (memory (export "memory") 1 2)
  (memory (export "shared_memory") 1 2 shared)
  (func (export "print"))
  (func (export "print_i32") (param i32))
  (func (export "print_i64") (param i64))
  (func (export "print_f32") (param f32))
  (func (export "print_f64") (param f64))
  (func (export "print_i32_f32") (param i32 f32))
  (func (export "print_f64_f64") (param f64 f64)))
"""


class NeverTrue:
    """Satisfies ``instrument.Condition``: reads every operand, and is false."""

    globals: frozenset[int] = frozenset()

    def code(self, places: ConditionPlaces) -> bytes:
        read = [b"\x20" + uleb(local) + b"\x1a" for local in (places.operands or {}).values()]
        return b"".join([*read, b"\x41\x00"])


class Failure(Exception):
    """How a call or an instantiation ended, if it did not return.

    :ivar kind: ``"trap"``, ``"exception"``, ``"link"`` or ``"invalid"``.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def engine() -> wasmtime.Engine:
    """One engine for all: what the debugger recommends, and the proposals that are off by default."""
    return _engine(bool(os.environ.get("TRIO_WASMDBG_FUZZ")))


@cache
def _engine(canonical: bool) -> wasmtime.Engine:
    config = wasmtime.Config()
    capi.prepare_config(config)
    config.wasm_custom_page_sizes = True
    config.shared_memory = True
    c.wasmtime_config_wasm_branch_hinting_set(config.ptr(), True)
    c.wasmtime_config_wasm_compact_imports_set(config.ptr(), True)
    if canonical:
        config.cranelift_nan_canonicalization = True  # else NaN's bits are the engine's to choose
    return wasmtime.Engine(config)


@cache
def _spectest(engine: wasmtime.Engine) -> wasmtime.Module:
    return wasmtime.Module(engine, bytes(wasmtime.wat2wasm(SPECTEST)))


class Compiled:
    """A module, rewritten unless *mode* is plain."""

    def __init__(self, data: bytes, mode: str) -> None:
        self.instrumented: Instrumented | None = None
        try:
            wasmtime.Module.validate(engine(), data)
        except wasmtime.WasmtimeError as error:
            raise Failure("invalid", str(error)) from None
        if mode != "plain":
            self.instrumented = instrument(decode_module(data), frames=_split(mode)[0])
            data = self.instrumented.importing()
        # A failure to compile what was valid is a bug of ours: it goes up as it is.
        self.module = wasmtime.Module(engine(), data)
        """For all instances of a world but the first, which has the shadow stack pointer."""

    def first(self) -> wasmtime.Module:
        """For the first instance of a world."""
        return self.module if self.instrumented is None else wasmtime.Module(engine(), self.instrumented.wasm)


# wasmtime_func_unchecked_callback_t; a value in the array has 16 bytes
_HOOK = ctypes.CFUNCTYPE(
    ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.POINTER(ctypes.c_uint32), ctypes.c_size_t
)
_numbers = itertools.count()
_worlds: dict[int, World] = {}


def _hook(number: int | None, caller: int, values: Any, count: int) -> None:
    # (kind, frame pointer, resume point) come in values[0], [4] and [8]; the answer goes to values[0].
    answer = 0
    try:
        if values[0] >= KIND_SCALE:
            _worlds[number or 0]._chunk(values[0] // KIND_SCALE, values[8])
            values[0] = 0
            return
        if values[0] == KIND_HOT:
            answer = _worlds[number or 0]._hot(values[4], values[8])
        if values[0] in (KIND_SITE, KIND_LEFT):
            _worlds[number or 0]._site(values[4])
        _worlds[number or 0].hook_calls += 1
        if _worlds[number or 0].mode == "scattered":
            if _worlds[number or 0].frames == "live":
                _worlds[number or 0].spoil(values[4], values[8])
            _worlds[number or 0].scatter()
    except BaseException as error:
        _worlds[number or 0].error = error
    values[0] = answer


_on_hook = _HOOK(_hook)
_NO_FINALIZER = ctypes.CFUNCTYPE(None, ctypes.c_void_p)()


class Instance:
    """An instance, with its exports by name."""

    def __init__(self, world: World, raw: capi.RawInstance, compiled: Compiled) -> None:
        self._raw = raw
        self.compiled = compiled
        self.blocks = range(0)
        """Addresses of the bytes of flavours' check sites."""
        self.entries: list[tuple[ctypes.c_uint32, int, int | None]] = []
        """What leads to flavours and copies of loops, their slots, and of flavours the addresses of their
        entry sites' bytes."""
        self.loops: dict[tuple[int, int], int] = {}
        """By function and resume point: the slot of the loop's copy."""
        self.recorded: dict[int, Recorded] = {}
        """The flavours that record, by function."""
        self.tables: dict[str, Any] = {}
        """Of chunks, by name."""
        self.maps: dict[str, CodeMap] = {}
        """By the names of companions with flavours."""
        if compiled.instrumented is None:
            self.names = list(raw.exports())
        else:
            self.names = [e.name for e in compiled.instrumented.original.exports]
            self._prepare(world, compiled.instrumented)

    def get(self, name: str) -> Any:
        """An export."""
        return self._raw.export(name)

    def _prepare(self, world: World, instrumented: Instrumented) -> None:
        names, layout, store = instrumented.names, instrumented.layout, world.store
        self._slots = self.get(names.slots)
        capi.table_set(store, self._slots, layout.hook_slot, world.hook)
        debug = self.get(names.debug)
        self.base = ctypes.cast(debug.data_ptr(store), ctypes.c_void_p).value or 0
        world.instances.append(self)
        ctypes.c_uint32.from_address(self.base + layout.instance_id).value = len(world.instances)
        if world.kind is not None:
            self._make_flavours(world, instrumented)
        if world.mode == "scattered":
            for number in range(layout.sites):
                if not world.notes:
                    ctypes.memset(self.base + layout.sites_base + number, world.random.random() < 0.3, 1)
            for number in range(layout.stops):
                stop = world.notes | (world.random.random() < 0.1)
                ctypes.memset(self.base + layout.stops_base + number, stop, 1)
        elif world.notes:
            ctypes.memset(self.base + layout.stops_base, world.notes, layout.stops)
        if world.looping:
            self._make_loops(world, instrumented)
        if world.mode in ("leaving", "looping", "slow", "stepped", "noted"):
            plans = [plan.index for plan in instrumented.defined()]
            for at in range(0, len(plans), _BATCH):
                self.make_slow(world, plans[at : at + _BATCH])
            if world.mode in ("leaving", "looping"):
                for plan in instrumented.defined():
                    for site in plan.sites:
                        if (site.kind == "entry") is (world.mode == "looping"):
                            ctypes.memset(self.base + site.address, 1, 1)
            else:
                ctypes.memset(self.base + layout.sites_base, 1, layout.sites)
        if world.mode == "stepped":
            ctypes.memset(self.base + layout.stops_base, 1, layout.stops)
        if instrumented.original.start is not None:
            world.call(self.get(names.function(instrumented.original.start)), [])

    def make_slow(self, world: World, functions: Sequence[int]) -> None:
        """Puts the slow twins of these functions into their slots."""
        instrumented = self.compiled.instrumented
        assert instrumented is not None
        if world.late:
            for function in functions:
                number = len(world.chunked) + 1
                world.chunked.append((self, function))
                self.make_chunks(world, number, range(number % 2), entry=True)
            return
        companion = slow_twin(instrumented, functions)
        made = self._instantiate(world, companion.wasm)
        for index, name in companion.entries.items():
            capi.table_set(world.store, self._slots, instrumented.plan(index).slot, made.export(name))

    def make_chunks(self, world: World, number: int, chunks: range, *, entry: bool = False) -> None:
        """Makes some chunks of a slow twin, which was given this number."""
        instrumented = self.compiled.instrumented
        assert instrumented is not None
        _, function = world.chunked[number - 1]
        with patch.object(_details, "TYPED_WHOLE", 0):
            # Else these functions are too small to be looked at in parts.
            instrumented.forget_details()
            part = slow_twin_part(instrumented, function, chunks, number, size=_CHUNK, entry=entry)
        made = self._instantiate(world, part.wasm)
        if entry:
            self.tables[part.table] = made.export(part.table)
            slot = instrumented.plan(function).slot
            capi.table_set(world.store, self._slots, slot, made.export(part.entry))

    def _instantiate(self, world: World, wasm: bytes) -> capi.RawInstance:
        assert self.compiled.instrumented is not None
        names, store = self.compiled.instrumented.names, world.store
        module = wasmtime.Module(engine(), wasm)
        linker = capi.RawLinker.new(engine())
        for name in {item.name or "" for item in module.imports}:
            ours: dict[str, Any] = {names.sp: world.sp, names.instance: world.current, names.hook: world.hook}
            ours[names.countdown] = world.countdown
            ours |= self.tables
            linker.define(store, names.prefix, name, ours[name] if name in ours else self.get(name))
        return capi.RawInstance.of(store, linker.linker.instantiate(store, module))

    def _make_flavours(self, world: World, instrumented: Instrumented) -> None:
        """Flavours of all functions that can have some; to be entered instead of slow twins."""
        layout, block, wanted = instrumented.layout, instrumented.layout.blocks_base, list[Flavour]()
        counters = layout.counters_base
        records, watched = _RECORDS.get(world.kind or ""), 0 if world.kind == "covered" else READS | WRITES
        ctypes.memset(self.base + layout.sites_base, 1, layout.sites)
        for plan in instrumented.defined():
            points: dict[int, NeverTrue | None] = {}
            if world.kind == "flavoured":
                chosen = [k for k in range(plan.instructions) if world.random.random() < 0.5]
                points = {k: None if k % 3 else NeverTrue() for k in chosen}
            options = FlavourOptions(points, watched, records)
            wanted.append(Flavour(plan.index, block, options, counters))
            block += len(plan.sites)
            if records is not None:
                counters += 8 * len(plan.leaders())
        self.blocks = range(layout.blocks_base, block)
        for at in range(0, len(wanted), _BATCH):
            some = wanted[at : at + _BATCH]
            try:
                called = f"{instrumented.names.companion}:{at}"
                made = flavours(instrumented, some, called=called)
            except NoFlavourError:
                continue
            self.maps[called] = made.code_map
            instance = self._instantiate(world, made.wasm)
            for number, (each, name) in enumerate(zip(some, made.entries, strict=True), at):
                plan, slot = instrumented.plan(each.index), layout.first_free_slot + number
                assert each.block is not None
                capi.table_set(world.store, self._slots, slot, instance.export(name))
                ctypes.c_uint32.from_address(self.base + plan.head).value = plan.entries
                entry = ctypes.c_uint32.from_address(self.base + plan.entries)
                entry.value = slot
                self.entries.append((entry, slot, self.base + each.block))
                if records is not None:
                    self.recorded[each.index] = Recorded(each.index, records, each.counters)
                if number % 2:
                    flavour = instance.export(instrumented.names.flavour(each.block))
                    capi.table_set(world.store, self._slots, plan.direct_slot, flavour)
                    ctypes.memset(self.base + plan.site_addresses.start, DIRECT, 1)

    # ── the debug memory, as Notes want it ─────────────────────────────────────────────────────

    def read(self, address: int, size: int) -> bytes:
        return ctypes.string_at(self.base + address, size)

    def write(self, address: int, data: bytes) -> None:
        ctypes.memmove(self.base + address, data, len(data))

    def fill(self, address: int, size: int, byte: int) -> None:
        ctypes.memset(self.base + address, byte, size)

    def notes(self) -> Notes:
        """What was recorded."""
        assert self.compiled.instrumented is not None
        return Notes(self.compiled.instrumented, self, self.recorded.values())

    def trapped(self, frames: Sequence[wasmtime.Frame]) -> None:
        """The guest has trapped there: if that is a flavour that records, its notes end there as well."""
        if not self.recorded or self.compiled.instrumented is None:
            return
        self.notes().settle()
        # A helper executes one instruction of its caller's.
        count = len(self.compiled.instrumented.original.functions)
        helped = frames[0].module_name not in self.maps and frames[0].func_index >= count
        frame = frames[1 if helped and len(frames) > 1 else 0]
        code_map = self.maps.get(frame.module_name or "")
        if code_map is None:
            return
        place = code_map.to_original(InstrumentedOffset(frame.module_offset))
        if place is None or place.function not in self.recorded:
            return
        plan = self.compiled.instrumented.plan(place.function)
        k = plan.resume_point_at(place.offset)
        if k is not None and place.inserted:
            k = plan.trapping(k)
        if k is not None:
            self.notes().cut(self.recorded[place.function], k)

    def _make_loops(self, world: World, instrumented: Instrumented) -> None:
        """Copies of all loops that can have some; slow twins go on in them."""
        wanted = [
            Flavour(plan.index, None, loop=k)
            for plan in instrumented.defined()
            for k, instruction in enumerate(plan.typed().instructions)
            if instruction.op.name == "loop" and plan.typed().reachable[k]
        ]
        ctypes.memset(self.base + LOOPS, 1, 1)
        layout = instrumented.layout
        free = layout.first_free_slot + len(self.entries)
        for each in wanted[: layout.slots - free]:
            try:
                made = flavours(instrumented, [each], called=instrumented.names.companion)
            except NoFlavourError:
                continue
            assert each.loop is not None
            plan, slot = instrumented.plan(each.index), free + len(self.loops)
            func = self._instantiate(world, made.wasm).export(made.entries[0])
            capi.table_set(world.store, self._slots, slot, func)
            self.loops[each.index, each.loop + 1] = slot
            entry = ctypes.c_uint32.from_address(self.base + plan.entries + 4 * each.loop + 4)
            entry.value = slot
            self.entries.append((entry, slot, None))
            ctypes.c_uint32.from_address(self.base + plan.head).value = plan.entries


class World:
    """One store, in which a whole script runs."""

    def __init__(self, mode: str) -> None:
        first, _, rest = mode.partition(" ")
        self.kind = first if first in _KINDS else None
        self.looping = "looping" in mode
        self.frames, self.mode = _split(rest or first if self.kind else mode)
        self.late = mode.startswith("late")
        self.mode = "slow" if mode == "late" else self.mode.removeprefix(_LOOPING).removeprefix(_LATE)
        self.chunked: list[tuple[Instance, int]] = []
        """By number, from 1 on: the slow twins whose chunks are made when they are come to."""
        self.notes = {"covered": COVERS, "traced": NOTES, "noted": NOTES}.get(first, 0)
        """The bits that all stop bytes have."""
        self.store = wasmtime.Store(engine())
        self.context = self.store._context()
        self.linker = capi.RawLinker.new(engine())
        self.linker.allow_shadowing(True)
        self.instances: list[Instance] = []
        self.hook_calls = 0
        self.error: BaseException | None = None
        self.random = Random(0)
        number = wasmtime.GlobalType(wasmtime.ValType.i32(), True)
        self.stack_size = STACK_SIZE
        # Until there is an instance that has them.
        self.sp = wasmtime.Global(self.store, number, wasmtime.Val.i32(self.stack_size))
        self.current = wasmtime.Global(self.store, number, wasmtime.Val.i32(0))
        wide = wasmtime.GlobalType(wasmtime.ValType.i64(), True)
        self.countdown = wasmtime.Global(self.store, wide, wasmtime.Val.i64(0))
        self._number = next(_numbers)
        _worlds[self._number] = self
        raw = c.wasmtime_func_t()
        # A type belongs to the first engine that it is used with.
        hook_type = wasmtime.FuncType([wasmtime.ValType.i32()] * 3, [wasmtime.ValType.i32()])
        c.wasmtime_func_new_unchecked(
            self.context, hook_type.ptr(), ctypes.cast(_on_hook, c.wasmtime_func_unchecked_callback_t),
            self._number, _NO_FINALIZER, ctypes.byref(raw),
        )  # fmt: skip
        self.hook = wasmtime.Func._from_raw(raw)
        spectest = self.linker.linker.instantiate(self.store, _spectest(engine()))
        self.linker.define_instance(self.store, "spectest", capi.RawInstance.of(self.store, spectest))

    def close(self) -> None:
        """Frees the store."""
        del _worlds[self._number]
        self.store.close()

    def register(self, name: str, instance: Instance) -> None:
        """Makes an instance's exports importable under *name*."""
        for export in instance.names:
            self.linker.define(self.store, name, export, instance.get(export))

    def instantiate(self, compiled: Compiled) -> Instance:
        """A new instance; its start function has run.

        :raises Failure: it can't be linked, or traps.
        """
        linker = self.linker
        instrumented = compiled.instrumented
        first = not self.instances
        if instrumented is not None and not first:
            prefix = instrumented.names.prefix
            linker.define(self.store, prefix, instrumented.names.sp, self.sp)
            linker.define(self.store, prefix, instrumented.names.instance, self.current)
        try:
            made = linker.linker.instantiate(self.store, compiled.first() if first else compiled.module)
        except wasmtime.Trap as trap:
            raise Failure("exception" if _threw(trap.message) else "trap", trap.message) from None
        except wasmtime.WasmtimeError as error:
            raise Failure("exception" if _threw(str(error)) else "link", str(error)) from None
        raw = capi.RawInstance.of(self.store, made)
        if instrumented is not None and first:
            self.sp, self.current = map(raw.export, (instrumented.names.sp, instrumented.names.instance))
        return Instance(self, raw, compiled)

    def call(self, func: wasmtime.Func, arguments: Sequence[Any]) -> tuple[Any, list[Raw]]:
        """Calls a function; the results stay rooted in the array that comes first.

        :raises Failure: it trapped or threw.
        """
        array = (c.wasmtime_val_t * len(arguments))(*arguments)
        count = len(capi.signature_of(self.store, func).results)
        results = (c.wasmtime_val_t * count)()
        trap = ctypes.POINTER(c.wasm_trap_t)()
        error = c.wasmtime_func_call(
            self.context, ctypes.byref(func._func), array, len(arguments), results, count, ctypes.byref(trap)
        )
        if self.error is not None:
            raise self.error
        failed = bool(error) or bool(trap)
        if failed:
            owner, sp = self._owner(), int(self.sp.value(self.store))
            self.sp.set_value(self.store, wasmtime.Val.i32(self.stack_size))
            self.current.set_value(self.store, wasmtime.Val.i32(0))
        if bool(error):
            text = str(wasmtime.WasmtimeError._from_ptr(error))
            raise Failure("exception" if _threw(text) else "error", text)
        if bool(trap):
            found = wasmtime.Trap._from_ptr(trap)
            # Without a frame of its own yet, a function has not said whose it is.
            for each in self.instances if owner is None else [owner]:
                each.trapped(found.frames)
            raise _trapped(found, owner, sp)
        if self.sp.value(self.store) != self.stack_size or self.current.value(self.store) != 0:
            raise AssertionError(
                f"after the call, sp is {self.stack_size - self.sp.value(self.store)} below its start, "
                f"and the instance is {self.current.value(self.store)}"
            )
        return results, [take(value) for value in results]

    def global_value(self, item: wasmtime.Global) -> tuple[Any, list[Raw]]:
        """A global's value, rooted like results."""
        results = (c.wasmtime_val_t * 1)()
        c.wasmtime_global_get(self.context, ctypes.byref(item._global), ctypes.byref(results[0]))
        return results, [take(results[0])]

    def scatter(self) -> None:
        """Arms or disarms some sites and stops of all instances, as somebody may during a pause."""
        for instance in self.instances:
            assert instance.compiled.instrumented is not None
            layout = instance.compiled.instrumented.layout
            blocks = (instance.blocks.start, len(instance.blocks))
            sites = (layout.sites_base, 0 if self.notes else layout.sites)
            for base, count in (sites, (layout.stops_base, layout.stops), blocks):
                for _ in range(2 if count else 0):
                    byte = ctypes.c_ubyte.from_address(instance.base + base + self.random.randrange(count))
                    byte.value ^= 1
            if self.looping:
                ctypes.memset(instance.base + LOOPS, self.random.random() < 0.9, 1)
            if self.kind is not None and instance.entries:
                # Slow twins find that nothing is watched.
                low = self.random.randrange(1 << 17)
                cover = cover_of([(low, low + self.random.randrange(1 << 12), 0, READS | WRITES)])
                assert cover is not None
                ctypes.memmove(instance.base + layout.cover_base, cover, len(cover))
            for _ in range(2 if instance.entries else 0):
                entry, slot, _ = self.random.choice(instance.entries)
                # a negative one counts up to 0, and asks
                entry.value = slot if entry.value == 0 else -self.random.randrange(3) & 0xFFFF_FFFF
            for entry, _, site in instance.entries:
                if site is not None and ctypes.c_ubyte.from_address(site).value:
                    # Nobody is led to where he is sent away at once.
                    entry.value = 0

    def spoil(self, fp: int, k: int) -> None:
        """Overwrites the locals that the frame where the guest has stopped need not have."""
        instance = self._owner()
        assert instance is not None and instance.compiled.instrumented is not None
        word = ctypes.c_uint32.from_address(instance.base + fp).value
        plan = instance.compiled.instrumented.plan(word & ~SLOW)
        kept = plan.kept(k)
        for index, type in enumerate(plan.frame.locals):
            if not kept >> index & 1 and not type.is_ref:
                ctypes.memset(instance.base + fp + plan.frame.local(index), 0xA5, plan.frame.slot_size)

    def _site(self, fp: int) -> None:
        """A fast twin has left, and its slot has no slow twin yet."""
        instance = self._owner()
        assert instance is not None
        word = ctypes.c_uint32.from_address(instance.base + fp).value
        instance.make_slow(self, [word & ~SLOW])

    def _chunk(self, number: int, k: int) -> None:
        """A slow twin goes on in a chunk that is not there."""
        chunk = k // _CHUNK
        self.chunked[number - 1][0].make_chunks(self, number, range(chunk, chunk + 1 + number % 3))

    def _hot(self, fp: int, k: int) -> int:
        """A loop has gone round as often as its entry says."""
        instance = self._owner()
        assert instance is not None
        function = ctypes.c_uint32.from_address(instance.base + fp).value & ~SLOW
        return instance.loops[function, k] if self.random.random() < 0.8 else 0

    def _owner(self) -> Instance | None:
        """The instance that runs."""
        number = int(self.current.value(self.store))
        return self.instances[number - 1] if number else None


def _threw(text: str) -> bool:
    return "thrown Wasm exception" in text


def _trapped(trap: wasmtime.Trap, owner: Instance | None, sp: int) -> Failure:
    text = trap.message
    if _threw(text):
        return Failure("exception", text)
    if owner is not None and owner.compiled.instrumented is not None and "out of bounds memory" in text:
        # As the debuggee does it: a frame that does not fit the shadow stack is a call too deep.
        instrumented = owner.compiled.instrumented
        for frame in trap.frames[:1]:
            if frame.module_name == instrumented.names.companion:
                break
            code_map = owner.maps.get(frame.module_name or "", instrumented.code_map)
            place = code_map.to_original(InstrumentedOffset(frame.module_offset))
            if place is not None and place.inserted and sp < instrumented.plan(place.function).frame.size:
                text = "call stack exhausted"
    return Failure("trap", text)
