"""Limits of the engine are met with a clear error, before the engine meets them, at their exact edges."""

from __future__ import annotations

import os
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
    """Of a function, whose type has the size 2."""
    names = b"".join(b"\x05%05x\x00\x00" % number for number in range(count))
    one = MAGIC + section(SectionId.TYPE, vector([EMPTY])) + FUNCTION
    return one + section(SectionId.EXPORT, uleb(count) + names) + CODE


def element_segments(count: int) -> bytes:
    one = MAGIC + section(SectionId.TYPE, vector([EMPTY])) + FUNCTION
    return one + section(SectionId.ELEMENT, uleb(count) + b"\x01\x00\x00" * count) + CODE


ALL: Final = os.environ.get("TRIO_WASMDBG_SPEC") == "all"
SIZE: Final = "units of size in the types of imports and exports"


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("build", "kind", "limit", "each"),
    [
        (types, "types", 1_000_000, 1),
        (globals_, SIZE, 999_999, 1),  # each global is exported, for the slow twins
        (exports, SIZE, 999_999, 2),
        (element_segments, "element segments", 100_000, 1),
    ],
)
def test_at_the_exact_edge(build: Callable[[int], bytes], kind: str, limit: int, each: int) -> None:
    if build in (types, globals_) and not ALL:
        pytest.skip("a million of them takes a minute: TRIO_WASMDBG_SPEC=all, nox -s spec")
    # what is added is the same for any number
    with pytest.raises(UnsupportedFeatureError) as raised:
        instrument(decode_module(build(limit // each)))
    found = re.search(f"it needs ([0-9,]+), and the engine takes {limit:,}", str(raised.value))
    assert found is not None and kind in str(raised.value)
    beyond = int(found[1].replace(",", "")) - limit
    most = limit // each - (beyond + each - 1) // each
    wasmtime.Module.validate(ENGINE, instrument(decode_module(build(most))).wasm)
    wasmtime.Module.validate(ENGINE, build(most + 1))
    with pytest.raises(UnsupportedFeatureError, match=f"debuggable it needs {limit + 1:,}|{limit + 2:,}"):
        instrument(decode_module(build(most + 1)))


def test_the_greatest_size() -> None:
    """A gigabyte is too much for a test: only the comparison is at its edge here."""
    check_limits({"bytes": (5, 1 << 30)})
    with pytest.raises(UnsupportedFeatureError, match=r"5 bytes.*needs 1,073,741,825.*takes 1,073,741,824"):
        check_limits({"bytes": (5, (1 << 30) + 1)})
