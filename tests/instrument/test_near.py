"""The check sites before an instruction: compared with a search through all ways that control may take."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import wasmtime

from tests.benchmarks._generated import function_of
from tests.fuzz._generators import GENERATORS
from trio_wasmdbg.instrument import FunctionPlan, Instrumented, _check_sites, _near, instrument
from trio_wasmdbg.instrument._survey import branch_depths
from trio_wasmdbg.wasm import ControlFrame, Flow, TypedBody, decode_module

BENCHMARKS = Path(__file__).parents[1] / "benchmarks" / "programs"

# Constructs in constructs, loops that certainly call in each round (without a site of their own) and others,
# and a place behind and in everything.
SOURCE = """
(module (func $leaf)
  (func (export "run") (param $n i32)
    (block $a
      (if (local.get $n) (then (call $leaf)) (else (br_if $a (local.get $n)) (nop)))
      (nop))
    (loop $calls
      (nop)
      (if (local.get $n) (then (call $leaf) (br $calls)))
      (nop))
    (block $out
      (loop $endless
        (br_if $out (local.get $n))
        (block $b (block $c (br_table $b $c $out $endless (local.get $n))) (call $leaf) (br $endless))
        (nop) (br $endless)))
    (if (local.get $n) (then (return)))
    (block $d (loop $inner (call $leaf) (br_if $d (local.get $n)) (br $inner)))
    (if (local.get $n) (then (nop)) (else (unreachable)))
    (nop)))
"""


def modules() -> Iterator[bytes]:
    yield bytes(wasmtime.wat2wasm(SOURCE))
    for name in ("O0/regex", "O2/json"):
        yield (BENCHMARKS / f"{name}.wasm").read_bytes()
    yield from (GENERATORS["own"].make(seed) for seed in range(40))


def ways(typed: TypedBody, k: int) -> list[int]:
    """Where control may go from instruction *k*."""
    instruction = typed.instructions[k]
    flow, last = instruction.op.flow, len(typed.instructions) - 1

    def target(depth: int) -> int:
        scope: ControlFrame | None = typed.scopes[k]
        for _ in range(depth):
            assert scope is not None
            scope = scope.parent
        assert scope is not None
        if scope.kind == "loop":
            return scope.start + 1
        return last if scope.kind == "function" else scope.end + 1

    found = [] if instruction.op.ends_flow or k == last else [k + 1]
    if flow is Flow.RETURN:
        return [last]
    if flow is Flow.ELSE:
        return [typed.controls[k].end + 1]
    if flow is Flow.IF:
        control = typed.controls[k]
        found.append((control.end if control.else_ is None else control.else_) + 1)
    if flow in (Flow.BRANCH, Flow.BRANCH_IF, Flow.BRANCH_TABLE):
        found += [target(depth) for depth in branch_depths(instruction)]
    return found


def reached(plan: FunctionPlan) -> dict[int, set[int]]:
    """By instruction: addresses of the sites from which control comes there without coming by another."""
    typed, kinds = plan.typed(), {(site.resume_point, site.kind) for site in plan.sites}
    found: dict[int, set[int]] = {}
    for site in plan.sites:
        open_ = [site.resume_point]
        while open_:
            k = open_.pop()
            here = found.setdefault(k, set())
            if site.address in here:
                continue
            here.add(site.address)
            for to in ways(typed, k):
                called = typed.instructions[k].op.flow is Flow.CALL and (to, "after_call") in kinds
                # Of loops, and those that divide large functions.
                if (to, "loop") not in kinds and not called:
                    open_.append(to)
    return found


def plans(instrumented: Instrumented) -> Iterator[FunctionPlan]:
    for plan in instrumented.defined():
        if not any(i.op.flow is Flow.TRY_TABLE for i in plan.typed().instructions):
            yield plan


@pytest.mark.parametrize("divided", [False, True])
def test_no_way_to_a_place_is_missed(monkeypatch: pytest.MonkeyPatch, divided: bool) -> None:
    if divided:
        monkeypatch.setattr(_check_sites, "LARGE", 0)
        monkeypatch.setattr(_check_sites, "CUT", 5)
        monkeypatch.setattr(_near, "_PIECE", 3)
    compared = fewer = 0
    for wasm in modules():
        for plan in plans(instrument(decode_module(wasm))):
            everything = set(plan.site_addresses)
            for k, sites in reached(plan).items():
                found = plan.nearest_sites(k)
                assert found is not None
                assert sites <= found <= everything, (plan.index, k)
                compared += 1
                fewer += found < everything
    assert compared > 5_000 and fewer > compared // 2


def test_no_more_than_there_need_be() -> None:
    plan = instrument(decode_module(bytes(wasmtime.wat2wasm(function_of(1_000))))).plan(1)
    exact = [k for k, sites in reached(plan).items() if plan.nearest_sites(k) == frozenset(sites)]
    assert len(exact) == plan.instructions


def test_where_an_exception_may_come_from_anywhere() -> None:
    text = """(module (tag $t)
      (func $f) (func (export "run") (block $c (try_table (catch $t $c) (call $f))) (call $f) (nop)))"""
    plan = instrument(decode_module(bytes(wasmtime.wat2wasm(text)))).plan(1)
    assert plan.nearest_sites(0) == frozenset({plan.site_addresses.start})
    assert plan.nearest_sites(plan.instructions - 1) is None


@pytest.mark.parametrize("k", [0, 1])
def test_the_entry(k: int) -> None:
    plan = instrument(decode_module(bytes(wasmtime.wat2wasm(SOURCE)))).plan(1)
    assert plan.nearest_sites(k) == frozenset({plan.site_addresses.start})
