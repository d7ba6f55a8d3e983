"""The benchmark that leaves parts of fast twins out, in small."""

from __future__ import annotations

import pytest

from tests.benchmarks import idle_parts
from tests.benchmarks._programs import PROGRAMS, SAMPLE
from trio_wasmdbg.instrument import instrument
from trio_wasmdbg.wasm import decode_module

JSON = next(program for program in PROGRAMS if program.title == "json -O2")
"""It has something of each part."""


@pytest.mark.parametrize("part", idle_parts.PARTS)
def test_a_part_is_left_out_and_comes_back(part: str) -> None:
    wasm = JSON.path.read_bytes()
    whole = instrument(decode_module(wasm)).wasm
    left = idle_parts.rewritten(wasm, "exact", part).instrumented.wasm
    assert (left == whole) if part == "nothing" else len(left) < len(whole)
    assert instrument(decode_module(wasm)).wasm == whole


def test_every_variant_computes_the_same() -> None:
    found = idle_parts.measure(SAMPLE[:2], "live", 1, 0.004)
    assert list(found) == [program.title for program in SAMPLE[:2]]
    for ratios in found.values():
        assert set(ratios) == {"null", idle_parts.FURTHER, *idle_parts.PARTS}
        assert all(ratio > 0 for ratio in ratios.values())
