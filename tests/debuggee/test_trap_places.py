"""A trap is told for what it is, and at its place, also where the engine puts it into code of ours."""

from __future__ import annotations

import pytest
import wasmtime

from tests.debuggee._support import debug, run_to
from trio_wasmdbg import events

NEVER = """
(module (memory 0 0)
  (func (export "main") (param $x i32) (result i32)
    (call $nothing) (local.get $x) (i32.load offset=4 (i32.const 8)) (i32.add))
  (func $nothing))
"""


async def test_an_access_that_can_never_succeed() -> None:
    async with debug(NEVER, "main", 5) as debuggee:
        trap = await run_to(debuggee, events.Trap)
        assert trap.code == "MEMORY_OUT_OF_BOUNDS"
        assert trap.frame.function_name == "main"
        assert trap.frame.instruction.op.name == "i32.load"
        finished = await run_to(debuggee, events.Finished)
        assert isinstance(finished.error, wasmtime.Trap)
        assert finished.error.trap_code is wasmtime.TrapCode.MEMORY_OUT_OF_BOUNDS


OPAQUE = f"""
(module (memory 1)
  (func $opaque (export "opaque") (param i32) (result i32) (local {"v128 " * 40_000})
    {"(i32.const 1)" * 26_000} {"drop " * 26_000}
    (i32.load (local.get 0)))
  (func (export "main") (param i32) (result i32) (call $opaque (local.get 0))))
"""


@pytest.mark.parametrize("export", ["opaque", "main"])
async def test_a_trap_in_a_function_that_has_no_frame(export: str) -> None:
    async with debug(OPAQUE, export, -1) as debuggee:
        trap = await run_to(debuggee, events.Trap)
        assert trap.code == "MEMORY_OUT_OF_BOUNDS"
        assert [frame.func_name for frame in trap.backtrace] == (["main"] if export == "main" else [])
        assert isinstance((await run_to(debuggee, events.Finished)).error, wasmtime.Trap)
