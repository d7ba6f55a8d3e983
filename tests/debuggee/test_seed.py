"""The three tests of Wasmtime's own debugger crate, re-told: same module, same numbers."""

from __future__ import annotations

from typing import Any

import pytest
import wasmtime

from trio_wasmdbg import (
    Debuggee,
    Guest,
    StoreView,
    WrongStateError,
    events,
    load_module,
    make_engine,
    open_debuggee,
)

ADD = """(module (func (export "main") (param i32 i32) (result i32)
            local.get 0 local.get 1 i32.add))"""

PLACES = [
    # file offset, operand stack
    (36, []),
    (38, [1]),
    (40, [1, 2]),
    (41, [3]),
]


async def make(calls: list[tuple[int, int]], results: list[int]) -> tuple[wasmtime.Store, Any]:
    engine = make_engine()
    module = await load_module(engine, wasmtime.wat2wasm(ADD))
    store = wasmtime.Store(engine)

    async def body(guest: Guest) -> None:
        instance = await guest.instantiate({}, module)
        guest.single_step = True
        for arguments in calls:
            results.append(await guest.call(instance.exports["main"], *arguments))

    return store, body


async def check_place(debuggee: Debuggee, offset: int, operands: list[int]) -> None:
    def look(view: StoreView) -> None:
        (frame,) = view.exit_frames()
        assert frame.function_index == 0
        assert frame.module_offset == offset
        assert len(frame.locals) == 2
        assert frame.local(0) == 1
        assert frame.local(1) == 2
        assert list(frame.operand_stack) == operands
        assert frame.parent is None

    await debuggee.with_store(look)


async def test_basic_debugger() -> None:
    results: list[int] = []
    store, body = await make([(1, 2), (3, 4)], results)
    async with open_debuggee(store, body) as debuggee:
        for offset, operands in PLACES:
            event = await debuggee.run()
            assert isinstance(event, events.Step)
            await check_place(debuggee, offset, operands)

        def stop_stepping(view: StoreView) -> None:
            view.single_step = False

        await debuggee.with_store(stop_stepping)
        assert isinstance(await debuggee.run(), events.Finished)
        assert debuggee.is_complete
    assert results == [3, 7]


async def test_early_finish() -> None:
    results: list[int] = []
    store, body = await make([(1, 2)], results)
    async with open_debuggee(store, body) as debuggee:
        await debuggee.finish()
        assert debuggee.is_complete
        with pytest.raises(WrongStateError, match="complete"):
            await debuggee.run()
        assert await debuggee.with_store(lambda view: len(view.instances)) == 1
    assert results == [3]


async def test_drop_debuggee_and_store() -> None:
    results: list[int] = []
    store, body = await make([(1, 2)], results)
    async with open_debuggee(store, body) as debuggee:
        assert isinstance(await debuggee.run(), events.Step)
    assert results == []
    assert not debuggee.is_complete
    store.close()
