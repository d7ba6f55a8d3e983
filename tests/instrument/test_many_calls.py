"""Functions with very many calls, in which each check site has a way out of its own."""

from __future__ import annotations

import pytest
import wasmtime

from tests.fuzz._compare import compare
from tests.fuzz._generators import GENERATORS
from trio_wasmdbg.instrument import _fast_twin, instrument
from trio_wasmdbg.wasm import decode_module

MODES = ("plain", "fast", "leaving", "live leaving", "looping", "flavoured", "scattered", "traced scattered")


@pytest.mark.parametrize("seed", range(5_000, 5_012))
def test_the_same_results(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    monkeypatch.setattr(_fast_twin, "MANY_CALLS", -1)
    assert compare(GENERATORS["own"].make(seed), seed, MODES) == []


def calls(count: int) -> bytes:
    body = "(local.set $x (call $leaf (local.get $x)))" * count
    return bytes(wasmtime.wat2wasm(f"""(module
      (func $leaf (param i32) (result i32) (i32.add (local.get 0) (i32.const 1)))
      (func (export "run") (param $x i32) (result i32) {body} (local.get $x)))"""))  # fmt: skip


def test_where_there_are_many() -> None:
    assert compare(calls(_fast_twin.MANY_CALLS + 100), 0, MODES[:4]) == []


def test_only_where_there_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    few = instrument(decode_module(calls(100))).wasm
    monkeypatch.setattr(_fast_twin, "MANY_CALLS", 99)
    many = instrument(decode_module(calls(100))).wasm
    # A tail call at each site, instead of a branch: longer by a byte or two.
    assert len(few) < len(many) < len(few) + 100 * 8
