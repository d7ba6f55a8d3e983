"""The gdb server, packet by packet, on the fake target."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from tests.servers.client import CODE, Client, attached, hexed, serving
from trio_wasmdbg import DebuggerError, GuestOutput, ModuleOffset
from trio_wasmdbg.testing import FAKE_BODY, FAKE_START, FakeModule, FakeTarget


def at(position: int) -> str:
    return f"{CODE + FAKE_START + position:016x}"


def runs(target: FakeTarget) -> bool:
    return target.running


async def test_handshake_as_lldb_sends_it() -> None:
    async with attached(FakeTarget()) as client:
        supported = await client.ask(b"qSupported:xmlRegisters=i386;multiprocess+")
        assert b"PacketSize=20000" in supported
        assert b"qXfer:libraries:read+" in supported
        assert b"Reverse" not in supported, "what is not there is not advertised"
        assert b"features" not in supported, "LLDB reads the register by qRegisterInfo"
        assert b"qXfer:features:read+" in await client.ask(b"qSupported")
        triple = hexed("wasm32-unknown-unknown-wasm")
        assert await client.ask(b"qHostInfo") == f"triple:{triple};endian:little;ptrsize:4;".encode()
        assert await client.ask(b"vCont?") == b"vCont;c;C;s;S"
        assert b"pid:1;" in await client.ask(b"qProcessInfo")
        assert (await client.ask(b"qRegisterInfo0")).startswith(b"name:pc;")
        assert (await client.ask(b"qRegisterInfo1")).startswith(b"E45")
        assert b"<reg " in await client.ask(b"qXfer:features:read:target.xml:0,1ffff")
        assert await client.ask(b"x0,0") == b"b"
        for unknown in (b"qSymbol::", b"jThreadsInfo", b"_M1000,rw", b"qWatchpointSupportInfo:", b"bc"):
            assert await client.ask(unknown) == b"", unknown


async def test_it_is_stopped_at_the_first_instruction() -> None:
    async with attached(FakeTarget(name="main")) as client:
        reply = await client.ask(b"?")
        assert reply.decode() == (
            f"T05thread:1;threads:1;thread-pcs:{at(0)};00:{(CODE + FAKE_START).to_bytes(8, 'little').hex()};"
            f"hexname:{hexed('main')};reason:trace;"
        )
        assert await client.ask(b"qXfer:libraries:read::0,1ffff") == (
            b'l<library-list><library name="fake.wasm"><section address="0x4000000000000000"/></library>'
            b"</library-list>"
        )
        pc, caller = CODE + FAKE_START, CODE + FAKE_START + 1
        stack = await client.ask(b"qWasmCallStack:1")
        assert stack == (pc.to_bytes(8, "little") + caller.to_bytes(8, "little")).hex().encode()
        assert await client.ask(b"p0;thread:0001;") == pc.to_bytes(8, "little").hex().encode()


async def test_steps_and_end() -> None:
    async with attached(FakeTarget(["nop"] * 3)) as client:
        for position in (1, 2):
            stop = await client.go(b"vCont;s:1")
            assert (stop["sig"], stop["reason"], stop["thread-pcs"]) == ("05", "trace", at(position))
        assert await client.go(b"s") == {"end": "W00"}
        await client.stream.aclose()


@pytest.mark.parametrize(
    ("program", "end"),
    [(["exit 3"], "W03"), (["exit 256"], "W00"), (["trap oops"], "W01"), (["nop"], "W00")],
)
async def test_how_it_ends(program: list[str], end: str) -> None:
    async with attached(FakeTarget(program)) as client:
        await client.send(b"c")
        stop = await client.stopped()
        if "trap oops" in program:
            assert (stop["sig"], stop["reason"]) == ("04", "exception")
            assert bytes.fromhex(stop["description"]) == b"wasm trap: oops"
            stop = await client.go(b"c")
        assert stop == {"end": end}


async def test_breakpoint() -> None:
    async with attached(FakeTarget()) as client:
        address = f"{CODE + FAKE_START + 2:x}".encode()
        assert await client.ask(b"Z0,%b,1" % address) == b"OK"
        assert await client.ask(b"Z0,%b,1" % address) == b"OK", "inserting is idempotent"
        stop = await client.go()
        assert (stop["sig"], stop["reason"], stop["thread-pcs"]) == ("05", "breakpoint", at(2))
        # As LLDB does it: take it away, step, put it back, go on.
        assert await client.ask(b"z0,%b,1" % address) == b"OK"
        assert (await client.go(b"vCont;s:1"))["reason"] == "trace"
        assert await client.ask(b"Z0,%b,1" % address) == b"OK"
        assert await client.go() == {"end": "W00"}


async def test_a_breakpoint_where_it_stands_stops_it_at_once() -> None:
    """As a trap instruction would: clients take a breakpoint away before they step over it."""
    async with attached(FakeTarget()) as client:
        await client.ask(b"Z0,%x,1" % (CODE + FAKE_START))
        for _ in range(2):
            stop = await client.go()
            assert (stop["reason"], stop["thread-pcs"]) == ("breakpoint", at(0))


async def test_a_breakpoint_on_the_first_byte_stops_at_the_address_that_was_asked_for() -> None:
    async with attached(FakeTarget()) as client:
        asked = CODE + FAKE_BODY
        assert await client.ask(b"Z0,%x,1" % asked) == b"OK"
        stop = await client.go()
        assert (stop["reason"], stop["thread-pcs"]) == ("breakpoint", f"{asked:016x}")
        assert (await client.ask(b"qWasmCallStack:1")).startswith(asked.to_bytes(8, "little").hex().encode())
        # One on the instruction itself comes right after it.
        assert await client.ask(b"Z0,%x,1" % (CODE + FAKE_START)) == b"OK"
        assert await client.ask(b"z0,%x,1" % asked) == b"OK"
        stop = await client.go(b"vCont;s:1")
        assert (stop["reason"], stop["thread-pcs"]) == ("breakpoint", at(0))


async def test_the_applications_own_breakpoints_are_told_in_words() -> None:
    target = FakeTarget()
    target.add_breakpoint(FakeModule(), ModuleOffset(FAKE_START + 1))
    async with attached(target) as client:
        stop = await client.go()
        assert stop["reason"] == "exception"
        assert b"of the application" in bytes.fromhex(stop["description"])


@pytest.mark.parametrize("address", [CODE, CODE + 0x80, CODE + (1 << 32), 0, 1 << 63, (1 << 64) - 1])
async def test_a_breakpoint_outside_of_code_is_refused(address: int) -> None:
    async with attached(FakeTarget()) as client:
        assert (await client.ask(b"Z0,%x,1" % address)).startswith(b"E")
        assert await client.ask(b"z0,%x,1" % address) == b"OK"
        assert await client.go() == {"end": "W00"}


async def test_memory() -> None:
    async with attached(FakeTarget()) as client:
        assert await client.ask(b"M10,4:beef0023") == b"OK"
        assert await client.ask(b"m10,4") == b"beef0023"
        assert await client.ask_binary(b"x10,4") == b"b\xbe\xef\0#"
        assert await client.ask(b"X12,2:\x01}\x03") == b"OK"
        assert await client.ask(b"mf,6") == b"00beef012300"
        one = (1 << 32) + 0x10
        assert await client.ask(b"m%x,2" % one) == b"beef", "every memory has a number of its own, too"
        assert await client.ask(b"mfe,10") == b"0000", "a read ends where the memory does"
        for refused in (b"m100,1", b"xffff0110,4", b"Mff,2:0102", b"m200000000,1", b"M%x,1:00" % CODE):
            assert (await client.ask(refused)).startswith(b"E"), refused
        assert await client.ask(b"mff,1") == b"00", "a refused write has written nothing"
        assert await client.ask_binary(b"x%x,4" % (CODE + 0x23)) == b"b#$%&"
        assert (await client.ask(b"x%x,4" % (CODE + 0x100))).startswith(b"E")
        assert await client.ask(b"m%x,8" % (CODE + 0xFC)) == b"fcfdfeff"


async def test_a_read_of_everything_is_cut() -> None:
    async with attached(FakeTarget()) as client:
        assert len(await client.ask(b"m0,ffffffffffffffff")) == 512
        assert await client.ask(b"m0,0") == b""


async def test_regions_tile_everything() -> None:
    async with attached(FakeTarget()) as client:
        assert await client.ask(b"qMemoryRegionInfo") == b"OK"
        address, named = 0, []
        while address < 1 << 64:
            reply = (await client.ask(b"qMemoryRegionInfo:%x" % address)).decode()
            fields = dict(each.split(":") for each in reply.split(";") if each)
            assert int(fields["start"], 16) == address
            address += int(fields["size"], 16)
            if "name" in fields:
                named.append((bytes.fromhex(fields["name"]).decode(), fields["permissions"]))
        assert named == [
            ("memory 0 of the selected frame", "rw"),
            ("memory 0 of instance 1 of thread 1", "rw"),
            ("fake.wasm", "rx"),
        ]


async def test_wasm_values() -> None:
    async with attached(FakeTarget()) as client:
        assert await client.ask(b"qWasmLocal:0;1") == b"08000000"
        assert await client.ask(b"qWasmGlobal:0;0") == b"05000000"
        for refused in (b"qWasmLocal:0;2", b"qWasmLocal:9;0", b"qWasmStackValue:0;0", b"qWasmGlobal:0;1"):
            assert (await client.ask(refused)).startswith(b"E"), refused


async def test_registers() -> None:
    async with attached(FakeTarget()) as client:
        pc = (CODE + FAKE_START).to_bytes(8, "little").hex().encode()
        assert await client.ask(b"g") == pc
        assert await client.ask(b"P0=%b;thread:1;" % pc) == b"OK"
        assert (await client.ask(b"P0=0000000000000000")).startswith(b"E")
        assert (await client.ask(b"p1")).startswith(b"E")


async def test_monitor() -> None:
    async with attached(FakeTarget()) as client:

        async def monitor(text: str) -> str:
            shown, reply = b"", await client.ask(b"qRcmd," + text.encode().hex().encode())
            while reply != b"OK":
                assert reply.startswith(b"O")
                shown += bytes.fromhex(reply[1:].decode())
                following = await client.receive()
                assert following is not None
                reply = following
            return shown.decode()

        assert "locals [FRAME]" in await monitor("help")
        assert await monitor("") == await monitor("help")
        assert "no monitor command 'reboot'" in await monitor("reboot")
        assert "thread 1 (fake) is stopped" in await monitor("state")
        assert "local[1] = 8" in await monitor("locals")
        assert "local 1 of frame 0 = -2" in await monitor("set-local 1 i32 -2")
        assert await client.ask(b"qWasmLocal:0;1") == b"feffffff"
        assert "global 0 = 0x10" in await monitor("set-global 0 i32 0x10")
        assert await client.ask(b"qWasmGlobal:0;0") == b"10000000"
        for wrong in (
            "set-local", "set-local 1", "set-local x i32 1", "set-local 1 i128 1", "set-local 1 i32 x",
            "set-local 1 i32 99999999999", "set-local 1 i64 1", "set-local 77 i32 1", "locals 99",
            "locals 1 2",
            "set-local 1 i32 __import__('os').abort()", "locals 'x", "set-local 1 f32 1e999",
        ):  # fmt: skip
            reply = await client.ask(b"qRcmd," + wrong.encode().hex().encode())
            if not reply.startswith(b"E"):
                assert reply.startswith(b"O")
                assert await client.receive() == b"OK"
        assert "Step: 1" in await monitor("statistics")


async def test_interrupt() -> None:
    target = FakeTarget(["nop", "spin", "nop"])
    async with attached(target) as client:
        for _ in range(2):
            await client.send(b"c")
            await trio.testing.wait_all_tasks_blocked()
            assert target.computing
            await client.send_raw(b"\x03")
            stop = await client.stopped()
            assert (stop["sig"], stop["reason"], stop["thread-pcs"]) == ("02", "signal", at(1))


async def test_interrupt_of_a_guest_in_a_host_function() -> None:
    target = FakeTarget(["nop", "wait", "nop", "nop"])
    async with attached(target) as client:
        await client.send(b"c")
        await trio.testing.wait_all_tasks_blocked()
        await client.send_raw(b"\x03")
        stop = await client.stopped()
        assert (stop["sig"], stop["thread-pcs"]) == ("02", at(1))
        assert runs(target), "it is parked"
        assert await client.ask(b"qWasmLocal:0;1") == b"08000000", "and can be looked at"
        # It comes back from the host function while the client believes it stopped.
        target.release()
        await trio.testing.wait_all_tasks_blocked()
        assert not runs(target)
        assert await client.go() == {"end": "W00"}, "its late Interrupted is not told"


async def test_a_parked_guest_goes_on_without_its_interrupt() -> None:
    target = FakeTarget(["nop", "wait", "nop", "nop"])
    async with attached(target) as client:
        await client.send(b"c")
        await trio.testing.wait_all_tasks_blocked()
        await client.send_raw(b"\x03")
        await client.stopped()
        await client.send(b"c")
        await trio.testing.wait_all_tasks_blocked()
        target.release()
        assert await client.stopped() == {"end": "W00"}


async def test_an_interrupt_while_stopped_does_nothing() -> None:
    async with attached(FakeTarget()) as client:
        await client.send_raw(b"\x03")
        assert await client.ask(b"qC") == b"QC1"
        assert await client.go() == {"end": "W00"}


async def test_modules_that_come_later() -> None:
    async with attached(FakeTarget(["nop", "instance", "nop", "instance"])) as client:
        stop = await client.go()
        assert stop["reason"] == "signal"
        assert stop["sig"] == "20", "a signal that LLDB neither stops at nor shows"
        assert "library" in stop
        libraries = await client.ask(b"qXfer:libraries:read::0,1ffff")
        assert b'"fake-2"' in libraries
        assert b"0x4000000100000000" in libraries
        assert "library" not in await client.go(b"vCont;s:1")
        assert "library" in await client.go()
        assert await client.go() == {"end": "W00"}


async def test_libraries_of_one_name_are_told_apart() -> None:
    first, second = FakeTarget(name="a"), FakeTarget(name="b")
    async with attached([first, second]) as client:
        libraries = await client.ask_binary(b"qXfer:libraries:read::0,1ffff")
        assert libraries.count(b"<library ") == 2
        assert b'"fake.wasm"' in libraries
        assert b'"fake.wasm#1"' in libraries


async def test_threads_stop_together() -> None:
    module = FakeModule()
    first = FakeTarget(["nop"] * 5, name="a", module=module)
    second = FakeTarget(["nop", "spin"], name="b", module=module)
    async with attached([first, second]) as client:
        assert await client.ask(b"qfThreadInfo") == b"m1,2"
        assert await client.ask(b"qsThreadInfo") == b"l"
        assert await client.ask(b"T2") == b"OK"
        assert (await client.ask(b"T3")).startswith(b"E")
        assert bytes.fromhex((await client.ask(b"qThreadExtraInfo,2")).decode()) == b"b"
        await client.ask(b"Z0,%x,1" % (CODE + FAKE_START + 3))
        stop = await client.go()
        assert (stop["thread"], stop["threads"], stop["reason"]) == ("1", "1,2", "breakpoint")
        assert stop["thread-pcs"] == f"{at(3)},{at(1)}"
        assert not runs(second), "one stops, all stop"
        other = await client.ask(b"qThreadStopInfo2")
        assert other.startswith(b"T00thread:2;")
        assert b"reason" not in other
        # Only one goes on.
        await client.ask(b"z0,%x,1" % (CODE + FAKE_START + 3))
        stop = await client.go(b"vCont;s:1")
        assert stop["thread-pcs"] == f"{at(4)},{at(1)}"
        # The first one ends, the second goes on, and is all that is left.
        await client.send(b"c")
        await trio.testing.wait_all_tasks_blocked()
        assert first.finished is not None
        assert runs(second)
        await client.send_raw(b"\x03")
        stop = await client.stopped()
        assert (stop["threads"], stop["sig"]) == ("2", "02")
        second.release()
        assert await client.go() == {"end": "W00"}


async def test_detach_lets_it_go_on_and_another_client_may_come() -> None:
    target = FakeTarget(["nop", "spin", "nop"])
    async with serving(target) as listener:
        client = Client(listener.connect())
        await client.handshake()
        await client.ask(b"Z0,%x,1" % (CODE + FAKE_START + 2))
        assert await client.ask(b"D") == b"OK"
        await client.end()
        assert target.running
        assert target.tokens == [], "its breakpoints are gone"
        again = Client(listener.connect())
        await again.handshake()
        assert (await again.stopped_now())["thread-pcs"] == at(1)
        target.release()
        assert await again.go() == {"end": "W00"}


@pytest.mark.parametrize("policy", ["pause", "resume", "kill"])
@pytest.mark.parametrize("while_running", [False, True])
async def test_what_becomes_of_it_when_the_client_is_lost(policy: str, while_running: bool) -> None:
    target = FakeTarget(["nop", "spin", "nop", "nop"])
    async with serving(target, when_client_leaves=policy) as listener:
        client = Client(listener.connect())
        await client.handshake()
        if while_running:
            await client.send(b"c")
            await trio.testing.wait_all_tasks_blocked()
        await client.stream.aclose()
        await trio.testing.wait_all_tasks_blocked()
        if policy == "kill":
            assert target.finished is not None
            return
        assert target.finished is None
        if policy == "resume":
            assert target.running
            target.release()
            assert type(await target.run()).__name__ == "Finished"
        else:
            # It is stopped, or stops at its next check.
            with trio.move_on_after(1) as scope:
                if target.running:
                    assert type(await target.run()).__name__ == "Interrupted"
            assert not scope.cancelled_caught


async def test_kill() -> None:
    target = FakeTarget(["nop", "spin"])
    async with serving(target) as listener:
        client = Client(listener.connect())
        await client.handshake()
        assert await client.ask(b"k") == b"X09"
        await client.end()
        assert target.finished is not None


async def test_the_holder_is_kept_out_while_a_client_is_attached() -> None:
    target = FakeTarget()
    async with attached(target) as client:
        with pytest.raises(trio.BusyResourceError), target.attach():
            raise AssertionError
        assert await client.ask(b"D") == b"OK"
        await client.end()
        with target.attach():
            pass


async def test_a_client_is_turned_away_while_the_holder_waits() -> None:
    target = FakeTarget()
    async with serving(target) as listener:
        with target.attach():
            client = Client(listener.connect())
            await client.end()
        client = Client(listener.connect())
        await client.handshake()


async def test_a_second_client_is_turned_away(autojump_clock: trio.testing.MockClock) -> None:
    async with serving(FakeTarget()) as listener:
        client = Client(listener.connect())
        await client.handshake()
        await Client(listener.connect()).end()
        assert await client.ask(b"qC") == b"QC1"


async def test_the_guests_output_comes_before_the_stop() -> None:
    with GuestOutput() as output, Path(output.path).open("wb", buffering=0) as guest:  # noqa: ASYNC230
        async with attached(FakeTarget(), output=output) as client:
            guest.write(b"hello\n" * 4000)
            await client.send(b"vCont;s:1")
            shown = b""
            while (reply := await client.receive()) is not None and reply.startswith(b"O"):
                shown += bytes.fromhex(reply[1:].decode())
            assert shown == b"hello\n" * 4000
            assert reply is not None
            assert reply.startswith(b"T05")


async def test_it_returns_when_all_has_ended() -> None:
    target = FakeTarget(["exit 4"])
    async with serving(target) as listener:
        client = Client(listener.connect())
        await client.handshake()
        assert await client.go() == {"end": "W04"}
        await client.stream.aclose()


async def test_a_factory_makes_a_new_guest_for_each_run() -> None:
    made: list[FakeTarget] = []

    @asynccontextmanager
    async def factory() -> AsyncIterator[FakeTarget]:
        made.append(FakeTarget(["nop", "exit 5"]))
        yield made[-1]

    async with serving(factory) as listener:
        for run in (1, 2):
            client = Client(listener.connect())
            await client.handshake()
            assert await client.go() == {"end": "W05"}
            await client.stream.aclose()
            assert len(made) == run


async def test_run_detached_brings_a_guest_to_its_end() -> None:
    target = FakeTarget(["nop", "nop", "exit 6"])
    async with trio.open_nursery() as nursery:
        async with serving(target, run_detached=True) as listener:
            client = Client(listener.connect())
            await client.handshake()
            assert await client.ask(b"D") == b"OK"
            await client.end()
            await trio.testing.wait_all_tasks_blocked()
            assert target.finished is not None
            assert target.finished.exit_code == 6
        nursery.cancel_scope.cancel()


async def test_cancelling_the_server_leaves_nothing() -> None:
    target = FakeTarget(["nop", "spin"])
    async with attached(target) as client:
        await client.ask(b"Z0,%x,1" % (CODE + FAKE_START))
        await client.go(b"vCont;s:1")
        await client.send(b"c")
        await trio.testing.wait_all_tasks_blocked()
    assert target.tokens == []
    with target.attach():
        target.interrupt()
        assert type(await target.run()).__name__ == "Interrupted"


async def test_errors_have_text_for_who_wants_it() -> None:
    async with serving(FakeTarget()) as listener:
        client = Client(listener.connect())
        assert await client.ask(b"m10000,1") == b"E01"
        await client.ask(b"QEnableErrorStrings")
        reply = await client.ask(b"m10000,1")
        assert reply.startswith(b"E01;")
        assert "outside of the memory" in bytes.fromhex(reply[4:].decode()).decode()


async def test_a_bug_in_a_target_ends_no_session(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(FakeTarget):
        def add_breakpoint(self, module: object, offset: object) -> object:
            raise ZeroDivisionError("a bug")

    assert not issubclass(ZeroDivisionError, DebuggerError)
    async with attached(Broken()) as client:
        reply = await client.ask(b"Z0,%x,1" % (CODE + FAKE_START))
        assert reply.startswith(b"E")
        assert "a bug" in caplog.text
        assert await client.ask(b"qC") == b"QC1"
