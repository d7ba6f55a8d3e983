"""One side of a connection with a debugger: bytes in, events out; replies in, bytes out.

Theory of operation.  The protocol starts in acknowledgement mode: each side answers every packet
with ``+``, or with ``-`` to have it sent again.  ``QStartNoAckMode`` ends that, for good, after its
own reply.  All of it is dealt with here; who uses this sees only commands and the interrupt byte.

A damaged packet is asked for again while that is possible.  Later it can only mean a peer that is
no debugger (TCP doesn't damage bytes), and ends the connection.
"""

from __future__ import annotations

import enum
from typing import Final, TypeAlias

from attrs import frozen

from ..errors import RemoteProtocolError
from ._packets import Framer, encode_packet
from .commands import Command, StartNoAckMode, parse_command

__all__ = ["NEED_DATA", "Event", "GdbConnection", "Interrupt", "NeedData"]

_MAX_DAMAGED: Final = 16


class NeedData(enum.Enum):
    """The type of :data:`NEED_DATA`."""

    NEED_DATA = "need data"


NEED_DATA: Final = NeedData.NEED_DATA
"""There is no whole event yet: feed more bytes."""


@frozen
class Interrupt:
    """The byte 0x03 between packets: pause the guest."""


Event: TypeAlias = "Command | Interrupt"


class GdbConnection:
    """The server's side of one connection.

    ``receive_data(bytes)``, then ``next_event()`` until it says :data:`NEED_DATA`;
    ``send(payload)`` for replies; after either, ``data_to_send()`` is what goes to the peer.
    """

    def __init__(self) -> None:
        self._framer = Framer()
        self._out = bytearray()
        self._ack = True
        self._last = b""
        self._damaged = 0
        self._error: RemoteProtocolError | None = None

    @property
    def ack_mode(self) -> bool:
        """Whether packets are still acknowledged."""
        return self._ack

    @property
    def partial(self) -> bool:
        """Whether a packet has begun and not ended."""
        return self._framer.pending > 0

    def receive_data(self, data: bytes | bytearray) -> None:
        """Take bytes from the peer; any number."""
        self._framer.feed(data)

    def next_event(self) -> Event | NeedData:
        """The next command or interrupt, or :data:`NEED_DATA`.

        A packet that is known but ill-formed comes out as ``Malformed``, one that is unknown as
        ``Unknown``: both can be answered.

        :raises RemoteProtocolError: the peer can't be understood any more; it stays so.
        """
        if self._error is not None:
            raise self._error
        try:
            return self._next_event()
        except RemoteProtocolError as exc:
            self._error = exc
            raise

    def _next_event(self) -> Event | NeedData:
        while (found := self._framer.next()) is not None:
            kind, payload = found
            if kind == "packet":
                if self._ack:
                    self._out += b"+"
                return parse_command(payload)
            if kind == "interrupt":
                return Interrupt()
            if kind == "-" and self._ack:
                self._out += self._last
            elif kind == "damaged":
                self._damaged += 1
                if not self._ack or self._damaged > _MAX_DAMAGED:
                    raise RemoteProtocolError("a packet's checksum is wrong")
                self._out += b"-"
        return NEED_DATA

    def send(self, payload: bytes, *, answers: Command | None = None) -> None:
        """Frame a reply; binary parts must be escaped already.

        :param answers: what it is the reply to: after that to ``QStartNoAckMode`` nothing is
            acknowledged any more.
        """
        self._last = encode_packet(payload)
        self._out += self._last
        if isinstance(answers, StartNoAckMode):
            self._ack = False

    def data_to_send(self) -> bytes:
        """What is to be sent now; it is handed out once."""
        data = bytes(self._out)
        self._out.clear()
        return data
