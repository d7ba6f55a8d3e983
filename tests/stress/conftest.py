"""After every test of this folder: nothing of a guest is alive any more."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest


@pytest.fixture(autouse=True)
async def nothing_left() -> AsyncIterator[None]:
    # Imported here, so that no engine is made before pytest has switched faulthandler on.
    from trio_wasmdbg.debuggee import process_census

    yield
    census = process_census()
    assert {name: census[name] for name in ("call futures", "host calls waiting", "guest threads")} == {
        "call futures": 0,
        "host calls waiting": 0,
        "guest threads": 0,
    }
