"""After every test of this folder: nothing of a guest is alive any more."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.debuggee._support import no_leaks
from trio_wasmdbg.debuggee._threads import default_limiter


@pytest.fixture(autouse=True)
async def nothing_left() -> AsyncIterator[None]:
    yield
    assert no_leaks() == []
    assert default_limiter().borrowed_tokens == 0
