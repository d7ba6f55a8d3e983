"""The GDB remote serial protocol with LLDB's WebAssembly packets, without any I/O.

Bytes go in, typed commands come out; replies are built here and framed here.  It may import
`errors` and `addresses`; never trio, sockets or anything that waits.

Start reading at ``_connection`` (the face), then ``commands`` (the table of packets).
"""

from . import commands
from ._addresses import AddressKind, WasmAddress
from ._connection import NEED_DATA, Event, GdbConnection, Interrupt, NeedData
from ._packets import MAX_PACKET, encode_packet, escape, unescape
from ._replies import (
    OK,
    UNSUPPORTED,
    MemoryRegion,
    StopReply,
    chunk,
    error,
    exited,
    hex_text,
    host_info,
    killed,
    library_list,
    memory_region,
    output,
    process_info,
    registers_reply,
    target_xml,
    thread_list,
    u64_le,
)

__all__ = [
    "MAX_PACKET",
    "NEED_DATA",
    "OK",
    "UNSUPPORTED",
    "AddressKind",
    "Event",
    "GdbConnection",
    "Interrupt",
    "MemoryRegion",
    "NeedData",
    "StopReply",
    "WasmAddress",
    "chunk",
    "commands",
    "encode_packet",
    "error",
    "escape",
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
    "unescape",
]
