"""Framing, acknowledgements, and peers that don't keep to the protocol."""

from __future__ import annotations

import pytest

from tests.gdbremote.test_commands import events_of
from trio_wasmdbg import RemoteProtocolError
from trio_wasmdbg.gdbremote import (
    MAX_PACKET,
    NEED_DATA,
    GdbConnection,
    Interrupt,
    commands,
    encode_packet,
    escape,
    unescape,
)


def test_checksum_is_that_of_the_wire() -> None:
    assert encode_packet(b"OK") == b"$OK#9a"
    assert encode_packet(b"") == b"$#00"
    assert encode_packet(b"QStartNoAckMode") == b"$QStartNoAckMode#b0"
    assert encode_packet(b"vCont;c") == b"$vCont;c#a8"


def test_escapes() -> None:
    assert escape(b"#$}*ok") == b"}\x03}\x04}]}\x0aok"
    every = bytes(range(256))
    assert unescape(escape(every)) == every
    assert not set(b"#$*") & set(escape(every))
    assert unescape(b"ends}") == b"ends}"


def test_interrupt_between_packets() -> None:
    connection = GdbConnection()
    connection.receive_data(b"\x03" + encode_packet(b"qC") + b"\x03\x03")
    assert events_of(connection) == [Interrupt(), commands.CurrentThread(), Interrupt(), Interrupt()]


def test_0x03_inside_a_packet_is_data() -> None:
    connection = GdbConnection()
    connection.receive_data(encode_packet(b"X10,1:\x03"))
    assert events_of(connection) == [commands.WriteMemory(0x10, b"\x03")]


def test_acknowledgements_end_after_the_reply() -> None:
    connection = GdbConnection()
    connection.receive_data(b"+" + encode_packet(b"QStartNoAckMode"))
    (command,) = events_of(connection)
    assert isinstance(command, commands.Command)
    connection.send(b"OK", answers=command)
    assert connection.data_to_send() == b"+$OK#9a"
    assert not connection.ack_mode
    connection.receive_data(b"+" + encode_packet(b"qC"))
    assert events_of(connection) == [commands.CurrentThread()]
    assert connection.data_to_send() == b""


def test_a_reply_is_sent_again_on_demand() -> None:
    connection = GdbConnection()
    connection.receive_data(encode_packet(b"qC"))
    events_of(connection)
    connection.send(b"QC1")
    connection.data_to_send()
    connection.receive_data(b"-")
    assert events_of(connection) == []
    assert connection.data_to_send() == encode_packet(b"QC1")


def test_a_damaged_packet_is_asked_for_again() -> None:
    connection = GdbConnection()
    connection.receive_data(b"$qC#00")
    assert events_of(connection) == []
    assert connection.data_to_send() == b"-"
    connection.receive_data(encode_packet(b"qC"))
    assert events_of(connection) == [commands.CurrentThread()]


@pytest.mark.parametrize("digits", [b"zz", b"  ", b"+1", b"\x00\x00", b"#b"])
def test_digits_that_are_none(digits: bytes) -> None:
    connection = GdbConnection()
    connection.receive_data(b"$qC" + b"#" + digits)
    assert events_of(connection) == []
    assert connection.data_to_send().startswith(b"-")


def test_upper_case_digits() -> None:
    connection = GdbConnection()
    connection.receive_data(encode_packet(b"qC").upper().replace(b"$QC", b"$qC"))
    assert events_of(connection) == [commands.CurrentThread()]


def test_a_damaged_packet_later_ends_it_for_good() -> None:
    connection = GdbConnection()
    connection.receive_data(encode_packet(b"QStartNoAckMode"))
    (command,) = events_of(connection)
    assert isinstance(command, commands.Command)
    connection.send(b"OK", answers=command)
    connection.receive_data(b"$qC#00")
    for _ in range(2):
        with pytest.raises(RemoteProtocolError, match="checksum"):
            connection.next_event()
        connection.receive_data(encode_packet(b"qC"))


def test_too_many_damaged_packets() -> None:
    connection = GdbConnection()
    connection.receive_data(b"$qC#00" * 20)
    with pytest.raises(RemoteProtocolError, match="checksum"):
        events_of(connection)


def test_the_longest_packet_and_one_longer() -> None:
    connection = GdbConnection()
    connection.receive_data(encode_packet(b"_" * MAX_PACKET))
    assert len(events_of(connection)) == 1
    connection.receive_data(encode_packet(b"_" * (MAX_PACKET + 1)))
    with pytest.raises(RemoteProtocolError, match="longer"):
        connection.next_event()


def test_a_packet_without_end_is_refused_before_it_fills_the_memory() -> None:
    connection = GdbConnection()
    connection.receive_data(b"$")
    with pytest.raises(RemoteProtocolError, match="longer"):
        for _ in range(1000):
            connection.receive_data(b"a" * 1000)
            assert connection.next_event() is NEED_DATA


def test_another_protocol() -> None:
    connection = GdbConnection()
    connection.receive_data(b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 100)
    with pytest.raises(RemoteProtocolError, match="does not speak"):
        connection.next_event()
