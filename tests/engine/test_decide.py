"""Verdicts: breakpoints, steps and interrupts at a check, without a guest."""

from __future__ import annotations

import pytest

from trio_wasmdbg.addresses import ModuleOffset
from trio_wasmdbg.engine import (
    BreakpointTable,
    Decider,
    FramePlace,
    Kind,
    Reason,
    StepKind,
    make_plan,
)


class FakeModule:
    """Functions of three instructions each: function f has offsets 100f, 100f+2, 100f+5."""

    name = "fake"

    def functions_named(self, name: str) -> list[int]:
        return {"one": [1], "two": [2]}.get(name, [])

    def is_defined(self, function: int) -> bool:
        return function in (1, 2)

    def offsets(self, function: int) -> list[int]:
        return [100 * function, 100 * function + 2, 100 * function + 5]

    def function_at(self, offset: int) -> int | None:
        function = offset // 100
        return function if self.is_defined(function) and offset % 100 < 6 else None


def verdict_at(decider: Decider, module: FakeModule, k: int, *, kind: int = Kind.STOP, fp: int = 64) -> Reason | None:
    verdict = decider.decide(kind, module, 1, fp, 1, k)
    return None if verdict is None else verdict.reason


def test_nothing_asked_nothing_stops() -> None:
    assert verdict_at(Decider(), FakeModule(), 0) is None


@pytest.mark.parametrize(
    ("function", "offset", "places", "slipped"),
    [
        ("one", None, [(1, 0)], False),
        (2, None, [(2, 0)], False),
        (None, 102, [(1, 1)], False),
        (None, 103, [(1, 2)], True),
        (None, 105, [(1, 2)], False),
        ("nowhere", None, [], None),
        (7, None, [], None),
        (None, 999, [], None),
    ],
)
def test_binding(
    function: str | int | None, offset: int | None, places: list[tuple[int, int]], slipped: bool | None
) -> None:
    table = BreakpointTable()
    breakpoint = table.add(function, None if offset is None else ModuleOffset(offset), None)
    assert breakpoint.pending
    module = FakeModule()
    table.module_loaded(module)
    table.module_loaded(module)
    assert table.points(module) == places
    assert breakpoint.pending == (not places)
    assert [binding.slipped for binding in breakpoint.bindings] == ([] if slipped is None else [slipped])


def test_a_breakpoint_counts_its_hits_and_can_be_removed() -> None:
    decider, module = Decider(), FakeModule()
    decider.breakpoints.module_loaded(module)
    first = decider.breakpoints.add("one", None, None)
    second = decider.breakpoints.add(None, ModuleOffset(100), None)
    verdict = decider.decide(Kind.STOP, module, 1, 64, 1, 0)
    assert verdict is not None
    assert verdict.reason is Reason.BREAKPOINT
    assert verdict.breakpoints == (first, second)
    assert verdict_at(decider, module, 1) is None
    assert decider.breakpoints.remove(first)
    assert not decider.breakpoints.remove(first)
    assert first.pending
    assert verdict_at(decider, module, 0) is Reason.BREAKPOINT
    assert (first.hit_count, second.hit_count) == (1, 2)


def test_the_check_at_which_we_paused_is_skipped_once() -> None:
    decider, module = Decider(single_step=True), FakeModule()
    decider.skip = (1, 64, 0)
    assert verdict_at(decider, module, 0, kind=Kind.STOP) is None
    assert verdict_at(decider, module, 0, kind=Kind.STOP) is Reason.STEP


def test_an_interrupt_is_reported_once_and_survives_a_breakpoint() -> None:
    decider, module = Decider(interrupt=True), FakeModule()
    decider.breakpoints.module_loaded(module)
    decider.breakpoints.add("one", None, None)
    assert verdict_at(decider, module, 0) is Reason.BREAKPOINT
    assert verdict_at(decider, module, 1) is Reason.INTERRUPT
    assert verdict_at(decider, module, 2) is None


def test_finish_ignores_everything() -> None:
    decider, module = Decider(interrupt=True, single_step=True, ignoring=True), FakeModule()
    assert not decider.everything
    for kind in Kind:
        assert verdict_at(decider, module, 0, kind=kind) is None


FRAME = FramePlace(instance=1, fp=64, function=1, resume_point=0, is_call=True)
CALLER = FramePlace(instance=1, fp=128, function=2, resume_point=1, is_call=True)


@pytest.mark.parametrize(
    ("kind", "function", "fp", "k", "ends"),
    [
        (StepKind.INSTRUCTION, 9, 0, 7, True),
        (StepKind.OVER, 1, 64, 1, True),
        (StepKind.OVER, 1, 32, 1, False),  # the same place in a deeper activation
        (StepKind.OVER, 1, 64, 2, False),  # not the place after the call
        (StepKind.OVER, 2, 128, 2, True),  # back in the caller
        (StepKind.OUT, 1, 64, 1, False),
        (StepKind.OUT, 2, 128, 2, True),
        (StepKind.OUT, 2, 32, 2, False),  # the caller's function, deeper
    ],
)
def test_where_steps_end(kind: StepKind, function: int, fp: int, k: int, ends: bool) -> None:
    decider, module = Decider(), FakeModule()
    decider.plan = make_plan(kind, FRAME, CALLER)
    verdict = decider.decide(Kind.STOP, module, 1, fp, function, k)
    assert (verdict is not None) == ends
    assert (decider.plan is None) == ends
    if ends:
        assert decider.points(module, 1) == [], "a step has left a temporary stop behind"


def test_a_step_over_an_instruction_that_is_no_call_arms_the_whole_function() -> None:
    decider = Decider()
    frame = FramePlace(instance=1, fp=64, function=1, resume_point=0, is_call=False)
    decider.plan = make_plan(StepKind.OVER, frame, CALLER)
    assert decider.points(FakeModule(), 1) == [(1, None), (2, 2)]
    assert decider.points(FakeModule(), 2) == []
    assert not decider.everything


def test_steps_before_any_guest_code() -> None:
    plan = make_plan(StepKind.OVER, None, None)
    assert plan is not None
    assert plan.places.everything
    assert make_plan(StepKind.OUT, None, None) is None


def test_a_breakpoint_on_the_way_ends_a_step() -> None:
    decider, module = Decider(), FakeModule()
    decider.breakpoints.module_loaded(module)
    decider.breakpoints.add("one", None, None)
    decider.plan = make_plan(StepKind.OUT, FRAME, CALLER)
    assert verdict_at(decider, module, 0, fp=16) is Reason.BREAKPOINT
    assert decider.plan is None


def test_a_trap_is_told_whatever_else_is_armed() -> None:
    decider, module = Decider(single_step=True), FakeModule()
    assert verdict_at(decider, module, 0, kind=Kind.TRAP) is Reason.TRAP
