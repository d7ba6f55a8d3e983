"""Skeletons against typed bodies and fast twins: in parts, the same is found."""

from __future__ import annotations

from array import array
from itertools import accumulate
from pathlib import Path
from random import Random

import pytest

from tests.benchmarks._generated import function_of
from tests.fuzz._generate import generate
from trio_wasmdbg.instrument import FunctionPlan, Instrumented, _details, instrument, slow_twin_part
from trio_wasmdbg.instrument._skeleton import PartlyTyped, Skeleton, skeleton
from trio_wasmdbg.instrument._words import UNKNOWN, Words
from trio_wasmdbg.wasm import ControlFrame, TypedBody, cut, decode_module, operand_types
from trio_wasmdbg.wasm._pace import no_tick

from ._harness import wat
from .test_outline import COMPILED, numeric_module

PART, STEP = 23, 19


def bones_of(instrumented: Instrumented, plan: FunctionPlan) -> Skeleton | None:
    module = instrumented.original
    function = module.functions[plan.index]
    body = function.body
    assert body is not None
    words, found = Words(module), cut(module.data, body.code_start, body.end)
    classes = bytes(map(words.classes.__getitem__, found))
    if UNKNOWN in classes:
        return None
    offsets = array("I", accumulate(map(len, found[:-1]), initial=body.code_start))
    return skeleton(module, function, words, classes, offsets, no_tick)


def around(scope: ControlFrame | None) -> list[object]:
    """A construct and those around it, as records."""
    found: list[object] = []
    while scope is not None:
        place = scope.kind, scope.start, scope.else_, scope.end
        # In dead code, heights mean nothing.
        found.append((*place, scope.results, scope.height if scope.live else scope.live))
        scope = scope.parent
    return found


def compare_part(bones: Skeleton, typed: TypedBody, wanted: range) -> None:
    part = bones.part(wanted, no_tick)
    assert part.first <= wanted.start
    for k in range(part.first, wanted.stop):
        at = k - part.first
        assert part.instructions[at] == typed.instructions[k]
        assert part.reachable[at] == typed.reachable[k]
        assert operand_types(part.stacks[at]) == operand_types(typed.stacks[k])
        assert around(part.scopes[at]) == around(typed.scopes[k])
    assert part.controls.keys() == {k for k in typed.controls if part.first <= k < wanted.stop}
    for k, control in part.controls.items():
        assert around(control) == around(typed.controls[k])


def compare(data: bytes, step: int = STEP) -> int:
    """How many functions have a skeleton; all of them have the right one."""
    instrumented, count = instrument(decode_module(data)), 0
    for plan in instrumented.defined():
        bones, typed = bones_of(instrumented, plan), plan.typed()
        if bones is None:
            continue
        count += 1
        assert bones.reachable == typed.reachable
        assert list(bones.controls) == list(typed.controls)
        for k, control in typed.controls.items():
            assert around(bones.controls[k]) == around(control)
        analysis = instrumented._details(plan.index).analysis()
        zeros = bones.zeros([site.resume_point for site in plan.sites])
        assert zeros == analysis.unassigned or not (zeros or any(analysis.unassigned.values()))
        for first in range(0, typed.count, step):
            compare_part(bones, typed, range(first, min(first + PART, typed.count)))
    return count


def parts_of(instrumented: Instrumented, size: int) -> list[bytes]:
    """All slow twins, made in parts."""
    found = []
    for plan in instrumented.defined():
        total = -(-plan.instructions // size)
        for chunk in range(total):
            chunks = range(chunk, chunk + 1 + chunk % 3)
            found.append(slow_twin_part(instrumented, plan.index, chunks, 1, size=size, entry=not chunk).wasm)
    return found


def compare_twins(monkeypatch: pytest.MonkeyPatch, data: bytes, size: int = 10) -> None:
    made = []
    for whole in (0, 1 << 60):
        monkeypatch.setattr(_details, "TYPED_WHOLE", whole)
        made.append(parts_of(instrument(decode_module(data)), size))
    assert made[0] == made[1]


@pytest.mark.parametrize("path", COMPILED, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_compiled_programs(path: Path) -> None:
    assert compare(path.read_bytes(), 211) or path.stem == "simd"


@pytest.mark.parametrize("first", range(0, 200, 20))
def test_random_numeric_functions(first: int) -> None:
    for seed in range(first, first + 20):
        assert compare(numeric_module(seed)) == 6


@pytest.mark.parametrize("first", range(0, 60, 20))
def test_random_modules(first: int) -> None:
    for seed in range(first, first + 20):
        compare(generate(Random(seed)))


@pytest.mark.parametrize("path", COMPILED[:6], ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_slow_twins_of_compiled_programs_are_the_same(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    compare_twins(monkeypatch, path.read_bytes(), 100)


@pytest.mark.parametrize("first", range(0, 40, 20))
def test_slow_twins_are_the_same(monkeypatch: pytest.MonkeyPatch, first: int) -> None:
    for seed in range(first, first + 20):
        compare_twins(monkeypatch, numeric_module(seed))
        compare_twins(monkeypatch, generate(Random(seed)))


def test_a_part_begins_where_no_operand_is() -> None:
    """There are operands below most of the function, which are none in its middle."""
    adds = "local.get 0 i32.add " * 50
    text = f"""(module (func (param i32) (result i32)
        local.get 0 {adds} local.set 0
        i32.const 1
        block (result i32) i32.const 2 {adds} local.get 0 br_if 0 unreachable end {adds} i32.add))"""
    instrumented = instrument(decode_module(wat(text)))
    plan = instrumented.plan(0)
    bones = bones_of(instrumented, plan)
    assert bones is not None
    typed = plan.typed()
    empty = 102
    for k in range(plan.instructions):
        compare_part(bones, typed, range(k, k + 1))
        assert bones.part(range(k, k + 1), no_tick).first == (0 if k < empty else empty)


def test_only_a_part_of_a_large_function_is_typed() -> None:
    instrumented = instrument(decode_module(wat(function_of(10_000))))
    plan = instrumented.plan(1)
    part = plan.typed_part(range(5_000, 5_001))
    assert isinstance(part, PartlyTyped)
    assert len(part.controls) < 20
    assert plan.typed_part(range(5_001, 5_002)) is part
    with pytest.raises(IndexError):
        part.stacks[3_000]
    before = plan.is_prepared
    plan.unassigned(5_000)
    assert (before, plan.is_prepared) == (False, True)
    types = [plan.operand_types(k) for k in range(plan.instructions)]
    assert plan._owner._details(1)._typed is None
    typed = plan.typed()
    assert types[1:-1] == [operand_types(stack) for stack in typed.stacks][1:-1]
    assert plan.typed_part(range(7, 8)) is typed
