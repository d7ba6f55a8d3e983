"""In every test of this folder: steps leave nothing armed, and after it nothing of a guest is alive."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest


@pytest.fixture(autouse=True)
async def nothing_left(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    # Imported here, so that no engine is made before pytest has switched faulthandler on: its
    # handler of SIGSEGV would replace Wasmtime's, and the first out-of-bounds access would be fatal.
    from tests.debuggee._left_armed import checked_steps
    from tests.debuggee._support import no_leaks
    from trio_wasmdbg.debuggee._threads import default_limiter

    with checked_steps(monkeypatch):
        yield
    assert no_leaks() == []
    assert default_limiter().borrowed_tokens == 0


@pytest.fixture
def without_short_cuts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each command goes to the debuggee's task, so that it can be cancelled on its way."""
    monkeypatch.setattr("trio_wasmdbg.debuggee._debuggee.may_run", lambda calls, command: False)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """However busy the machine is, a run from stop to stop counts as short."""
    monkeypatch.setattr("trio_wasmdbg.debuggee._slices.SHORT", 10.0)
    monkeypatch.setattr("trio_wasmdbg.debuggee._brief_runs.PATIENCE", 10.0)
