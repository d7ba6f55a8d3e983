"""Runs a module plain and instrumented, with nothing of the system but wasmtime's synchronous API.

The hook is a Python function: it makes slow twins where they are wanted, and shows every stop to a callback.
"""

from __future__ import annotations

import ctypes
import math
import struct
from collections.abc import Callable, Sequence

import wasmtime

from trio_wasmdbg.instrument import (
    KIND_HOT,
    KIND_LEFT,
    KIND_SITE,
    KIND_STOP,
    LOOPS,
    MATERIALISED,
    RESUME_OFFSET,
    SLOW,
    Flavour,
    FlavourOptions,
    FrameMode,
    FunctionPlan,
    Instrumented,
    NoFlavourError,
    instrument,
    slow_twin,
)
from trio_wasmdbg.instrument import flavours as make_flavours
from trio_wasmdbg.wasm import ValType, decode_module

Outcome = tuple[str, object]
Stop = Callable[["Rig", int, int, int], int]

_FORMATS = {"i32": "<i", "i64": "<q", "f32": "<f", "f64": "<d"}


def wat(text: str) -> bytes:
    return bytes(wasmtime.wat2wasm(text))


def make_engine(stack: int = 1 << 20) -> wasmtime.Engine:
    config = wasmtime.Config()
    config.max_wasm_stack = stack
    return wasmtime.Engine(config)


ENGINE = make_engine()


def canonical(value: object) -> object:
    """Comparable also for NaN (its bits, sign left out: wasm leaves NaN bits open)."""
    if isinstance(value, float) and math.isnan(value):
        return "nan"
    if isinstance(value, list | tuple):
        return tuple(canonical(v) for v in value)
    return value


class Plain:
    """An uninstrumented instance."""

    def __init__(self, wasm: bytes, define: Callable[[wasmtime.Linker, wasmtime.Store], None] | None = None,
                 engine: wasmtime.Engine = ENGINE) -> None:
        self.store = wasmtime.Store(engine)
        linker = wasmtime.Linker(engine)
        if define is not None:
            define(linker, self.store)
        self.instance = linker.instantiate(self.store, wasmtime.Module(engine, wasm))
        self.exports = self.instance.exports(self.store)

    def call(self, name: str, *args: object) -> Outcome:
        return outcome(self.store, self.exports[name], args)

    def state(self, prefix: str = "") -> dict[str, object]:
        """Contents of exported memories and globals."""
        state: dict[str, object] = {}
        for export in self.exports:
            if prefix and export.startswith(prefix):
                continue
            item = self.exports[export]
            if isinstance(item, wasmtime.Memory):
                state[export] = bytes(item.read(self.store))
            elif isinstance(item, wasmtime.Global):
                state[export] = canonical(item.value(self.store))
        return state


def outcome(store: wasmtime.Store, func: object, args: Sequence[object]) -> Outcome:
    assert isinstance(func, wasmtime.Func)
    try:
        return "returned", canonical(func(store, *args))
    except wasmtime.Trap as trap:
        return "trapped", trap.trap_code.name if trap.trap_code is not None else trap.message
    except wasmtime.ExitTrap as exit:
        return "exited", exit.code


class Rig(Plain):
    """An instrumented instance with its hook.

    ``on_stop(rig, kind, fp, k)`` is called for each hook call and returns what the hook returns.
    """

    def __init__(self, wasm: bytes, define: Callable[[wasmtime.Linker, wasmtime.Store], None] | None = None,
                 *, on_stop: Stop | None = None, engine: wasmtime.Engine = ENGINE,
                 instrumented: Instrumented | None = None, compiled: wasmtime.Module | None = None,
                 frames: FrameMode = "exact") -> None:
        self.instrumented = instrumented or instrument(decode_module(wasm), frames=frames)
        self.layout, self.names = self.instrumented.layout, self.instrumented.names
        self.engine = engine
        self.on_stop = on_stop
        self.hook_calls = 0
        self.store = wasmtime.Store(engine)
        linker = wasmtime.Linker(engine)
        if define is not None:
            define(linker, self.store)
        i32 = wasmtime.ValType.i32()
        prefix = self.names.prefix
        wide = wasmtime.GlobalType(wasmtime.ValType.i64(), True)
        self.countdown = wasmtime.Global(self.store, wide, wasmtime.Val.i64(0))
        module = compiled or wasmtime.Module(engine, self.instrumented.wasm)
        self.instance = linker.instantiate(self.store, module)
        self.exports = self.instance.exports(self.store)
        self.hook = wasmtime.Func(self.store, wasmtime.FuncType([i32] * 3, [i32]), self._hook)
        self.companions = wasmtime.Linker(engine)
        self.companions.define(self.store, prefix, self.names.countdown, self.countdown)
        self.companions.define(self.store, prefix, self.names.hook, self.hook)
        for name in self.exports:
            # companions never import a shared memory, and wasmtime-py can't define one
            if name.startswith(prefix) and not isinstance(self.exports[name], wasmtime.SharedMemory):
                self.companions.define(self.store, prefix, name, self.exports[name])
        sp, current = self.exports[self.names.sp], self.exports[self.names.instance]
        assert isinstance(sp, wasmtime.Global) and isinstance(current, wasmtime.Global)
        self.sp, self.current = sp, current
        slots = self.exports[self.names.slots]
        assert isinstance(slots, wasmtime.Table)
        self.slots = slots
        slots.set(self.store, self.layout.hook_slot, self.hook)
        debug = self.exports[self.names.debug]
        assert isinstance(debug, wasmtime.Memory)
        size = debug.data_len(self.store)
        address = ctypes.addressof(debug.data_ptr(self.store).contents)
        self.debug = (ctypes.c_ubyte * size).from_address(address)
        self.view = memoryview(self.debug).cast("B")
        self.put_u32(self.layout.instance_id, 1)
        self.loops: dict[tuple[int, int], int] = {}
        """By function and resume point: the slot of the loop's copy."""
        self.error: BaseException | None = None
        if self.instrumented.original.start is not None:
            start = self.exports[self.names.function(self.instrumented.original.start)]
            assert isinstance(start, wasmtime.Func)
            start(self.store)

    # ── the debug memory ───────────────────────────────────────────────────────────────────────

    def u32(self, address: int) -> int:
        return int(struct.unpack_from("<I", self.view, address)[0])

    def put_u32(self, address: int, value: int) -> None:
        struct.pack_into("<I", self.view, address, value)

    def plan_of(self, fp: int) -> FunctionPlan:
        return self.instrumented.plan(self.u32(fp) & ~SLOW)

    def value(self, type: ValType, address: int) -> object:
        if type.is_ref:
            table = self.exports[self.names.references(self.instrumented.additions.reference_kind(type))]
            assert isinstance(table, wasmtime.Table)
            value = table.get(self.store, address >> 3)
            if isinstance(value, wasmtime.Func):
                return "func"
            return value
        if type.is_vec:
            return bytes(self.view[address : address + 16])
        return canonical(struct.unpack_from(_FORMATS[str(type)], self.view, address)[0])

    def locals_at(self, fp: int) -> tuple[object, ...]:
        frame = self.plan_of(fp).frame
        return tuple(self.value(type, fp + frame.local(i)) for i, type in enumerate(frame.locals))

    def operands_at(self, fp: int, k: int, skip: int = 0) -> tuple[object, ...]:
        plan = self.plan_of(fp)
        types = plan.operand_types(k)
        return tuple(
            self.value(type, fp + plan.frame.operand(h)) for h, type in enumerate(types[: len(types) - skip])
        )

    def kept_at(self, fp: int, k: int) -> int:
        """Mask of the locals that a stopped frame has; of a fast one in a call, with those unassigned.

        Not so of a loop copy's, which takes them from the slow twin's frame, where :meth:`spoil` was.
        """
        plan = self.plan_of(fp)
        mask = plan.kept(k)
        inner = fp == self.sp.value(self.store)
        if not inner and not self.u32(fp) & SLOW and not self.u32(fp + RESUME_OFFSET) & MATERIALISED:
            for index in plan.unassigned(k):
                mask |= 1 << index
        return mask

    def spoil(self) -> None:
        """Overwrites all numbers in frames that a program that goes on does not need."""
        for fp, function, k, _ in self.frames():
            plan = self.instrumented.plan(function)
            kept = plan.kept(k)
            for index, type in enumerate(plan.frame.locals):
                if not kept >> index & 1 and not type.is_ref:
                    at = fp + plan.frame.local(index)
                    self.view[at : at + plan.frame.slot_size] = b"\xa5" * plan.frame.slot_size

    def frames(self) -> list[tuple[int, int, int, bool]]:
        """(fp, function, resume point, slow), innermost first."""
        found = []
        fp = self.sp.value(self.store)
        while fp < self.layout.stack_size:
            head, position = self.u32(fp), self.u32(fp + RESUME_OFFSET)
            plan = self.plan_of(fp)
            found.append((fp, plan.index, position & ~MATERIALISED, bool(head & SLOW)))
            fp += plan.frame.size
        assert fp == self.layout.stack_size
        return found

    # ── twins ──────────────────────────────────────────────────────────────────────────────────

    def make_slow(self, indices: Sequence[int]) -> None:
        """Puts slow twins into slots."""
        companion = slow_twin(self.instrumented, indices)
        instance = self.companions.instantiate(self.store, wasmtime.Module(self.engine, companion.wasm))
        exports = instance.exports(self.store)
        for index, name in companion.entries.items():
            self.slots.set(self.store, self.instrumented.plan(index).slot, exports[name])

    def make_all_slow(self) -> None:
        self.make_slow([plan.index for plan in self.instrumented.defined()])

    def make_loop_copies(self, options: FlavourOptions | None = None, first_block: int | None = None) -> None:
        """Copies of all loops; slow twins go on in them wherever they come to one.

        :param first_block: address of their check sites' bytes; None: they share the fast twins'.
        """
        block = first_block
        for plan in self.instrumented.defined():
            for loop in plan.loops():
                wanted = Flavour(plan.index, block, options or FlavourOptions(), loop=loop)
                try:
                    made = make_flavours(self.instrumented, [wanted], called="copy")
                except NoFlavourError:
                    continue
                instance = self.companions.instantiate(self.store, wasmtime.Module(self.engine, made.wasm))
                slot = self.layout.first_free_slot + len(self.loops)
                self.slots.set(self.store, slot, instance.exports(self.store)[made.entries[0]])
                self.loops[plan.index, loop + 1] = slot
                self.enter_loop(plan, loop + 1, slot)
                self.put_u32(plan.head, plan.entries)
                if block is not None:
                    block += len(plan.sites)
        self.view[LOOPS] = 1

    def enter_loop(self, plan: FunctionPlan, k: int, value: int) -> None:
        """Write a loop's entry."""
        self.put_u32(plan.entries + 4 * k, value & 0xFFFF_FFFF)

    def arm_sites(self, value: int = 1) -> None:
        layout = self.layout
        ctypes.memset(ctypes.addressof(self.debug) + layout.sites_base, value, layout.sites)

    def arm_stops(self, value: int = 1) -> None:
        layout = self.layout
        ctypes.memset(ctypes.addressof(self.debug) + layout.stops_base, value, layout.stops)

    def _hook(self, kind: int, fp: int, k: int) -> int:
        self.hook_calls += 1
        try:
            if kind in (KIND_SITE, KIND_LEFT):
                index = self.u32(fp) & ~SLOW
                assert self.u32(fp + RESUME_OFFSET) & ~MATERIALISED == k
                answer = self.on_stop(self, kind, fp, k) if self.on_stop is not None else 0
                self.make_slow([index])
                return answer
            if self.on_stop is not None:
                return self.on_stop(self, kind, fp, k)
            if kind == KIND_HOT:
                return self.loops.get((self.u32(fp) & ~SLOW, k), 0)
        except BaseException as error:
            self.error = error
            raise
        return 0

    def call(self, name: str, *args: object) -> Outcome:
        result = super().call(name, *args)
        if self.error is not None:
            raise self.error
        if result[0] == "returned":
            assert self.sp.value(self.store) == self.layout.stack_size
            assert self.current.value(self.store) == 0
        else:
            self.sp.set_value(self.store, wasmtime.Val.i32(self.layout.stack_size))
            self.current.set_value(self.store, wasmtime.Val.i32(0))
        return result

    def state(self, prefix: str = "") -> dict[str, object]:
        return super().state(self.names.prefix)


def _spoil(rig: Rig, kind: int, fp: int, k: int) -> int:
    rig.spoil()
    return 0


def flavours(wasm: bytes, **kwargs: object) -> dict[str, Rig]:
    """The module in each way of running it."""
    rigs = {"fast": Rig(wasm, **kwargs)}  # type: ignore[arg-type]
    shared = {"instrumented": rigs["fast"].instrumented, **kwargs}
    rigs["slow"] = Rig(wasm, **shared)  # type: ignore[arg-type]
    rigs["slow"].make_all_slow()
    rigs["slow"].arm_sites()
    rigs["live"] = Rig(wasm, frames="live", on_stop=_spoil, **kwargs)  # type: ignore[arg-type]
    for plan in rigs["live"].instrumented.defined():
        for site in plan.sites:
            rigs["live"].view[site.address] = site.kind != "entry"
    rigs["stepped"] = Rig(wasm, **shared)  # type: ignore[arg-type]
    rigs["stepped"].arm_sites()
    rigs["stepped"].arm_stops()
    rigs["looping"] = Rig(wasm, **shared)  # type: ignore[arg-type]
    rigs["looping"].make_all_slow()
    for plan in rigs["looping"].instrumented.defined():
        rigs["looping"].view[plan.site_addresses.start] = 1
    rigs["looping"].make_loop_copies()
    return rigs


def check_same(wasm: bytes, calls: Sequence[tuple[str, tuple[object, ...]]],
               define: Callable[[wasmtime.Linker, wasmtime.Store], None] | None = None) -> None:
    """Makes the same calls in each flavour and compares results, traps, memories and globals."""
    plain = Plain(wasm, define)
    expected = [plain.call(name, *args) for name, args in calls]
    for flavour, rig in flavours(wasm, define=define).items():
        got = [rig.call(name, *args) for name, args in calls]
        assert got == expected, flavour
        assert rig.state() == plain.state(), flavour
        if flavour == "stepped":
            assert rig.hook_calls > 0


__all__ = ["ENGINE", "KIND_SITE", "KIND_STOP", "Plain", "Rig", "check_same", "flavours", "make_engine", "wat"]
