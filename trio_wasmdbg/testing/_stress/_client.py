"""A debug client that connects to a paused guest, asks this and that, and is cut off."""

from __future__ import annotations

import random
from functools import partial

import trio
import trio.testing

from trio_wasmdbg import Debuggee, serve_gdb

__all__ = ["disconnecting_client"]

_PACKETS = (
    b"qSupported:xmlRegisters=i386",
    b"QStartNoAckMode",
    b"qHostInfo",
    b"qProcessInfo",
    b"qfThreadInfo",
    b"?",
    b"g",
    b"p0",
    b"m0,10",
    b"m4000000000000000,40",
    b"qWasmCallStack:1;",
    b"qWasmLocal:0;0",
    b"qXfer:libraries:read::0,ffff",
    b"qMemoryRegionInfo:0",
    b"jThreadsInfo",
    b"Z0,4000000000000050,1",
    b"z0,4000000000000050,1",
    b"qnonsense",
    b"",
)
"""Nothing that resumes the guest: the events are the holder's."""


class _OneConnection(trio.abc.Listener[trio.abc.Stream]):
    def __init__(self, stream: trio.abc.Stream) -> None:
        self._streams = [stream]

    async def accept(self) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        if not self._streams:
            await trio.sleep_forever()
        return self._streams.pop()

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


def _packet(payload: bytes) -> bytes:
    return b"$%s#%02x" % (payload, sum(payload) % 256)


async def disconnecting_client(debuggee: Debuggee, rng: random.Random) -> None:
    """One connection, from beginning to a sudden end; the guest stays paused."""
    near, far = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(serve_gdb, debuggee, [_OneConnection(far)], when_client_leaves="pause"))
        data = b"+" + b"".join(_packet(rng.choice(_PACKETS)) for _ in range(rng.randint(0, 6)))
        if rng.random() < 0.3:
            data = data[: rng.randint(0, len(data))]
        if data:
            await near.send_all(data)
        for _ in range(rng.choice((0, 1, 3, 10, 30))):
            await trio.lowlevel.checkpoint()
        if rng.random() < 0.5:
            await trio.aclose_forcefully(near)
            for _ in range(rng.choice((0, 1, 3, 10))):
                await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    await trio.aclose_forcefully(near)
    await trio.aclose_forcefully(far)
