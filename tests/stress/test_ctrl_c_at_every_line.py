"""Ctrl-C at every line of what hands calls and commands over: trio's run ends with it, and nothing is left.

Between two lines a task may have been noted as waiting and not wait yet, or a future made that nobody knows.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest
import trio
import wasmtime

from tests.debuggee._support import COUNT, ENGINE, body_of, no_leaks
from trio_wasmdbg import GuestModule, events, load_module, open_debuggee
from trio_wasmdbg.debuggee import _calls, _commands, _responses
from trio_wasmdbg.testing._stress._census import listening_to_complaints

PLACES: dict[str, tuple[str, set[str]]] = {
    "commands": (_commands.__file__, {"send_nowait", "receive", "break_waits", "close"}),
    "responses": (_responses.__file__, {"send_nowait", "receive", "close"}),
    "calls": (_calls.__file__, {"_begin", "_end"}),
}


class CtrlC:
    """Raised at line number *at* of those that are executed in *functions*."""

    def __init__(self, path: str, functions: set[str], at: int) -> None:
        self._path, self._functions, self._left = path, functions, at
        self.raised = False

    def __call__(self, frame: FrameType, event: str, argument: Any) -> Callable[..., Any] | None:
        code = frame.f_code
        return self._line if code.co_filename == self._path and code.co_name in self._functions else None

    def _line(self, frame: FrameType, event: str, argument: Any) -> Callable[..., Any]:
        if event == "line" and not self.raised:
            self._left -= 1
            if self._left < 0:
                self.raised = True
                signal.raise_signal(signal.SIGINT)
        return self._line


def flat(error: BaseException) -> list[type[BaseException]]:
    if isinstance(error, BaseExceptionGroup):
        return [kind for each in error.exceptions for kind in flat(each)]
    return [type(error)]


async def scenario(module: GuestModule) -> None:
    async def use(guest: Any, instance: Any) -> Any:
        return [await guest.call(instance.func("count"), 3) for _ in range(2)]

    async with open_debuggee(wasmtime.Store(ENGINE), body_of(module, use)) as debuggee:
        debuggee.add_breakpoint("count")
        assert isinstance(await debuggee.run(), events.Breakpoint)
        assert isinstance(await debuggee.step(), events.Step)
        async with trio.open_nursery() as nursery:
            # Somebody else waits for something of his own, and is woken up for nothing else.
            nursery.start_soon(trio.sleep, 0.001)
            await debuggee.with_store(lambda view: view.frames())
        await debuggee.finish()


@pytest.fixture(autouse=True)
def nothing_left() -> None:
    """In place of the folder's, which is for tests that trio runs: each Ctrl-C ends a run of its own."""


@pytest.mark.parametrize("place", PLACES)
def test_nothing_is_left(place: str) -> None:
    module = trio.run(load_module, ENGINE, COUNT)
    previous = sys.gettrace()
    for at in range(2_000):
        ctrl_c = CtrlC(*PLACES[place], at)
        sys.settrace(ctrl_c)
        try:
            trio.run(scenario, module)
        except BaseException as error:
            assert ctrl_c.raised, at
            assert KeyboardInterrupt in flat(error), (at, error)
        else:
            assert not ctrl_c.raised, at
        finally:
            sys.settrace(previous)
        assert no_leaks() == [], at
        if not ctrl_c.raised:
            break
    assert at > 10


class Interrupted:
    def __del__(self) -> None:
        raise KeyboardInterrupt


def test_one_that_lands_in_a_finalizer_is_not_lost() -> None:
    heard: list[list[str]] = []

    async def main() -> None:
        with listening_to_complaints("nothing") as complaints:
            heard.append(complaints)
            Interrupted()
            with trio.fail_after(20):
                await trio.sleep_forever()

    with pytest.raises(KeyboardInterrupt):
        trio.run(main)
    assert heard == [[]]
