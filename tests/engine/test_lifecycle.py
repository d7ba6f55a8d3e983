"""The table of states: every move it has, and none that it has not."""

from __future__ import annotations

import itertools

import pytest

from trio_wasmdbg.engine import TRANSITIONS, Lifecycle, Signal, State, diagram
from trio_wasmdbg.errors import WrongStateError

PATHS = {
    State.INITIAL: [],
    State.PAUSED: [Signal.START_PAUSE],
    State.RUNNING: [Signal.START_PAUSE, Signal.CONTINUE],
    State.QUERIED: [Signal.START_PAUSE, Signal.QUERY],
    State.COMPLETE: [Signal.START_PAUSE, Signal.CONTINUE, Signal.FINISHED],
    State.CLOSED: [Signal.DROP],
}


def at(state: State) -> Lifecycle:
    lifecycle = Lifecycle()
    for signal in PATHS[state]:
        lifecycle.move(signal)
    assert lifecycle.state is state
    return lifecycle


@pytest.mark.parametrize(("state", "signal"), list(itertools.product(State, Signal)))
def test_moves(state: State, signal: Signal) -> None:
    lifecycle = at(state)
    target = TRANSITIONS[state].get(signal)
    assert lifecycle.allows(signal) == (target is not None)
    if target is None:
        with pytest.raises(WrongStateError, match=state.value) as caught:
            lifecycle.move(signal)
        assert caught.value.state == state.value
        assert lifecycle.state is state
    else:
        assert lifecycle.move(signal) is target
        assert lifecycle.state is target


def test_every_state_can_be_dropped() -> None:
    assert all(Signal.DROP in moves for moves in TRANSITIONS.values())


def test_the_diagram_has_every_move() -> None:
    drawn = diagram()
    for state, moves in TRANSITIONS.items():
        for signal, target in moves.items():
            if signal is not Signal.DROP:
                assert f'{state.value} -> {target.value} [label="{signal.value}"]' in drawn
