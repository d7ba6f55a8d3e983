"""Real programs run to the same output under the debugger, and can be stopped in.

The small ones whenever they can be had; all with ``nox -s real``.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import wasmtime

from tests.real._catalog import PROGRAMS, Program
from tests.real._packages import NotFetched
from tests.real._report import run
from tests.real._run import MODES, Debugged, digest, in_sandbox, perform, run_plain
from trio_wasmdbg import UNAVAILABLE, Guest, events, load_module, make_engine, open_debuggee

ALL = os.environ.get("TRIO_WASMDBG_REAL") == "all"
SAMPLE = [program for program in PROGRAMS if program.small or ALL]


def file_of(program: Program) -> Path:
    try:
        return program.package.file(program.member)
    except NotFetched as why:
        pytest.skip(str(why))


@pytest.mark.timeout(1900)
@pytest.mark.parametrize("program", SAMPLE, ids=str)
def test_same_output(program: Program) -> None:
    file_of(program)
    modes = MODES if program.slow and (ALL or program.name == "usvg") else MODES[:2]
    report = run(program, modes)
    assert report.error is None, report.error
    assert set(report.outcomes) == set(modes)
    assert report.same, report
    assert not report.opaque
    if "slow" in modes:
        assert report.outcomes["slow"].slow_twins > 20


STOPS = {
    "quickjs": {"function": "js_bigint_to_string1"},
    "python": {"import_": "wasi_snapshot_preview1.fd_write"},
}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", [program.name for program in SAMPLE if program.name in STOPS])
async def test_stop_in_the_middle(name: str) -> None:
    (program,) = [each for each in PROGRAMS if each.name == name]
    data = file_of(program).read_bytes()
    expected = await run_plain(program, data)
    module = await load_module(make_engine(), data, cache=None)
    stops = 0

    async def work(store: wasmtime.Store) -> bytes:
        nonlocal stops

        async def body(guest: Guest) -> bytes:
            instance = await guest.instantiate(guest.linker_for(module, {}, wasi=True), module)
            return await perform(program, Debugged(guest, instance), instance.exports)

        async with open_debuggee(store, body) as debuggee:
            debuggee.add_breakpoint(**STOPS[name])  # type: ignore[arg-type]
            event = await debuggee.run()
            while isinstance(event, events.Breakpoint):
                stops += 1
                look_at(event)
                for _ in range(20):
                    event = await debuggee.step()
                    assert isinstance(event, events.Paused), event
                    look_at(event)
                event = await debuggee.run()
            assert isinstance(event, events.Finished), event
        return (event.result or b"") + b"exit %d" % (event.exit_code or 0)

    output, _ = await in_sandbox(program, module.engine, work)
    assert digest(output)[0] == expected.output, output
    assert stops


def look_at(event: events.Paused) -> None:
    """All of the stack can be seen, and hangs together."""
    frame, depth = event.frame, 0
    while frame is not None:
        assert UNAVAILABLE not in frame.locals and UNAVAILABLE not in frame.operand_stack
        if frame.parent is not None:
            call = frame.parent.instruction
            assert call.op.name in ("call", "call_indirect")
            assert call.op.name != "call" or call.imm == frame.function_index
        frame, depth = frame.parent, depth + 1
    assert depth > 8
