"""Large functions are divided by check sites, so that one can stop anywhere soon: here all functions are."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import wasmtime

from tests.fuzz._compare import compare
from tests.fuzz._generators import GENERATORS
from trio_wasmdbg.instrument import FrameMode, _check_sites, _rewrite_function, instrument
from trio_wasmdbg.instrument._outline import NoOutlineError
from trio_wasmdbg.wasm import decode_module

MODES = (
    "plain", "fast", "leaving", "live leaving", "looping", "late", "scattered", "live scattered",
    "post-mortem scattered", "looping scattered", "live looping scattered", "flavoured scattered",
    "traced scattered",
)  # fmt: skip


@pytest.fixture
def divided(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_check_sites, "LARGE", 0)
    monkeypatch.setattr(_check_sites, "CUT", 4)


@pytest.mark.parametrize("seed", range(6_000, 6_020))
def test_the_same_results(divided: None, seed: int) -> None:
    assert compare(GENERATORS["own"].make(seed), seed, MODES) == []


@pytest.mark.parametrize("frames", ["exact", "live"])
@pytest.mark.parametrize("name", ["O0/regex", "O2/json"])
def test_an_outline_is_divided_like_a_typed_body(
    divided: None, monkeypatch: pytest.MonkeyPatch, name: str, frames: FrameMode
) -> None:
    data = (Path(__file__).parents[1] / "benchmarks" / "programs" / f"{name}.wasm").read_bytes()
    found = instrument(decode_module(data), frames=frames).wasm

    def no_outline(*arguments: object) -> None:
        raise NoOutlineError

    monkeypatch.setattr(_rewrite_function, "outline", no_outline)
    assert instrument(decode_module(data), frames=frames).wasm == found


BLOCKS = "(block (br_if 0 (i32.eqz (local.get 0))) (local.set 0 (i32.add (local.get 0) (i32.const 3))))"


def sites(count: int) -> list[int]:
    """Resume points of the check sites of a function with so many blocks."""
    text = f'(module (func (export "run") (param i32) (result i32) {BLOCKS * count} (local.get 0)))'
    plan = instrument(decode_module(bytes(wasmtime.wat2wasm(text)))).plan(0)
    return [site.resume_point for site in plan.sites]


def test_only_large_functions_are_divided() -> None:
    each = 9  # instructions of a block
    assert sites(_check_sites.LARGE // each - 1) == [0]
    found = sites(_check_sites.LARGE // each + 1)
    assert len(found) > _check_sites.LARGE // (_check_sites.CUT + each)
    assert all(0 < b - a <= _check_sites.CUT + each for a, b in pairwise(found))
