"""The fake and the real target keep the same promises."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import wasmtime

from trio_wasmdbg import debug_wasm, load_module, make_engine
from trio_wasmdbg.testing import FAKE_BODY, FAKE_START, FakeTarget, TargetUnderTest, check_debug_target

WAT = """(module (memory 1) (global (mut i32) (i32.const 5))
  (func (export "main") (param i32) (result i32) (local i32) nop nop nop local.get 0)
  (func (export "spin") (param i32) (result i32) nop (loop (br 0)) unreachable))"""


@asynccontextmanager
async def fake(spins: bool) -> AsyncIterator[TargetUnderTest]:
    program = ["nop", "spin"] if spins else ["nop"] * 5
    target = FakeTarget(program)
    yield TargetUnderTest(target, [FAKE_START + position for position in range(len(program))], FAKE_BODY)


@asynccontextmanager
async def real(spins: bool) -> AsyncIterator[TargetUnderTest]:
    module = await load_module(make_engine(), wasmtime.wat2wasm(WAT))
    function = 1 if spins else 0
    body = module.original.functions[function].body
    assert body is not None
    async with debug_wasm(module, "spin" if spins else "main", [3]) as debuggee:
        yield TargetUnderTest(debuggee.debug_target(), list(module.offsets(function)), body.start)


@pytest.mark.parametrize("make", [fake, real])
async def test_conformance(make: object) -> None:
    await check_debug_target(make)  # type: ignore[arg-type]
