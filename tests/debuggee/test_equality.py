"""An instrumented run is the plain run: results, traps, memory, globals, streams, in every mode.

Modes: nothing armed (fast twins), a condition that never holds in every function (flavours), the same in slow
twins, and single-stepped (all of it, or the first thousands of instructions where the program is long).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import wasmtime
from attrs import frozen

from tests.debuggee._support import ENGINE, load
from tests.guests.catalog import CALLS, COMMANDS, DEMO_CALLS, Call, Command, wasm
from tests.guests.test_guests import at, instantiate
from trio_wasmdbg import Guest, GuestInstance, GuestModule, events, open_debuggee

MODES = ["fast", "flavoured", "slow", "stepped"]
MOST_STEPS = 2_500


@frozen
class Ending:
    """Everything that can be seen of a run."""

    result: object
    memory: bytes
    globals: dict[str, object]
    files: tuple[bytes, ...] = ()


def plain(case: Call) -> Ending:
    store = wasmtime.Store(wasmtime.Engine())
    store.set_wasi(wasmtime.WasiConfig())
    instance = instantiate(store, case.guest)
    exports = instance.exports(store)
    for symbol, data in case.inputs:
        memory, address = at(store, instance, symbol)
        memory.write(store, data, address)
    func = exports[case.export]
    assert isinstance(func, wasmtime.Func)
    result: object
    try:
        result = func(store, *case.args)
    except wasmtime.Trap as trap:
        result = trap.trap_code
    exported = exports["memory"]
    assert isinstance(exported, wasmtime.Memory)
    memory = exported
    values = {name: exports[name] for name in names_of(exports)}
    return Ending(
        result,
        bytes(memory.read(store)),
        {name: item.value(store) for name, item in values.items() if isinstance(item, wasmtime.Global)},
    )


def names_of(exports: Any) -> list[str]:
    return [name for name in exports if name is not None]


async def debugged(module: GuestModule, store: wasmtime.Store, case: Call | Command, mode: str) -> Ending:
    found: list[GuestInstance] = []
    imports = {"host": {"fetch_price": lambda item: 0, "sleep_ms": lambda _: None}}

    async def body(guest: Guest) -> Any:
        instance = await guest.instantiate(guest.linker_for(module, imports, wasi=True), module)
        found.append(instance)
        if "_initialize" in instance.exports:
            await guest.call(instance.func("_initialize"))
        guest.single_step = mode == "stepped"
        if isinstance(case, Command):
            return await guest.call(instance.func("_start"))
        for symbol, data in case.inputs:
            instance.write_memory(instance.exports[symbol].value(store), data)
        try:
            return await guest.call(instance.func(case.export), *case.args)
        except wasmtime.Trap as trap:
            return trap.trap_code

    steps = 0
    async with open_debuggee(store, body) as debuggee:
        if mode in ("flavoured", "slow"):
            debuggee.flavours = mode == "flavoured"
            debuggee.add_breakpoint(re.compile(""), condition="0")
        async for event in debuggee:
            if isinstance(event, events.Step):
                steps += 1
                if steps == MOST_STEPS:
                    await debuggee.finish()
        finished = await debuggee.finish()
        if mode == "slow":
            assert debuggee.statistics().slow_twins > 0
        if mode == "flavoured":
            statistics = debuggee.statistics()
            assert statistics.flavours > 0
            assert statistics.slow_twins == 0 or isinstance(finished.result, wasmtime.TrapCode)
            assert not statistics.flavours_refused
        if mode == "fast":
            assert debuggee.statistics().slow_twins == 0 or isinstance(finished.result, wasmtime.TrapCode)
    (instance,) = found
    result = finished.result if finished.exit_code is None else finished.exit_code
    values = {name: item for name, item in instance.exports.items() if isinstance(item, wasmtime.Global)}
    size = instance.memory_size()
    return Ending(
        result, instance.read_memory(0, size), {name: item.value(store) for name, item in values.items()}
    )


@pytest.mark.parametrize("case", CALLS + DEMO_CALLS, ids=str)
async def test_calls(case: Call) -> None:
    expected = plain(case)
    module = await load(wasm(case.guest))
    for mode in MODES:
        store = wasmtime.Store(ENGINE)
        store.set_wasi(wasmtime.WasiConfig())
        ending = await debugged(module, store, case, mode)
        assert ending.result == expected.result, mode
        assert ending.globals == expected.globals, mode
        assert ending.memory == expected.memory, mode


@pytest.mark.parametrize("case", COMMANDS, ids=str)
async def test_commands(case: Command, tmp_path: Path) -> None:
    module = await load(wasm(case.guest))
    for mode in MODES:
        (tmp_path / "stdin").write_bytes(case.stdin)
        config = wasmtime.WasiConfig()
        config.argv = [case.guest, *case.argv]
        config.env = list(case.env)
        config.stdin_file = str(tmp_path / "stdin")
        config.stdout_file = str(tmp_path / "stdout")
        config.stderr_file = str(tmp_path / "stderr")
        store = wasmtime.Store(ENGINE)
        store.set_wasi(config)
        ending = await debugged(module, store, case, mode)
        store.close()
        assert (ending.result or 0) == case.exit_code, mode
        assert (tmp_path / "stdout").read_text() == case.stdout, mode
        assert (tmp_path / "stderr").read_text() == case.stderr, mode
