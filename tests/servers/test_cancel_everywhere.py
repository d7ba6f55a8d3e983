"""A client's session, with the server, the debuggee or the connection ended at every step of every task."""

from __future__ import annotations

import struct
from functools import partial
from typing import Any

import pytest
import trio
import wasmtime

from tests.debuggee._cancel_everywhere import cancel_everywhere
from tests.debuggee._support import ENGINE, load, no_leaks
from tests.servers.client import CODE, Client, MemoryListener
from trio_wasmdbg import Debuggee, Guest, events, open_debuggee, serve_gdb

PROGRAM = """
(module
  (memory 1)
  (func $leaf (param i32) (result i32) (i32.add (local.get 0) (i32.const 1)))
  (func (export "main") (result i32)
    (i32.add (call $leaf (i32.const 4)) (i32.load (i32.const 8)))))
"""


class Scene:
    """A debuggee whose guest adds 5 to the word at 8, where the client writes 100."""

    def __init__(self) -> None:
        self.store = wasmtime.Store(ENGINE)
        self.listener = MemoryListener()
        self.stream: trio.StapledStream[Any, Any] | None = None
        self.wrote = "no"
        self.when_client_leaves: Any = "pause"

    async def body(self, guest: Guest) -> Any:
        instance = await guest.instantiate({}, await load(PROGRAM))
        return await guest.call(instance.func("main"))

    async def session(self, leaf: int) -> None:
        """What the client does: to a breakpoint, look, write, a step, and away."""
        self.stream = self.listener.connect()
        client = Client(self.stream)
        await client.handshake()
        assert "reason" in await client.stopped_now()
        assert await client.ask(b"Z0,%x,1" % (CODE + leaf)) == b"OK"
        stop = await client.go()
        assert stop["reason"] == "breakpoint"
        assert await client.ask(b"qWasmLocal:0;0") == struct.pack("<i", 4).hex().encode()
        self.wrote = "maybe"
        assert await client.ask(b"M8,4:64000000") == b"OK"
        self.wrote = "yes"
        assert (await client.go(b"vCont;s:1"))["reason"] in ("trace", "breakpoint")
        await client.stream.aclose()

    async def serve(self, debuggee: Debuggee, leaf: int, *, client_may_fail: bool = False) -> None:
        """The server, with one client from beginning to end."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(
                partial(serve_gdb, debuggee, [self.listener], when_client_leaves=self.when_client_leaves)
            )
            try:
                await self.session(leaf)
            except (AssertionError, KeyError, trio.BrokenResourceError, trio.ClosedResourceError):
                if not client_may_fail:
                    raise
            nursery.cancel_scope.cancel()

    async def finish(self, debuggee: Debuggee) -> None:
        """Whatever the client has left, the holder goes on with it, to the right end."""
        assert debuggee.breakpoints == ()
        kinds = [type(event) async for event in debuggee if not isinstance(event, events.Finished)]
        # The client's own step or breakpoint may have been reached with nobody left to be told, and
        # a guest that ran when the client went was interrupted.
        assert len(kinds) <= 2
        assert set(kinds) <= {events.Step, events.Breakpoint, events.Interrupted, events.InstanceCreated}
        result = (await debuggee.finish()).result
        assert result in {"no": {5}, "maybe": {5, 105}, "yes": {105}}[self.wrote]


async def leaf_offset() -> int:
    offset: int = (await load(PROGRAM)).offsets(0)[0]
    return offset


async def test_serve_cancelled() -> None:
    leaf, outcomes = await leaf_offset(), set()
    async for attempt in cancel_everywhere():
        scene = Scene()
        with trio.fail_after(20):
            async with open_debuggee(scene.store, scene.body) as debuggee:
                await attempt.make(partial(scene.serve, debuggee, leaf), family=True)
                await scene.finish(debuggee)
        outcomes.add(scene.wrote)
        assert no_leaks() == [], str(attempt)
    assert outcomes == {"no", "maybe", "yes"}


async def test_another_client_after_a_cancelled_server() -> None:
    leaf = await leaf_offset()
    async for attempt in cancel_everywhere():
        scene = Scene()
        with trio.fail_after(20):
            async with open_debuggee(scene.store, scene.body) as debuggee:
                await attempt.make(partial(scene.serve, debuggee, leaf), family=True)
                # A connection that nobody has accepted is not this one's.
                scene.listener = MemoryListener()
                # It does not find the guest where the first one has found it.
                await scene.serve(debuggee, leaf, client_may_fail=True)
                await scene.finish(debuggee)


async def test_the_debuggee_is_dropped() -> None:
    """The server's client is told, or cut off; nothing is raised."""
    leaf = await leaf_offset()
    async for attempt in cancel_everywhere():
        scene = Scene()
        with trio.fail_after(20):
            async with open_debuggee(scene.store, scene.body) as debuggee:
                serve = partial(scene.serve, debuggee, leaf, client_may_fail=True)
                await attempt.make(serve, family=True, instead=debuggee.cancel)
        assert no_leaks() == [], str(attempt)


@pytest.mark.parametrize("when_client_leaves", ["pause", "resume", "kill"])
async def test_the_connection_is_lost(when_client_leaves: Any) -> None:
    leaf = await leaf_offset()

    async for attempt in cancel_everywhere():
        scene = Scene()
        scene.when_client_leaves = when_client_leaves

        def hang_up(scene: Scene = scene) -> None:
            if scene.stream is not None:
                scene.stream.send_stream.close()
                scene.stream.receive_stream.close()

        with trio.fail_after(20):
            async with open_debuggee(scene.store, scene.body) as debuggee:
                serve = partial(scene.serve, debuggee, leaf, client_may_fail=True)
                await attempt.make(serve, family=True, instead=hang_up)
                if when_client_leaves != "kill":
                    await scene.finish(debuggee)
        assert no_leaks() == [], str(attempt)
