"""A scripted client of the gdb server, over streams in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio
import trio.testing
from attrs import define, field

from trio_wasmdbg import serve_gdb
from trio_wasmdbg.gdbremote import encode_packet, unescape

CODE = 0x4000_0000_0000_0000


class MemoryListener(trio.abc.Listener[trio.abc.Stream]):
    """Clients come from :meth:`connect`."""

    def __init__(self) -> None:
        self._in, self._out = trio.open_memory_channel[trio.abc.Stream](100)

    def connect(self) -> trio.StapledStream[Any, Any]:
        ours, theirs = trio.testing.memory_stream_pair()
        self._in.send_nowait(theirs)
        return ours

    async def accept(self) -> trio.abc.Stream:
        return await self._out.receive()

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


@define
class Client:
    """One connection."""

    stream: Any
    ack: bool = True
    _buffer: bytearray = field(factory=bytearray)

    async def send_raw(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def send(self, payload: bytes) -> None:
        await self.send_raw(encode_packet(payload))

    async def receive(self) -> bytes | None:
        """The next packet's payload; None at the end of the stream."""
        while True:
            while bytes(self._buffer[:1]) in (b"+", b"-"):
                del self._buffer[0]
            end = self._buffer.find(b"#")
            if end >= 0 and len(self._buffer) >= end + 3:
                payload = bytes(self._buffer[1:end])
                assert self._buffer[: end + 3] == encode_packet(payload)
                del self._buffer[: end + 3]
                return payload
            data = await self.stream.receive_some(65536)
            if not data:
                return None
            self._buffer += data

    async def ask(self, payload: bytes) -> bytes:
        """Send a packet, receive its reply."""
        await self.send(payload)
        reply = await self.receive()
        assert reply is not None, f"the server has closed the connection after {payload!r}"
        return reply

    async def ask_binary(self, payload: bytes) -> bytes:
        return unescape(await self.ask(payload))

    async def handshake(self) -> None:
        assert await self.ask(b"QStartNoAckMode") == b"OK"
        assert await self.ask(b"QThreadSuffixSupported") == b"OK"
        assert await self.ask(b"QEnableErrorStrings") == b"OK"

    async def stopped(self) -> dict[str, str]:
        """The next stop reply, after any output, taken apart; ``sig`` is the signal."""
        while True:
            payload = await self.receive()
            assert payload is not None
            if payload.startswith(b"O") and payload != b"OK":
                continue
            return parse_stop(payload)

    async def stopped_now(self) -> dict[str, str]:
        return parse_stop(await self.ask(b"?"))

    async def go(self, payload: bytes = b"vCont;c") -> dict[str, str]:
        await self.send(payload)
        return await self.stopped()

    async def end(self) -> None:
        """Wait for the server to close the connection."""
        while await self.receive() is not None:
            pass


def parse_stop(payload: bytes) -> dict[str, str]:
    text = payload.decode()
    if text[0] in "WX":
        return {"end": text}
    assert text[0] == "T", text
    fields = dict(each.split(":") for each in text[3:].split(";") if each)
    return {"sig": text[1:3], **fields}


def hexed(text: str) -> str:
    return text.encode().hex()


@asynccontextmanager
async def serving(target: Any, **options: Any) -> AsyncIterator[MemoryListener]:
    """A server for the length of a block."""
    listener = MemoryListener()
    async with trio.open_nursery() as nursery:

        async def serve(*, task_status: trio.TaskStatus[Any]) -> None:
            await serve_gdb(target, [listener], task_status=task_status, **options)

        await nursery.start(serve)
        yield listener
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def attached(target: Any, **options: Any) -> AsyncIterator[Client]:
    """A client that has shaken hands."""
    async with serving(target, **options) as listener:
        client = Client(listener.connect())
        await client.handshake()
        yield client
