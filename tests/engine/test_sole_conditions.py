"""Where one breakpoint stands alone, without text for a condition, less is asked: with the same outcome.

The yardstick is a decider in which a disabled breakpoint stands beside each: that one goes the long way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engine.test_decide import FakeEvaluator, FakeModule
from trio_wasmdbg.engine import Breakpoint, Decider, Kind, StepKind, Told, Where, make_plan

MODULE = FakeModule()

DURING = ("", "interrupt", "single_step", "remove", "disable", "uncondition", "hits", "log", "plan")
"""What a condition may do, or somebody else while it is evaluated."""

BETWEEN = (
    *DURING, "enable", "condition", "ignore", "heed", "skip", "step", "count", "variables", "expect",
    "add", "tell",
)  # fmt: skip

BOOLEANS = ("single_step", "interrupt", "ignoring")


class FakeTeller:
    """Tells of each instruction before it runs."""

    pauses_before = True

    def before(self, frame: Any) -> Any:
        return "it"

    def after(self, frame: Any, known: Any) -> Any:
        return known


TELLER = FakeTeller()


@define
class Session:
    """One decider, and all that happens to it."""

    beside: bool
    decider: Decider = field(factory=Decider)
    breakpoints: list[Breakpoint] = field(factory=list)
    asked: list[object] = field(factory=list)
    frames: int = 0
    answer: bool = False
    during: str = ""

    def __attrs_post_init__(self) -> None:
        self.decider.evaluator = FakeEvaluator()
        self.decider.breakpoints.module_loaded(MODULE)
        for function in (1, 2):
            if self.beside:
                self.decider.breakpoints.add(Where(function), enabled=False)
            self.add(function)

    def add(self, function: int) -> None:
        self.breakpoints.append(self.decider.breakpoints.add(Where(function), condition=self.condition))

    def tell(self, function: int) -> None:
        """Of this function, from now on, and let nothing else stand there."""
        for each in self.breakpoints:
            if each.function == function:
                self.decider.breakpoints.remove(each)
        self.breakpoints.append(self.decider.breakpoints.add(Where(function), teller=TELLER))

    def condition(self, frame: object) -> bool:
        self.asked.append(frame)
        self.change(self.during, 1)
        return self.answer

    def look(self) -> int:
        self.frames += 1
        return self.frames

    def change(self, what: str, function: int) -> None:
        decider, breakpoint = self.decider, self.breakpoints[-1]
        changes: dict[str, Callable[[], object]] = {
            "": lambda: None,
            "interrupt": lambda: setattr(decider, "interrupt", True),
            "single_step": lambda: setattr(decider, "single_step", not decider.single_step),
            "remove": lambda: decider.breakpoints.remove(breakpoint),
            "disable": lambda: setattr(breakpoint, "enabled", False),
            "enable": lambda: setattr(breakpoint, "enabled", True),
            "condition": lambda: setattr(breakpoint, "condition", self.condition),
            "uncondition": lambda: setattr(breakpoint, "condition", None),
            "hits": lambda: setattr(breakpoint, "hits", "% 2" if breakpoint.hits is None else None),
            "log": lambda: setattr(breakpoint, "log", "here" if breakpoint.log is None else None),
            "ignore": lambda: setattr(decider, "ignoring", True),
            "heed": lambda: setattr(decider, "ignoring", False),
            "skip": lambda: setattr(decider, "skip", (1, 64, 0)),
            "plan": lambda: setattr(decider, "plan", make_plan(StepKind.INSTRUCTION, None, None, count=2)),
            "step": lambda: setattr(decider, "plan", make_plan(StepKind.INSTRUCTION, None, None)),
            "count": lambda: setattr(decider, "plan", make_plan(StepKind.INSTRUCTION, None, None, count=20)),
            "variables": lambda: setattr(decider, "variables", {1: frozenset({(function, 0)})}),
            "expect": lambda: decider.expect((1, 64, function, -1), Told(TELLER, "it", False)),
            "add": lambda: self.add(function),
            "tell": lambda: self.tell(function),
        }
        changes[what]()

    def check(self, kind: int, function: int, k: int) -> object:
        """What a check comes to, and all that it leaves behind."""
        verdict = self.decider.decide(kind, MODULE, 1, 64, function, k, self.look)
        told: tuple[object, ...] = ()
        if verdict is not None:
            numbers = [self.breakpoints.index(each) for each in verdict.breakpoints]
            done = [each.what for each in verdict.done]
            told = (verdict.reason, numbers, verdict.step, verdict.watch, done, verdict.next, verdict.plan)
        decider, evaluator = self.decider, self.decider.evaluator
        assert isinstance(evaluator, FakeEvaluator)
        state = [getattr(decider, name) for name in BOOLEANS]
        counts = [(each.hit_count, each.removed) for each in self.breakpoints]
        return told, decider.plan, decider.skip, state, counts, self.asked, evaluator.written, self.frames


@settings(max_examples=400, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(BETWEEN),
            st.sampled_from(("", "", *DURING)),
            st.sampled_from((Kind.STOP, Kind.STOP, Kind.STOP, Kind.SITE, Kind.TRAP)),
            st.sampled_from((1, 2)),
            st.sampled_from((0, 0, 1)),
            st.booleans(),
        ),
        max_size=25,
    )
)
def test_it_comes_to_the_same(script: list[tuple[str, str, int, int, int, bool]]) -> None:
    one, other = Session(False), Session(True)
    for between, during, kind, function, k, answer in script:
        found = []
        for session in (one, other):
            session.change(between, function)
            session.during, session.answer = during, answer
            found.append(session.check(kind, function, k))
        assert found[0] == found[1]


@pytest.mark.parametrize("beside", [False, True])
def test_which_way_it_goes(monkeypatch: pytest.MonkeyPatch, beside: bool) -> None:
    long: list[object] = []
    hits = Decider._hits

    def note(decider: Decider, *args: Any) -> bool:
        long.append(args)
        return hits(decider, *args)

    monkeypatch.setattr(Decider, "_hits", note)
    session = Session(beside)
    session.check(Kind.STOP, 1, 0)
    assert bool(long) == beside and session.asked == [1]
