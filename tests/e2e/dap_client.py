"""A small client of the Debug Adapter Protocol, to drive ``lldb-dap-22`` as an editor does."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio
from attrs import define, field

from tests.e2e.lldb_client import LLDB_DAP


@define
class DapClient:
    """Requests and their answers; events are kept in order."""

    process: trio.Process
    events: list[dict[str, Any]] = field(factory=list)
    _answers: dict[int, dict[str, Any]] = field(factory=dict)
    _numbers: Any = field(factory=lambda: itertools.count(1))
    _buffer: bytearray = field(factory=bytearray)

    async def send(self, command: str, **arguments: Any) -> int:
        number: int = next(self._numbers)
        request = {"seq": number, "type": "request", "command": command, "arguments": arguments}
        body = json.dumps(request).encode()
        assert self.process.stdin is not None
        await self.process.stdin.send_all(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
        return number

    async def _message(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        while True:
            head, found, rest = bytes(self._buffer).partition(b"\r\n\r\n")
            if found:
                size = int(head.lower().partition(b"content-length:")[2].split()[0])
                if len(rest) >= size:
                    del self._buffer[: len(head) + 4 + size]
                    message: dict[str, Any] = json.loads(rest[:size])
                    return message
            part = await self.process.stdout.receive_some()
            assert part, "lldb-dap has ended"
            self._buffer += part

    async def answer(self, number: int) -> dict[str, Any]:
        """Wait for the answer to a request."""
        while number not in self._answers:
            message = await self._message()
            if message["type"] == "response":
                self._answers[message["request_seq"]] = message
            elif message["type"] == "event":
                self.events.append(message)
        answer = self._answers.pop(number)
        assert answer["success"], answer
        body: dict[str, Any] = answer.get("body") or {}
        return body

    async def request(self, command: str, **arguments: Any) -> dict[str, Any]:
        return await self.answer(await self.send(command, **arguments))

    async def event(self, name: str) -> dict[str, Any]:
        """The next event of this name; earlier ones are dropped."""
        while True:
            while self.events:
                event = self.events.pop(0)
                if event["event"] == name:
                    body: dict[str, Any] = event.get("body") or {}
                    return body
            message = await self._message()
            if message["type"] == "response":
                self._answers[message["request_seq"]] = message
            else:
                self.events.append(message)


@asynccontextmanager
async def lldb_dap() -> AsyncIterator[DapClient]:
    """A running ``lldb-dap-22``."""
    assert LLDB_DAP is not None
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    process = await trio.lowlevel.open_process(
        [LLDB_DAP], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
    )
    try:
        with trio.fail_after(60):
            yield DapClient(process)
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
