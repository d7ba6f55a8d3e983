"""Clients that are no debuggers, or bad ones: nothing of what they do reaches beyond their own session."""

from __future__ import annotations

import os
import random
import socket
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.gdbremote.test_commands import CASES, MALFORMED
from tests.servers.client import CODE, Client, MemoryListener, serving
from trio_wasmdbg import serve_gdb
from trio_wasmdbg.gdbremote import encode_packet
from trio_wasmdbg.testing import FAKE_START, FakeTarget

EXAMPLES = int(os.environ.get("TRIO_WASMDBG_FUZZ", "60"))
"""How many streams of bytes; a real fuzzing run asks for more."""


async def check_it_still_serves(listener: MemoryListener, target: FakeTarget) -> None:
    """A proper client comes, sets a breakpoint, hits it, and leaves."""
    client = Client(listener.connect())
    await client.handshake()
    if target.finished is None:
        assert target.tokens == [], "no breakpoint of an earlier client is left"
        assert (await client.stopped_now())["sig"]
        assert await client.ask(b"Z0,%x,1" % (CODE + FAKE_START + 2)) == b"OK"
        assert await client.ask(b"z0,%x,1" % (CODE + FAKE_START + 2)) == b"OK"
    await client.stream.aclose()


async def play(stream: bytes, pieces: int = 1) -> None:
    """Send these bytes, in pieces, and hang up; then see whether all is well."""
    target = FakeTarget(["nop"] * 3 + ["spin"] + ["nop"] * 3)
    async with serving(target) as listener:
        for _ in range(2):
            client = Client(listener.connect())
            size = max(1, -(-len(stream) // pieces))
            try:
                for at in range(0, len(stream), size):
                    await client.send_raw(stream[at : at + size])
                    await trio.testing.wait_all_tasks_blocked()
            except trio.BrokenResourceError:
                pass  # cut off
            await client.stream.aclose()
            await trio.testing.wait_all_tasks_blocked()
            if target.finished is not None:
                return  # killed, or run to its end: the server has nothing left to serve
            with trio.fail_after(100):
                await check_it_still_serves(listener, target)


def run(stream: bytes, pieces: int = 1) -> None:
    trio.run(play, stream, pieces, clock=trio.testing.MockClock(autojump_threshold=0))


KNOWN = [encode_packet(payload) for payload, _ in CASES] + [encode_packet(each) for each in MALFORMED]
BITS = st.one_of(
    st.sampled_from(KNOWN),
    st.sampled_from([b"+", b"-", b"\x03", b"$", b"#", b"}", b"$#00", b"$m0,1#00", b"\xff"]),
    st.binary(max_size=30),
    st.builds(lambda address: encode_packet(b"Z0,%x,1" % (CODE + address)), st.integers(0, 64)),
    st.sampled_from([encode_packet(each) for each in (b"c", b"vCont;s:1", b"s", b"D", b"?", b"g")]),
)


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.lists(BITS, max_size=15).map(b"".join), st.integers(1, 20))
@example(encode_packet(b"c") + b"\x03" + encode_packet(b"c"), 1)
@example(encode_packet(b"c") * 3, 3)
@example(b"$" + b"a" * 300_000, 2)
@example(b"GET / HTTP/1.1\r\n" * 100, 1)
def test_any_bytes(stream: bytes, pieces: int) -> None:
    run(stream, pieces)


@pytest.mark.parametrize("seed", range(8))
def test_random_damage(seed: int) -> None:
    dice = random.Random(seed)
    stream = bytearray(b"".join(dice.choices(KNOWN, k=40)))
    for _ in range(30):
        stream[dice.randrange(len(stream))] = dice.randrange(256)
    run(bytes(stream), dice.randrange(1, 5))


SESSION = b"".join(
    encode_packet(payload)
    for payload in (
        b"QStartNoAckMode", b"qSupported", b"?", b"Z0,%x,1" % (CODE + FAKE_START + 1), b"c",
        b"qWasmCallStack:1", b"z0,%x,1" % (CODE + FAKE_START + 1), b"vCont;s:1", b"x0,10", b"c",
    )
)  # fmt: skip


@pytest.mark.parametrize("end", range(0, len(SESSION) + 1, 1))
def test_disconnection_at_any_byte(end: int) -> None:
    run(SESSION[:end])


async def test_who_says_nothing_is_cut_off(autojump_clock: trio.testing.MockClock) -> None:
    target = FakeTarget()
    async with serving(target) as listener:
        client = Client(listener.connect())
        begun = trio.current_time()
        await client.end()
        assert trio.current_time() - begun == pytest.approx(10)
        await check_it_still_serves(listener, target)


async def test_who_sends_a_byte_now_and_then_is_cut_off(autojump_clock: trio.testing.MockClock) -> None:
    target = FakeTarget()
    async with serving(target) as listener:
        client = Client(listener.connect())
        begun = trio.current_time()
        with pytest.raises(trio.BrokenResourceError):
            await client.send_raw(b"$")
            while trio.current_time() - begun < 1000:
                await trio.sleep(5)
                await client.send_raw(b"q")
        assert trio.current_time() - begun < 60
        await check_it_still_serves(listener, target)


async def test_who_thinks_for_a_day_is_not(autojump_clock: trio.testing.MockClock) -> None:
    async with serving(FakeTarget()) as listener:
        client = Client(listener.connect())
        await client.handshake()
        await trio.sleep(24 * 3600)
        assert await client.ask(b"qC") == b"QC1"


async def test_who_does_not_take_replies_is_cut_off(autojump_clock: trio.testing.MockClock) -> None:
    class Deaf(trio.abc.SendStream):
        async def send_all(self, data: Any) -> None:
            await trio.sleep_forever()

        async def wait_send_all_might_not_block(self) -> None:
            await trio.sleep_forever()

        async def aclose(self) -> None:
            await trio.lowlevel.checkpoint()

    target, listener = FakeTarget(), MemoryListener()
    ours, theirs = trio.testing.memory_stream_pair()
    listener._in.send_nowait(trio.StapledStream(Deaf(), theirs.receive_stream))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_gdb, target, [listener])
        await ours.send_all(encode_packet(b"qC"))
        await trio.testing.wait_all_tasks_blocked()
        await trio.sleep(31)
        await check_it_still_serves(listener, target)
        nursery.cancel_scope.cancel()


async def test_a_flood_of_packets_while_the_guest_runs() -> None:
    target = FakeTarget(["nop", "spin", "nop"])
    async with serving(target) as listener:
        client = Client(listener.connect())
        await client.handshake()
        await client.send_raw(encode_packet(b"c") + encode_packet(b"qC") * 50)
        await trio.testing.wait_all_tasks_blocked()
        await client.send_raw(b"\x03")
        assert (await client.stopped())["sig"] == "02"
        for _ in range(50):
            assert await client.receive() == b"QC1"


async def test_a_reset_over_tcp() -> None:
    target = FakeTarget(["nop", "spin"])
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_gdb, target, listeners)
        for payload in (b"c", b"qXfer:libraries:read::0,1ffff", b"m0,100"):
            stream = await trio.testing.open_stream_to_socket_listener(listeners[0])
            client = Client(stream)
            await client.handshake()
            await client.send(payload)
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            await stream.aclose()
        client = Client(await trio.testing.open_stream_to_socket_listener(listeners[0]))
        await client.handshake()
        assert (await client.stopped_now())["sig"]
        await client.stream.aclose()
        nursery.cancel_scope.cancel()
