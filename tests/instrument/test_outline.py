"""Outlines against typed bodies: rewriting gives the same by either, byte for byte."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from tests.fuzz._generate import generate
from trio_wasmdbg.instrument import FRAME_MODES, FrameMode, Instrumented, _rewrite_function, instrument
from trio_wasmdbg.instrument._liveness import liveness
from trio_wasmdbg.instrument._outline import NoOutlineError, Outline, outline
from trio_wasmdbg.instrument._survey import survey
from trio_wasmdbg.instrument._words import Words
from trio_wasmdbg.wasm import Function, Module, decode_module, type_body
from trio_wasmdbg.wasm._pace import no_tick

from ._harness import wat
from .test_offsets import check_words

TESTS = Path(__file__).parents[1]
COMPILED = sorted([*TESTS.glob("guests/*.wasm"), *TESTS.glob("benchmarks/programs/O?/*.wasm")])


class Text:
    """Random functions of numbers only, of all that an outline knows."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.depth = 0
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)

    def value(self, deep: int) -> None:
        """Pushes an i32."""
        kind = self.random.randrange(11 if deep else 3)
        local = self.random.randrange(6)
        if kind == 0:
            self.say(f"i32.const {self.random.choice([0, 1, -1, 7, 70000, -(2**31)])}")
        elif kind <= 2:
            self.say(f"local.get {local}")
        elif kind <= 4:
            self.value(deep - 1)
            self.value(deep - 1)
            self.say(self.random.choice(["i32.add", "i32.div_s", "i32.rem_u", "i32.lt_s", "i32.rotl"]))
        elif kind == 5:
            self.value(deep - 1)
            self.say(f"local.tee {local}")
        elif kind == 6:
            self.value(deep - 1)
            self.value(deep - 1)
            self.value(deep - 1)
            self.say("select")
        elif kind == 7:
            self.value(deep - 1)
            self.say(self.random.choice(["i32.load offset=300", "i32.load8_u", "memory.grow", "i32.clz"]))
        elif kind == 8:
            self.call(deep)
        elif kind == 9:
            self.construct(deep, "(result i32)")
        else:
            self.value(deep - 1)
            self.say(f"f64.convert_i32_s f64.const {self.random.random()} f64.mul i32.trunc_sat_f64_s")

    def call(self, deep: int) -> None:
        """Pushes an i32."""
        if self.random.random() < 0.2:
            self.say("call $pair i32.add")
            return
        self.value(deep - 1)
        self.value(deep - 1)
        if self.random.random() < 0.3:
            self.value(deep - 1)
            self.say("i32.const 1 i32.and call_indirect (param i32 i32) (result i32)")
        else:
            self.say("call $two")

    def construct(self, deep: int, result: str) -> None:
        kind = self.random.choice(["block", "loop", "if"])
        if kind == "if":
            self.value(deep - 1)
        self.say(f"{kind} {result}")
        self.depth += 1
        self.inside(deep, result)
        if kind == "if" and (result or self.random.random() < 0.5):
            self.say("else")
            self.inside(deep, result)
        self.depth -= 1
        self.say("end")

    def inside(self, deep: int, result: str) -> None:
        for _ in range(self.random.randrange(4)):
            self.statement(deep - 1)
        if result:
            self.value(deep - 1)

    def statement(self, deep: int) -> None:
        kind = self.random.randrange(14 if deep > 0 else 4)
        if kind <= 1:
            self.value(max(deep, 0))
            self.say(f"local.set {self.random.randrange(6)}")
        elif kind == 2:
            self.value(max(deep, 0))
            self.say(self.random.choice(["drop", "global.set 0"]))
        elif kind == 3:
            self.say("global.get 0 global.get 1 global.set 1 global.set 0")
        elif kind <= 6:
            self.construct(deep, "")
        elif kind == 7:
            self.value(deep - 1)
            self.say("br_if $void")
        elif kind == 8:
            # Labels that take nothing; what follows is dead.
            table = " ".join(self.random.choices(["$void", "$again"], k=self.random.choice([1, 3, 200])))
            self.value(deep - 1)
            self.say(f"if local.get 1 br_table {table} ")
            self.dead()
            self.say("end")
        elif kind == 9:
            self.value(deep - 1)
            self.say("if " + self.random.choice(["unreachable", "br $void", "local.get 2 return"]))
            self.dead()
            self.say("end")
        elif kind == 10:
            self.value(deep - 1)
            self.say("if local.get 0 local.get 1 return_call $two end")
        elif kind == 11:
            self.value(deep - 1)
            self.value(deep - 1)
            self.say("i32.store")
        elif kind == 12:
            self.value(deep - 1)
            self.say("i32.const 0 i32.const 0 memory.fill")
        else:
            self.say("i32.const 0 i32.const 0 i32.const 0 memory.init 0 data.drop 0")

    def dead(self) -> None:
        if self.random.random() < 0.5:
            self.say("block i32.const 3 if (result i32) local.get 0 else br 1 end local.set 3")
            self.say("loop br 0 end end")

    def function(self, name: str) -> str:
        self.lines = []
        for _ in range(self.random.randrange(12)):
            self.statement(4)
        body = "\n".join(self.lines)
        return f"""(func ${name} (export "{name}") (param i32 i32) (result i32)
            (local i32 i32 i32 i32 i64 f32)
            loop $again block $void {body} end end local.get 3)"""


def numeric_module(seed: int) -> bytes:
    text = Text(Random(seed))
    functions = "\n".join(text.function(f"f{i}") for i in range(4))
    return wat(
        f"""(module (memory 1) (table 2 funcref) (elem (i32.const 0) $two $f0) (data "x")
        (global (mut i32) (i32.const 0)) (global (mut i32) (i32.const 0))
        (func $two (param i32 i32) (result i32) local.get 0)
        (func $pair (result i32 i32) i32.const 1 i32.const 2)
        {functions})"""
    )


def by_typing(monkeypatch: pytest.MonkeyPatch, module: Module, frames: FrameMode) -> Instrumented:
    def never(*_arguments: object) -> Outline:
        raise NoOutlineError

    with monkeypatch.context() as patch:
        patch.setattr(_rewrite_function, "outline", never)
        return instrument(module, frames=frames)


def outlined(module: Module, words: Words, function: Function) -> Outline | None:
    try:
        return outline(module, words, function, no_tick)
    except NoOutlineError:
        return None


def compare(monkeypatch: pytest.MonkeyPatch, module: Module) -> None:
    for frames in FRAME_MODES:
        ours, typed = instrument(module, frames=frames), by_typing(monkeypatch, module, frames)
        assert ours.wasm == typed.wasm
        assert list(ours.code_map.bodies()) == list(typed.code_map.bodies())
        assert ours.layout == typed.layout
        for plan, other in zip(ours.plans, typed.plans, strict=True):
            assert (plan is None) == (other is None)
            if plan is not None and other is not None:
                assert plan.frame == other.frame
                assert plan.sites == other.sites


def compare_parts(module: Module) -> int:
    """Surveys, stacks, and what is live; how many functions have an outline."""
    words, count = Words(module), 0
    for function in module.functions:
        found = outlined(module, words, function) if function.body is not None else None
        if found is None:
            continue
        count += 1
        typed = type_body(module, function)
        theirs = survey(typed)
        assert found.survey.facts == theirs.facts
        assert found.survey.traps == theirs.traps
        assert found.max_height == typed.max_height
        needed = liveness(typed)
        live = liveness(found)
        for k, _, _, height in found.survey.places:
            assert found.reachable[k] == typed.reachable[k]
            assert found.instructions[k] == typed.instructions[k]
            assert live.at(k) == needed.at(k)
            if typed.reachable[k]:
                ours, operand = found.stack(k, height), typed.stacks[k]
                while operand is not None:
                    assert ours is not None
                    assert (ours.height, ours.type) == (operand.height, operand.type)
                    ours, operand = ours.below, operand.below
                assert ours is None
    return count


@pytest.mark.parametrize("path", COMPILED, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_compiled_programs_are_rewritten_the_same(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    module = decode_module(path.read_bytes())
    compare(monkeypatch, module)
    assert compare_parts(module) or path.stem == "simd"


@pytest.mark.parametrize("first", range(0, 200, 20))
def test_random_numeric_functions_are_rewritten_the_same(monkeypatch: pytest.MonkeyPatch, first: int) -> None:
    for seed in range(first, first + 20):
        module = decode_module(numeric_module(seed))
        compare(monkeypatch, module)
        assert compare_parts(module) == 6


@pytest.mark.parametrize("first", range(0, 60, 20))
def test_random_modules_are_rewritten_the_same(monkeypatch: pytest.MonkeyPatch, first: int) -> None:
    for seed in range(first, first + 20):
        module = decode_module(generate(Random(seed)))
        compare(monkeypatch, module)
        compare_parts(module)


@pytest.mark.parametrize("seed", range(40))
def test_words_are_instructions(seed: int) -> None:
    check_words(decode_module(numeric_module(seed)))


def test_operands_that_take_too_long_to_find_are_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    """An operand at the bottom of everything, and calls all the way."""
    calls = "call $f drop " * 3000
    deep = "i32.const 1 " * 60 + "i32.const 1 i32.const 2 select " * 60 + "drop " * 60
    text = f"(module (func $f (result i32) i32.const 5 {deep} {calls}))"
    compare(monkeypatch, decode_module(wat(text)))


@pytest.mark.parametrize(
    "junk",
    [b"\x0b\x0b", b"\x41\x00\x0b", b"\x0e\x80\x80", b"\x05\x0b", b"\x20\x09\x1a\x0b", b"\xff", b"\x0c\x05"],
)
def test_what_is_no_body_has_no_outline(junk: bytes) -> None:
    good = wat("(module (func nop nop nop nop nop nop nop nop nop nop nop))")
    at = good.index(b"\x01\x01\x01") + 9
    module = decode_module(good[:at] + junk.ljust(3, b"\x0b")[:3])
    assert outlined(module, Words(module), module.functions[0]) is None
