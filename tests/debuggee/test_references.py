"""Every kind of reference, in locals and operands of frames, as values and in words."""

from __future__ import annotations

from typing import Any

import wasmtime

from tests.debuggee._support import ENGINE, load, run_to
from trio_wasmdbg import Debuggee, Guest, GuestInstance, OpaqueReference, WasmException, events, open_debuggee
from trio_wasmdbg.cli._recording import frame_record
from trio_wasmdbg.cli._values import format_operands, format_value

OTHER = """(module (func $first) (func $second (export "second") (param i32)))"""

KINDS = """
(module
  (type $pair (struct (field i32)))
  (type $bytes (array i8))
  (import "host" "call" (func $host_call))
  (import "other" "second" (func $second (param i32)))
  (table $t 1 funcref)
  (tag $unused) (tag $t (param i32 i64))
  (func $f (result i32) (i32.const 1))
  (elem declare func $f $host_call $second)
  (func $stop)
  (func (export "main") (param $host externref) (param $given funcref)
    (local $f funcref) (local $g funcref) (local $h funcref) (local $typed (ref null func))
    (local $struct (ref null $pair)) (local $any anyref) (local $eq eqref) (local $array arrayref)
    (local $i31 i31ref) (local $hosts anyref) (local $made externref) (local $exn exnref)
    (local $null anyref) (local $nulls externref)
    (local.set $f (ref.func $f))
    (local.set $g (ref.func $host_call))
    (local.set $h (ref.func $second))
    (local.set $typed (ref.func $f))
    (local.set $struct (struct.new $pair (i32.const 5)))
    (local.set $any (local.get $struct))
    (local.set $eq (ref.i31 (i32.const 12)))
    (local.set $array (array.new_default $bytes (i32.const 3)))
    (local.set $i31 (ref.i31 (i32.const -7)))
    (local.set $hosts (any.convert_extern (local.get $host)))
    (local.set $made (extern.convert_any (local.get $struct)))
    (block $caught (result i32 i64 exnref)
      (try_table (catch_ref $t $caught) (throw $t (i32.const 40) (i64.const -2)))
      (unreachable))
    (local.set $exn) (drop) (drop)
    (local.get $f) (ref.null any) (local.get $i31) (local.get $host) (local.get $exn)
    (call $stop)
    (drop) (drop) (drop) (drop) (drop)))
"""


class Ours:
    def __repr__(self) -> str:
        return "<ours>"


WORDS = {
    "host": "<ours>",
    "given": "→ function 0 'first' of instance 1",
    "f": "→ function 2 'f'",
    "g": "→ function 0 'host_call'",
    "h": "→ function 1 'second'",
    "typed": "→ function 2 'f'",
    "struct": "struct",
    "any": "struct",
    "eq": "i31 12",
    "array": "array of 3",
    "i31": "i31 -7",
    "hosts": "a reference of the host",
    "made": "a reference of the guest, made external",
    "exn": "exception of tag 1, (40, -2)",
    "null": "null",
    "nulls": "null",
}


async def paused(found: dict[str, Any], guest: Guest) -> Any:
    other = await guest.instantiate(None, await load(OTHER))
    imports = {"host": {"call": lambda: None}, "other": other}
    instance: GuestInstance = await guest.instantiate(imports, await load(KINDS))
    return await guest.call(instance.func("main"), found["host"], other.func(0))


async def test_references_in_words() -> None:
    found: dict[str, Any] = {"host": Ours()}

    async def check(debuggee: Debuggee) -> None:
        def look(view: Any) -> Any:
            _, frame = view.frames()
            values = {each.name: each.value for each in frame.variables}
            words = {name: frame.instance.describe_reference(value) for name, value in values.items()}
            return values, words, frame.operand_stack, frame_record(frame), frame.instance

        values, words, operands, record, instance = await debuggee.with_store(look)
        assert words == WORDS
        # The values themselves, where Python has them.
        assert values["host"] is found["host"]
        assert instance.function_of(values["f"]) == 2
        assert (values["i31"], values["array"]) == (
            OpaqueReference("i31ref", -7),
            OpaqueReference("arrayref", length=3),
        )
        assert isinstance(values["exn"], WasmException)
        assert instance.tag_of(values["exn"]) == 1 and values["exn"].values == (40, -2)
        assert operands[1] is None and operands[3] is found["host"]
        # And as the command line shows them.
        assert {local.name: format_value(local.value) for local in record.locals} == WORDS
        assert format_operands(record.operand_stack) == (
            "[funcref → function 2 'f', anyref null, i31ref i31 -7, externref <ours>, "
            "exnref exception of tag 1, (40, -2)]"
        )

    async with open_debuggee(wasmtime.Store(ENGINE), lambda guest: paused(found, guest)) as debuggee:
        debuggee.add_breakpoint("stop")
        await run_to(debuggee, events.Breakpoint)
        await check(debuggee)
        await debuggee.finish()


async def test_what_no_instance_has() -> None:
    async def body(guest: Guest) -> Any:
        instance = await guest.instantiate(None, await load(OTHER))
        opaque = await guest.instantiate(None, wasmtime.Module(ENGINE, '(module (func (export "f")))'))
        foreign = wasmtime.Tag(guest.store, wasmtime.TagType(wasmtime.FuncType([], [])))
        return [
            instance.describe_reference(opaque.exports(guest.store)["f"]),
            instance.describe_reference(instance.make_exception(foreign)),
            instance.describe_reference("text"),
        ]

    async with open_debuggee(wasmtime.Store(ENGINE), body) as debuggee:
        assert (await debuggee.finish()).result == [
            "→ a function of the host or an opaque module",
            "exception of a foreign tag, ()",
            "'text'",
        ]
