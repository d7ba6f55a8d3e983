"""Branch hints stand at the same instructions after rewriting, and the engine heeds them."""

from __future__ import annotations

from random import Random

import pytest
import wasmtime
from wasmtime import _bindings as c

from tests.instrument._harness import Plain, Rig, check_same, wat
from trio_wasmdbg.addresses import InstrumentedOffset
from trio_wasmdbg.instrument import (
    FRAME_MODES,
    CodeMap,
    Flavour,
    FlavourOptions,
    FrameMode,
    flavours,
    instrument,
)
from trio_wasmdbg.wasm import (
    BRANCH_HINTS,
    MAGIC,
    branch_hints,
    decode_module,
    hint_section,
    name,
    read_body,
    section,
    uleb,
)

UNLIKELY, LIKELY = '(@metadata.code.branch_hint "\\00")', '(@metadata.code.branch_hint "\\01")'

HINTED = f"""
(module
  (import "x" "f" (func $f (param i32) (result i32)))
  (global $g (export "g") (mut i32) (i32.const 300))
  (func $plain (param i32) (result i32) (i32.div_s (i32.const 100) (local.get 0)))
  (func $loop (export "loop") (param i32) (result i32) (local i64 i32)
    (loop $again
      (local.set 2 (i32.add (local.get 2) (call $f (global.get $g))))
      {UNLIKELY}
      (if (i32.eqz (i32.rem_u (local.get 0) (i32.const 7)))
        (then (local.set 2 (i32.xor (local.get 2) (call $plain (local.get 0))))))
      (block $out
        {LIKELY}
        (br_if $out (i32.and (local.get 0) (i32.const 1)))
        (global.set $g (local.get 2)))
      {LIKELY}
      (br_if $again (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
    (local.get 2))
  (func (export "other") (param i32) (result i32)
    {UNLIKELY}
    (if (result i32) (local.get 0)
      (then (call $loop (local.get 0)))
      (else (return (i32.const 5)) {LIKELY} (if (i32.const 1) (then))))))
"""


def engine(hints: bool) -> wasmtime.Engine:
    config = wasmtime.Config()
    c.wasmtime_config_wasm_branch_hinting_set(config.ptr(), hints)
    return wasmtime.Engine(config)


def found(original: bytes, made: bytes, code_map: CodeMap) -> dict[int, int]:
    """By offset in the original: the rewritten module's hints, each at an instruction that was copied."""
    module, rewritten, hints = decode_module(original), decode_module(made), dict[int, int]()
    (custom,) = [each for each in rewritten.custom if each.name == BRANCH_HINTS]
    assert rewritten.code_section is not None and custom.end <= rewritten.code_section.header_start
    for index, each in branch_hints(rewritten).items():
        assert [offset for offset, _ in each] == sorted(offset for offset, _ in each)
        for offset, value in each:
            place = code_map.to_original(InstrumentedOffset(offset))
            assert place is not None and not place.inserted
            there = read_body(rewritten, rewritten.functions[index])
            here = read_body(module, module.functions[place.function])
            (new,) = [instruction for instruction in there if instruction.offset == offset]
            (old,) = [instruction for instruction in here if instruction.offset == place.offset]
            assert new.op is old.op and new.op.name in ("if", "br_if")
            hints[place.offset] = value
    return hints


def originals(original: bytes) -> dict[int, int]:
    found = branch_hints(decode_module(original))
    return {offset: value for each in found.values() for offset, value in each}


@pytest.mark.parametrize("frames", FRAME_MODES)
def test_hints_are_at_the_same_instructions(frames: FrameMode) -> None:
    data = wat(HINTED)
    assert list(originals(data).values()) == [0, 1, 1, 0, 1]
    made = instrument(decode_module(data), frames=frames)
    assert found(data, made.wasm, made.code_map) == originals(data)


def test_also_in_flavours() -> None:
    data = wat(HINTED)
    made = instrument(decode_module(data))
    options = FlavourOptions(dict.fromkeys(range(5)))
    wanted = [Flavour(index, made.layout.blocks_base, options) for index in (2, 1, 3)]
    companion = flavours(made, wanted, called="a flavour")
    assert found(data, companion.wasm, companion.code_map) == originals(data)


def test_the_engine_heeds_them() -> None:
    # The other way round, and not at all.
    flipped = HINTED.replace(UNLIKELY, "?").replace(LIKELY, UNLIKELY).replace("?", LIKELY)
    for hints in (False, True):
        texts = (HINTED, flipped)
        made = [instrument(decode_module(wat(text))).wasm for text in texts]
        assert made[0] != made[1]
        compiled = [wasmtime.Module(engine(hints), each).serialize() for each in made]
        assert (compiled[0] != compiled[1]) == hints


def test_the_same_comes_out() -> None:
    def define(linker: wasmtime.Linker, store: wasmtime.Store) -> None:
        i32 = wasmtime.ValType.i32()
        linker.define_func("x", "f", wasmtime.FuncType([i32], [i32]), lambda x: x % 1000 + 3)

    calls: list[tuple[str, tuple[object, ...]]] = [("loop", (40,)), ("other", (9,)), ("other", (0,))]
    check_same(wat(HINTED), calls, define)
    heeds = engine(True)
    plain, rig = Plain(wat(HINTED), define, engine=heeds), Rig(wat(HINTED), define, engine=heeds)
    expected = [plain.call(name, *args) for name, args in calls]
    assert [rig.call(name, *args) for name, args in calls] == expected
    assert rig.state() == plain.state()


def with_hints(contents: bytes) -> bytes:
    """Two functions, and this as the section."""
    data = wat("(module (func (if (i32.const 1) (then))) (func (local i32) (br_if 0 (i32.const 0))))")
    module = decode_module(data)
    assert module.code_section is not None
    at = module.code_section.header_start
    return data[:at] + section(0, name(BRANCH_HINTS) + contents) + data[at:]


GOOD = hint_section([(0, 3, 1), (1, 5, 0)])


@pytest.mark.parametrize(
    ("contents", "kept"),
    [
        (GOOD, {0: 1, 1: 0}),
        (GOOD[:-1], {0: 1}),
        (b"", {}),
        (b"\xff\xff\xff\xff\x0f", {}),
        (hint_section([(0, 3, 1), (9, 3, 1)]), {0: 1}),  # no such function
        (hint_section([(0, 300, 1), (1, 5, 0)]), {1: 0}),  # outside of its body
        (uleb(1) + b"\x00\x01\x03\x02\x01\x01", {}),  # a hint of two bytes
        (uleb(1) + b"\x00\x01\x03\x01\x02", {}),  # neither likely nor unlikely
        (uleb(2) + hint_section([(0, 3, 1)])[1:] * 2, {0: 1}),  # twice the same function
    ],
)
def test_what_is_damaged_is_left_out(contents: bytes, kept: dict[int, int]) -> None:
    data = with_hints(contents)
    made = instrument(decode_module(data))
    rewritten = decode_module(made.wasm)
    assert {index: value for index, each in branch_hints(rewritten).items() for _, value in each} == kept
    if not kept:
        assert BRANCH_HINTS.encode() not in made.wasm
    wasmtime.Module(engine(True), made.wasm)


def test_garbage_as_a_section() -> None:
    random, heeds = Random("hints"), engine(True)
    for _ in range(300):
        contents = bytearray(GOOD)
        for _ in range(random.randint(1, 3)):
            contents[random.randrange(len(contents))] = random.choice([0, 1, 3, 127, 128, 255])
        data = with_hints(bytes(contents))
        assert data.startswith(MAGIC)
        made = instrument(decode_module(data))
        wasmtime.Module(heeds, made.wasm)
