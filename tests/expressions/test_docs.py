"""The examples of docs/reference/expressions.md are true."""

from __future__ import annotations

import doctest
import re
import struct
from pathlib import Path

import pytest

from tests.wasm._engine import assemble
from trio_wasmdbg.errors import EvaluationError
from trio_wasmdbg.expressions import (
    Scope,
    check,
    check_template,
    evaluate,
    format_template,
    parse,
    parse_template,
)
from trio_wasmdbg.wasm import type_body

PAGE = Path(__file__).parents[2] / "docs/reference/expressions.md"
TEXT = PAGE.read_text("utf-8")

MODULE = assemble("""
    (module
      (memory 1)
      (global $counter (mut i32) (i32.const 42))
      (func (param $n i32) (param $total i64) (param $x f32) (param $scale f64) (param $p i32)
            (local $v v128) (local $node externref)
        i32.const 3
        f64.const 2.5
        drop
        drop))
""")
SCOPE = Scope.of(MODULE, type_body(MODULE, MODULE.functions[0]), 2)


class Paused:
    """The function that the page describes, before its ``drop``."""

    memory = bytearray(65536)
    memory[16:21] = b"hello"
    memory[32:44] = struct.pack("<iii", 10, 20, -30)
    memory[48:56] = struct.pack("<d", 0.5)

    def local(self, index: int) -> object:
        return (7, -5, 1.5, 0.25, 16, struct.pack("<4i", 1, -2, 3, 4), None)[index]

    def operand(self, height: int) -> object:
        return (3, 2.5)[height]

    def global_(self, index: int) -> object:
        return (42,)[index]

    def memory_size(self, memory: int) -> int:
        return len(self.memory)

    def read(self, memory: int, address: int, size: int) -> bytes:
        return bytes(self.memory[address : address + size])


EXAMPLES = re.findall(r"^(\S.*?) +→ (.*)$", TEXT, re.MULTILINE)


def test_the_examples_are_found() -> None:
    assert len(EXAMPLES) == TEXT.count("→") > 40


@pytest.mark.parametrize(("text", "expected"), EXAMPLES, ids=[text for text, _ in EXAMPLES])
def test_example(text: str, expected: str) -> None:
    if "{" in text:
        shown = format_template(check_template(parse_template(text), SCOPE), Paused())
    else:
        expression = check(parse(text), SCOPE)
        try:
            shown = f"{evaluate(expression, Paused())!r} {expression.type}"
        except EvaluationError as problem:
            shown = problem.message

    assert shown == expected


def test_the_session() -> None:
    blocks = re.findall(r"^```pycon\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    session = doctest.DocTestParser().get_doctest("".join(blocks), {}, PAGE.name, str(PAGE), 0)
    result = doctest.DocTestRunner().run(session)

    assert result.attempted == TEXT.count(">>>") > 0
    assert not result.failed


def test_the_scope_of_a_real_function() -> None:
    assert [str(type) for type in SCOPE.locals] == ["i32", "i64", "f32", "f64", "i32", "v128", "externref"]
    assert [str(type) for type in SCOPE.operands] == ["i32", "f64"]
    assert SCOPE.local_names[1] == "total"
    assert SCOPE.global_names == {0: "counter"}


def test_names_of_globals_by_export_and_import() -> None:
    module = assemble("""
        (module
          (import "env" "base" (global i32))
          (global (export "limit") i32 (i32.const 5))
          (global $named (export "other") i32 (i32.const 5))
          (func))
    """)
    scope = Scope.at(module, 0, (), ())

    assert scope.global_names == {0: "base", 1: "limit", 2: "named"}
