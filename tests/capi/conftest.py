"""Every test of this folder must leave nothing alive."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
from wasmtime import _func

from tests.capi.support import World
from trio_wasmdbg import capi


@pytest.fixture(autouse=True)
def nothing_leaks() -> Iterator[None]:
    futures, pendings, abandoned = capi.live_futures(), capi.live_pendings(), capi.abandoned_futures()
    yield
    gc.collect()
    assert capi.live_futures() == futures
    assert capi.live_pendings() == pendings
    assert capi.abandoned_futures() == abandoned
    assert _func.LAST_EXCEPTION is None


@pytest.fixture
def world() -> World:
    return World()
