"""Replies: what the server says, as payloads ready to be framed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final
from xml.sax.saxutils import quoteattr

from attrs import frozen

from ._packets import escape

__all__ = [
    "OK",
    "UNSUPPORTED",
    "MemoryRegion",
    "StopReply",
    "chunk",
    "error",
    "exited",
    "hex_text",
    "host_info",
    "killed",
    "library_list",
    "memory_region",
    "output",
    "process_info",
    "registers_reply",
    "target_xml",
    "thread_list",
    "u64_le",
]

OK: Final = b"OK"
UNSUPPORTED: Final = b""
"""The reply to every packet that is not known."""

TRIPLE: Final = "wasm32-unknown-unknown-wasm"


def hex_text(text: str) -> str:
    """Text as hexadecimal digits of its UTF-8 bytes."""
    return text.encode("utf-8", "surrogateescape").hex()


def error(code: int, text: str = "", *, with_text: bool = False) -> bytes:
    """``Exx``, or ``Exx;text`` where the client has asked for it (``QEnableErrorStrings``)."""
    return f"E{code:02x};{hex_text(text)}".encode() if with_text and text else b"E%02x" % code


def u64_le(value: int) -> str:
    """64 bits, least significant byte first, as hexadecimal digits."""
    return value.to_bytes(8, "little").hex()


@frozen
class StopReply:
    """Why the process stopped, and where its threads are."""

    signal: int
    thread: int
    pcs: tuple[tuple[int, int], ...]
    """(thread id, address) of every thread; with ``thread`` among them."""
    reason: str = ""
    """``trace``, ``breakpoint``, ``watchpoint``, ``exception``, ``signal``, or nothing."""
    description: str = ""
    """Shown by LLDB as the stop reason, verbatim."""
    name: str = ""
    """The thread's."""
    libraries: bool = False
    """The list of libraries has changed since it was last asked for."""
    history: str = ""
    """``begin`` or ``end``: a recording has no more in that direction."""

    def encode(self) -> bytes:
        """The payload: ``T05thread:1;…``."""
        pc = dict(self.pcs)[self.thread]
        parts = [
            f"T{self.signal:02x}thread:{self.thread:x}",
            "threads:" + ",".join(f"{tid:x}" for tid, _ in self.pcs),
            "thread-pcs:" + ",".join(f"{pc:016x}" for _, pc in self.pcs),
            "00:" + u64_le(pc),
        ]
        if self.name:
            parts.append("hexname:" + hex_text(self.name))
        if self.libraries:
            parts.append("library:")
        if self.history:
            parts.append("replaylog:" + self.history)
        if self.reason:
            parts.append("reason:" + self.reason)
        if self.description:
            parts.append("description:" + hex_text(self.description))
        return (";".join(parts) + ";").encode()


def exited(status: int) -> bytes:
    """``W``: the process has ended by itself, with this status (its low eight bits)."""
    return b"W%02x" % (status & 0xFF)


def killed(signal: int) -> bytes:
    """``X``: the process has been ended by a signal."""
    return b"X%02x" % signal


def output(data: bytes) -> bytes:
    """``O``: the program's output, or that of a monitor command."""
    return b"O" + data.hex().encode()


def thread_list(threads: Iterable[int]) -> bytes:
    """The reply to ``qfThreadInfo``."""
    return b"m" + ",".join(f"{tid:x}" for tid in threads).encode()


def chunk(document: bytes, offset: int, length: int) -> bytes:
    """The reply to ``qXfer:…:offset,length``: ``m`` if more follows, ``l`` for the last part."""
    part = document[offset : offset + length]
    return (b"m" if offset + length < len(document) else b"l") + escape(part)


def library_list(libraries: Iterable[tuple[str, int]]) -> bytes:
    """The document of ``qXfer:libraries``: (name, address of the module's first byte)."""
    items = "".join(
        f'<library name={quoteattr(_printable(name))}><section address="{address:#x}"/></library>'
        for name, address in libraries
    )
    return f"<library-list>{items}</library-list>".encode()


def _printable(name: str) -> str:
    # XML 1.0 has no way to write most control characters, and UTF-8 none to write surrogates.
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in name)


def target_xml() -> bytes:
    """The document of ``qXfer:features``: one register, the pc."""
    return (
        b'<?xml version="1.0"?><target version="1.0"><architecture>wasm32</architecture>'
        b'<feature name="org.trio-wasmdbg.wasm"><reg name="pc" bitsize="64" regnum="0" generic="pc" '
        b'group="PC" encoding="uint" format="hex"/></feature></target>'
    )


def registers_reply() -> bytes:
    """The reply to ``qRegisterInfo0``; there is no other register."""
    return (
        b"name:pc;alt-name:pc;bitsize:64;offset:0;encoding:uint;format:hex;set:PC;gcc:16;dwarf:16;generic:pc;"
    )


@frozen
class MemoryRegion:
    """A range of addresses; without permissions it is a gap."""

    start: int
    size: int
    permissions: str = ""
    name: str = ""


def memory_region(regions: Sequence[MemoryRegion], address: int) -> bytes:
    """The reply to ``qMemoryRegionInfo``: the region, or the gap, that holds *address*.

    :param regions: in ascending order, not overlapping.  The answers tile all 2⁶⁴ addresses: a
        client that walks them comes to an end.
    """
    begin, end = 0, 1 << 64
    for region in regions:
        if region.start <= address < region.start + region.size:
            return (
                f"start:{region.start:x};size:{region.size:x};permissions:{region.permissions};"
                f"name:{hex_text(region.name)};"
            ).encode()
        if region.start > address:
            end = region.start
            break
        begin = max(begin, region.start + region.size)
    return f"start:{begin:x};size:{end - begin:x};".encode()


def host_info() -> bytes:
    """The reply to ``qHostInfo``."""
    return f"triple:{hex_text(TRIPLE)};endian:little;ptrsize:4;".encode()


def process_info() -> bytes:
    """The reply to ``qProcessInfo``."""
    return f"pid:1;parent-pid:1;triple:{hex_text(TRIPLE)};endian:little;ptrsize:4;".encode()
