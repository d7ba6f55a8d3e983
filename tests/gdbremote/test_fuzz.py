"""Invariant: any bytes, however they are cut, give the same events, or end in RemoteProtocolError."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from tests.gdbremote.test_commands import CASES, MALFORMED
from trio_wasmdbg import RemoteProtocolError
from trio_wasmdbg.gdbremote import NEED_DATA, GdbConnection, encode_packet
from trio_wasmdbg.gdbremote.commands import COMMANDS, Command, parse_command

ITEMS = st.one_of(
    st.sampled_from([encode_packet(payload) for payload, _ in CASES]),
    st.sampled_from([encode_packet(payload) for payload in MALFORMED]),
    st.sampled_from([b"+", b"-", b"\x03", b"$", b"#", b"}", b"$#00", b"$#", b"##", b"$$", b"*"]),
    st.binary(max_size=40),
    st.builds(encode_packet, st.binary(max_size=40).filter(lambda data: b"#" not in data)),
)
STREAMS = st.lists(ITEMS, max_size=12).map(b"".join)


def outcome(parts: list[bytes]) -> tuple[list[object], bytes, str]:
    """The events, what is to be sent, and how it ended."""
    connection, events = GdbConnection(), list[object]()
    end = ""
    for part in parts:
        connection.receive_data(part)
        try:
            while (event := connection.next_event()) is not NEED_DATA:
                events.append(event)
        except RemoteProtocolError as exc:
            end = str(exc)
            break
    return events, connection.data_to_send(), end


@given(STREAMS, st.data())
@example(b"$qC#00" * 20, None)
def test_cutting_makes_no_difference(stream: bytes, data: st.DataObject | None) -> None:
    whole = outcome([stream])
    assert outcome([bytes([byte]) for byte in stream]) == whole
    if data is not None and stream:
        at = data.draw(st.integers(0, len(stream)))
        assert outcome([stream[:at], stream[at:]]) == whole


NAMES = sorted(COMMANDS)


@given(
    st.one_of(
        st.binary(max_size=60),
        st.builds(lambda name, rest: name + rest, st.sampled_from(NAMES), st.binary(max_size=30)),
        st.builds(
            lambda name, rest: name + rest.encode(),
            st.sampled_from(NAMES),
            st.text("0123456789abcdef:;,=-+pxrw", max_size=30),
        ),
    )
)
def test_parsing_never_raises(payload: bytes) -> None:
    assert isinstance(parse_command(payload), Command)
