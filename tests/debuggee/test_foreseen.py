"""In precise mode, traps of tables, segments, references, arrays and atomics pause before they happen."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import wasmtime

from tests.debuggee._programs import Program, program
from trio_wasmdbg import (
    Guest,
    GuestInstance,
    GuestTrap,
    debug_wasm,
    events,
    load_module,
    make_engine,
    open_debuggee,
    prepare_config,
)

TABLES = """
(module
  (type $f (func (param i32) (result i32)))
  (table $t 4 funcref)
  (table $u 2 funcref)
  (memory 1)
  (data $text "hello")
  (elem (table $t) (i32.const 0) func $double $other)
  (elem $passive func $double $double $double)
  (elem declare func $double)
  (func $double (param i32) (result i32) (i32.mul (local.get 0) (i32.const 2)))
  (func $other (param i64))
  (func (export "call") (param i32) (result i32)
    (call_indirect $t (type $f) (i32.const 21) (local.get 0)))
  (func (export "tail") (param i32) (result i32)
    (return_call_indirect $t (type $f) (i32.const 21) (local.get 0)))
  (func (export "get") (param i32) (drop (table.get $t (local.get 0))))
  (func (export "set") (param i32) (table.set $t (local.get 0) (ref.null func)))
  (func (export "fill") (param i32 i32) (table.fill $t (local.get 0) (ref.null func) (local.get 1)))
  (func (export "copy") (param i32 i32 i32)
    (table.copy $u $t (local.get 0) (local.get 1) (local.get 2)))
  (func (export "init") (param i32 i32 i32)
    (table.init $t $passive (local.get 0) (local.get 1) (local.get 2)))
  (func (export "memory_init") (param i32 i32 i32)
    (memory.init $text (local.get 0) (local.get 1) (local.get 2)))
  (func (export "fill_memory") (param i32 i32) (memory.fill (local.get 0) (i32.const 1) (local.get 1)))
  (func (export "drop") (data.drop $text) (memory.init $text (i32.const 0) (i32.const 0) (i32.const 1)))
  (func (export "wait") (param i32)
    (drop (memory.atomic.wait32 (local.get 0) (i32.const 0) (i64.const 0))))
  (func (export "add") (param i32)
    (drop (i64.atomic.rmw.add offset=4 (local.get 0) (i64.const 1)))))
"""

OBJECTS = """
(module
  (type $f (func (result i32)))
  (type $s (sub (struct (field (mut i32)) (field i8))))
  (type $t (sub $s (struct (field (mut i32)) (field i8) (field f32))))
  (type $a (array (mut i16)))
  (type $fs (array (mut funcref)))
  (data $bytes "0123456789")
  (elem $funcs func $one $one)
  (func $one (result i32) (i32.const 1))
  (func $array (param i32) (result (ref null $a))
    (if (result (ref null $a)) (i32.lt_s (local.get 0) (i32.const 0))
      (then (ref.null $a)) (else (array.new_default $a (local.get 0)))))
  (func $struct (param i32) (result (ref null $s))
    (if (result (ref null $s)) (local.get 0) (then (struct.new_default $s)) (else (ref.null $s))))
  (func (export "call_ref") (param i32) (result i32)
    (call_ref $f (if (result (ref null $f)) (local.get 0) (then (ref.func $one)) (else (ref.null $f)))))
  (func (export "non_null") (param i32) (drop (ref.as_non_null (call $struct (local.get 0)))))
  (func (export "struct_get") (param i32) (drop (struct.get_s $s 1 (call $struct (local.get 0)))))
  (func (export "struct_set") (param i32) (struct.set $s 0 (call $struct (local.get 0)) (i32.const 5)))
  (func (export "cast") (param i32) (drop (ref.cast (ref $t) (call $struct (local.get 0)))))
  (func (export "cast_null") (param i32) (drop (ref.cast (ref null $t) (call $struct (local.get 0)))))
  (func (export "i31") (param i32) (drop (i31.get_s
    (if (result i31ref) (local.get 0) (then (ref.i31 (i32.const 4))) (else (ref.null i31))))))
  (func (export "len") (param i32) (drop (array.len (call $array (local.get 0)))))
  (func (export "array_get") (param i32 i32)
    (drop (array.get_s $a (call $array (local.get 0)) (local.get 1))))
  (func (export "array_set") (param i32 i32)
    (array.set $a (call $array (local.get 0)) (local.get 1) (i32.const 1)))
  (func (export "array_fill") (param i32 i32 i32)
    (array.fill $a (call $array (local.get 0)) (local.get 1) (i32.const 1) (local.get 2)))
  (func (export "array_copy") (param i32 i32 i32 i32 i32)
    (array.copy $a $a (call $array (local.get 0)) (local.get 1)
      (call $array (local.get 2)) (local.get 3) (local.get 4)))
  (func (export "init_data") (param i32 i32 i32 i32)
    (array.init_data $a $bytes (call $array (local.get 0)) (local.get 1) (local.get 2) (local.get 3)))
  (func (export "init_elem") (param i32 i32 i32 i32)
    (array.init_elem $fs $funcs (array.new_default $fs (local.get 0))
      (local.get 1) (local.get 2) (local.get 3)))
  (func (export "new_data") (param i32 i32) (drop (array.new_data $a $bytes (local.get 0) (local.get 1))))
  (func (export "new_elem") (param i32 i32) (drop (array.new_elem $fs $funcs (local.get 0) (local.get 1))))
  (func (export "throw_ref") (throw_ref (ref.null exn))))
"""

TABLE_OUT = "TABLE_OUT_OF_BOUNDS"
MEMORY_OUT = "MEMORY_OUT_OF_BOUNDS"
ARRAY_OUT = "ARRAY_OUT_OF_BOUNDS"
NULL = "NULL_REFERENCE"

TRAPS = [
    # module, call, code, text (of what is out of bounds, without saying so)
    (TABLES, ("call", 4), TABLE_OUT, "call_indirect of element 4, table 0 has 4 elements"),
    (TABLES, ("call", -1), TABLE_OUT, "call_indirect of element 4294967295, table 0 has 4 elements"),
    (TABLES, ("call", 3), "INDIRECT_CALL_TO_NULL", "indirect call to null: element 3 of table 0"),
    (
        TABLES,
        ("call", 1),
        "BAD_SIGNATURE",
        "indirect call type mismatch: element 1 of table 0 is other of type (i64) -> (), "
        "called as (i32) -> (i32)",
    ),
    (TABLES, ("tail", 9), TABLE_OUT, "return_call_indirect of element 9, table 0 has 4 elements"),
    (TABLES, ("tail", 2), "INDIRECT_CALL_TO_NULL", "indirect call to null: element 2 of table 0"),
    (TABLES, ("get", 4), TABLE_OUT, "table.get of element 4, table 0 has 4 elements"),
    (TABLES, ("set", 4), TABLE_OUT, "table.set of element 4, table 0 has 4 elements"),
    (TABLES, ("fill", 1, 4), TABLE_OUT, "table.fill of 4 elements from 1 on, table 0 has 4 elements"),
    (TABLES, ("copy", 0, 3, 2), TABLE_OUT, "table.copy of 2 elements from 3 on, table 0 has 4 elements"),
    (TABLES, ("copy", 1, 0, 2), TABLE_OUT, "table.copy of 2 elements from 1 on, table 1 has 2 elements"),
    (TABLES, ("init", 0, 2, 2), TABLE_OUT, "table.init of 2 elements from 2 on, element segment 1 has 3"),
    (TABLES, ("init", 2, 0, 3), TABLE_OUT, "table.init of 3 elements from 2 on, table 0 has 4 elements"),
    (
        TABLES,
        ("memory_init", 0, 3, 3),
        MEMORY_OUT,
        "memory.init of 3 bytes at 0x3, data segment 0 has 0x5 bytes",
    ),
    (
        TABLES,
        ("memory_init", 65533, 0, 4),
        MEMORY_OUT,
        "memory.init of 4 bytes at 0xfffd, memory 0 has 0x10000 bytes",
    ),
    (TABLES, ("wait", 8), "ATOMIC_WAIT_NON_SHARED_MEMORY", "atomic wait on memory 0, which is not shared"),
    (TABLES, ("add", 8), "HEAP_MISALIGNED", "unaligned atomic: i64.atomic.rmw.add of 8 bytes at 0xc"),
    (
        TABLES,
        ("add", 65532),
        MEMORY_OUT,
        "i64.atomic.rmw.add of 8 bytes at 0xfffc + 4, memory 0 has 0x10000 bytes",
    ),
    (OBJECTS, ("call_ref", 0), NULL, "null reference: call_ref of null"),
    (OBJECTS, ("non_null", 0), NULL, "null reference: ref.as_non_null of null"),
    (OBJECTS, ("struct_get", 0), NULL, "null reference: struct.get_s of null"),
    (OBJECTS, ("struct_set", 0), NULL, "null reference: struct.set of null"),
    (OBJECTS, ("i31", 0), NULL, "null reference: i31.get_s of null"),
    (OBJECTS, ("cast", 0), "CAST_FAILURE", "cast failure: ref.cast of null to (ref 2)"),
    (OBJECTS, ("cast", 1), "CAST_FAILURE", "cast failure: ref.cast of structref to (ref 2)"),
    (OBJECTS, ("cast_null", 1), "CAST_FAILURE", "cast failure: ref.cast null of structref to (ref null 2)"),
    (OBJECTS, ("len", -1), NULL, "null reference: array.len of null"),
    (OBJECTS, ("array_get", -1, 0), NULL, "null reference: array.get_s of null"),
    (OBJECTS, ("array_get", 5, 5), ARRAY_OUT, "array.get_s of element 5, the array has 5 elements"),
    (OBJECTS, ("array_get", 5, -1), ARRAY_OUT, "array.get_s of element 4294967295, the array has 5 elements"),
    (OBJECTS, ("array_set", 0, 0), ARRAY_OUT, "array.set of element 0, the array has 0 elements"),
    (OBJECTS, ("array_fill", -1, 0, 0), NULL, "null reference: array.fill of null"),
    (
        OBJECTS,
        ("array_fill", 5, 3, 3),
        ARRAY_OUT,
        "array.fill of 3 elements from 3 on, the array has 5 elements",
    ),
    (OBJECTS, ("array_copy", -1, 0, 2, 0, 0), NULL, "null reference: array.copy of null"),
    (OBJECTS, ("array_copy", 2, 0, -1, 0, 0), NULL, "null reference: array.copy of null"),
    (
        OBJECTS,
        ("array_copy", 2, 1, 9, 0, 2),
        ARRAY_OUT,
        "array.copy of 2 elements from 1 on, the array has 2 elements",
    ),
    (
        OBJECTS,
        ("array_copy", 9, 0, 2, 1, 2),
        ARRAY_OUT,
        "array.copy of 2 elements from 1 on, the array has 2 elements",
    ),
    (OBJECTS, ("init_data", -1, 0, 0, 0), NULL, "null reference: array.init_data of null"),
    (
        OBJECTS,
        ("init_data", 3, 2, 0, 2),
        ARRAY_OUT,
        "array.init_data of 2 elements from 2 on, the array has 3 elements",
    ),
    (
        OBJECTS,
        ("init_data", 9, 0, 1, 5),
        MEMORY_OUT,
        "array.init_data of 10 bytes at 0x1, data segment 0 has 0xa bytes",
    ),
    (
        OBJECTS,
        ("init_elem", 9, 0, 1, 2),
        TABLE_OUT,
        "array.init_elem of 2 elements from 1 on, element segment 0 has 2",
    ),
    (
        OBJECTS,
        ("new_data", 0, 6),
        MEMORY_OUT,
        "array.new_data of 12 bytes at 0x0, data segment 0 has 0xa bytes",
    ),
    (
        OBJECTS,
        ("new_elem", 1, 2),
        TABLE_OUT,
        "array.new_elem of 2 elements from 1 on, element segment 0 has 2",
    ),
    (OBJECTS, ("throw_ref",), NULL, "null reference: throw_ref of null"),
]


@pytest.mark.parametrize(("text", "call", "code", "message"), TRAPS, ids=[f"{t[1]}" for t in TRAPS])
async def test_pauses_before_the_trap(text: str, call: tuple[Any, ...], code: str, message: str) -> None:
    if code.endswith("OUT_OF_BOUNDS"):
        message = f"out of bounds: {message}"
    async with program(call, text=text, imports={}) as it:
        it.debuggee.precise_traps = True
        event = await it.debuggee.run()
        assert isinstance(event, events.Trap), event
        assert (event.live, event.code, event.message) == (True, code, message)
        assert event.frame.exact
        assert event.frame.locals[: len(call) - 1] == call[1:]
        finished = await it.debuggee.run()
        assert isinstance(finished, events.Finished)
        assert isinstance(finished.error, GuestTrap)
        assert finished.error.trap_code is wasmtime.TrapCode[code]
        assert str(finished.error) == message


@pytest.mark.parametrize(("text", "call", "code"), [t[:3] for t in TRAPS], ids=[f"{t[1]}" for t in TRAPS])
@pytest.mark.parametrize("precise", [False, True])
async def test_the_engine_says_the_same(text: str, call: tuple[Any, ...], code: str, precise: bool) -> None:
    """finish() ignores what is foreseen, and lets the instruction itself decide."""
    with pytest.raises(wasmtime.Trap) as caught:
        async with program(call, text=text, imports={}) as it:
            it.debuggee.precise_traps = precise
            await it.debuggee.finish()
    assert caught.value.trap_code is wasmtime.TrapCode[code]


FITS = [
    (TABLES, ("call", 0)),
    (TABLES, ("tail", 0)),
    (TABLES, ("get", 3)),
    (TABLES, ("set", 3)),
    (TABLES, ("fill", 0, 4)),
    (TABLES, ("fill", 4, 0)),
    (TABLES, ("copy", 0, 2, 2)),
    (TABLES, ("init", 1, 0, 3)),
    (TABLES, ("init", 4, 3, 0)),
    (TABLES, ("memory_init", 65531, 0, 5)),
    (TABLES, ("memory_init", 0, 5, 0)),
    (TABLES, ("add", 65524)),
    (OBJECTS, ("call_ref", 1)),
    (OBJECTS, ("non_null", 1)),
    (OBJECTS, ("struct_get", 1)),
    (OBJECTS, ("struct_set", 1)),
    (OBJECTS, ("cast_null", 0)),
    (OBJECTS, ("i31", 1)),
    (OBJECTS, ("len", 0)),
    (OBJECTS, ("array_get", 5, 4)),
    (OBJECTS, ("array_set", 1, 0)),
    (OBJECTS, ("array_fill", 5, 2, 3)),
    (OBJECTS, ("array_fill", 5, 5, 0)),
    (OBJECTS, ("array_copy", 2, 0, 9, 7, 2)),
    (OBJECTS, ("init_data", 9, 4, 0, 5)),
    (OBJECTS, ("init_elem", 2, 0, 0, 2)),
    (OBJECTS, ("new_data", 0, 5)),
    (OBJECTS, ("new_elem", 0, 2)),
]


@pytest.mark.parametrize(("text", "call"), FITS, ids=[f"{t[1]}" for t in FITS])
async def test_no_pause_where_it_just_fits(text: str, call: tuple[Any, ...]) -> None:
    async with program(call, text=text, imports={}) as it:
        it.debuggee.precise_traps = True
        finished = await it.debuggee.run()
        assert isinstance(finished, events.Finished), finished
        assert finished.error is None


async def repaired(it: Program, height: int, value: object) -> list[Any]:
    it.debuggee.precise_traps = True
    event = await it.debuggee.run()
    assert isinstance(event, events.Trap)
    # Executed as it is, it is foreseen again.
    again = await it.debuggee.run(retry=True)
    assert isinstance(again, events.Trap)
    assert again.message == event.message
    again.frame.set_operand(height, value)
    finished = await it.debuggee.run(retry=True)
    assert isinstance(finished, events.Finished), finished
    assert finished.error is None
    return it.results


async def test_operands_are_repaired() -> None:
    async with program(("call", 1), text=TABLES, imports={}) as it:
        assert await repaired(it, -1, 0) == [42]
    async with program(("array_get", 5, 5), text=OBJECTS, imports={}) as it:
        await repaired(it, -1, 4)
    async with program(("fill", 3, 9), text=TABLES, imports={}) as it:
        await repaired(it, -1, 1)


async def test_the_table_is_repaired() -> None:
    async with program(("call", 3), text=TABLES, imports={}) as it:
        it.debuggee.precise_traps = True
        event = await it.debuggee.run()
        event.frame.instance.set_table_element(3, event.frame.instance.func("double"))
        assert isinstance(await it.debuggee.run(retry=True), events.Finished)
    assert it.results == [42]


async def test_a_dropped_segment_is_not_foreseen_but_exact() -> None:
    async with program(("drop",), text=TABLES, imports={}) as it:
        it.debuggee.precise_traps = True
        event = await it.debuggee.run()
        assert isinstance(event, events.Trap)
        assert (event.live, event.code) == (False, MEMORY_OUT)
        assert event.frame.exact


async def test_in_a_recursion_and_cancelled_there() -> None:
    text = """
    (module (table 1 funcref)
      (func $down (export "down") (param $n i32)
        (if (local.get $n) (then (call $down (i32.sub (local.get $n) (i32.const 1)))))
        (call_indirect (i32.const 0))))"""
    async with program(("down", 3), text=text, imports={}) as it:
        it.debuggee.precise_traps = True
        with trio.CancelScope() as scope:
            trio.lowlevel.current_trio_token().run_sync_soon(scope.cancel)
            await it.debuggee.run()
        event = await it.debuggee.run()
        assert isinstance(event, events.Trap)
        assert [frame.locals for frame in await it.debuggee.with_store(lambda view: list(view.frames()))] == [
            (0,), (1,), (2,), (3,)
        ]  # fmt: skip
        event.frame.parent.parent.return_early()
        event = await it.debuggee.run()
        assert isinstance(event, events.Trap)
        assert event.frame.locals == (3,)
    assert it.results == []


async def shared_module() -> Any:
    config = wasmtime.Config()
    config.wasm_threads = True
    config.shared_memory = True
    prepare_config(config)
    return await load_module(
        wasmtime.Engine(config),
        """
        (module (memory 1 3 shared) (data $text "hello")
          (func (export "load") (param i32) (result i32) (i32.load offset=4 (local.get 0)))
          (func (export "init") (param i32) (memory.init $text (local.get 0) (i32.const 0) (i32.const 5)))
          (func (export "cas") (param i32)
            (drop (i32.atomic.rmw.cmpxchg (local.get 0) (i32.const 0) (i32.const 1))))
          (func (export "grow") (param i32) (result i32)
            (drop (memory.grow (i32.const 1))) (i32.load offset=4 (local.get 0))))""",
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (("load", 65_533), "out of bounds: i32.load of 4 bytes at 0xfffd + 4, memory 0 has 0x10000 bytes"),
        (("init", 65_532), "out of bounds: memory.init of 5 bytes at 0xfffc, memory 0 has 0x10000 bytes"),
        (("cas", 2), "unaligned atomic: i32.atomic.rmw.cmpxchg of 4 bytes at 0x2"),
        (("grow", 131_069), "out of bounds: i32.load of 4 bytes at 0x1fffd + 4, memory 0 has 0x20000 bytes"),
        (("load", 65_528), None),
        (("init", 65_531), None),
        (("cas", 4), None),
        (("grow", 65_536), None),
    ],
    ids=str,
)
async def test_shared_memories(call: tuple[Any, ...], message: str | None) -> None:
    module = await shared_module()

    async def body(guest: Guest) -> Any:
        instance: GuestInstance = await guest.instantiate({}, module)
        return await guest.call(instance.func(call[0]), *call[1:])

    async with open_debuggee(wasmtime.Store(module.engine), body) as debuggee:
        debuggee.precise_traps = True
        event = await debuggee.run()
        if message is None:
            assert isinstance(event, events.Finished)
            assert event.error is None
        else:
            assert isinstance(event, events.Trap)
            assert (event.live, event.message) == (True, message)


@pytest.mark.parametrize("gc", [False, True])
async def test_an_engine_without_casts(gc: bool) -> None:
    config = wasmtime.Config()
    config.wasm_gc = gc
    prepare_config(config)
    module = await load_module(wasmtime.Engine(config), TABLES.replace("(elem declare func $double)", ""))
    async with debug_wasm(module, "call", [1]) as debuggee:
        debuggee.precise_traps = True
        event = await debuggee.run()
        assert isinstance(event, events.Trap)
        assert (event.live, event.code) == (gc, "BAD_SIGNATURE")
        assert event.frame.exact


async def test_64_bit_tables() -> None:
    config = wasmtime.Config()
    config.wasm_memory64 = True
    prepare_config(config)
    module = await load_module(
        wasmtime.Engine(config),
        """(module (table i64 2 funcref) (func (export "call") (param i64) (call_indirect (local.get 0))))""",
    )
    for index, code in ((1, "INDIRECT_CALL_TO_NULL"), (2, TABLE_OUT), (-1, TABLE_OUT)):
        async with debug_wasm(module, "call", [index]) as debuggee:
            debuggee.precise_traps = True
            event = await debuggee.run()
            assert isinstance(event, events.Trap)
            assert (event.live, event.code) == (True, code)


async def test_the_stack_can_not_be_foreseen() -> None:
    """No instruction tells how much of the machine's stack is left; but every frame is shown."""
    text = '(module (func $f (export "f") (param i32) (call $f (i32.add (local.get 0) (i32.const 1)))))'
    module = await load_module(make_engine(), text)
    async with debug_wasm(module, "f", [0]) as debuggee:
        debuggee.precise_traps = True
        event = await debuggee.run()
        assert isinstance(event, events.Trap)
        assert (event.live, event.code) == (False, "STACK_OVERFLOW")
        depth = event.frame.local(0)
        assert event.frame.depth == depth > 1_000
