"""Every packet as bytes, and the command that it is: whole, byte by byte, and with bytes after it."""

from __future__ import annotations

import pytest

from trio_wasmdbg.gdbremote import NEED_DATA, GdbConnection, commands, encode_packet
from trio_wasmdbg.gdbremote.commands import COMMANDS, Command, Malformed, Resumption, Unknown

CASES: list[tuple[bytes, Command]] = [
    (b"QStartNoAckMode", commands.StartNoAckMode()),
    (b"qSupported", commands.QuerySupported()),
    (b"qSupported:multiprocess+;swbreak+", commands.QuerySupported(("multiprocess+", "swbreak+"))),
    (b"QThreadSuffixSupported", commands.ThreadSuffix()),
    (b"QListThreadsInStopReply", commands.ListThreadsInStopReply()),
    (b"QEnableErrorStrings", commands.EnableErrorStrings()),
    (b"qHostInfo", commands.HostInfo()),
    (b"qProcessInfo", commands.ProcessInfo()),
    (b"vCont?", commands.QueryResumptions()),
    (b"?", commands.QueryStop()),
    (b"qRegisterInfo0", commands.RegisterInfo(0)),
    (b"qRegisterInfo1f", commands.RegisterInfo(0x1F)),
    (b"p0", commands.ReadRegister(0, None)),
    (b"p0;thread:0001;", commands.ReadRegister(0, 1)),
    (b"P0=b600000000000040;thread:0001;", commands.WriteRegister(0, bytes.fromhex("b600000000000040"), 1)),
    (b"g", commands.AllRegisters(None)),
    (b"g;thread:2;", commands.AllRegisters(2)),
    (b"m40000000000000b6,10", commands.ReadMemory(0x4000_0000_0000_00B6, 16, False)),
    (b"xfe00,200", commands.ReadMemory(0xFE00, 512, True)),
    (b"x0,0", commands.BinaryReadProbe()),
    (b"M10,2:beef", commands.WriteMemory(0x10, b"\xbe\xef")),
    (b"M10,0:", commands.WriteMemory(0x10, b"")),
    (b"X10,3:}\x03}\x04}]", commands.WriteMemory(0x10, b"#$}")),
    (b"qMemoryRegionInfo", commands.QueryMemoryRegion(None)),
    (b"qMemoryRegionInfo:0", commands.QueryMemoryRegion(0)),
    (b"qMemoryRegionInfo:ffffffffffffffff", commands.QueryMemoryRegion(2**64 - 1)),
    (b"qXfer:libraries:read::0,1ffff", commands.Xfer("libraries", "", 0, 0x1FFFF)),
    (b"qXfer:features:read:target.xml:0,fff", commands.Xfer("features", "target.xml", 0, 0xFFF)),
    (b"qWasmCallStack:1", commands.WasmCallStack(1)),
    (b"qWasmLocal:0;12", commands.WasmValue("local", 0, 12)),
    (b"qWasmGlobal:3;0", commands.WasmValue("global", 3, 0)),
    (b"qWasmStackValue:10;1", commands.WasmValue("stack", 10, 1)),
    (b"Hg1", commands.SetThread("g", 1)),
    (b"Hc-1", commands.SetThread("c", -1)),
    (b"Hgp1.a", commands.SetThread("g", 10)),
    (b"T1", commands.ThreadAlive(1)),
    (b"qC", commands.CurrentThread()),
    (b"qfThreadInfo", commands.Threads(True)),
    (b"qsThreadInfo", commands.Threads(False)),
    (b"qThreadStopInfo2", commands.ThreadStop(2)),
    (b"qThreadStopInfoff", commands.ThreadStop(255)),
    (b"qThreadExtraInfo,1", commands.ThreadName(1)),
    (b"c", commands.Resume((Resumption(False),))),
    (b"s", commands.Resume((Resumption(True),))),
    (b"C05", commands.Resume((Resumption(False),))),
    (b"S0b", commands.Resume((Resumption(True),))),
    (b"vCont;c", commands.Resume((Resumption(False),))),
    (b"vCont;s:1", commands.Resume((Resumption(True, 1),))),
    (b"vCont;s:1;c", commands.Resume((Resumption(True, 1), Resumption(False)))),
    (b"vCont;C05:p1.2;c:-1", commands.Resume((Resumption(False, 2), Resumption(False)))),
    (b"bc", commands.Reverse(False)),
    (b"bs", commands.Reverse(True)),
    (b"Z0,40000000000000b6,1", commands.Breakpoint(True, 0, 0x4000_0000_0000_00B6, 1)),
    (b"z0,40000000000000b6,1", commands.Breakpoint(False, 0, 0x4000_0000_0000_00B6, 1)),
    (b"Z2,10000,4", commands.Breakpoint(True, 2, 0x10000, 4)),
    (b"Z0,b6,1;X3,220027", commands.Breakpoint(True, 0, 0xB6, 1)),
    (b"qWatchpointSupportInfo:", commands.QueryWatchpoints()),
    (b"D", commands.Detach()),
    (b"D;1", commands.Detach()),
    (b"k", commands.Kill()),
    (b"vKill;1", commands.Kill()),
    (b"qRcmd,68656c70", commands.Monitor("help")),
    # ── unknown: to be answered by an empty reply
    (b"", Unknown(b"")),
    (b"_M1000,rw", Unknown(b"_M1000,rw")),
    (b"jThreadsInfo", Unknown(b"jThreadsInfo")),
    (b"qSymbol::", Unknown(b"qSymbol::")),
    (b"qShlibInfoAddr", Unknown(b"qShlibInfoAddr")),
    (b"vMustReplyEmpty", Unknown(b"vMustReplyEmpty")),
    (b"vContinue", Unknown(b"vContinue")),
    (b"qWasmInstance+", Unknown(b"qWasmInstance+")),
    (b"\xff\x00", Unknown(b"\xff\x00")),
]

MALFORMED = [
    b"m", b"m,", b"m10", b"m10,", b"mxyz,4", b"m-1,4", b"m+1,4", b"m 1,4", b"m1_0,4", b"m10000000000000000,4",
    b"x1", b"M10,2:be", b"M10,1:b", b"M10,1:zz", b"M10,2", b"X10,2:a", b"M10,ffffffffffffffff:00",
    b"p", b"pg", b"p0;thred:1;", b"p0;thread:;", b"P0", b"P0=1", b"qRegisterInfo", b"qRegisterInfozz",
    b"qWasmLocal", b"qWasmLocal:", b"qWasmLocal:0", b"qWasmLocal:0;", b"qWasmLocal:0;a", b"qWasmLocal:-1;0",
    b"qWasmLocal:0;99999999999", b"qWasmGlobal:0;0;0", b"qWasmCallStack", b"qWasmCallStack:",
    b"qWasmCallStack:xyz",
    b"H", b"Hz1", b"Hg", b"T", b"qThreadStopInfo", b"qThreadExtraInfo",
    b"vCont", b"vCont;", b"vCont;x", b"vCont;s:", b"vCont;Czz", b"c100", b"s100", b"C", b"Cxyz", b"C05;100",
    b"Z", b"Z0", b"Z0,", b"Z0,1", b"Z9,1,1", b"Z0,g,1", b"z0,1,",
    b"qXfer", b"qXfer:libraries", b"qXfer:libraries:write::0,1", b"qXfer:libraries:read::0",
    b"qXfer:a:read:b:c:0,1",
    b"qMemoryRegionInfo:zz", b"qRcmd,6", b"qRcmd,zz", b"QStartNoAckMode:now", b"gfoo",
]  # fmt: skip


def events_of(connection: GdbConnection) -> list[object]:
    found: list[object] = []
    while (event := connection.next_event()) is not NEED_DATA:
        found.append(event)
    return found


@pytest.mark.parametrize(("payload", "command"), CASES, ids=[repr(payload) for payload, _ in CASES])
class TestCases:
    def test_whole(self, payload: bytes, command: Command) -> None:
        connection = GdbConnection()
        connection.receive_data(encode_packet(payload))
        assert events_of(connection) == [command]
        assert connection.data_to_send() == b"+"

    def test_byte_by_byte(self, payload: bytes, command: Command) -> None:
        connection, found = GdbConnection(), list[object]()
        for byte in encode_packet(payload):
            assert found == []
            connection.receive_data(bytes([byte]))
            found += events_of(connection)
        assert found == [command]
        assert not connection.partial

    def test_with_more_after_it(self, payload: bytes, command: Command) -> None:
        connection = GdbConnection()
        connection.receive_data(encode_packet(payload) + encode_packet(b"qC") + b"$m10")
        assert events_of(connection) == [command, commands.CurrentThread()]
        assert connection.partial


@pytest.mark.parametrize("payload", MALFORMED, ids=repr)
def test_malformed(payload: bytes) -> None:
    connection = GdbConnection()
    connection.receive_data(encode_packet(payload))
    (found,) = events_of(connection)
    assert isinstance(found, Malformed), found
    assert found.payload == payload
    assert found.why


def test_every_row_of_the_table_is_tried() -> None:
    tried = {payload for payload, command in CASES if not isinstance(command, Unknown)}
    untried = [name for name in COMMANDS if not any(payload.startswith(name) for payload in tried)]
    assert untried == []
