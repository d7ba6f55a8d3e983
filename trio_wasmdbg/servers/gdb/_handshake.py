"""Agreeing on how to talk, and what there is: the packets of the first seconds."""

from __future__ import annotations

from typing import Final

from ...abc import WatchpointTarget
from ...gdbremote import (
    MAX_PACKET,
    OK,
    UNSUPPORTED,
    chunk,
    commands,
    host_info,
    library_list,
    process_info,
    registers_reply,
    target_xml,
)
from ._session import Handler, Session

__all__ = ["HANDSHAKE"]

_FEATURES: Final = (
    "vContSupported+",
    "qXfer:libraries:read+",
    "QStartNoAckMode+",
    "swbreak+",
    "hwbreak+",
)


async def agree(session: Session, command: commands.Command) -> bytes:
    """A mode in which this server is anyway."""
    return OK


async def supported(session: Session, command: commands.QuerySupported) -> bytes:
    """The features of both sides."""
    features = [f"PacketSize={MAX_PACKET:x}", *_FEATURES]
    if "multiprocess+" not in command.features:
        # LLDB says so; others (gdb) read the register's description here, LLDB by qRegisterInfo.
        features.append("qXfer:features:read+")
    return ";".join(features).encode()


async def error_strings(session: Session, command: commands.EnableErrorStrings) -> bytes:
    """From now on errors carry text."""
    session.error_strings = True
    return OK


async def host(session: Session, command: commands.HostInfo) -> bytes:
    """The machine: a WebAssembly one."""
    return host_info()


async def process(session: Session, command: commands.ProcessInfo) -> bytes:
    """The one process."""
    return process_info()


async def resumptions(session: Session, command: commands.QueryResumptions) -> bytes:
    """What ``vCont`` can do."""
    return b"vCont;c;C;s;S"


async def register_info(session: Session, command: commands.RegisterInfo) -> bytes:
    """The pc is the only register."""
    return registers_reply() if command.register == 0 else session.error("no such register", 0x45)


async def binary_reads(session: Session, command: commands.BinaryReadProbe) -> bytes:
    """Yes; and data begins with a ``b``, so that it can't be mistaken for an error."""
    return b"b"


async def watchpoints(session: Session, command: commands.QueryWatchpoints) -> bytes:
    """How many: as many as one likes, but the reply wants a number."""
    able = all(isinstance(thread.target, WatchpointTarget) for thread in session.process.threads)
    return b"num:1024;" if able else UNSUPPORTED


async def transfer(session: Session, command: commands.Xfer) -> bytes:
    """Parts of a document."""
    if command.object == "libraries":
        document = library_list(session.process.space.libraries())
        session.process.space.changed = False
    elif command.object == "features" and command.annex == "target.xml":
        document = target_xml()
    else:
        return UNSUPPORTED
    return chunk(document, command.offset, min(command.length, MAX_PACKET // 2))


HANDSHAKE: Final[dict[type[commands.Command], Handler]] = {
    commands.StartNoAckMode: agree,
    commands.ThreadSuffix: agree,
    commands.ListThreadsInStopReply: agree,
    commands.QuerySupported: supported,
    commands.EnableErrorStrings: error_strings,
    commands.HostInfo: host,
    commands.ProcessInfo: process,
    commands.QueryResumptions: resumptions,
    commands.RegisterInfo: register_info,
    commands.BinaryReadProbe: binary_reads,
    commands.QueryWatchpoints: watchpoints,
    commands.Xfer: transfer,
}
