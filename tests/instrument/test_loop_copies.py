"""Copies of loops, entered from slow twins: they compute the same, and their frames are right."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from tests.instrument._harness import Plain, Rig, check_same, wat
from tests.instrument._interpreter import Point, Trap
from tests.instrument._programs import CALLS, FLOAT_CALLS, compiled, needs_clang
from tests.instrument.test_traces import interpreter, points, seen
from trio_wasmdbg.instrument import (
    FRAME_MODES,
    KIND_HOT,
    KIND_LEFT,
    KIND_SITE,
    KIND_STOP,
    LOOPS,
    RESUME_OFFSET,
    SLOW,
    Flavour,
    FlavourOptions,
    FrameMode,
    NoFlavourError,
    flavours,
    instrument,
)
from trio_wasmdbg.wasm import decode_module

NESTED = """
  (func (export "nested") (param $n i32) (result i32) (local $i i32) (local $j i32) (local $x i32)
    (i32.const 100)
    (loop $outer (param i32) (result i32)
      (local.set $j (i32.const 0))
      (block $middle
        (loop $inner
          (local.set $x (i32.add (i32.mul (local.get $x) (i32.const 1664525)) (i32.const 1013904223)))
          (br_if $middle (i32.gt_u (local.get $j) (i32.const 7)))
          (br_if $inner (i32.lt_u (local.tee $j (i32.add (local.get $j) (i32.const 1))) (local.get $n)))))
      (local.set $x (call $leaf (local.get $x)))
      (i32.add (local.get $x))
      (br_if $outer (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n)))))
"""

PARAMETERS = """
  (func (export "parameters") (param $n i32) (result i64 f32) (local $i i32)
    (f64.const 1.5) (i32.const 3)
    (block (param i32) (result i64)
      (i64.extend_i32_u)
      (i64.const 5) (f32.const 0.5)
      (loop $outer (param i64 f32) (result i64 f32)
        (f32.add (f32.const 0.25))
        (loop $inner (param i64 f32) (result f32 i64)
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (f32.mul (f32.const 1.5))
          (call $swap) (call $back)
          (br_if $inner (i32.rem_u (local.get $i) (i32.const 7)))
          (call $swap))
        (call $back)
        (br_if $outer (i32.lt_u (local.get $i) (local.get $n))))
      (i64.trunc_sat_f32_s) (i64.add) (i64.add))
    (call $mixed))
  (func $swap (param i64 f32) (result f32 i64) (local.get 1) (local.get 0))
  (func $back (param f32 i64) (result i64 f32) (local.get 1) (local.get 0))
  (func $mixed (param f64 i64) (result i64 f32) (local.get 1) (f32.demote_f64 (local.get 0)))
"""

ARMS = """
  (func (export "arms") (param $n i32) (result i32) (local $i i32) (local $sum i32)
    (loop $again
      (if (i32.and (local.get $i) (i32.const 1))
        (then
          (loop $one
            (local.set $sum (i32.add (local.get $sum) (i32.const 3)))
            (br_if $one (i32.rem_u (local.get $sum) (i32.const 5))))
          (br_if $again (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n))))
        (else
          (loop $two
            (local.set $sum (i32.mul (local.get $sum) (i32.const 3)))
            (if (i32.gt_u (local.get $sum) (i32.const 1000)) (then (return (local.get $sum))))
            (br_if $two (i32.rem_u (local.tee $sum (i32.add (local.get $sum) (i32.const 1))) (i32.const 4))))
          (local.set $sum (i32.add (local.get $sum)
            (if (result i32) (local.get $n) (then (i32.const 1)) (else (loop (result i32) (i32.const 2))))))))
      (br_if $again (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n)))
      (br 1 (local.get $sum)) (br 0) (br_table 0 0 (local.get $i)))
    (local.get $sum))
"""

TABLE = """
  (func (export "table") (param $n i32) (result i32) (local $i i32) (local $sum i32)
    (block $done
      (loop $a
        (local.set $sum (i32.add (local.get $sum) (i32.const 1)))
        (loop $b
          (local.set $sum (i32.mul (local.get $sum) (i32.const 3)))
          (block $c
            (loop $d
              (local.set $i (i32.add (local.get $i) (i32.const 1)))
              (br_if $done (i32.gt_u (local.get $i) (local.get $n)))
              (br_table $a $b $c $d $done $b (i32.rem_u (local.get $sum) (i32.const 6)))))
          (br_if $b (i32.and (local.get $sum) (i32.const 1))))
        (br $a)))
    (local.get $sum))
"""

CAUGHT = """
  (tag $t (param i32))
  (func $throws (param i32) (result i32)
    (if (i32.eqz (i32.rem_u (local.get 0) (i32.const 3))) (then (throw $t (local.get 0))))
    (i32.mul (local.get 0) (i32.const 5)))
  (func (export "caught") (param $n i32) (result i32) (local $i i32) (local $sum i32) (local $mark i32)
    (i32.const 7)
    (loop $outer (param i32) (result i32)
      (local.set $sum (i32.add (local.get $sum)))
      (block $handler (result i32)
        (try_table (catch $t $handler)
          (loop $inner
            (local.set $mark (i32.add (local.get $mark) (i32.const 1)))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (local.set $sum (i32.add (local.get $sum) (call $throws (local.get $i))))
            (drop (br_if $handler (i32.const 9) (i32.eq (local.get $mark) (i32.const 4))))
            (br_if $inner (i32.lt_u (local.get $i) (local.get $n)))))
        (return (i32.add (local.get $sum) (local.get $mark))))
      (br_if $outer (i32.lt_u (local.get $i) (local.get $n))))
    (i32.add (local.get $sum)))
  (func (export "to_header") (param $n i32) (result i32) (local $i i32) (local $sum i32)
    (block $end
      (loop $outer
        (try_table (catch_all $outer)
          (loop $inner
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $end (i32.gt_u (local.get $i) (local.get $n)))
            (local.set $sum (i32.add (local.get $sum) (call $throws (local.get $i))))
            (br_if $outer (i32.eq (local.get $i) (i32.const 5)))
            (br $inner)))))
    (local.get $sum))
  (func (export "uncaught") (param $n i32) (result i32) (local $i i32)
    (loop $l
      (drop (call $throws (local.tee $i (i32.add (local.get $i) (i32.const 2)))))
      (br $l))
    (unreachable))
"""

REFERENCES = """
  (type $box (struct (field (mut i32))))
  (type $unary (func (param i32) (result i32)))
  (elem declare func $leaf)
  (func (export "references") (param $n i32) (result i32)
    (local $box (ref $box)) (local $f (ref null $unary)) (local $any anyref) (local $i i32)
    (local.set $box (struct.new $box (i32.const 2)))
    (local.set $f (ref.func $leaf))
    (local.get $box)
    (loop $again (param (ref $box)) (result (ref $box))
      (local.set $box)
      (block $inner
        (local $box2) )
      (block $null
        (br_on_null $null (local.get $f))
        (struct.set $box 0 (local.get $box)
          (call_ref $unary (struct.get $box 0 (local.get $box)) (local.get $f)))
        (drop))
      (loop $cast (result (ref $box))
        (local.set $any (ref.i31 (local.get $i)))
        (block $is (result (ref i31))
          (br_on_cast $is anyref (ref i31) (local.get $any))
          (drop) (br $again (local.get $box)))
        (drop)
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $cast (i32.rem_u (local.get $i) (i32.const 3)))
        (br_if $again (local.get $box) (i32.lt_u (local.get $i) (local.get $n)))))
    (struct.get $box 0)
    (i32.add (struct.get $box 0 (local.get $box))))
  (func (export "set_late") (param $n i32) (result i32)
    (local $box (ref $box)) (local $i i32) (local $sum i32)
    (loop $outer
      (block
        (local.set $box (struct.new $box (local.get $i)))
        (loop $inner
          (local.set $sum (i32.add (local.get $sum) (call $leaf (struct.get $box 0 (local.get $box)))))
          (br_if $inner (i32.rem_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 3)))))
      (br_if $outer (i32.lt_u (local.get $i) (local.get $n))))
    (local.get $sum))
"""
REFERENCES = REFERENCES.replace("      (block $inner\n        (local $box2) )\n", "")

REST = """
  (memory (export "m") 1)
  (global $g (export "g") (mut i64) (i64.const 3))
  (table $functions 4 funcref)
  (elem $elements func $leaf)
  (data $d "\\01\\02\\03\\04")
  (func $leaf (param i32) (result i32) (i32.add (local.get 0) (i32.const 1)))
  (func (export "segments") (param $n i32) (result i32) (local $i i32) (local $v v128)
    (table.init $functions $elements (i32.const 2) (i32.const 0) (i32.const 1))
    (loop $again
      (memory.init $d (local.get $i) (i32.const 1) (i32.const 2))
      (local.set $v (i32x4.add (local.get $v) (i32x4.splat (local.get $i))))
      (global.set $g (i64.add (global.get $g) (i64.extend_i32_u (i32x4.extract_lane 1 (local.get $v)))))
      (local.set $i (call_indirect (param i32) (result i32) (local.get $i) (i32.const 2)))
      (br_if $again (i32.lt_u (local.get $i) (local.get $n))))
    (i32x4.extract_lane 2 (local.get $v)))
  (func $tail (export "tail") (param $n i32) (param $sum i32) (result i32)
    (loop $again
      (local.set $sum (i32.add (local.get $sum) (local.get $n)))
      (if (i32.eqz (i32.rem_u (local.get $sum) (i32.const 5)))
        (then
          (return_call $tail
            (i32.sub (local.get $n) (i32.const 1)) (i32.add (local.get $sum) (i32.const 1)))))
      (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $sum))
  (func (export "divided") (param $n i32) (result i32) (local $i i32)
    (local.set $i (i32.const 5))
    (loop $again
      (i32.store (i32.const 8) (i32.div_u (local.get $n) (local.get $i)))
      (br_if $again (i32.ge_s (local.tee $i (i32.sub (local.get $i) (i32.const 1))) (i32.const 0))))
    (local.get $i))
  (func (export "outside") (param $n i32) (local $i i32)
    (loop $again
      (i32.store (local.get $i) (local.get $n))
      (local.set $i (i32.add (local.get $i) (i32.const 4097)))
      (br $again)))
  (func $deep (export "recursive") (param $n i32) (result i32) (local $i i32) (local $sum i32)
    (loop $again (result i32)
      (if (local.get $n)
        (then
          (local.set $sum (i32.add (local.get $sum) (call $deep (i32.sub (local.get $n) (i32.const 1)))))))
      (br_if $again (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 3)))
      (i32.add (local.get $sum) (local.get $i))))
"""

MODULE = "\n".join(["(module", REST, NESTED, PARAMETERS, ARMS, TABLE, CAUGHT, REFERENCES, ")"])
EVERY: list[tuple[str, tuple[object, ...]]] = [
    *((name, (n,)) for name in ("nested", "parameters", "arms", "table", "caught", "to_header", "references",
                                "set_late", "segments", "recursive") for n in (1, 4, 9, 30)
      if name != "recursive" or n < 5),
    ("tail", (30, 0)), ("divided", (100,)), ("outside", (3,)), ("uncaught", (9,)),
]  # fmt: skip


def calls(which: Plain, listed: Sequence[tuple[str, tuple[object, ...]]]) -> list[object]:
    """Outcomes; an exception is one, too."""
    found: list[object] = []
    for name, args in listed:
        kind, what = which.call(name, *args)
        found.append("thrown" if "thrown Wasm exception" in str(what) else (kind, what))
    return found


def slow_rig(wasm: bytes, frames: FrameMode = "exact", **more: object) -> Rig:
    """All functions run in their slow twins from their entries on."""
    rig = Rig(wasm, frames=frames, **more)  # type: ignore[arg-type]
    rig.make_all_slow()
    for plan in rig.instrumented.defined():
        rig.view[plan.site_addresses.start] = 1
    return rig


@pytest.mark.parametrize("frames", FRAME_MODES)
def test_all_loops_in_copies(frames: FrameMode) -> None:
    wasm = wat(MODULE)
    plain, rig = Plain(wasm), slow_rig(wasm, frames)
    rig.make_loop_copies()
    loops = sum(len(plan.loops()) for plan in rig.instrumented.defined())
    # In live mode there is none in `references`: its $box is dead at a loop, and read after it.
    assert len(rig.loops) == loops - (frames == "live") > 15
    assert calls(rig, EVERY) == calls(plain, EVERY)
    assert rig.state() == plain.state()


@pytest.mark.parametrize("frames", FRAME_MODES)
@pytest.mark.parametrize("points", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_left_and_entered_at_random(frames: FrameMode, points: bool, seed: int) -> None:
    """Sites, stops and entries change at each stop; copies may have points, and check sites of their own."""
    chance = random.Random(seed)
    wasm = wat(MODULE)
    seen = set()

    def shuffle(rig: Rig, share: float) -> None:
        layout = rig.layout
        rig.view[layout.sites_base + chance.randrange(layout.sites)] = chance.random() < share
        rig.view[layout.stops_base + chance.randrange(layout.stops)] = chance.random() < share / 2
        rig.view[layout.blocks_base + chance.randrange(layout.sites)] = chance.random() < share
        (function, k), slot = chance.choice(list(rig.loops.items()))
        value = slot if chance.random() < 0.5 else -chance.randrange(4)
        rig.enter_loop(rig.instrumented.plan(function), k, value)
        rig.view[LOOPS] = chance.random() < 0.9

    def on_stop(rig: Rig, kind: int, fp: int, k: int) -> int:
        seen.add(kind)
        rig.spoil()
        for _ in range(3):
            shuffle(rig, 0.4)
        if kind == KIND_HOT:
            return rig.loops[rig.u32(fp) & ~SLOW, k] if chance.random() < 0.8 else 0
        if kind == KIND_STOP and chance.random() < 0.02:
            rig.arm_stops(0)
        return 0

    plain, rig = Plain(wasm), slow_rig(wasm, frames, on_stop=on_stop)
    some = dict.fromkeys(range(0, 60, 3))
    rig.make_loop_copies(FlavourOptions(some) if points else None, rig.layout.blocks_base if points else None)
    for _ in range(3):
        for _ in range(rig.layout.sites):
            shuffle(rig, 0.5)
        for plan in rig.instrumented.defined():
            rig.view[plan.site_addresses.start] = 1
        assert calls(rig, EVERY) == calls(plain, EVERY)
        assert rig.state() == plain.state()
    assert seen >= {KIND_STOP, KIND_HOT}


@needs_clang
@pytest.mark.parametrize("level", ["-O0", "-O2"])
def test_compiled_programs_in_copies(level: str) -> None:
    check_same(compiled(level), CALLS + FLOAT_CALLS)


def trace(wasm: bytes, name: str, args: tuple[object, ...], frames: FrameMode, chance: random.Random) -> int:
    """Compares the stops of a call that goes into copies and out of them with an interpreter's trace."""
    module = decode_module(wasm)
    plain = Plain(wasm)
    function = next(e.index for e in module.exports if e.name == name)
    reference = interpreter(module, plain).run(function, args)  # type: ignore[arg-type]
    compared = 0
    copied = 0

    def on_stop(rig: Rig, kind: int, fp: int, k: int) -> int:
        nonlocal compared, copied
        for _ in range(4):
            at = chance.randrange(rig.layout.sites)
            rig.view[rig.layout.sites_base + at] = chance.random() < 0.5
            at = chance.randrange(rig.layout.stops)
            rig.view[rig.layout.stops_base + at] = chance.random() < 0.5
            (index, place), slot = chance.choice(list(rig.loops.items()))
            rig.enter_loop(rig.instrumented.plan(index), place, slot if chance.random() < 0.7 else 0)
        if kind == KIND_STOP:
            shown = points(rig, fp, k)
            copied += any(
                not slow and rig.u32(at + RESUME_OFFSET) >> 31 for at, _, _, slow in rig.frames() if at != fp
            )
            for expected in reference:
                if same(expected, shown, frames):
                    break
            else:
                raise AssertionError(f"nothing like this comes: {shown}")
            compared += 1
            if frames == "live":
                rig.spoil()
        return 0

    rig = slow_rig(wasm, frames, on_stop=on_stop)
    rig.make_loop_copies()
    rig.arm_stops()
    result = rig.call(name, *args)
    try:
        for _ in reference:
            pass
    except Trap:
        assert result[0] == "trapped"
    else:
        assert result == plain.call(name, *args)
    assert compared > 10
    return copied


def same(expected: list[Point], shown: list[Point], frames: FrameMode) -> bool:
    if [(each.function, each.k) for each in expected] != [
        (each.function, each.k) for each in shown
    ]:
        return False
    return shown == (expected if frames != "live" else seen(expected, shown))


@needs_clang
@pytest.mark.parametrize("frames", FRAME_MODES)
@pytest.mark.parametrize("level", ["-O0", "-O2"])
def test_stops_after_copies_show_what_an_interpreter_shows(level: str, frames: FrameMode) -> None:
    wasm = compiled(level)
    chance = random.Random(7)
    copied = 0
    for name, args in CALLS:
        if name in ("sieve", "mix", "sorted", "format"):
            copied += trace(wasm, name, args, frames, chance)
    assert copied, "no frame of a copy was a caller's"


LOCAL = """
(module
  (func $leaf (param i32) (result i32) (local.get 0))
  (func (export "run") (param $n i32) (result i32) (local $never i32) (local $sum i32)
    (loop $again
      (local.set $sum (i32.add (local.get $sum) (call $leaf (local.get $never))))
      (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $sum)))
"""


def test_a_local_that_is_never_assigned_was_changed_by_somebody() -> None:
    """The fast twin knows it to be zero; the copy takes it from the frame, and leaves it there."""
    shown: list[tuple[bool, int, int]] = []

    def on_stop(rig: Rig, kind: int, fp: int, k: int) -> int:
        for at, function, _, slow in rig.frames():
            if function == 1:
                never = rig.plan_of(at).frame.local(1)
                if not shown:
                    rig.put_u32(at + never, 5)
                shown.append((slow, rig.u32(at + never), rig.u32(at + RESUME_OFFSET) >> 31))
        return 0

    rig = slow_rig(wat(LOCAL), on_stop=on_stop)
    rig.make_loop_copies()
    run, leaf = rig.instrumented.plan(1), rig.instrumented.plan(0)
    rig.view[run.stop_base] = 1
    rig.view[leaf.stop_base] = 1
    # left after the call, at a check site
    assert rig.call("run", 4) == ("returned", 20)
    assert shown[0][:2] == (True, 5) and shown[1] == (False, 5, 1)
    rig.arm_sites()
    shown.clear()
    assert rig.call("run", 4) == ("returned", 20)


@pytest.mark.parametrize("answered", [True, False])
def test_a_fast_twin_goes_on_in_a_copy_straight_from_its_check_site(answered: bool) -> None:
    """Its frame has not been made whole then: the locals that are still zero are not there."""
    text = LOCAL.replace("(call $leaf (local.get $never))", "(i32.add (local.get $never) (i32.const 1))")
    seen = []

    def on_stop(rig: Rig, kind: int, fp: int, k: int) -> int:
        seen.append((kind, rig.locals_at(fp)[1:]))
        rig.arm_sites(0)
        return -rig.loops[1, k] if answered else 0

    rig = Rig(wat(text), on_stop=on_stop)
    rig.make_loop_copies()
    for at in range(rig.layout.stack_size - 256, rig.layout.stack_size):
        rig.view[at] = 0xAA
    plan = rig.instrumented.plan(1)
    loop = next(site for site in plan.sites if site.kind == "loop")
    rig.view[loop.address] = 1
    if answered:
        # The host is asked, and says it.
        rig.enter_loop(plan, loop.resume_point, 0)
    assert rig.call("run", 1000) == ("returned", 1000)
    spoilt = 0xAAAAAAAA - (1 << 32)
    if answered:
        assert seen == [(KIND_SITE, (spoilt, 0))]
    else:
        # The stub finds the copy by itself, whose check site has the same byte.
        assert seen == [(KIND_LEFT, (0, 0))]


DEAD = """
(module (type $box (struct (field i32)))
  (func $make (param i32) (result (ref $box)) (struct.new $box (local.get 0)))
  (func $f (export "f") (param $n i32) (result i32)
    (call $g (local.get $n) (call $make (i32.const 9))))
  (func $g (param $n i32) (param $p (ref $box)) (result i32) (local $box (ref $box))
    (local.set $box (call $make (struct.get $box 0 (local.get $p))))
    (local.set $n (i32.add (local.get $n) (struct.get $box 0 (local.get $box))))
    (loop $l
      (drop (call $make (i32.const 1)))
      (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    AFTER
    (local.get $n))
  (func $get (param (ref $box)) (result i32) (struct.get $box 0 (local.get 0))))
"""


@pytest.mark.parametrize(
    ("after", "refused"),
    [
        ("", False),
        ("(block (local.set $box (call $make (i32.const 3))) (drop (call $get (local.get $box))))", False),
        ("(block (local.set $box (call $make (i32.const 3)))) (drop (call $get (local.get $box)))", True),
        ("(local.set $p (call $make (i32.const 4)))", False),
        ("(local.set $p (call $make (i32.const 4))) (drop (call $get (local.get $p)))", True),
    ],
)  # fmt: skip
def test_what_has_no_default_value_and_is_dead(after: str, refused: bool) -> None:
    """In live mode the frame need not have it; the copy is refused only if it would not be valid without."""
    wasm = wat(DEAD.replace("AFTER", after))
    made = instrument(decode_module(wasm), frames="live")
    (loop,) = made.plan(2).loops()
    if refused:
        with pytest.raises(NoFlavourError, match="dead"):
            flavours(made, [Flavour(2, None, loop=loop)], called="copy")
    for frames in FRAME_MODES:
        rig = slow_rig(wasm, frames)
        rig.make_loop_copies()
        assert len(rig.loops) == (not refused or frames != "live")
        assert rig.call("f", 30) == Plain(wasm).call("f", 30)


def test_what_is_behind_an_outer_loops_header_is_not_there() -> None:
    """The copy of the inner loop is left for the outer one's header, again and again."""
    wasm = wat(MODULE)
    rig = slow_rig(wasm)
    rig.make_loop_copies()
    plan = next(
        plan for plan in rig.instrumented.defined()
        if rig.instrumented.original.functions[plan.index].index
        == next(e.index for e in rig.instrumented.original.exports if e.name == "nested")
    )  # fmt: skip
    outer, _ = plan.loops()
    rig.enter_loop(plan, outer + 1, -20)
    hot = []

    def on_stop(rig: Rig, kind: int, fp: int, k: int) -> int:
        assert kind == KIND_HOT and k == outer + 1
        hot.append(rig.u32(fp) & SLOW)
        return 0

    rig.on_stop = on_stop
    assert rig.call("nested", 30) == Plain(wasm).call("nested", 30)
    # once, and from the copy of the inner loop
    assert hot == [0]
    assert rig.u32(plan.entries + 4 * (outer + 1)) == 0
