"""The gdb server on real debuggees, where the fake can't stand for them."""

from __future__ import annotations

import random
from typing import Any

import pytest
import trio
import wasmtime

from tests.gdbremote.test_commands import CASES
from tests.servers.client import CODE, Client, attached, serving
from tests.servers.test_gdb_capabilities import monitor
from trio_wasmdbg import GuestModule, debug_wasm, load_module, make_engine
from trio_wasmdbg.gdbremote import encode_packet

THROWS = """(module (memory 1) (tag $oops (param i32))
  (func $thrower (param i32) local.get 0 throw $oops)
  (func (export "main")
    (block $caught (result i32)
      (try_table (catch $oops $caught) (call $thrower (i32.const 7))) i32.const 0)
    drop
    (call $thrower (i32.const 8))))"""


async def module_of(wat: str) -> GuestModule:
    return await load_module(make_engine(), bytes(wasmtime.wat2wasm(wat)))


async def test_uncaught_exceptions_are_stops() -> None:
    async with debug_wasm(await module_of(THROWS), "main") as debuggee, attached(debuggee) as client:
        stop = await client.go()
        text = bytes.fromhex(stop["description"]).decode()
        assert (stop["reason"], text) == ("exception", "uncaught wasm exception of tag 0, payload (8,)")
        assert "end" in await client.go()
        await client.stream.aclose()


async def test_all_exceptions_or_none() -> None:
    async with debug_wasm(await module_of(THROWS), "main") as debuggee, attached(debuggee) as client:
        assert "uncaught" in await monitor(client, "exceptions")
        assert "wanted" in await monitor(client, "exceptions some")
        await monitor(client, "exceptions all")
        stop = await client.go()
        text = bytes.fromhex(stop["description"]).decode()
        assert text == "caught wasm exception of tag 0, payload (7,)"
        await monitor(client, "exceptions none")
        stop = await client.go()
        assert "end" in stop or "uncaught" not in bytes.fromhex(stop["description"]).decode()
        if "end" not in stop:
            await client.go()
        await client.stream.aclose()


TWO = """(module $two (memory 1) (memory 1) (data (memory 1) (i32.const 0) "second")
  (data (memory 0) (i32.const 0) "first!") (global (mut i64) (i64.const -2)) (global f64 (f64.const 1.5))
  (func (export "main") (param f32 i64) (result i64) (local v128 funcref)
    local.get 1 i64.const 5 i64.add))"""


async def test_memories_and_values_of_all_widths() -> None:
    async with debug_wasm(await module_of(TWO), "main", [2.5, -1]) as debuggee:
        async with attached(debuggee) as client:
            await client.go(b"vCont;s:1")
            await client.go(b"vCont;s:1")
            assert bytes.fromhex((await client.ask(b"m0,6")).decode()) == b"first!"
            assert bytes.fromhex((await client.ask(b"m%x,6" % (1 << 32))).decode()) == b"first!"
            assert bytes.fromhex((await client.ask(b"m%x,6" % (2 << 32))).decode()) == b"second"
            assert await client.ask(b"M%x,2:4142" % (2 << 32)) == b"OK"
            assert bytes.fromhex((await client.ask(b"m%x,3" % (2 << 32))).decode()) == b"ABc"
            assert await client.ask(b"qWasmLocal:0;0") == b"00002040"
            assert await client.ask(b"qWasmLocal:0;1") == b"f" * 16
            assert await client.ask(b"qWasmLocal:0;2") == b"0" * 32
            assert (await client.ask(b"qWasmLocal:0;3")).startswith(b"E"), "a reference has no bytes"
            assert await client.ask(b"qWasmGlobal:0;0") == b"feffffffffffffff"
            assert await client.ask(b"qWasmGlobal:0;1") == b"000000000000f83f"
            assert await client.ask(b"qWasmStackValue:0;0") == b"f" * 16
            assert await client.ask(b"qWasmStackValue:0;1") == b"0500000000000000"
            assert (await client.ask(b"qWasmStackValue:0;2")).startswith(b"E")
            assert "immutable" in await monitor(client, "set-global 1 f64 2")
            assert "= 10" in await monitor(client, "set-local 1 i64 10")
            assert await client.go() == {"end": "W00"}
            await client.stream.aclose()
        finished = debuggee.debug_target().finished
        assert finished is not None
        assert finished.result == 10 + 5 or finished.result == 4, "the operand was on the stack already"


async def test_a_guest_that_waits_in_wasi_is_given_up(autojump_clock: Any) -> None:
    """It can't be paused there; the client gets its stop all the same."""
    from trio_wasmdbg.testing import FakeTarget

    class Stubborn(FakeTarget):
        def interrupt(self) -> None:
            pass

    target = Stubborn(["nop", "spin", "nop"])
    async with attached(target) as client:
        await client.send(b"c")
        await client.send_raw(b"\x03")
        stop = await client.stopped()
        assert (stop["sig"], stop["thread-pcs"]) == ("02", f"{CODE:016x}")
        for refused in (b"m0,4", b"qWasmLocal:0;0", b"M0,1:00"):
            assert (await client.ask(refused)).startswith(b"E")
        assert len(await client.ask(b"qWasmCallStack:1")) == 16
        target.release()
        assert await client.go() == {"end": "W00"}


SPIN = """(module (memory 1) (func (export "main") (local i32)
  (loop $on (local.set 0 (i32.add (local.get 0) (i32.const 1)))
    (i32.store (i32.const 8) (local.get 0)) (br_if $on (i32.lt_u (local.get 0) (i32.const 200000))))))"""


@pytest.mark.parametrize("seed", range(6))
async def test_random_packets_leave_the_guest_as_it_was(seed: int) -> None:
    dice = random.Random(seed)
    offsets = range(0x20, 0x60)
    harmless = [
        encode_packet(payload)
        for payload, _ in CASES
        if payload[:1] not in (b"k", b"D", b"M", b"X", b"P") and not payload.startswith((b"vKill", b"qRcmd"))
    ]
    async with debug_wasm(await module_of(SPIN), "main") as debuggee:
        async with serving(debuggee, when_client_leaves="pause") as listener:
            for _ in range(4):
                client = Client(listener.connect())
                packets = dice.choices(harmless, k=25)
                packets += [encode_packet(b"Z0,%x,1" % (CODE + dice.choice(offsets))) for _ in range(3)]
                packets += [encode_packet(b"Z2,8,4"), b"\x03", b"\x03"]
                dice.shuffle(packets)
                try:
                    await client.send_raw(b"".join(packets))
                    with trio.move_on_after(dice.random() / 5):
                        await client.end()
                except trio.BrokenResourceError:
                    pass
                await client.stream.aclose()
                if debuggee.is_complete:
                    break
            with trio.fail_after(20):
                client = Client(listener.connect())
                if not debuggee.is_complete:
                    await client.handshake()
                    assert await client.ask(b"D") == b"OK"
                    await client.end()
        with trio.fail_after(30):
            finished = debuggee.debug_target().finished or await debuggee.finish()
        assert finished.error is None
        view = await debuggee.with_store(lambda view: view.instances[0].read_memory(8, 4))
        assert int.from_bytes(view, "little") == 200_000
        assert debuggee.breakpoints == ()
