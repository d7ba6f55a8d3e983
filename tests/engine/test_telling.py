"""What is expected to be told of, and which frames it goes with."""

from __future__ import annotations

from typing import Any

from trio_wasmdbg.engine import Told
from trio_wasmdbg.engine._telling import Expected


class Plain:
    pauses_before = True

    def before(self, frame: Any) -> Any:
        return frame

    def after(self, frame: Any, known: Any) -> Any:
        return known


def test_it_is_told_once_at_its_place() -> None:
    expected, told = Expected(), Told(Plain(), "x", False)
    expected.add((1, 64, 5, 3), told)

    assert expected.take((1, 64, 5, 4)) is None and expected.take((1, 48, 5, 3)) is None
    assert expected.take((1, 64, 5, 3)) is told
    assert expected.take((1, 64, 5, 3)) is None


def test_frames_above_one_that_runs_are_gone() -> None:
    expected, told = Expected(), Told(Plain(), "x", False)
    for fp in (96, 64, 32):
        expected.add((1, fp, 5, 3), told)
    expected.add((1, 64, 5, 9), told)

    assert list(expected) == [(1, 96, 5, 3), (1, 64, 5, 9)]
    expected.frames_gone(96)
    assert list(expected) == [(1, 96, 5, 3)]


def test_what_is_switched_off_is_forgotten() -> None:
    expected, off, on = Expected(), Plain(), Plain()
    expected.add((1, 96, 5, 3), Told(off, "x", False))
    expected.add((1, 64, 5, 3), Told(on, "x", False))
    expected.forget(off)

    assert list(expected) == [(1, 64, 5, 3)]
