"""Memories, globals, tables, instances, linkers, modules."""

from __future__ import annotations

import threading

import pytest
import wasmtime

from tests.capi.support import HOOK_LOOP, World, finish, run_python
from trio_wasmdbg import capi
from trio_wasmdbg.errors import NotFoundError, StoreClosedError

ITEMS = """
(module
  (memory (export "memory") 1 4)
  (memory (export "fixed") 1 1)
  (memory (export "empty") 0)
  (global (export "i32") (mut i32) (i32.const -1))
  (global (export "f32") (mut f32) (f32.const nan:0x200001))
  (global (export "constant") i64 (i64.const 5))
  (global (export "extern") (mut externref) (ref.null extern))
  (table (export "table") 3 funcref)
  (func $one (export "one") (result i32) (i32.const 1))
  (func (export "call") (param i32) (result i32) (call_indirect (result i32) (local.get 0)))
  (func (export "grow") (drop (memory.grow (i32.const 1))))
  (elem (i32.const 1) $one))
"""


@pytest.mark.parametrize("fixed", [True, False])
def test_memory(world: World, fixed: bool) -> None:
    instance = world.load(ITEMS)
    view = capi.MemoryView(world.store, instance.export("fixed" if fixed else "memory"), fixed=fixed)
    assert view.size == 65536
    view.write(10, b"hello")
    assert view.read(10, 5) == b"hello"
    view.set_u8(0, 255)
    view.set_u32(4, 0xDEAD_BEEF)
    view.set_u64(16, (1 << 64) - 2)
    assert (view.u8(0), view.u32(4), view.u64(16)) == (255, 0xDEAD_BEEF, (1 << 64) - 2)
    assert view.read(4, 4) == b"\xef\xbe\xad\xde"
    view.fill(65530, 6, 0xAA)
    assert view.read(65529, 7) == b"\0" + b"\xaa" * 6
    assert view.view()[65535] == 0xAA
    assert view.read(65536, 0) == b""


@pytest.mark.parametrize("fixed", [True, False])
def test_memory_bounds(world: World, fixed: bool) -> None:
    instance = world.load(ITEMS)
    view = capi.MemoryView(world.store, instance.export("fixed" if fixed else "memory"), fixed=fixed)
    for outside in (
        lambda: view.read(65535, 2),
        lambda: view.read(-1, 1),
        lambda: view.read(0, -1),
        lambda: view.read(1 << 63, 1),
        lambda: view.write(65533, b"1234"),
        lambda: view.fill(65536, 1, 0),
        lambda: view.fill(0, 1 << 40, 0),
        lambda: view.u8(65536),
        lambda: view.u8(-1),
        lambda: view.set_u8(-1, 0),
        lambda: view.u32(65533),
        lambda: view.set_u32(65533, 0),
        lambda: view.u64(65529),
        lambda: view.set_u64(-8, 0),
    ):
        with pytest.raises(IndexError, match="outside of the memory"):
            outside()
    assert view.read(65532, 4) == bytes(4)


def test_a_memory_that_grows_and_an_empty_one(world: World) -> None:
    instance = world.load(ITEMS)
    view = capi.MemoryView(world.store, instance.export("memory"))
    view.write(65530, b"tail")
    finish(world.call(instance.export("grow")))
    assert view.size == 2 * 65536
    view.set_u32(65536, 7)
    assert view.read(65530, 4) == b"tail"
    empty = capi.MemoryView(world.store, instance.export("empty"))
    assert empty.size == 0
    assert empty.read(0, 0) == b""
    with pytest.raises(IndexError):
        empty.u8(0)


def test_after_the_store_is_closed_there_is_an_error_and_no_crash() -> None:
    result = run_python("""
from trio_wasmdbg.errors import StoreClosedError
world = World()
instance = world.load('''(module (memory (export "m") 1 1) (global (export "g") (mut i32) (i32.const 0))
    (table (export "t") 1 funcref))''')
items = [instance.export(name) for name in "mgt"]
fixed, moving = (capi.MemoryView(world.store, items[0], fixed=f) for f in (True, False))
cell = capi.I32Global(world.store, items[1])
world.store.close()
actions = [
    lambda: fixed.u8(0), lambda: fixed.write(0, b"1"), lambda: fixed.fill(0, 9, 1), lambda: fixed.size,
    lambda: moving.read(0, 1), cell.get, lambda: cell.set(1), lambda: capi.get_global(world.store, items[1]),
    lambda: capi.table_get(world.store, items[2], 0), lambda: capi.table_set(world.store, items[2], 0, None),
    lambda: instance.export("m"), lambda: instance.exports(),
    lambda: capi.define_hook(None, world.store, "h", print),
    lambda: capi.new_global(world.store, "i32", True, 0),
]
for number, action in enumerate(actions):
    try: action()
    except StoreClosedError: continue
    print(number, "did not raise")
print("done")
""")
    assert (result.returncode, result.stdout, result.stderr) == (0, "done\n", "")


def test_globals(world: World) -> None:
    instance = world.load(ITEMS)
    cell = capi.I32Global(world.store, instance.export("i32"))
    assert cell.get() == 0xFFFF_FFFF
    cell.set(0x8000_0001)
    assert cell.get() == 0x8000_0001
    assert capi.get_global(world.store, instance.export("i32")) == 0x8000_0001 - (1 << 32)
    f32 = instance.export("f32")
    assert capi.get_global(world.store, f32, bits=True) == capi.FloatBits("f32", 0x7FA0_0001)
    capi.set_global(world.store, f32, "f32", 2.5)
    assert capi.get_global(world.store, f32) == 2.5
    with pytest.raises(wasmtime.WasmtimeError):
        capi.set_global(world.store, f32, "i32", 2)
    with pytest.raises(wasmtime.WasmtimeError, match="immutable"):
        capi.set_global(world.store, instance.export("constant"), "i64", 2)
    thing = object()
    capi.set_global(world.store, instance.export("extern"), "externref", thing)
    assert capi.get_global(world.store, instance.export("extern")) is thing


@pytest.mark.parametrize(
    ("valtype", "value"), [("i32", -3), ("i64", 1 << 60), ("f64", 0.1), ("externref", "x"), ("funcref", None)]
)
def test_new_globals(world: World, valtype: str, value: object) -> None:
    item = capi.new_global(world.store, valtype, True, value)
    assert capi.get_global(world.store, item) == value
    assert item.type(world.store).mutable


def test_a_shared_mutable_global_links_two_instances(world: World) -> None:
    pointer = capi.new_global(world.store, "i32", True, 100)
    world.linker.define(world.store, "p", "sp", pointer)
    text = """(module (import "p" "sp" (global $sp (mut i32)))
        (func (export "f") (global.set $sp (i32.add (global.get $sp) (i32.const 1)))))"""
    first, second = world.load(text), world.load(text)
    finish(world.call(first.export("f")))
    finish(world.call(second.export("f")))
    assert capi.I32Global(world.store, pointer).get() == 102


def test_tables(world: World) -> None:
    instance = world.load(ITEMS)
    table, call = instance.export("table"), instance.export("call")
    assert capi.table_size(world.store, table) == 3
    assert capi.table_get(world.store, table, 0) is None
    one = capi.table_get(world.store, table, 1)
    assert finish(world.call(one)) == (1,)
    capi.table_set(world.store, table, 2, one)
    assert finish(world.call(call, 2)) == (1,)
    capi.table_set(world.store, table, 2, None)
    assert capi.table_get(world.store, table, 2) is None
    for index in (-1, 3, 1 << 62):
        with pytest.raises(IndexError):
            capi.table_get(world.store, table, index)
        with pytest.raises(IndexError):
            capi.table_set(world.store, table, index, None)
    with pytest.raises(TypeError):
        capi.table_set(world.store, table, 0, 5)
    with pytest.raises(wasmtime.WasmtimeError):
        capi.table_set(world.store, table, 0, "text", "externref")


def test_items_of_another_store_are_refused_everywhere(world: World) -> None:
    other = World(world.engine)
    instance = other.load(ITEMS)
    store = world.store
    for action in (
        lambda: capi.MemoryView(store, instance.export("memory")),
        lambda: capi.I32Global(store, instance.export("i32")),
        lambda: capi.get_global(store, instance.export("i32")),
        lambda: capi.set_global(store, instance.export("i32"), "i32", 1),
        lambda: capi.table_get(store, instance.export("table"), 0),
        lambda: capi.table_set(store, instance.export("table"), 0, None),
        lambda: capi.table_size(store, instance.export("table")),
        lambda: capi.signature_of(store, instance.export("one")),
        lambda: capi.start_call(store, instance.export("one")),
        lambda: world.linker.define(store, "x", "y", instance.export("one")),
        lambda: world.linker.define_instance(store, "x", instance),
    ):
        with pytest.raises(ValueError, match=r"another wasmtime\.Store"):
            action()


def test_instances_and_linkers(world: World) -> None:
    instance = world.load(ITEMS)
    assert list(instance.exports()) == [
        "memory", "fixed", "empty", "i32", "f32", "constant", "extern", "table", "one", "call", "grow",
    ]  # fmt: skip
    assert instance.get("nope") is None
    with pytest.raises(NotFoundError, match="nope"):
        instance.export("nope")
    world.linker.define_instance(world.store, "items", instance)
    one = world.linker.get(world.store, "items", "one")
    assert isinstance(one, wasmtime.Func)
    with pytest.raises(NotFoundError, match="two"):
        world.linker.get(world.store, "items", "two")
    with pytest.raises(wasmtime.WasmtimeError, match="twice"):
        world.linker.define(world.store, "items", "one", one)
    world.linker.allow_shadowing(True)
    world.linker.define(world.store, "items", "one", one)
    again = capi.RawInstance.of(world.store, instance.as_instance())
    assert finish(world.call(again.export("one"))) == (1,)


def test_a_clone_leaves_the_users_linker_alone(world: World) -> None:
    user = wasmtime.Linker(world.engine)
    calls = []
    user.define_func("u", "f", wasmtime.FuncType([], []), lambda: calls.append(1))
    clone = capi.RawLinker.clone_of(user)
    clone.define(world.store, "ours", "g", capi.new_global(world.store, "i32", True, 0))
    with pytest.raises(wasmtime.WasmtimeError):
        user.get(world.store, "ours", "g")
    del user
    world.linker = clone
    instance = world.load('(module (import "u" "f" (func $f)) (func (export "f") (call $f) (call $f)))')
    assert finish(world.call(instance.export("f"))) == ()
    assert calls == [1, 1]


def test_modules(world: World) -> None:
    wasm = bytes(wasmtime.wat2wasm(HOOK_LOOP))
    capi.validate(world.engine, wasm)
    assert isinstance(capi.compile(world.engine, wasm), wasmtime.Module)
    for bad in (b"", b"\0asm", wasm[:-1], wasm.replace(b"\x6a", b"\x50"), b"(module)"):
        with pytest.raises(wasmtime.WasmtimeError):
            capi.validate(world.engine, bad)
        with pytest.raises(wasmtime.WasmtimeError):
            capi.compile(world.engine, bad)


def test_compiling_in_threads(world: World) -> None:
    wasm = bytes(wasmtime.wat2wasm(HOOK_LOOP))
    modules: list[wasmtime.Module] = []
    threads = [
        threading.Thread(target=lambda: modules.append(capi.compile(world.engine, wasm))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(modules) == 4


def test_handles(world: World) -> None:
    handle = capi.StoreHandle.of(world.store)
    assert capi.StoreHandle.of(world.store) is handle
    assert capi.StoreHandle.of(handle) is handle
    assert handle.store is world.store
    assert handle.engine is world.engine
    assert (handle.futures, handle.innermost, handle.closed) == ((), None, False)
    with pytest.raises(TypeError):
        capi.StoreHandle.of(5)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        handle.check(5)
    world.store.close()
    assert handle.closed
    assert "closed" in repr(handle)
    with pytest.raises(StoreClosedError):
        handle.context  # noqa: B018
    with pytest.raises(StoreClosedError):
        capi.StoreHandle.of(world.store).check(capi.new_global(World().store, "i32", True, 0))
    gone = capi.StoreHandle.of(wasmtime.Store(world.engine))
    assert gone.closed
    with pytest.raises(StoreClosedError, match="garbage"):
        gone.store  # noqa: B018
