"""Replies, byte by byte as LLDB wants them."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_wasmdbg.gdbremote import (
    AddressKind,
    MemoryRegion,
    StopReply,
    WasmAddress,
    chunk,
    error,
    exited,
    killed,
    library_list,
    memory_region,
    output,
    target_xml,
    thread_list,
    u64_le,
    unescape,
)

STOPS = [
    (
        StopReply(5, 1, ((1, 0x4000_0000_0000_00B6),), "trace"),
        b"T05thread:1;threads:1;thread-pcs:40000000000000b6;00:b600000000000040;reason:trace;",
    ),
    (
        StopReply(5, 2, ((1, 0x64), (2, 0x90)), "breakpoint", name="a"),
        b"T05thread:2;threads:1,2;thread-pcs:0000000000000064,0000000000000090;00:9000000000000000;hexname:61;"
        b"reason:breakpoint;",
    ),
    (
        StopReply(8, 1, ((1, 0),), "exception", "trap"),
        b"T08thread:1;threads:1;thread-pcs:0000000000000000;00:0000000000000000;reason:exception;"
        b"description:74726170;",
    ),
    (
        StopReply(32, 1, ((1, 0),), "signal", libraries=True),
        b"T20thread:1;threads:1;thread-pcs:0000000000000000;00:0000000000000000;library:;reason:signal;",
    ),
    (
        StopReply(5, 1, ((1, 0),), history="begin"),
        b"T05thread:1;threads:1;thread-pcs:0000000000000000;00:0000000000000000;replaylog:begin;",
    ),
]


@pytest.mark.parametrize(("stop", "payload"), STOPS)
def test_stops(stop: StopReply, payload: bytes) -> None:
    assert stop.encode() == payload


def test_small_ones() -> None:
    assert exited(3) == b"W03"
    assert exited(256 + 3) == b"W03"
    assert killed(9) == b"X09"
    assert output(b"hi\n") == b"O68690a"
    assert thread_list([1, 2, 10]) == b"m1,2,a"
    assert u64_le(0x4000_0000_0000_00B6) == "b600000000000040"
    assert error(1) == b"E01"
    assert error(0x45, "no", with_text=True) == b"E45;6e6f"
    assert error(0x45, "no") == b"E45"


def test_chunks_make_up_the_document() -> None:
    document = bytes(range(256)) * 3
    read, offset = b"", 0
    while True:
        reply = chunk(document, offset, 100)
        part = unescape(reply[1:])
        read, offset = read + part, offset + len(part)
        if reply[:1] == b"l":
            break
        assert reply[:1] == b"m"
    assert read == document
    assert chunk(document, 5000, 10) == b"l"


@given(st.lists(st.tuples(st.text(), st.integers(0, 2**64 - 1))))
def test_library_lists_are_xml_whatever_the_names(libraries: list[tuple[str, int]]) -> None:
    tree = ElementTree.fromstring(library_list(libraries))
    assert [int(each[0].get("address", ""), 16) for each in tree] == [address for _, address in libraries]
    for each, (name, _) in zip(tree, libraries, strict=True):
        if name.isprintable():
            assert each.get("name") == name


def test_target_description_is_xml() -> None:
    tree = ElementTree.fromstring(target_xml())
    (register,) = tree.iter("reg")
    assert register.get("bitsize") == "64"


@given(st.integers(0, 2**64 - 1))
def test_addresses_round_trip(raw: int) -> None:
    address = WasmAddress.from_raw(raw)
    assert address.raw == raw
    assert str(address)


def test_addresses() -> None:
    assert WasmAddress.code(0, 0xB6).raw == 0x4000_0000_0000_00B6
    assert WasmAddress.code(2, 0).raw == 0x4000_0002_0000_0000
    assert WasmAddress.memory(1, 16).raw == 0x0000_0001_0000_0010
    assert WasmAddress.from_raw(0xFFFF_FFFF_FFFF_FFFF).kind is AddressKind.INVALID
    assert str(WasmAddress.code(1, 0x1F)) == "code 1 + 0x1f"


@given(st.lists(st.tuples(st.integers(0, 2**64 - 2), st.integers(1, 2**62)), max_size=8))
def test_regions_tile_all_addresses(pairs: list[tuple[int, int]]) -> None:
    regions: list[MemoryRegion] = []
    for start, size in sorted(pairs):
        begin = max(start, regions[-1].start + regions[-1].size if regions else 0)
        if begin + size <= 2**64:
            regions.append(MemoryRegion(begin, size, "rw", "memory"))
    address, steps = 0, 0
    while address < 2**64:
        fields = dict(each.split(":") for each in memory_region(regions, address).decode().split(";") if each)
        assert int(fields["start"], 16) == address, "a walk meets every region at its start"
        assert int(fields["size"], 16) > 0
        known = [region for region in regions if region.start == address]
        assert ("permissions" in fields) == bool(known)
        address += int(fields["size"], 16)
        steps += 1
    assert address == 2**64
    assert steps <= 2 * len(regions) + 1
