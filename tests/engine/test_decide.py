"""Verdicts: breakpoints, steps and interrupts at a check, without a guest."""

from __future__ import annotations

import re
from functools import partial

import pytest

from trio_wasmdbg.addresses import ModuleOffset
from trio_wasmdbg.engine import (
    Breakpoint,
    BreakpointTable,
    Decider,
    FramePlace,
    HitRule,
    Kind,
    Reason,
    StepKind,
    Where,
    make_plan,
)
from trio_wasmdbg.errors import UsageError


class FakeModule:
    """Functions of three instructions each: function f has offsets 100f, 100f+2, 100f+5."""

    name = "fake"

    def functions_named(self, name: str) -> list[int]:
        return {"one": [1], "two": [2]}.get(name, [])

    def is_defined(self, function: int) -> bool:
        return function in (1, 2)

    def offsets(self, function: int) -> list[int]:
        return [100 * function, 100 * function + 2, 100 * function + 5]

    def functions_matching(self, pattern: re.Pattern[str]) -> list[int]:
        return [f for f, name in ((1, "one"), (2, "two")) if pattern.search(name)]

    def instructions_named(self, names: frozenset[str]) -> list[tuple[int, int]]:
        return [(1, 2), (2, 0)] if "memory.grow" in names else []

    def indirect_calls_of(self, function: str | re.Pattern[str]) -> list[tuple[int, int]]:
        return []

    def calls_of(self, function: str | re.Pattern[str]) -> list[tuple[int, int]]:
        return [(2, 1)] if function == "env.log" else []

    def function_at(self, offset: int) -> int | None:
        function = offset // 100
        return function if self.is_defined(function) and offset % 100 < 6 else None


def verdict_at(
    decider: Decider, module: FakeModule, k: int, *, kind: int = Kind.STOP, fp: int = 64
) -> Reason | None:
    verdict = decider.decide(kind, module, 1, fp, 1, k)
    return None if verdict is None else verdict.reason


def test_nothing_asked_nothing_stops() -> None:
    assert verdict_at(Decider(), FakeModule(), 0) is None


@pytest.mark.parametrize(
    ("where", "places", "slipped"),
    [
        (Where("one"), [(1, 0)], [False]),
        (Where(2), [(2, 0)], [False]),
        (Where(re.compile("^[ot]")), [(1, 0), (2, 0)], [False, False]),
        (Where(offset=ModuleOffset(102)), [(1, 1)], [False]),
        (Where(offset=ModuleOffset(103)), [(1, 2)], [True]),
        (Where(offset=ModuleOffset(105)), [(1, 2)], [False]),
        (Where("one", offset=ModuleOffset(205)), [], []),
        (Where(instructions=frozenset({"memory.grow"})), [(1, 2), (2, 0)], [False, False]),
        (Where(import_="env.log"), [(2, 1)], [False]),
        (Where("nowhere"), [], []),
        (Where(7), [], []),
        (Where(offset=ModuleOffset(999)), [], []),
    ],
)
def test_binding(where: Where, places: list[tuple[int, int]], slipped: list[bool]) -> None:
    table = BreakpointTable()
    breakpoint = table.add(where)
    assert breakpoint.pending
    module = FakeModule()
    table.module_loaded(module)
    table.module_loaded(module)
    assert [(function, k) for function, k, _ in table.points(module)] == places
    assert breakpoint.pending == (not places)
    assert [binding.slipped for binding in breakpoint.bindings] == slipped


@pytest.mark.parametrize(
    ("rule", "pauses"),
    [("== 2", [2]), ("2", [2]), (2, [2]), (">= 3", [3, 4, 5, 6]), ("% 2", [2, 4, 6])],
)
def test_hit_rules(rule: str | int, pauses: list[int]) -> None:
    decider, module = Decider(), FakeModule()
    decider.breakpoints.module_loaded(module)
    decider.breakpoints.add(Where("one"), hits=HitRule.parse(rule))
    assert [n for n in range(1, 7) if verdict_at(decider, module, 0) is not None] == pauses


@pytest.mark.parametrize("text", ["", "x", "== 0", "<= 3", "-1", "3 4", "== 9999999999999999999"])
def test_hit_rules_that_are_none(text: str) -> None:
    with pytest.raises(UsageError, match="hit count"):
        HitRule.parse(text)


class FakeEvaluator:
    """Conditions are functions of the frame; messages are collected."""

    def __init__(self) -> None:
        self.written: list[object] = []

    def calls(self, import_: str | re.Pattern[str], frame: object) -> bool:
        return bool(frame == import_)

    def holds(self, breakpoint: Breakpoint, frame: object) -> bool:
        assert callable(breakpoint.condition)
        return bool(breakpoint.condition(frame))

    def write(self, breakpoint: Breakpoint, frame: object) -> None:
        self.written.append((breakpoint.log, frame))


def test_conditions_messages_and_disabled_breakpoints() -> None:
    evaluator = FakeEvaluator()
    decider, module = Decider(evaluator=evaluator), FakeModule()
    changes: list[int] = []
    decider.breakpoints.changed = lambda: changes.append(1)
    decider.breakpoints.module_loaded(module)
    picky = decider.breakpoints.add(Where("one"), condition=lambda frame: frame == 2)
    talker = decider.breakpoints.add(Where("one"), log="at {n}")

    def at(frame: int) -> tuple[Breakpoint, ...] | None:
        verdict = decider.decide(Kind.STOP, module, 1, 64, 1, 0, lambda: frame)
        return None if verdict is None else verdict.breakpoints

    assert [at(1), at(2), at(3)] == [None, (picky,), None]
    assert (picky.hit_count, talker.hit_count) == (1, 3)
    assert evaluator.written == [("at {n}", 1), ("at {n}", 2), ("at {n}", 3)]
    assert len(changes) == 2
    picky.enabled = False
    picky.enabled = False
    assert len(changes) == 3
    assert at(2) is None
    assert decider.breakpoints.points(module) == [(1, 0, ())]
    talker.enabled = False
    assert decider.breakpoints.points(module) == []
    assert (picky.hit_count, talker.hit_count) == (1, 4)


def test_a_breakpoint_counts_its_hits_and_can_be_removed() -> None:
    decider, module = Decider(), FakeModule()
    decider.breakpoints.module_loaded(module)
    first = decider.breakpoints.add(Where("one"))
    second = decider.breakpoints.add(Where(offset=ModuleOffset(100)))
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


@pytest.mark.parametrize("kind", [Kind.SITE, Kind.LEFT, Kind.STOP])
def test_a_check_that_was_decided_at_another_site_is_not_counted_again(kind: Kind) -> None:
    decider, module = Decider(interrupt=True), FakeModule()
    decider.breakpoints.module_loaded(module)
    counts = decider.breakpoints.add(Where("one"), hits=HitRule.parse("% 2"))
    assert verdict_at(decider, module, 0, kind=Kind.SITE) is Reason.INTERRUPT
    # The debuggee has sent the function to its slow twin, and is interrupted before it gets there.
    decider.skip, decider.interrupt = (1, 64, 0), True
    assert verdict_at(decider, module, 0, kind=kind) is None
    assert counts.hit_count == 1
    assert verdict_at(decider, module, 1, kind=Kind.STOP) is Reason.INTERRUPT


def test_an_interrupt_is_reported_once_and_survives_a_breakpoint() -> None:
    decider, module = Decider(interrupt=True), FakeModule()
    decider.breakpoints.module_loaded(module)
    decider.breakpoints.add(Where("one"))
    assert verdict_at(decider, module, 0) is Reason.BREAKPOINT
    assert verdict_at(decider, module, 1) is Reason.INTERRUPT
    assert verdict_at(decider, module, 2) is None


def test_finish_ignores_everything() -> None:
    decider, module = Decider(interrupt=True, single_step=True, ignoring=True), FakeModule()
    assert not decider.everything
    for kind in Kind:
        assert verdict_at(decider, module, 0, kind=kind) is None


FRAME = FramePlace(instance=1, fp=64, function=1, resume_point=0, is_call=True, last=2)
CALLER = FramePlace(instance=1, fp=128, function=2, resume_point=1, is_call=True, last=2)


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
        (StepKind.UNTIL, 1, 64, 0, True),
        (StepKind.UNTIL, 1, 32, 0, False),
        (StepKind.UNTIL, 2, 128, 2, True),  # left the function
        (StepKind.RETURN, 1, 64, 2, True),  # its final end
        (StepKind.RETURN, 1, 64, 1, False),
        (StepKind.RETURN, 1, 32, 2, False),
        (StepKind.RETURN, 2, 128, 2, True),
    ],
)
def test_where_steps_end(kind: StepKind, function: int, fp: int, k: int, ends: bool) -> None:
    decider, module = Decider(), FakeModule()
    decider.plan = make_plan(kind, FRAME, CALLER)
    verdict = decider.decide(Kind.STOP, module, 1, fp, function, k)
    assert (verdict is not None) == ends
    assert (decider.plan is None) == ends
    if ends:
        assert decider.points(module, 1) == {}, "a step has left a temporary stop behind"


def test_a_step_over_an_instruction_that_is_no_call_arms_the_whole_function() -> None:
    decider = Decider()
    frame = FramePlace(instance=1, fp=64, function=1, resume_point=0, is_call=False, last=2)
    decider.plan = make_plan(StepKind.OVER, frame, CALLER)
    assert decider.points(FakeModule(), 1) == {(1, None): False, (2, 2): False}
    assert decider.points(FakeModule(), 2) == {}
    assert not decider.everything


def test_behind_the_end_of_a_function_nothing_is_armed() -> None:
    below = FramePlace(instance=1, fp=128, function=2, resume_point=2, is_call=False, last=2)
    plan = make_plan(StepKind.OUT, FRAME, below)
    assert plan is not None
    assert plan.places.points == ()


def test_steps_before_any_guest_code() -> None:
    plan = make_plan(StepKind.OVER, None, None)
    assert plan is not None
    assert plan.places.everything
    assert make_plan(StepKind.OUT, None, None) is None


def test_a_breakpoint_on_the_way_ends_a_step() -> None:
    decider, module = Decider(), FakeModule()
    decider.breakpoints.module_loaded(module)
    decider.breakpoints.add(Where("one"))
    decider.plan = make_plan(StepKind.OUT, FRAME, CALLER)
    assert verdict_at(decider, module, 0, fp=16) is Reason.BREAKPOINT
    assert decider.plan is None


def test_a_trap_is_told_whatever_else_is_armed() -> None:
    decider, module = Decider(single_step=True), FakeModule()
    assert verdict_at(decider, module, 0, kind=Kind.TRAP) is Reason.TRAP


def test_a_step_of_several_instructions_counts_stops() -> None:
    decider, module = Decider(), FakeModule()
    decider.plan = make_plan(StepKind.INSTRUCTION, FRAME, CALLER, count=3)
    assert decider.everything
    assert [verdict_at(decider, module, k) for k in (0, 1, 2)] == [None, None, Reason.STEP]


@pytest.mark.parametrize(
    ("conditions", "texts"),
    [(["b", "a"], ("a", "b")), (["a", "a"], ("a",)), (["a", None], ()), ([len, "a"], ())],
)
def test_only_texts_can_be_left_to_the_guest(conditions: list[object], texts: tuple[str, ...]) -> None:
    decider, module = Decider(), FakeModule()
    decider.breakpoints.module_loaded(module)
    for condition in conditions:
        decider.breakpoints.add(Where("one"), condition=condition)
    assert decider.breakpoints.points(module) == [(1, 0, texts)]
    assert decider.points(module, 1) == {(1, 0): bool(texts)}


def test_a_call_that_leads_elsewhere_is_no_hit() -> None:
    module = FakeModule()
    decider = Decider(evaluator=FakeEvaluator())
    decider.breakpoints.module_loaded(module)
    log = decider.breakpoints.add(Where(import_="env.log"), condition="n == 1")
    assert [binding.indirect for binding in log.bindings] == [False]
    assert decider.breakpoints.points(module) == [(2, 1, ("n == 1",))]
    log.condition = lambda frame: True
    for target, pauses in (("env.other", False), ("env.log", True)):
        verdict = decider.decide(Kind.STOP, module, 1, 64, 2, 1, partial(str, target))
        assert (verdict is not None) == pauses
    assert log.hit_count == 1
