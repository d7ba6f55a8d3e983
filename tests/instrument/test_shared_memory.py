"""Shared memories: slow twins work on them by the main instance."""

from __future__ import annotations

import wasmtime

from tests.instrument._harness import Plain, flavours, wat

MODULE = wat("""
(module
  (import "host" "note" (func $note (param i32)))
  (memory (export "m") 1 2 shared)
  (data "xyz")
  (func (export "load") (param i32) (result i32) (i32.load offset=4 (local.get 0)))
  (func (export "store") (param i32 i64) (i64.store (local.get 0) (local.get 1)))
  (func (export "wide") (param i32) (result i32)
    (v128.store (local.get 0) (i32x4.splat (local.get 0)))
    (i32x4.extract_lane 1 (v128.load8_lane 4 (i32.const 2) (v128.load (local.get 0)))))
  (func (export "add") (param i32 i32) (result i32) (i32.atomic.rmw.add (local.get 0) (local.get 1)))
  (func (export "bulk") (param i32) (result i32)
    (memory.fill (local.get 0) (i32.const 7) (i32.const 9))
    (memory.copy (i32.const 0) (local.get 0) (i32.const 5))
    (memory.init 0 (i32.const 1) (i32.const 0) (i32.const 3))
    (call $note (memory.size))
    (drop (memory.grow (i32.const 1)))
    (memory.size))
  (func (export "tail") (param i32) (return_call $note (local.get 0)))
)
""")


def test_all_ways_to_run() -> None:
    config = wasmtime.Config()
    config.shared_memory = True
    engine = wasmtime.Engine(config)
    noted: list[int] = []

    def define(linker: wasmtime.Linker, store: wasmtime.Store) -> None:
        linker.define_func("host", "note", wasmtime.FuncType([wasmtime.ValType.i32()], []), noted.append)

    calls: list[tuple[str, tuple[object, ...]]] = [
        ("store", (8, 0x1122334455667788)), ("load", (8,)), ("load", (4,)), ("load", (65532,)),
        ("load", (-1,)),
        ("wide", (96,)), ("wide", (0x7000_0000,)), ("add", (8, 5)), ("add", (6, 1)), ("load", (4,)),
        ("bulk", (40,)), ("load", (0,)), ("load", (0x20000,)), ("tail", (77,)),
    ]  # fmt: skip
    plain = Plain(MODULE, define, engine)
    expected = [plain.call(name, *args) for name, args in calls]
    assert [kind for kind, _ in expected].count("trapped") == 5
    assert noted == [1, 77]
    for flavour, rig in flavours(MODULE, define=define, engine=engine).items():
        noted.clear()
        # an access out of bounds ends the process if a companion imports the memory
        assert [rig.call(name, *args) for name, args in calls] == expected, flavour
        assert noted == [1, 77]
