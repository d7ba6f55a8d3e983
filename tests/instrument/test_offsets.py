"""Bodies cut into words: where instructions lie is known without typing anything, and is the same."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from tests.fuzz._generate import generate
from trio_wasmdbg.instrument import instrument
from trio_wasmdbg.wasm import Module, cut, decode_module, read_body

from ._harness import wat

TESTS = Path(__file__).parents[1]
COMPILED = sorted([*TESTS.glob("guests/*.wasm"), *TESTS.glob("benchmarks/programs/O2/*.wasm")])


def compare(data: bytes) -> None:
    """Every offset and instruction, before anything is typed and after."""
    rewritten = instrument(decode_module(data))
    for plan in rewritten.defined():
        expected = read_body(rewritten.original, rewritten.original.functions[plan.index])
        assert list(plan.offsets) == [each.offset for each in expected]
        assert plan.operand_types(0) == () or len(expected) == 1
        assert [plan.instruction(k) for k in range(plan.instructions)] == expected
        plan.typed()
        assert plan.is_prepared
        assert [plan.instruction(k) for k in range(plan.instructions)] == expected


@pytest.mark.parametrize("path", COMPILED, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_compiled_programs(path: Path) -> None:
    compare(path.read_bytes())


@pytest.mark.parametrize("seed", range(30))
def test_random_modules(seed: int) -> None:
    compare(generate(Random(seed)))


def check_words(module: Module) -> None:
    """Bodies are cut where their instructions begin."""
    for function in module.functions:
        if function.body is None:
            continue
        start, end = function.body.code_start, function.body.end
        words = cut(module.data, start, end)
        assert b"".join(words) == module.data[start:end]
        # What is not cut: instructions of garbage collection, try_table, select with a type.
        if not {b"\xfb", b"\x1f", b"\x1c"} & set(words):
            assert words == [module.data[i.offset : i.end] for i in read_body(module, function)]


@pytest.mark.parametrize("seed", range(40))
def test_words_are_instructions(seed: int) -> None:
    check_words(decode_module(generate(Random(seed))))


def test_long_bodies_and_tables_are_cut_in_pieces() -> None:
    table = " ".join(["0"] * 300)
    body = f"(block (br_table {table} (local.get 0)))" * 300 + "(local.set 0 (i32.const 1000000))" * 20_000
    module = decode_module(wat(f"(module (func (param i32) {body}))"))
    ticks = 0

    def tick() -> None:
        nonlocal ticks
        ticks += 1

    function = module.functions[0]
    assert function.body is not None
    words = cut(module.data, function.body.code_start, function.body.end, tick)
    assert words == [module.data[i.offset : i.end] for i in read_body(module, function)]
    assert ticks >= 10


@pytest.mark.parametrize("junk", [b"\x0e\x80\x80", b"\xff\x0b\x0b", b"\x41\x80\x80", b"\xfd\x0b\x80"])
def test_what_can_not_be_cut_is_bytes(junk: bytes) -> None:
    assert b"".join(cut(junk, 0, len(junk))) == junk
