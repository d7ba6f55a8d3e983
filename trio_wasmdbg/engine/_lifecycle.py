"""The debuggee's states, and which message leads from which to which: one table.

The states are seen from outside, from whoever holds the handle.  ``RUNNING`` and ``QUERIED``
exist so that every await between a command and its answer can be cancelled: the state says what
was sent and not yet answered, so the next call knows what it still has to receive.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final

from ..errors import WrongStateError

__all__ = ["TRANSITIONS", "Lifecycle", "Signal", "State", "diagram"]


class State(enum.Enum):
    """Where the debuggee is, as its holder may know it."""

    INITIAL = "initial"
    """The task has been started; its start pause has not been received yet."""
    PAUSED = "paused"
    """At a pause; no command is under way."""
    RUNNING = "running"
    """Told to go on; the next event has not been received (also after a cancelled ``run``)."""
    QUERIED = "queried"
    """A query was sent; its answer has not been received (also after a cancelled one)."""
    COMPLETE = "complete"
    """The body has ended and Finished has been received; the store can still be queried."""
    CLOSED = "closed"
    """The debuggee's task is gone: dropped, cancelled, or its block was left."""

    __hash__ = object.__hash__  # enum's own takes ten times as long, and is taken at every event


class Signal(enum.Enum):
    """What moves the debuggee from one state to another."""

    START_PAUSE = "start pause received"
    CONTINUE = "continue sent"
    QUERY = "query sent"
    ANSWER = "answer received"
    EVENT = "event received"
    FINISHED = "finished received"
    DROP = "dropped"

    __hash__ = object.__hash__


TRANSITIONS: Final[Mapping[State, Mapping[Signal, State]]] = {
    State.INITIAL: {Signal.START_PAUSE: State.PAUSED, Signal.DROP: State.CLOSED},
    State.PAUSED: {
        Signal.CONTINUE: State.RUNNING,
        Signal.QUERY: State.QUERIED,
        Signal.DROP: State.CLOSED,
    },
    State.RUNNING: {
        Signal.EVENT: State.PAUSED,
        Signal.FINISHED: State.COMPLETE,
        Signal.DROP: State.CLOSED,
    },
    State.QUERIED: {Signal.ANSWER: State.PAUSED, Signal.DROP: State.CLOSED},
    # After Finished the store belongs to the holder again: queries are answered in place.
    State.COMPLETE: {Signal.DROP: State.CLOSED},
    State.CLOSED: {Signal.DROP: State.CLOSED},
}


class Lifecycle:
    """The current state; moves only along :data:`TRANSITIONS`."""

    __slots__ = ("_state",)

    def __init__(self) -> None:
        self._state = State.INITIAL

    @property
    def state(self) -> State:
        return self._state

    def allows(self, signal: Signal) -> bool:
        return signal in TRANSITIONS[self._state]

    def move(self, signal: Signal) -> State:
        """Follow *signal*; :exc:`WrongStateError` (and no change) where the table has no entry."""
        target = TRANSITIONS[self._state].get(signal)
        if target is None:
            raise WrongStateError(f"'{signal.value}' is not possible now", state=self._state.value)
        self._state = target
        return target


def diagram() -> str:
    """The table as a Graphviz graph: the docs' picture is made from this."""
    lines = ["digraph debuggee {", "  rankdir=LR;"]
    for state, moves in TRANSITIONS.items():
        for signal, target in moves.items():
            if signal is not Signal.DROP:
                lines.append(f'  {state.value} -> {target.value} [label="{signal.value}"];')
    lines.append('  node [style=dashed]; closed [label="closed (from any state, when dropped)"];')
    lines.append("}")
    return "\n".join(lines)
