"""What a host may do at a stop: change locals and operands, go elsewhere, return early, undo a trap,
and change the frame of a caller that is fast.
"""

from __future__ import annotations

import struct

from trio_wasmdbg.instrument import KIND_SITE, KIND_STOP, KIND_TRAP, MATERIALISED, RESUME_OFFSET

from ._harness import Rig
from ._programs import wat


def ordinal(rig: Rig, function: int, name: str, nth: int = 0) -> int:
    """The resume point of the *nth* instruction of that name."""
    instructions = rig.instrumented.plan(function).typed().instructions
    found = [k for k, i in enumerate(instructions) if i.op.name == name]
    return found[nth]


SUM = """
    (module
      (func (export "f") (param i32) (result i32) (local i32)
        (loop $a
          (local.set 1 (i32.add (local.get 1) (local.get 0)))
          (br_if $a (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
        (i32.mul (local.get 1) (i32.const 10))))
"""


def test_operands_and_locals_are_written() -> None:
    def on_stop(rig: Rig, kind: int, fp: int, k: int) -> int:
        if kind == KIND_STOP:
            frame = rig.plan_of(fp).frame
            assert rig.operands_at(fp, k) == (6, 10)
            struct.pack_into("<i", rig.view, fp + frame.operand(0), 7)
            struct.pack_into("<i", rig.view, fp + frame.operand(1), 11)
            assert rig.locals_at(fp) == (0, 6)
        return 0

    rig = Rig(wat(SUM), on_stop=on_stop)
    rig.arm_sites()
    rig.view[rig.instrumented.plan(0).stop_base + ordinal(rig, 0, "i32.mul")] = 1
    assert rig.call("f", 3) == ("returned", 77)


def test_going_elsewhere() -> None:
    jumps = 0

    def on_stop(rig: Rig, kind: int, fp: int, k: int) -> int:
        nonlocal jumps
        if kind == KIND_STOP and jumps < 5:
            # Back into the loop, with the counter set.
            jumps += 1
            frame = rig.plan_of(fp).frame
            struct.pack_into("<i", rig.view, fp + frame.local(0), 1)
            return ordinal(rig, 0, "loop") + 1 + 1
        return 0

    rig = Rig(wat(SUM), on_stop=on_stop)
    rig.arm_sites()
    rig.view[rig.instrumented.plan(0).stop_base + ordinal(rig, 0, "i32.mul")] = 1
    assert rig.call("f", 3) == ("returned", 110)


def test_returning_early() -> None:
    def on_stop(rig: Rig, kind: int, fp: int, k: int) -> int:
        if kind == KIND_STOP:
            plan = rig.plan_of(fp)
            struct.pack_into("<i", rig.view, fp + plan.frame.operand(0), -5)
            return plan.instructions - 1 + 1
        return 0

    rig = Rig(wat(SUM), on_stop=on_stop)
    rig.arm_sites()
    rig.view[rig.instrumented.plan(0).stop_base + ordinal(rig, 0, "i32.sub")] = 1
    assert rig.call("f", 3) == ("returned", -5)


def test_the_answer_at_a_site_may_go_elsewhere() -> None:
    def on_stop(rig: Rig, kind: int, fp: int, k: int) -> int:
        assert kind == KIND_SITE and k == 0
        plan = rig.plan_of(fp)
        struct.pack_into("<i", rig.view, fp + plan.frame.operand(0), 9)
        return plan.instructions - 1 + 1

    rig = Rig(wat(SUM), on_stop=on_stop)
    rig.view[rig.instrumented.plan(0).sites[0].address] = 1
    assert rig.call("f", 3) == ("returned", 9)


TRAPS = """
    (module
      (func (export "divide") (param i32 i32) (result i32) (i32.div_s (local.get 0) (local.get 1)))
      (func (export "dead") (param i32) (result i32) (local i64)
        (i32.const 4)
        (if (local.get 0) (then (unreachable)))
        (i32.add (i32.const 1))))
"""


def test_a_division_is_repaired() -> None:
    kinds = []

    def on_stop(rig: Rig, kind: int, fp: int, k: int) -> int:
        kinds.append(kind)
        if kind == KIND_TRAP:
            assert rig.operands_at(fp, k) == (12, 0)
            assert rig.frames()[0][2] == k
            struct.pack_into("<i", rig.view, fp + rig.plan_of(fp).frame.operand(1), 4)
            return k + 1
        return 0

    rig = Rig(wat(TRAPS), on_stop=on_stop)
    assert rig.call("divide", 12, 0) == ("returned", 3)
    assert kinds == [KIND_SITE, KIND_TRAP]
    assert rig.call("divide", 12, 6) == ("returned", 2)
    assert len(kinds) == 2


def test_an_unreachable_is_skipped() -> None:
    def on_stop(rig: Rig, kind: int, fp: int, k: int) -> int:
        if kind == KIND_TRAP:
            assert rig.operands_at(fp, k) == (4,)
            assert rig.locals_at(fp) == (1, 0)
            return k + 1 + 1 + 1  # after the `end`
        return 0

    rig = Rig(wat(TRAPS), on_stop=on_stop)
    assert rig.call("dead", 1) == ("returned", 5)


CALLERS = """
    (module
      (memory (export "memory") 1)
      (func $inner (param i32) (result i32) (local.get 0))
      (func (export "outer") (param i32) (result i64) (local i32 i64 i32)
        (local.set 1 (i32.const 5))
        (i64.extend_i32_s (i32.add (i32.mul (local.get 0) (i32.const 100)) (call $inner (i32.const 3))))
        (i64.add (local.get 2))
        (i64.add (i64.extend_i32_s (local.get 1)))
        (i64.add (i64.extend_i32_s (local.get 3)))))
"""


def test_a_fast_caller_is_changed() -> None:
    changed: list[int] = []

    def on_stop(rig: Rig, kind: int, fp: int, k: int) -> int:
        plan = rig.plan_of(fp)
        if plan.index == 0 and not changed:
            (_, _, _, _), (outer, function, position, slow) = rig.frames()
            caller = rig.instrumented.plan(function)
            assert not slow and caller.unassigned(position) == {2, 3}
            assert rig.locals_at(outer)[:2] == (2, 5)
            frame = caller.frame
            for i in caller.unassigned(position):
                struct.pack_into("<q", rig.view, outer + frame.local(i), 0)
            struct.pack_into("<q", rig.view, outer + frame.local(2), 1 << 40)
            struct.pack_into("<i", rig.view, outer + frame.local(1), 6)
            struct.pack_into("<i", rig.view, outer + frame.operand(0), 700)
            rig.put_u32(outer + RESUME_OFFSET, position | MATERIALISED)
            for site in caller.sites:
                if site.kind == "after_call":
                    rig.view[site.address] = 1
            changed.append(outer)
        return 0

    rig = Rig(wat(CALLERS), on_stop=on_stop)
    rig.view[rig.instrumented.plan(0).sites[0].address] = 1
    assert rig.call("outer", 2) == ("returned", 700 + 3 + (1 << 40) + 6)
    assert changed


def test_a_caller_that_was_not_changed_gets_its_zeros() -> None:
    """The after-call exit writes the zeros itself, whatever lay in the frame before."""
    def on_stop(rig: Rig, kind: int, fp: int, k: int) -> int:
        plan = rig.plan_of(fp)
        if plan.index == 0:
            outer = rig.frames()[1][0]
            for site in rig.instrumented.plan(1).sites:
                rig.view[site.address] = site.kind == "after_call"
            frame = rig.instrumented.plan(1).frame
            struct.pack_into("<q", rig.view, outer + frame.local(2), -1)
            struct.pack_into("<q", rig.view, outer + frame.local(3), -1)
        return 0

    rig = Rig(wat(CALLERS), on_stop=on_stop)
    rig.view[rig.instrumented.plan(0).sites[0].address] = 1
    assert rig.call("outer", 2) == ("returned", 208)
