"""The module level: names, indices, sections; and several instances on one shadow stack."""

from __future__ import annotations

import ctypes
import struct
from typing import Any

import pytest
import wasmtime

from trio_wasmdbg.errors import ModuleError
from trio_wasmdbg.instrument import (
    INSTANCE_OFFSET,
    RESUME_OFFSET,
    SLOW,
    STACK_SIZE,
    Instrumented,
    instrument,
    slow_twin,
)
from trio_wasmdbg.wasm import Limits, decode_module

from ._harness import ENGINE, Plain, Rig, check_same
from ._programs import wat

GLOBALS = """
    (module
      (import "host" "base" (global $base i32))
      (import "host" "count" (global $count (mut i32)))
      (global $own (export "own") (mut i64) (i64.const 7))
      (global $copy (export "copy") i32 (global.get $base))
      (table $t (export "table") 40 funcref)
      (memory (export "memory") 1)
      (data (global.get $base) "abc")
      (data $passive "passive")
      (elem (table $t) (offset (global.get $base)) func $one $two)
      (elem $spare func $two $one)
      (func $one (result i32) (i32.const 1))
      (func $two (result i32) (i32.const 2))
      (func (export "run") (param i32) (result i32)
        (global.set $count (i32.add (global.get $count) (local.get 0)))
        (global.set $own (i64.mul (global.get $own) (i64.const 3)))
        (memory.init $passive (i32.const 100) (i32.const 1) (i32.const 4))
        (table.init $t $spare (i32.const 0) (i32.const 0) (i32.const 2))
        (i32.add
          (call_indirect $t (result i32) (i32.const 0))
          (i32.add
            (call_indirect $t (result i32) (global.get $base))
            (i32.mul (global.get $copy) (global.get $count)))))
      (func (export "drop") (data.drop $passive) (elem.drop $spare))
      (start $go)
      (func $go (i32.store8 (i32.const 50) (i32.const 9))))
"""


def host(linker: wasmtime.Linker, store: wasmtime.Store) -> None:
    i32 = wasmtime.ValType.i32()
    base = wasmtime.Global(store, wasmtime.GlobalType(i32, False), wasmtime.Val.i32(17))
    count = wasmtime.Global(store, wasmtime.GlobalType(i32, True), wasmtime.Val.i32(0))
    linker.define(store, "host", "base", base)
    linker.define(store, "host", "count", count)


def test_globals_segments_and_start() -> None:
    calls: list[tuple[str, tuple[object, ...]]] = [("run", (3,)), ("run", (-5,)), ("drop", ()), ("run", (1,))]
    check_same(wat(GLOBALS), calls, host)


def test_what_is_added_is_all_that_is_added() -> None:
    original = decode_module(wat(GLOBALS))
    result = instrument(original)
    module, prefix = decode_module(result.wasm), result.names.prefix
    shown = [e.name for e in module.exports if not e.name.startswith(prefix)]
    assert shown == [e.name for e in original.exports]
    assert [(i.module, i.name) for i in module.imports if i.module != prefix] == [
        (i.module, i.name) for i in original.imports
    ]
    assert module.names.functions == original.names.functions
    assert module.names.locals == original.names.locals
    assert module.start is None and original.start is not None
    for i, function in enumerate(original.functions):
        assert module.functions[i].type == function.type
    assert [t.type for t in module.tables[: len(original.tables)]] == [t.type for t in original.tables]
    assert [m.type for m in module.memories[: len(original.memories)]] == [m.type for m in original.memories]
    debug = module.memories[len(original.memories)].type.limits
    assert debug == Limits(result.layout.memory_pages, result.layout.memory_pages)


def test_reserved_names_give_way() -> None:
    text = '(module (func (export "trio_wasmdbg:slots")) (func (export "trio_wasmdbg2:x") (call 0)))'
    wasm = wat(text)
    result = instrument(decode_module(wasm))
    assert result.names.prefix == "trio_wasmdbg3:"
    check_same(wasm, [("trio_wasmdbg:slots", ()), ("trio_wasmdbg2:x", ())])


@pytest.mark.parametrize(
    "text", ["(module)", "(module (memory 1))", '(module (import "host" "count" (global (mut i32))))']
)
def test_modules_without_functions(text: str) -> None:
    rig = Rig(wat(text), host)
    assert rig.layout.sites == rig.layout.stops == 0


def test_sites_and_stops_have_addresses_of_their_own() -> None:
    result = instrument(decode_module(wat(GLOBALS)))
    layout = result.layout
    addresses = [site.address for plan in result.defined() for site in plan.sites]
    assert addresses == list(range(layout.sites_base, layout.sites_base + layout.sites))
    stops = [address for plan in result.defined() for address in plan.stop_addresses]
    assert stops == list(range(layout.stops_base, layout.stops_base + layout.stops))
    assert layout.instance_id >= layout.stack_size
    assert layout.sites_base > layout.instance_id and layout.stops_base >= layout.sites_base + layout.sites
    assert layout.stops_base + layout.stops <= layout.memory_pages * 65536


def test_functions_that_are_not_defined_have_no_slow_twin() -> None:
    result = instrument(decode_module(wat('(module (import "host" "f" (func)) (func (call 0)))')))
    assert result.plans[0] is None
    with pytest.raises(LookupError):
        slow_twin(result, [0])
    with pytest.raises(LookupError):
        slow_twin(result, [7])


def test_every_truncation_is_refused_with_a_typed_error_or_rewritten() -> None:
    wasm = wat(GLOBALS)
    for end in range(8, len(wasm)):
        try:
            instrument(decode_module(wasm[:end]))
        except ModuleError as error:
            assert "offset" in str(error) or error.offset is None


# ── two instances ──────────────────────────────────────────────────────────────────────────────

LIBRARY = """
    (module
      (import "app" "twice" (func $twice (param i32) (result i32)))
      (func $helper (param i32) (result i32) (i32.add (local.get 0) (i32.const 1)))
      (func (export "next") (param i32) (result i32) (call $helper (local.get 0)))
      (func (export "back") (param i32) (result i32) (local i32)
        (local.set 1 (i32.const 1000))
        (i32.add (local.get 1) (call $twice (call $helper (local.get 0))))))
"""

APP = """
    (module
      (import "library" "next" (func $next (param i32) (result i32)))
      (import "library" "back" (func $back (param i32) (result i32)))
      (func $inner (param i32) (result i32) (i32.mul (call $next (local.get 0)) (i32.const 2)))
      (func (export "twice") (param i32) (result i32) (call $inner (local.get 0)))
      (func (export "run") (param i32) (result i32) (local i32)
        (local.set 1 (call $next (local.get 0)))
        (i32.add (local.get 1) (call $back (local.get 1)))))
"""


class Pair:
    """Two instances that call each other, by way of a function that is linked late."""

    def __init__(self, slow: set[int]) -> None:
        self.store = store = wasmtime.Store(ENGINE)
        self.sp: Any = None
        self.current: Any = None
        i32 = wasmtime.ValType.i32()
        wide = wasmtime.GlobalType(wasmtime.ValType.i64(), True)
        self.countdown = wasmtime.Global(store, wide, wasmtime.Val.i64(0))
        self.parts: list[tuple[Instrumented, memoryview]] = []
        self.walks: list[list[tuple[int, int, tuple[int, ...]]]] = []
        self.slow = slow
        self.keep: list[object] = []
        linker = wasmtime.Linker(ENGINE)
        late: list[wasmtime.Func] = []
        kind = wasmtime.FuncType([i32], [i32])
        linker.define_func("app", "twice", kind, lambda x: late[0](store, x))
        library = self.instantiate(linker, wat(LIBRARY))
        for name in ("next", "back"):
            linker.define(store, "library", name, library[name])
        app = self.instantiate(linker, wat(APP))
        twice, run = app["twice"], app["run"]
        assert isinstance(twice, wasmtime.Func) and isinstance(run, wasmtime.Func)
        late.append(twice)
        self.run = run

    def instantiate(self, linker: wasmtime.Linker, wasm: bytes) -> dict[str, Any]:
        store = self.store
        result = instrument(decode_module(wasm))
        names, layout = result.names, result.layout
        own = wasmtime.Linker(ENGINE)
        for target in (linker, own):
            target.allow_shadowing = True
            target.define(store, names.prefix, names.countdown, self.countdown)
            if self.parts:
                target.define(store, names.prefix, names.sp, self.sp)
                target.define(store, names.prefix, names.instance, self.current)
        wasm = result.importing() if self.parts else result.wasm
        found = linker.instantiate(store, wasmtime.Module(ENGINE, wasm)).exports(store)
        exports = {name: found[name] for name in found}
        if not self.parts:
            self.sp, self.current = exports[names.sp], exports[names.instance]
        debug, slots = exports[names.debug], exports[names.slots]
        assert isinstance(debug, wasmtime.Memory) and isinstance(slots, wasmtime.Table)
        address = ctypes.addressof(debug.data_ptr(store).contents)
        view = memoryview((ctypes.c_ubyte * debug.data_len(store)).from_address(address)).cast("B")
        number = len(self.parts) + 1
        struct.pack_into("<I", view, layout.instance_id, number)
        self.parts.append((result, view))
        i32 = wasmtime.ValType.i32()
        hook = wasmtime.Func(store, wasmtime.FuncType([i32] * 3, [i32]), self.on_hook)
        slots.set(store, layout.hook_slot, hook)
        own.define(store, names.prefix, names.hook, hook)
        for name, item in exports.items():
            own.define(store, names.prefix, name, item)
        companion = slow_twin(result, [plan.index for plan in result.defined()])
        twins = own.instantiate(store, wasmtime.Module(ENGINE, companion.wasm)).exports(store)
        for index, name in companion.entries.items():
            slots.set(store, result.plan(index).slot, twins[name])
        if number in self.slow:
            for plan in result.defined():
                for at in (*plan.site_addresses, *plan.stop_addresses):
                    view[at] = 1
        self.keep += [hook, own]
        return exports

    def on_hook(self, kind: int, fp: int, k: int) -> int:
        walk = []
        sp, instance = self.sp.value(self.store), self.current.value(self.store)
        while sp < STACK_SIZE:
            result, view = self.parts[instance - 1]
            (head,) = struct.unpack_from("<I", view, sp)
            plan = result.plan(head & ~SLOW)
            (position,) = struct.unpack_from("<I", view, sp + RESUME_OFFSET)
            values = tuple(
                struct.unpack_from("<i", view, sp + plan.frame.local(i))[0]
                for i in range(len(plan.frame.locals))
            )
            walk.append((instance, plan.index, values if position < plan.instructions else ()))
            if plan.escapable:
                (instance,) = struct.unpack_from("<I", view, sp + INSTANCE_OFFSET)
            sp += plan.frame.size
        assert sp == STACK_SIZE and instance == 0
        self.walks.append(walk)
        return 0


@pytest.mark.parametrize("slow", [set(), {1}, {2}, {1, 2}], ids=str)
def test_frames_of_two_instances_lie_on_one_stack(slow: set[int]) -> None:
    pair = Pair(slow)
    # run(5): next 6; back(6): 1000 + twice(7) = 1000 + 16; 6 + 1016
    assert pair.run(pair.store, 5) == 1022
    assert pair.sp.value(pair.store) == STACK_SIZE and pair.current.value(pair.store) == 0
    if not slow:
        assert not pair.walks
        return
    if 1 in slow:
        # The library's helper, as called by app's inner by way of library, host and app.
        deepest = max(pair.walks, key=len)
        assert [(instance, function) for instance, function, _ in deepest] == [
            (1, 1), (1, 2), (2, 2), (2, 3), (1, 3), (2, 4),
        ]  # fmt: skip
        values = [values for _, _, values in deepest]
        assert values[0] == (7,) and values[2:4] == [(7,), (7,)]
        assert values[4] == (6, 1000) and values[5] == (5, 6)


def test_plain_and_instrumented_count_alike() -> None:
    """The frames of a function that was left by a trap do not disturb the next call."""
    wasm = wat(GLOBALS)
    plain, rig = Plain(wasm, host), Rig(wasm, host)
    for _ in range(2):
        assert rig.call("drop") == plain.call("drop")
        assert rig.call("run", 1) == plain.call("run", 1)
