"""Liveness against a dataflow that knows no structure: each instruction its equation, solved by iterating."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.fuzz._generate import generate
from trio_wasmdbg.instrument._liveness import MAX_NESTING, liveness
from trio_wasmdbg.instrument._survey import branch_depths
from trio_wasmdbg.wasm import Flow, TypedBody, decode_module, type_body

from ._harness import wat
from ._programs import compiled, needs_clang

GUESTS = Path(__file__).parents[1] / "guests"


def solved(typed: TypedBody) -> list[int]:
    """For each instruction the mask of the locals that are live before it."""
    instructions, last = typed.instructions, len(typed.instructions) - 1

    def label(k: int, depth: int) -> int:
        scope = typed.scopes[k]
        for _ in range(depth):
            assert scope.parent is not None
            scope = scope.parent
        return {"loop": scope.start, "function": last}.get(scope.kind, scope.end)

    def handlers(k: int) -> list[int]:
        found, scope = [], typed.scopes[k]
        while scope.parent is not None:
            if scope.kind == "try_table":
                found += [label(scope.start, catch.label) for catch in instructions[scope.start].imm.catches]
            scope = scope.parent
        return found

    after: list[list[int]] = []
    for k, instruction in enumerate(instructions):
        flow, next = instruction.op.flow, [k + 1]
        if flow in (Flow.RETURN, Flow.UNREACHABLE, Flow.TAIL_CALL) or k == last:
            next = []
        elif flow is Flow.THROW:
            next = handlers(k)
        elif flow is Flow.CALL:
            next += handlers(k)
        elif flow in (Flow.BRANCH, Flow.BRANCH_TABLE):
            next = [label(k, depth) for depth in branch_depths(instruction)]
        elif flow is Flow.BRANCH_IF:
            next += [label(k, depth) for depth in branch_depths(instruction)]
        elif flow is Flow.ELSE:
            next = [typed.controls[k].end]
        elif flow is Flow.IF:
            control = typed.controls[k]
            next.append(control.end if control.else_ is None else control.else_ + 1)
        after.append(next)
    live = [0] * len(instructions)
    changed = True
    while changed:
        changed = False
        for k in range(last, -1, -1):
            code, imm = instructions[k].op.code, instructions[k].imm
            mask = 0
            for next_ in after[k]:
                mask |= live[next_]
            if code == 0x20:
                mask |= 1 << imm
            elif code in (0x21, 0x22):
                mask &= ~(1 << imm)
            if mask != live[k]:
                live[k], changed = mask, True
    return live


def check(wasm: bytes) -> tuple[int, int]:
    """How many places were compared, and at how many not all locals are live."""
    module = decode_module(wasm)
    compared = fewer = 0
    for function in module.functions:
        if function.body is None:
            continue
        typed = type_body(module, function)
        found, expected = liveness(typed), solved(typed)
        for k, reachable in enumerate(typed.reachable):
            if not reachable:
                continue
            loops, scope = 0, typed.scopes[k]
            while scope.parent is not None:
                loops += scope.kind == "loop"
                scope = scope.parent
            if loops <= MAX_NESTING:
                assert found.before(k) == expected[k], (function.index, k)
            else:
                assert found.before(k) & expected[k] == expected[k], (function.index, k)
            if typed.instructions[k].op.flow is not Flow.NEXT:
                assert found.at(k) == found.before(k)
            compared += 1
            fewer += found.before(k) != found.everything
    return compared, fewer


@needs_clang
@pytest.mark.parametrize("level", ["-O0", "-O1", "-O2", "-Os"])
def test_compiled_programs(level: str) -> None:
    compared, fewer = check(compiled(level))
    assert compared > 900 and fewer > compared // 10


@pytest.mark.parametrize("name", ["hello", "echo", "qsort", "sha256"])
def test_guests(name: str) -> None:
    compared, fewer = check((GUESTS / f"{name}.wasm").read_bytes())
    assert fewer > compared // 3


@pytest.mark.parametrize("seed", range(40))
def test_generated_programs(seed: int) -> None:
    assert check(generate(random.Random(seed)))[0]


NESTED = "".join(f"(loop $l{n} (local.set {n} (local.get {n + 1}))" for n in range(7))
BACK = "".join(
    f"(br_if $l{n} (local.get {6 - n})) (local.set {n + 2} (local.get 0)))" for n in range(6, -1, -1)
)


def test_loops_in_loops() -> None:
    """Deeper than what is exact: a superset."""
    check(wat(f"(module (func (param i32 i32 i32 i32 i32 i32 i32 i32 i32) {NESTED} {BACK}))"))


def test_handlers() -> None:
    check(
        wat("""
        (module (tag $t (param i32)) (func $f (param i32) (result i32) local.get 0)
          (func (param i32 i32 i32 i32 i32) (result i32)
            (loop $again
              (local.set 2 (block $caught (result i32)
                (try_table (result i32) (catch $t $caught)
                  (block $all
                    (try_table (catch_all $all)
                      (local.set 0 (call $f (local.get 4)))
                      (local.set 4 (i32.const 1)))
                    (if (local.get 1) (then (throw $t (local.get 2))))
                    (local.set 3 (i32.const 7)))
                  (call $f (local.get 3)))))
              (br_if $again (local.get 0)))
            (local.get 2)))
        """)
    )


def test_too_large_to_look_at() -> None:
    """50,000 locals and tens of thousands of places: everything counts as live, at once."""
    body = "(if (local.get 0) (then (local.set 1 (i32.const 1))))" * 3000
    module = decode_module(wat(f"(module (func (local {' '.join(['i32'] * 40_000)}) {body}))"))
    found = liveness(type_body(module, module.functions[0]))
    assert found.before(0) == found.everything == found.at(5)
