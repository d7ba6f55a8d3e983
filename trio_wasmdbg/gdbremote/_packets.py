"""Framing: ``$payload#cc``, escapes, and the bytes that stand between packets.

"Each packet is introduced with the character '$', the actual packet-data, and the terminating
character '#' followed by a two-digit checksum" (GDB manual, "Remote Protocol, Overview").  In a
payload ``}`` escapes the next byte, which is the original one XOR 0x20.
"""

from __future__ import annotations

import re
from typing import Final

from attrs import define, field

from ..errors import RemoteProtocolError

__all__ = ["MAX_PACKET", "Framer", "checksum", "encode_packet", "escape", "unescape"]

MAX_PACKET: Final = 0x20000
"""Bytes of payload that we take, and that we announce as ``PacketSize``."""

_MAX_JUNK: Final = 256
"""Bytes outside of any packet before the peer is taken for something else than a debugger."""

_ESCAPED = re.compile(rb"\}(.)", re.DOTALL)
_SPECIAL = re.compile(rb"[#$}*]")


def checksum(payload: bytes) -> int:
    """The sum of the payload's bytes, as they are on the wire, modulo 256."""
    return sum(payload) & 0xFF


def escape(data: bytes) -> bytes:
    """Make binary data fit for a payload (``*`` too: in replies it would begin a run length)."""
    return _SPECIAL.sub(lambda found: bytes((0x7D, found[0][0] ^ 0x20)), data)


def unescape(data: bytes) -> bytes:
    """The inverse of :func:`escape`; a lone ``}`` at the end stays what it is."""
    if 0x7D not in data:
        return data
    return _ESCAPED.sub(lambda found: bytes((found[1][0] ^ 0x20,)), data)


def encode_packet(payload: bytes) -> bytes:
    """A payload, escaped already where it is binary, as it goes over the wire."""
    return b"$%b#%02x" % (payload, checksum(payload))


@define
class Framer:
    """Cuts a stream of bytes into packets and the single bytes between them.

    Every byte is looked at a bounded number of times, however the stream is cut up.
    """

    _buffer: bytearray = field(factory=bytearray)
    _searched: int = 0
    """How much of the buffer is known to hold no ``#``."""
    _junk: int = 0

    def feed(self, data: bytes | bytearray) -> None:
        """Take bytes from the peer."""
        self._buffer += data

    @property
    def pending(self) -> int:
        """Bytes received that are no whole packet yet."""
        return len(self._buffer)

    def next(self) -> tuple[str, bytes] | None:
        """What comes next, or None for "more bytes are needed".

        ``("+", b"")``, ``("-", b"")``, ``("interrupt", b"")``, ``("packet", payload)`` or
        ``("damaged", payload)``, whose checksum is wrong.

        :raises RemoteProtocolError: a packet longer than :data:`MAX_PACKET`, or too much that is
            no packet at all.
        """
        buffer = self._buffer
        while buffer:
            first = buffer[0]
            if first == 0x24:  # $
                return self._packet()
            self._cut(1)
            if first in (0x2B, 0x2D):  # + -
                return chr(first), b""
            if first == 0x03:
                return "interrupt", b""
            self._junk += 1
            if self._junk > _MAX_JUNK:
                raise RemoteProtocolError("the peer does not speak the GDB remote protocol")
        return None

    def _packet(self) -> tuple[str, bytes] | None:
        buffer = self._buffer
        end = buffer.find(b"#", max(self._searched, 1))
        length = (len(buffer) if end < 0 else end) - 1
        if length > MAX_PACKET:
            raise RemoteProtocolError(f"a packet is longer than {MAX_PACKET} bytes")
        if end < 0:
            self._searched = len(buffer)
            return None
        if len(buffer) < end + 3:
            self._searched = end
            return None
        payload = bytes(buffer[1:end])
        digits = bytes(buffer[end + 1 : end + 3])
        self._cut(end + 3)
        good = digits.lower() == b"%02x" % checksum(payload)
        return ("packet" if good else "damaged"), unescape(payload)

    def _cut(self, count: int) -> None:
        del self._buffer[:count]
        self._searched = 0
