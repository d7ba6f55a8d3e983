"""Limits of the engine are met with a clear error, before the engine meets them, at their exact edges."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

import pytest
import wasmtime

from tests.instrument._harness import ENGINE, wat
from trio_wasmdbg.errors import UnsupportedFeatureError
from trio_wasmdbg.instrument import instrument, slow_twin
from trio_wasmdbg.instrument._limits import check_limits
from trio_wasmdbg.wasm import MAGIC, SectionId, decode_module, section, uleb, vector


@pytest.mark.parametrize(
    ("item", "most", "kind"),
    [("(table 1 funcref)", 98, "tables"), ("(memory 0)", 99, "memories")],
)
def test_as_many_as_the_engine_takes(item: str, most: int, kind: str) -> None:
    body = f"(func (result i32) (call 1)) (func (result i32) {'(drop (i32.const 1))' * 400} (i32.const 2))"
    good, bad = (wat(f"(module {item * count} {body})") for count in (most, most + 1))
    made = instrument(decode_module(good))
    wasmtime.Module.validate(ENGINE, made.wasm)
    # with chunks, for which it needs one more table
    wasmtime.Module.validate(ENGINE, slow_twin(made, [0, 1]).wasm)
    wasmtime.Module.validate(ENGINE, bad)
    with pytest.raises(UnsupportedFeatureError, match=f"has {most + 1} {kind}.*engine takes 100"):
        instrument(decode_module(bad))


EMPTY, I32_ZERO = b"\x60\x00\x00", b"\x7f\x00\x41\x00\x0b"
FUNCTION: Final = section(SectionId.FUNCTION, vector([b"\x00"]))
CODE: Final = section(SectionId.CODE, vector([b"\x02\x00\x0b"]))


def types(count: int) -> bytes:
    return MAGIC + section(SectionId.TYPE, uleb(count) + EMPTY * count) + FUNCTION + CODE


def globals_(count: int) -> bytes:
    one = MAGIC + section(SectionId.TYPE, vector([EMPTY])) + FUNCTION
    return one + section(SectionId.GLOBAL, uleb(count) + I32_ZERO * count) + CODE


def exports(count: int) -> bytes:
    names = b"".join(b"\x04%04x\x00\x00" % number for number in range(min(count, 65536)))
    names += b"".join(b"\x05%05x\x00\x00" % number for number in range(65536, count))
    one = MAGIC + section(SectionId.TYPE, vector([EMPTY])) + FUNCTION
    return one + section(SectionId.EXPORT, uleb(count) + names) + CODE


def element_segments(count: int) -> bytes:
    one = MAGIC + section(SectionId.TYPE, vector([EMPTY])) + FUNCTION
    return one + section(SectionId.ELEMENT, uleb(count) + b"\x01\x00\x00" * count) + CODE


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("build", "kind", "limit"),
    [
        (types, "types", 1_000_000),
        (globals_, "exports", 1_000_000),  # each global gets one, for the slow twins
        (exports, "exports", 1_000_000),
        (element_segments, "element segments", 100_000),
    ],
)
def test_at_the_exact_edge(build: Callable[[int], bytes], kind: str, limit: int) -> None:
    with pytest.raises(UnsupportedFeatureError) as raised:
        instrument(decode_module(build(limit)))
    found = re.search(r"it needs ([0-9,]+), and the engine takes ([0-9,]+)", str(raised.value))
    assert found is not None
    needs = int(found[1].replace(",", ""))
    assert int(found[2].replace(",", "")) == limit and needs > limit
    most = limit - (needs - limit)
    wasmtime.Module.validate(ENGINE, instrument(decode_module(build(most))).wasm)
    wasmtime.Module.validate(ENGINE, build(most + 1))
    with pytest.raises(UnsupportedFeatureError, match=f"debuggable it needs {limit + 1:,}") as over:
        instrument(decode_module(build(most + 1)))
    assert kind in str(over.value)


def test_the_greatest_size() -> None:
    """A gigabyte is too much for a test: only the comparison is at its edge here."""
    check_limits({"bytes": (5, 1 << 30)})
    with pytest.raises(UnsupportedFeatureError, match=r"5 bytes.*needs 1,073,741,825.*takes 1,073,741,824"):
        check_limits({"bytes": (5, (1 << 30) + 1)})
