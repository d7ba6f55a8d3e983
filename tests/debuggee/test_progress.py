"""Progress of loading a module: in order, in the trio thread, not too often, never afterwards."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio
import trio.testing
import wasmtime

from tests.debuggee._support import ENGINE
from trio_wasmdbg import ModuleCache, Progress, load_module
from trio_wasmdbg.debuggee import _loading, _progress
from trio_wasmdbg.instrument import instrument

FUNCTIONS = 200
FAKE = bytes(wasmtime.wat2wasm(f"(module {'(func (call 0) (call 1))' * FUNCTIONS})"))
CODE = FUNCTIONS * 6
"""Bytes of its function bodies: no locals, two calls, an end."""

STAGES = ["read", "validate", "rewrite", "compile"]


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every report may be delivered."""
    monkeypatch.setattr(_progress, "_PAUSE", 0.0)


async def test_every_stage_from_its_beginning_to_its_end() -> None:
    reports: list[Progress] = []
    threads = set()

    def progress(report: Progress) -> None:
        reports.append(report)
        threads.add(threading.current_thread())

    await load_module(ENGINE, FAKE, progress=progress)

    assert threads == {threading.current_thread()}
    assert list(dict.fromkeys(report.stage for report in reports)) == STAGES
    for stage in STAGES:
        done = [report.done for report in reports if report.stage == stage]
        last = [report for report in reports if report.stage == stage][-1]
        assert done[0] == 0 and done == sorted(done)
        assert last.done == last.total == (CODE if stage == "rewrite" else len(FAKE))


async def test_rewriting_is_told_function_by_function(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, int]] = []

    def watched(*args: Any, progress: Callable[[int, int], None], **options: Any) -> Any:
        def both(done: int, total: int) -> None:
            told.append((done, total))
            progress(done, total)

        return instrument(*args, progress=both, **options)

    monkeypatch.setattr(_loading, "instrument", watched)
    await load_module(ENGINE, FAKE, progress=lambda report: None)
    assert told == [(done, CODE) for done in range(0, CODE + 1, 6)]


async def test_rewritten_before_is_told_as_done(tmp_path: Path) -> None:
    cache = ModuleCache(tmp_path / "cache", min_module=0)
    await load_module(ENGINE, FAKE, cache=cache)
    reports: list[Progress] = []

    await load_module(ENGINE, FAKE, cache=cache, progress=reports.append)

    assert [report for report in reports if report.stage == "rewrite"] == [
        Progress("rewrite", 0, CODE),
        Progress("rewrite", CODE, CODE),
    ]
    assert reports[-1] == Progress("compile", len(FAKE), len(FAKE))


async def test_a_module_without_code() -> None:
    reports: list[Progress] = []
    await load_module(ENGINE, "(module)", progress=reports.append)
    assert list(dict.fromkeys(report.stage for report in reports)) == STAGES


async def test_what_the_callback_raises_is_raised_and_ends_the_loading() -> None:
    calls: list[Progress] = []

    def progress(report: Progress) -> None:
        calls.append(report)
        if report.stage == "validate":
            raise LookupError("enough")

    with pytest.raises(LookupError, match="enough"):
        await load_module(ENGINE, FAKE, progress=progress)
    assert calls[-1].stage == "validate"
    assert [call.stage for call in calls].count("validate") == 1
    await trio.testing.wait_all_tasks_blocked()
    assert calls[-1].stage == "validate"


async def test_a_module_that_the_engine_refuses() -> None:
    reports: list[Progress] = []
    with pytest.raises(wasmtime.WasmtimeError):
        await load_module(ENGINE, b"\0asm\1\0\0\0\xff", progress=reports.append)
    assert "rewrite" not in {report.stage for report in reports}


async def test_nothing_is_told_after_a_cancellation(monkeypatch: pytest.MonkeyPatch) -> None:
    reports: list[Progress] = []
    inside, go_on, ended = trio.Event(), threading.Event(), threading.Event()
    token = trio.lowlevel.current_trio_token()

    def slow(*args: Any, progress: Callable[[int, int], None], **options: Any) -> Any:
        token.run_sync_soon(inside.set)
        go_on.wait(30)
        progress(5, 10)
        ended.set()
        return instrument(*args, progress=progress, **options)

    monkeypatch.setattr(_loading, "instrument", slow)
    async with trio.open_nursery() as nursery:

        async def load() -> None:
            await load_module(ENGINE, FAKE, progress=reports.append)

        nursery.start_soon(load)
        await inside.wait()
        nursery.cancel_scope.cancel()
    count = len(reports)
    go_on.set()
    await trio.to_thread.run_sync(ended.wait, 30)
    await trio.testing.wait_all_tasks_blocked()
    assert len(reports) == count


async def test_many_reports_are_few_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(10**9))
    monkeypatch.setattr(_progress, "_PAUSE", 0.05)
    monkeypatch.setattr(_progress, "time", SimpleNamespace(monotonic=lambda: next(clock) / 10_000))
    reports: list[Progress] = []
    teller = _progress.Teller(reports.append, trio.lowlevel.current_trio_token())

    def work() -> None:
        for done in range(100_001):  # in ten seconds
            teller.report("rewrite", done, 100_000)

    await trio.to_thread.run_sync(work)
    teller.deliver()

    assert len(reports) <= 10 / 0.05 + 2
    assert reports[0].done == 0 and reports[-1].done == 100_000
    assert [report.done for report in reports] == sorted(report.done for report in reports)
