"""Shapes that the specification allows and nobody writes, at or near the engine's limits, in every mode."""

from __future__ import annotations

import pytest
import wasmtime

from tests.fuzz._compare import compare

ONE = "(func $one (result i32) (i32.const 1))"
MOST = 1_000
"""Parameters and results that a type may have."""


def nested(before: str, inside: str, after: str, depth: int) -> str:
    return before * depth + inside + after * depth


def counted(loop: str, label: int) -> str:
    """Three rounds of the loop *label* constructs out."""
    count = "(local.tee 1 (i32.add (local.get 1) (i32.const 1)))"
    return f"{loop} (br_if {label} (i32.lt_u {count} (i32.const 3)))"


SHAPES = {
    "parameters and results of a function": f"""
        (type $t (func (param {"i32 " * MOST}) (result {"i32 " * MOST})))
        (func $id (type $t) {" ".join(f"(local.get {i})" for i in range(MOST))})
        (func (export "f") (param i32) (result i32)
          {"".join(f"(i32.add (local.get 0) (i32.const {i}))" for i in range(MOST))} (call $id)
          {"i32.add " * (MOST - 1)})""",
    "parameters and results of constructs": f"""
        (type $t (func (param {"i64 " * MOST}) (result {"i64 " * MOST}))) {ONE}
        (func (export "f") (param i32) (result i64) (local i32)
          {"".join(f"(i64.const {i})" for i in range(MOST))}
          (block (type $t) (loop (type $t) {counted("(drop (call $one))", 0)}))
          (if (type $t) (local.get 0) (then (drop (call $one))) (else (drop (call $one))))
          {"i64.add " * (MOST - 1)})""",
    "operands below a loop and calls": f"""
        {ONE} (func (export "f") (param i32) (result i32) (local i32)
          {"(i32.const 3)" * 2000} (loop {counted("(drop (call $one))", 0)}) {"i32.add " * 1999})""",
    "blocks in blocks": f"""
        {ONE} (func (export "f") (param i32) (result i32)
          {nested("(block ", "(br_if 4999 (local.get 0)) (drop (call $one))", ")", 5000)} (i32.const 7))""",
    "loops in loops": f"""
        {ONE} (func (export "f") (param i32) (result i32) (local i32)
          {nested("(loop ", counted("(drop (call $one))", 2999), ")", 3000)} (local.get 1))""",
    "conditions in conditions": f"""
        {ONE} (func (export "f") (param i32) (result i32) (local i32)
          {nested("(if (call $one) (then ", "(local.set 1 (call $one))", "))", 2000)} (local.get 1))""",
    "handlers in handlers": f"""
        (tag $e (param i32)) (func $t (param i32) (throw $e (local.get 0)))
        (func (export "f") (param i32) (result i32)
          {nested("(drop (block (result i32) (try_table (catch $e 0)", "(call $t (i32.const 5))",
                  ") (i32.const 1)))", 300)} (i32.const 2))""",
    "clauses of a handler": f"""
        {"(tag (param i32))" * 1000} (func $t (param i32) (throw 999 (local.get 0)))
        (func (export "f") (param i32) (result i32)
          (block $b (result i32)
            (try_table {"".join(f"(catch {i} $b)" for i in range(1000)) * 10} (call $t (i32.const 5)))
            (i32.const 1)))""",
    "targets of a jump": f"""
        {ONE} (func (export "f") (param i32) (result i32)
          (block $a (block $b (br_table {"$a $b " * 25_000} $a (local.get 0))) (return (i32.const 9)))
          (call $one))""",
    "fields of a structure": f"""
        (type $s (struct {"(field (mut i32))" * 10_000}))
        (func (export "f") (param i32) (result i32) (local (ref null $s))
          (local.set 1 (struct.new_default $s)) (struct.set $s 9999 (local.get 1) (local.get 0))
          (struct.get $s 9999 (local.get 1)))""",
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("shape", SHAPES)
def test_the_same_in_every_mode(shape: str) -> None:
    assert compare(bytes(wasmtime.wat2wasm(f"(module {SHAPES[shape]})")), 1) == []
