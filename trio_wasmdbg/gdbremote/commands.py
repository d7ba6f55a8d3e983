"""Commands: one record for each packet that a client may send, and the table that finds them.

A packet's name decides its row; the row's parser takes the rest apart, strictly: numbers are
bounded, nothing may be left over.  What fails there becomes :class:`Malformed`, what has no row
:class:`Unknown`.  Sources: the GDB manual, "Packets" and "General Query Packets"; LLDB's
``lldbgdbremote.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from attrs import frozen

__all__ = [
    "COMMANDS",
    "AllRegisters",
    "BinaryReadProbe",
    "Breakpoint",
    "Command",
    "CurrentThread",
    "Detach",
    "EnableErrorStrings",
    "HostInfo",
    "Kill",
    "ListThreadsInStopReply",
    "Malformed",
    "Monitor",
    "QueryMemoryRegion",
    "QueryResumptions",
    "QueryStop",
    "QuerySupported",
    "QueryWatchpoints",
    "ProcessInfo",
    "ReadMemory",
    "ReadRegister",
    "RegisterInfo",
    "Resume",
    "Resumption",
    "Reverse",
    "SetThread",
    "StartNoAckMode",
    "ThreadAlive",
    "ThreadName",
    "ThreadStop",
    "ThreadSuffix",
    "Threads",
    "Unknown",
    "WasmCallStack",
    "WasmValue",
    "WriteMemory",
    "WriteRegister",
    "Xfer",
    "parse_command",
]


@frozen
class Command:
    """Any packet from a client."""


@frozen
class Unknown(Command):
    """A packet without a row in :data:`COMMANDS`: to be answered by an empty reply."""

    payload: bytes


@frozen
class Malformed(Command):
    """A known packet that can't be read: to be answered by an error."""

    payload: bytes
    why: str


# ── without anything to parse ──────────────────────────────────────────────────────────────────


@frozen
class StartNoAckMode(Command):
    """``QStartNoAckMode``"""


@frozen
class QuerySupported(Command):
    """``qSupported:FEATURE;…``"""

    features: tuple[str, ...] = ()


@frozen
class ThreadSuffix(Command):
    """``QThreadSuffixSupported``: register packets end with ``;thread:1;``"""


@frozen
class ListThreadsInStopReply(Command):
    """``QListThreadsInStopReply``"""


@frozen
class EnableErrorStrings(Command):
    """``QEnableErrorStrings``"""


@frozen
class HostInfo(Command):
    """``qHostInfo``"""


@frozen
class ProcessInfo(Command):
    """``qProcessInfo``"""


@frozen
class QueryResumptions(Command):
    """``vCont?``"""


@frozen
class QueryStop(Command):
    """``?``"""


@frozen
class QueryWatchpoints(Command):
    """``qWatchpointSupportInfo:``"""


@frozen
class CurrentThread(Command):
    """``qC``"""


@frozen
class Kill(Command):
    """``k``, ``vKill;PID``"""


@frozen
class Detach(Command):
    """``D``, ``D;PID``"""


# ── state ──────────────────────────────────────────────────────────────────────────────────────


@frozen
class RegisterInfo(Command):
    """``qRegisterInfo0``"""

    register: int


@frozen
class ReadRegister(Command):
    """``p0;thread:1;``"""

    register: int
    thread: int | None


@frozen
class WriteRegister(Command):
    """``P0=b600000000000040;thread:1;``"""

    register: int
    value: bytes
    thread: int | None


@frozen
class AllRegisters(Command):
    """``g``"""

    thread: int | None


@frozen
class BinaryReadProbe(Command):
    """``x0,0``: does the server know ``x``, and in which dialect?"""


@frozen
class ReadMemory(Command):
    """``mADDR,LENGTH``, ``xADDR,LENGTH``"""

    address: int
    length: int
    binary: bool


@frozen
class WriteMemory(Command):
    """``MADDR,LENGTH:HEX``, ``XADDR,LENGTH:BYTES``"""

    address: int
    data: bytes


@frozen
class QueryMemoryRegion(Command):
    """``qMemoryRegionInfo:ADDR``; without an address it asks whether the server knows it"""

    address: int | None


@frozen
class Xfer(Command):
    """``qXfer:OBJECT:read:ANNEX:OFFSET,LENGTH``"""

    object: str
    annex: str
    offset: int
    length: int


@frozen
class WasmCallStack(Command):
    """``qWasmCallStack:THREAD``"""

    thread: int


@frozen
class WasmValue(Command):
    """``qWasmLocal:FRAME;INDEX`` and its two sisters; both numbers are decimal"""

    space: str
    """``local``, ``global`` or ``stack``"""
    frame: int
    index: int


# ── threads ────────────────────────────────────────────────────────────────────────────────────


@frozen
class SetThread(Command):
    """``Hg1``, ``Hc-1``; 0 and -1 for any or all"""

    operation: str
    thread: int


@frozen
class ThreadAlive(Command):
    """``T1``"""

    thread: int


@frozen
class Threads(Command):
    """``qfThreadInfo``, ``qsThreadInfo``"""

    first: bool


@frozen
class ThreadStop(Command):
    """``qThreadStopInfo1``"""

    thread: int


@frozen
class ThreadName(Command):
    """``qThreadExtraInfo,1``"""

    thread: int


# ── execution ──────────────────────────────────────────────────────────────────────────────────


@frozen
class Resumption:
    """What one thread, or all others (None), shall do."""

    step: bool
    thread: int | None = None


@frozen
class Resume(Command):
    """``c``, ``s``, ``C05``, ``S05``, ``vCont;s:1;c``; signals are read and ignored"""

    actions: tuple[Resumption, ...]


@frozen
class Reverse(Command):
    """``bc``, ``bs``"""

    step: bool


@frozen
class Breakpoint(Command):
    """``Z0,ADDR,SIZE`` and ``z0,…``; kinds 0 and 1 break, 2 to 4 watch writes, reads, both"""

    insert: bool
    kind: int
    address: int
    size: int


@frozen
class Monitor(Command):
    """``qRcmd,HEX``"""

    text: str


# ── parsing ────────────────────────────────────────────────────────────────────────────────────


class _Bad(Exception):
    """What is wrong with a packet."""


_U64 = (1 << 64) - 1
_HEX = frozenset(b"0123456789abcdefABCDEF")


def _hex(digits: bytes, most: int = _U64) -> int:
    # int() alone would take signs, underscores, spaces and a million digits.
    if not 0 < len(digits) <= 16 or not _HEX.issuperset(digits):
        raise _Bad("a hexadecimal number is wanted")
    value = int(digits, 16)
    if value > most:
        raise _Bad(f"{value:#x} is too big")
    return value


def _decimal(digits: bytes) -> int:
    if not 0 < len(digits) <= 10 or not digits.isdigit():
        raise _Bad("a decimal number is wanted")
    return int(digits)


def _bytes(digits: bytes) -> bytes:
    if len(digits) % 2 or not _HEX.issuperset(digits):
        raise _Bad("pairs of hexadecimal digits are wanted")
    return bytes.fromhex(digits.decode())


def _pair(text: bytes, separator: bytes = b",") -> tuple[bytes, bytes]:
    first, found, second = text.partition(separator)
    if not found:
        raise _Bad(f"no {separator.decode()!r}")
    return first, second


def _thread_id(text: bytes) -> int:
    """``1``, ``p1.1``, ``-1``; "a thread-id is … hexadecimal" (GDB manual, "Packets")."""
    if text.startswith(b"p"):
        _, dot, text = text.partition(b".")
        if not dot:
            return -1
    return -1 if text == b"-1" else _hex(text, 0xFFFF_FFFF)


def _suffixed(text: bytes) -> tuple[bytes, int | None]:
    """Split off ``;thread:1;``."""
    rest, found, suffix = text.partition(b";")
    if not found or not suffix:
        return rest, None
    if not suffix.startswith(b"thread:"):
        raise _Bad("the suffix is no thread")
    return rest, _thread_id(suffix.removeprefix(b"thread:").removesuffix(b";"))


Parser = Callable[[bytes], Command]


def _alone(command: Command) -> Parser:
    def parse(rest: bytes) -> Command:
        if rest.strip(b":;"):
            raise _Bad("nothing may follow")
        return command

    return parse


def _supported(rest: bytes) -> Command:
    features = rest.removeprefix(b":").decode("ascii", "replace")
    return QuerySupported(tuple(each for each in features.split(";") if each))


def _read_register(rest: bytes) -> Command:
    register, thread = _suffixed(rest)
    return ReadRegister(_hex(register, 0xFFFF_FFFF), thread)


def _write_register(rest: bytes) -> Command:
    text, thread = _suffixed(rest)
    register, value = _pair(text, b"=")
    return WriteRegister(_hex(register, 0xFFFF_FFFF), _bytes(value), thread)


def _all_registers(rest: bytes) -> Command:
    left, thread = _suffixed(rest)
    if left:
        raise _Bad("nothing may follow")
    return AllRegisters(thread)


def _read_memory(binary: bool) -> Parser:
    def parse(rest: bytes) -> Command:
        address, length = _pair(rest)
        command = ReadMemory(_hex(address), _hex(length), binary)
        return BinaryReadProbe() if binary and command.address == command.length == 0 else command

    return parse


def _write_memory(binary: bool) -> Parser:
    def parse(rest: bytes) -> Command:
        place, content = _pair(rest, b":")
        address, length = _pair(place)
        data = content if binary else _bytes(content)
        if len(data) != _hex(length):
            raise _Bad("the length is not that of the data")
        return WriteMemory(_hex(address), data)

    return parse


def _region(rest: bytes) -> Command:
    text = rest.removeprefix(b":")
    return QueryMemoryRegion(_hex(text) if text else None)


def _xfer(rest: bytes) -> Command:
    fields = rest.split(b":")
    if len(fields) != 5 or fields[0] or fields[2] != b"read":
        raise _Bad("only reading is possible")
    offset, length = _pair(fields[4])
    name, annex = (each.decode("ascii", "replace") for each in (fields[1], fields[3]))
    return Xfer(name, annex, _hex(offset), _hex(length))


def _wasm_value(space: str) -> Parser:
    def parse(rest: bytes) -> Command:
        frame, index = _pair(rest.removeprefix(b":"), b";")
        return WasmValue(space, _decimal(frame), _decimal(index))

    return parse


def _set_thread(rest: bytes) -> Command:
    if rest[:1] not in (b"g", b"c"):
        raise _Bad("an operation is wanted")
    return SetThread(rest[:1].decode(), _thread_id(rest[1:]))


_STEPS: Final[Mapping[bytes, bool]] = {b"c": False, b"C": False, b"s": True, b"S": True}


def _resume_one(letter: bytes) -> Parser:
    def parse(rest: bytes) -> Command:
        place = rest
        if letter in (b"C", b"S"):
            signal, _, place = rest.partition(b";")
            _hex(signal, 0xFF)
        if place:
            raise _Bad("the place to go on from can't be chosen")
        return Resume((Resumption(_STEPS[letter]),))

    return parse


def _vcont(rest: bytes) -> Command:
    actions = []
    for each in rest.removeprefix(b";").split(b";"):
        action, colon, thread = each.partition(b":")
        if action[:1] not in _STEPS:
            raise _Bad("c, C, s or S is wanted")
        if action[1:]:
            _hex(action[1:], 0xFF)
        actions.append(Resumption(_STEPS[action[:1]], _which(_thread_id(thread)) if colon else None))
    return Resume(tuple(actions))


def _which(thread: int) -> int | None:
    return None if thread == -1 else thread


def _breakpoint(insert: bool) -> Parser:
    def parse(rest: bytes) -> Command:
        # Conditions and commands for the target's own machine code may follow; we have no such machine.
        kind, address, size = [*rest.split(b";")[0].split(b","), b"", b""][:3]
        return Breakpoint(insert, _hex(kind, 4), _hex(address), _hex(size))

    return parse


def _monitor(rest: bytes) -> Command:
    return Monitor(_bytes(rest.removeprefix(b",")).decode("utf-8", "replace"))


def _hex_after(make: Callable[[int], Command], prefix: bytes = b"") -> Parser:
    return lambda rest: make(_hex(rest.removeprefix(prefix), 0xFFFF_FFFF))


def _thread_after(make: Callable[[int], Command], prefix: bytes = b"") -> Parser:
    return lambda rest: make(_thread_id(rest.removeprefix(prefix)))


COMMANDS: Final[Mapping[bytes, Parser]] = {
    # ── agreeing on how to talk
    b"QStartNoAckMode": _alone(StartNoAckMode()),
    b"qSupported": _supported,
    b"QThreadSuffixSupported": _alone(ThreadSuffix()),
    b"QListThreadsInStopReply": _alone(ListThreadsInStopReply()),
    b"QEnableErrorStrings": _alone(EnableErrorStrings()),
    b"qHostInfo": _alone(HostInfo()),
    b"qProcessInfo": _alone(ProcessInfo()),
    b"vCont?": _alone(QueryResumptions()),
    # ── state
    b"?": _alone(QueryStop()),
    b"qRegisterInfo": _hex_after(RegisterInfo),
    b"p": _read_register,
    b"P": _write_register,
    b"g": _all_registers,
    b"m": _read_memory(False),
    b"x": _read_memory(True),
    b"M": _write_memory(False),
    b"X": _write_memory(True),
    b"qMemoryRegionInfo": _region,
    b"qXfer": _xfer,
    b"qWasmCallStack": _thread_after(WasmCallStack, b":"),
    b"qWasmLocal": _wasm_value("local"),
    b"qWasmGlobal": _wasm_value("global"),
    b"qWasmStackValue": _wasm_value("stack"),
    # ── threads
    b"H": _set_thread,
    b"T": _thread_after(ThreadAlive),
    b"qC": _alone(CurrentThread()),
    b"qfThreadInfo": _alone(Threads(True)),
    b"qsThreadInfo": _alone(Threads(False)),
    b"qThreadStopInfo": _thread_after(ThreadStop),
    b"qThreadExtraInfo": _thread_after(ThreadName, b","),
    # ── execution
    b"c": _resume_one(b"c"),
    b"C": _resume_one(b"C"),
    b"s": _resume_one(b"s"),
    b"S": _resume_one(b"S"),
    b"vCont": _vcont,
    b"bc": _alone(Reverse(False)),
    b"bs": _alone(Reverse(True)),
    b"Z": _breakpoint(True),
    b"z": _breakpoint(False),
    b"qWatchpointSupportInfo": _alone(QueryWatchpoints()),
    b"D": lambda rest: Detach(),
    b"k": _alone(Kill()),
    b"vKill": lambda rest: Kill(),
    b"qRcmd": _monitor,
}
"""Packet name to parser; the parser gets what follows the name."""


def parse_command(payload: bytes) -> Command:
    """The command that a packet's payload is; never raises."""
    name = _name_of(payload)
    parser = COMMANDS.get(name)
    if parser is None:
        return Unknown(payload)
    try:
        return parser(payload[len(name) :])
    except _Bad as exc:
        return Malformed(payload, str(exc))


def _name_of(payload: bytes) -> bytes:
    first = payload[:1]
    if first in (b"q", b"Q", b"v"):
        end = min((at for at in map(payload.find, (b":", b";", b",")) if at >= 0), default=len(payload))
        name = payload[:end]
        if name not in COMMANDS:
            # Some names run straight into a number: qRegisterInfo0, qThreadStopInfo1.
            return next((known for known in _RUN_ON if name.startswith(known)), name)
        return name
    if payload in (b"bc", b"bs"):
        return payload
    return first


_RUN_ON: Final = (b"qRegisterInfo", b"qThreadStopInfo")
