"""Watchpoints and conditions: offered where the target has them, and only there."""

from __future__ import annotations

from typing import Any

from tests.servers.client import CODE, attached
from trio_wasmdbg import ExpressionError, ModuleOffset, NotFoundError, events
from trio_wasmdbg.abc import BreakpointToken, ConditionTarget, TargetInstance, TargetModule, WatchpointTarget
from trio_wasmdbg.testing import FAKE_START, FakeTarget


class Hit:
    """What a ``Watch`` event says of one watchpoint."""

    def __init__(self, watchpoint: object, address: int) -> None:
        self.watchpoint = watchpoint
        self.address = address


class AbleTarget(FakeTarget, WatchpointTarget, ConditionTarget):
    """A fake that notes what it is asked for, and reports a hit at its first instruction."""

    def __init__(self) -> None:
        super().__init__(["nop"] * 5)
        self.watched: list[tuple[int, int, int, str]] = []
        self.conditions: list[str] = []
        self.hit: Hit | None = None

    def add_watchpoint(
        self, instance: TargetInstance, memory: int, address: int, size: int, access: str
    ) -> BreakpointToken:
        watched = (memory, address, size, access)
        self.watched.append(watched)
        self.hit = Hit(watched, address)
        return watched

    def add_conditional_breakpoint(
        self, module: TargetModule, offset: ModuleOffset, condition: str
    ) -> BreakpointToken:
        if condition == "(((":
            raise ExpressionError("expected a value, not the end", text=condition, column=4)
        self.conditions.append(condition)
        return self.add_breakpoint(module, offset)

    def remove_breakpoint(self, token: BreakpointToken) -> None:
        if token in self.watched:
            self.watched.remove(token)
        super().remove_breakpoint(token)

    async def run(self) -> events.Event:
        event = await super().run()
        if self.hit is not None:
            hit, self.hit = self.hit, None
            return events.Watch(None, None, hits=(hit,))  # type: ignore[arg-type]
        return event


async def test_watchpoints() -> None:
    target = AbleTarget()
    async with attached(target) as client:
        assert await client.ask(b"qWatchpointSupportInfo:") == b"num:1024;"
        target.add_breakpoint(target.instances[0].module, ModuleOffset(FAKE_START + 1))
        for packet in (b"2,10,4", b"2,10,4", b"3,20,8", b"4,30,1"):
            assert await client.ask(b"Z" + packet) == b"OK"
        assert target.watched == [(0, 16, 4, "write"), (0, 32, 8, "read"), (0, 48, 1, "access")]
        stop = await client.go()
        assert (stop["sig"], stop["reason"]) == ("05", "watchpoint")
        assert bytes.fromhex(stop["description"]) == b"48 0 48"
        assert await client.ask(b"z3,20,8") == b"OK"
        assert await client.ask(b"z3,20,8") == b"OK"
        assert target.watched == [(0, 16, 4, "write"), (0, 48, 1, "access")]
        for refused in (b"Z2,100,4", b"Z2,fe,4", b"Z2,%x,1" % CODE, b"Z2,200000000,1"):
            assert (await client.ask(refused)).startswith(b"E"), refused
        assert len(target.watched) == 2
        assert await client.ask(b"D") == b"OK"
        await client.end()
    assert target.watched == [], "they go with the client"


async def test_watchpoints_by_a_memorys_own_address() -> None:
    target = AbleTarget()
    async with attached(target) as client:
        target.add_breakpoint(target.instances[0].module, ModuleOffset(FAKE_START + 1))
        assert await client.ask(b"Z2,100000010,4") == b"OK"
        stop = await client.go()
        assert bytes.fromhex(stop["description"]) == f"{0x1_0000_0010} 0 {0x1_0000_0010}".encode()


async def monitor(client: Any, text: str) -> str:
    shown, reply = b"", await client.ask(b"qRcmd," + text.encode().hex().encode())
    while reply != b"OK":
        shown += bytes.fromhex(reply[1:].decode())
        reply = await client.receive()
    return shown.decode()


async def test_conditions() -> None:
    target, place = AbleTarget(), CODE + FAKE_START + 2
    async with attached(target) as client:
        assert "once it is set" in await monitor(client, f"condition {place:#x} local[0] == 1")
        assert target.tokens == []
        await client.ask(b"Z0,%x,1" % place)
        assert target.conditions[-1] == "local[0] == 1"
        assert "expected a value" in await monitor(client, f"condition {place:#x} (((")
        assert len(target.tokens) == 1, "the old one stands"
        assert f"breakpoint {place:#x} if local[0] == 1" in await monitor(client, "state")
        # As clients step over it: it has its condition when it comes back.
        made = len(target.conditions)
        await client.ask(b"z0,%x,1" % place)
        await client.ask(b"Z0,%x,1" % place)
        assert target.conditions[made:] == ["local[0] == 1"]
        assert "pauses always" in await monitor(client, f"condition {place:#x}")
        assert len(target.tokens) == 1
        assert "wanted: ADDRESS" in await monitor(client, "condition")
        assert (await client.go())["reason"] == "breakpoint"


async def test_no_condition_where_the_target_knows_none() -> None:
    async with attached(FakeTarget()) as client:
        assert "evaluates no conditions" in await monitor(client, "condition 0x4000000000000011 1")
        assert await client.ask(b"Z2,10,4") == b""
    assert issubclass(NotFoundError, LookupError)
