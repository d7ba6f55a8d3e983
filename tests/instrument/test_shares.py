"""Modules rewritten in shares: byte for byte what one process makes of them."""

from __future__ import annotations

import pickle
from pathlib import Path
from random import Random
from typing import Any, cast

import pytest

from tests.benchmarks._generated import grown
from tests.benchmarks._programs import Program
from tests.fuzz._generate import generate
from tests.instrument._harness import wat
from tests.instrument.test_opaque import MODULE as OPAQUE
from tests.instrument.test_outline import numeric_module
from tests.instrument.test_saved import MODULES
from trio_wasmdbg.errors import MalformedModuleError, UnsupportedFeatureError
from trio_wasmdbg.instrument import FRAME_MODES, FrameMode, Made, Share, _rewrite, batches, instrument, saved
from trio_wasmdbg.instrument import _shares as shares
from trio_wasmdbg.instrument._rewrite_function import Rewritten
from trio_wasmdbg.wasm import Module, decode_module

KINDS = """(module
  (type $s (struct (field i32) (field funcref)))
  (import "host" "e" (global $e externref))
  (global $g (mut i32) (i32.const 0))
  (table $t 2 funcref)
  (elem declare func $first)
  (func $first (drop (global.get $e)))
  (func $second (drop (ref.i31 (i32.const 1))))
  (func $third (drop (table.get $t (i32.const 0))) (global.set $g (i32.const 1)))
  (func $fourth (drop (global.get $e)) (drop (ref.i31 (i32.const 1))) (drop (table.get $t (i32.const 1))))
  (func $fifth (drop (struct.get $s 1 (struct.new $s (i32.const 1) (ref.func $first)))))
  (func $sixth (drop (global.get $g))))"""
"""No type of a function tells that it has references."""

MANY_RESULTS = """(module
  (table $t 4 funcref)
  (elem $some func $a $b)
  (data $d "abc")
  (memory 1)
  (func $a (result i32 i32) (i32.const 1) (i32.const 2))
  (func $b (param i32) (result i64 i32 i32) (i64.const 1) (call $a))
  (func $c (result i32 i32) (block (result i32 i32) (call $b (i32.const 1)) (return_call $a)))
  (func $d (export "d") (table.init $t $some (i32.const 0) (i32.const 0) (i32.const 1)) (elem.drop $some))
  (func $e (memory.init $d (i32.const 0) (i32.const 0) (i32.const 1)) (elem.drop $some) (data.drop $d))
  (func $f (param i32) (result i32) (return_call $g (local.get 0)))
  (func $g (param i32) (result i32)
    (loop $l (call $d) (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))) (local.get 0)))"""

ALL = MODULES | {
    "json": grown(Program("json", "application", "O2").path.read_bytes(), 3),
    "opaque with globals": wat(OPAQUE),
    "kinds of references": wat(KINDS),
    "many results": wat(MANY_RESULTS),
}


def shared_out(
    module: Module, frames: FrameMode, seed: int, *, count: int = 3
) -> dict[int, Made | None]:
    """What so many shares make of it, in any order, as other processes send it."""
    random = Random(seed)
    those = [Share(module, frames) for _ in range(count)]
    indices = [index for batch in batches(module, 1) for index in batch]
    random.shuffle(indices)
    made = {index: random.choice(those).make(index) for index in indices}
    found: dict[int, Made | None] = pickle.loads(pickle.dumps(made))
    return found


def everything(module: Module, frames: FrameMode, made: dict[int, Made | None] | None = None) -> bytes:
    """All that is known of a rewritten module."""
    return b"".join(saved(instrument(module, frames=frames, made=made), bytes(32)))


def compare(data: bytes, seed: int = 0) -> int:
    """In all modes; how many functions were made by shares, and accepted or not."""
    module = decode_module(data)
    count = 0
    for frames in FRAME_MODES:
        made = shared_out(module, frames, seed)
        assert set(made) == {function.index for function in module.functions if function.body is not None}
        count += sum(one is not None for one in made.values())
        assert everything(module, frames, made) == everything(module, frames), frames
        assert not made
    return count


@pytest.mark.parametrize("name", ALL)
def test_the_result_is_the_same(name: str) -> None:
    assert (compare(ALL[name]) > 0) == (name != "empty")


@pytest.mark.parametrize("seed", range(20))
def test_it_is_for_random_modules(seed: int) -> None:
    compare(generate(Random(seed)), seed)
    compare(numeric_module(seed), seed)


@pytest.mark.parametrize("left_out", range(6))
def test_what_has_not_been_made_is_made_here(left_out: int) -> None:
    module = decode_module(ALL["many results"])
    made = shared_out(module, "exact", 1)
    del made[left_out]
    made[6] = None
    told: list[tuple[int, int]] = []
    instrument(module, made=dict(made), progress=lambda *done: told.append(done))
    sizes = [body.end - body.start for function in module.functions if (body := function.body) is not None]
    total = sum(sizes)
    ahead = total - sizes[left_out] - sizes[6]
    assert told == [(ahead, total), (ahead + sizes[left_out], total), (total, total)]
    assert everything(module, "exact", made) == everything(module, "exact")


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What comes of everything that was made by shares: None, where it is made again."""
    found: list[object] = []
    accepted = shares.accepted

    def watching(made: Made, *others: Any) -> Rewritten | None:
        found.append(accepted(made, *others))
        return cast("Rewritten | None", found[-1])

    monkeypatch.setattr(_rewrite, "accepted", watching)
    return found


def test_most_functions_are_accepted_as_they_were_made(watched: list[object]) -> None:
    for name in ("json", "hello", "many results", "mixed"):
        module = decode_module(ALL[name])
        instrument(module, made=shared_out(module, "exact", 3))
    assert len(watched) > 80 and None not in watched


def test_functions_that_have_got_other_answers_are_made_again(watched: list[object]) -> None:
    module = decode_module(ALL["kinds of references"])
    alone = everything(module, "exact")
    for indices in (range(6), range(5, -1, -1)):
        share = Share(module, "exact")
        watched.clear()
        assert everything(module, "exact", {index: share.make(index) for index in indices}) == alone
        # They ask for kinds of references that their types don't tell, backwards in another order.
        assert (watched[0] is None) == (indices.step < 0)
        assert watched[5] is not None


def test_no_more_sites_than_their_addresses_have_room_for(
    monkeypatch: pytest.MonkeyPatch, watched: list[object]
) -> None:
    module = decode_module(ALL["json"])
    alone = instrument(module).wasm
    monkeypatch.setattr(shares, "MOST_SITES", instrument(module).layout.sites // 2)
    watched.clear()
    assert instrument(module, made=shared_out(module, "exact", 3)).wasm == alone
    assert watched[0] is not None and watched[-1] is None


def test_a_function_that_can_not_be_rewritten_is_left_over() -> None:
    module = decode_module(wat(OPAQUE))
    share = Share(module, "exact")
    assert share.make(0) is not None
    assert share.make(1) is None
    assert share.make(2) is not None
    with pytest.raises(UnsupportedFeatureError, match="too many locals") as alone:
        raise instrument(module).opaque[1]
    with pytest.raises(UnsupportedFeatureError, match="too many locals") as together:
        raise instrument(module, made={index: share.make(index) for index in range(3)}).opaque[1]
    assert str(alone.value) == str(together.value)


def test_the_first_bad_function_is_the_one_that_is_told_of() -> None:
    good = bytes.fromhex("0061736d 01000000 0104 0160 0000 0304 03 000000 0a0a 03 0200 0b 0200 0b 0200 0b")
    bad = bytearray(good)
    for at in (-7, -1):  # the first function's end, and the last one's
        bad[at] = 0x05  # else, of nothing
    module = decode_module(bytes(bad))
    with pytest.raises(MalformedModuleError) as alone:
        instrument(module)
    with pytest.raises(MalformedModuleError) as together:
        instrument(module, made=shared_out(module, "exact", 1))
    assert str(alone.value) == str(together.value)


def test_batches() -> None:
    module = decode_module(ALL["json"])
    sizes = {f.index: f.body.end - f.body.start for f in module.functions if f.body is not None}
    for size in (1, 500, 1 << 20):
        found = batches(module, size)
        assert sorted(index for batch in found for index in batch) == list(sizes)
        held = [sum(sizes[index] for index in batch) for batch in found]
        assert held == sorted(held, reverse=True)
        for batch, bytes_ in zip(found, held, strict=True):
            assert bytes_ - sizes[batch[-1]] < size
            assert bytes_ >= size or batch[-1] == len(module.functions) - 1
    assert batches(decode_module(b"\0asm\1\0\0\0")) == []


def test_guests_are_compared() -> None:
    assert {path.stem for path in (Path(__file__).parents[1] / "guests").glob("*.wasm")} <= set(ALL)
