"""The hook: answers, suspensions, several at once, and exceptions in it."""

from __future__ import annotations

import signal
import sys
import time

import pytest
import wasmtime

from tests.capi.support import HOOK_LOOP, World, finish, run_python
from trio_wasmdbg import capi
from trio_wasmdbg.errors import InternalError


def test_arguments_are_unsigned_and_answers_either(world: World) -> None:
    seen = []

    def on_hook(kind: int, fp: int, rp: int) -> int:
        seen.append((kind, fp, rp))
        return (-2, 0xFFFF_FFFF, 5)[len(seen) - 1]

    world.hook(on_hook)
    assert finish(world.call(world.load(HOOK_LOOP).export("sum"), 3)) == (2,)
    assert seen == [(1, 3, 0xFFFF_FFFF), (1, 2, 0xFFFF_FFFF), (1, 1, 0xFFFF_FFFF)]


def test_some_calls_are_answered_at_once_and_some_later(world: World) -> None:
    hook = world.hook(lambda kind, fp, rp: fp if fp % 2 else None)
    future = world.call(world.load(HOOK_LOOP).export("sum"), 6)
    pauses = 0
    while not future.poll():
        assert future.waiting is hook
        assert capi.live_pendings() == 1
        hook.resume(100)
        assert capi.live_pendings() == 0
        pauses += 1
    assert pauses == 3
    assert future.outcome() == capi.Returned((309,))
    future.delete()


@pytest.mark.parametrize("answer", [0x8000_0000, -0x8000_0000, 0xFFFF_FFFF, 0x7FFF_FFFF])
def test_resumed_with_the_extremes_of_i32(world: World, answer: int) -> None:
    hook = world.hook(lambda kind, fp, rp: None)
    future = world.call(world.load(HOOK_LOOP).export("sum"), 1)
    assert not future.poll()
    hook.resume(answer)
    assert future.poll()
    outcome = future.outcome()
    assert isinstance(outcome, capi.Returned)
    assert outcome.values[0] & 0xFFFF_FFFF == answer & 0xFFFF_FFFF
    future.delete()


def test_an_answer_that_is_no_i32_is_refused_and_the_guest_waits(world: World) -> None:
    hook = world.hook(lambda kind, fp, rp: None)
    future = world.call(world.load(HOOK_LOOP).export("sum"), 1)
    assert not future.poll()
    for bad in (1 << 32, -(1 << 31) - 1):
        with pytest.raises(ValueError, match="i32"):
            hook.resume(bad)
    assert future.waiting is hook
    assert not future.poll()
    hook.resume(1)
    assert future.poll()
    future.delete()


def test_answers_out_of_turn_are_refused(world: World) -> None:
    hook = world.hook(lambda kind, fp, rp: None)
    other = world.hook(lambda kind, fp, rp: 0, "other")
    with pytest.raises(InternalError):
        hook.resume(1)
    future = world.call(world.load(HOOK_LOOP).export("sum"), 1)
    with pytest.raises(InternalError):
        hook.resume(1)
    assert not future.poll()
    with pytest.raises(InternalError):
        other.resume(1)
    hook.resume(1)
    with pytest.raises(InternalError):
        hook.resume(1)
    assert future.poll()
    with pytest.raises(InternalError):
        hook.resume(1)
    future.delete()


def test_two_hooks_in_one_store(world: World) -> None:
    first = world.hook(lambda kind, fp, rp: None)
    outer = world.call(world.load(HOOK_LOOP).export("sum"), 1)
    assert not outer.poll()
    second = world.hook(lambda kind, fp, rp: None, "second")  # defined while a guest is paused
    func = world.load(HOOK_LOOP.replace('"h" "hook"', '"h" "second"')).export("sum")
    inner = world.call(func, 1)
    assert not inner.poll()
    assert inner.waiting is second
    assert outer.waiting is first
    second.resume(20)
    assert inner.poll()
    assert inner.outcome() == capi.Returned((20,))
    inner.delete()
    first.resume(10)
    assert outer.poll()
    assert outer.outcome() == capi.Returned((10,))
    outer.delete()


def test_the_hook_can_be_called_through_a_table(world: World) -> None:
    hook = world.hook(lambda kind, fp, rp: None)
    instance = world.load("""
      (module (type $t (func (param i32 i32 i32) (result i32)))
        (table (export "slots") 2 funcref)
        (func (export "f") (result i32)
          (call_indirect (type $t) (i32.const 1) (i32.const 2) (i32.const 3) (i32.const 0))))""")
    table = instance.export("slots")
    future = world.call(instance.export("f"))
    assert future.poll()
    outcome = future.outcome()
    assert isinstance(outcome, capi.Trapped)
    assert outcome.code == "INDIRECT_CALL_TO_NULL"
    future.delete()
    capi.table_set(world.store, table, 0, hook.func)
    future = world.call(instance.export("f"))
    assert not future.poll()
    hook.resume(6)
    assert future.poll()
    assert future.outcome() == capi.Returned((6,))
    future.delete()


@pytest.mark.parametrize("exception", [RuntimeError("bug"), KeyboardInterrupt(), SystemExit(2)])
def test_an_exception_in_the_callback_suspends_the_guest(world: World, exception: BaseException) -> None:
    def on_hook(kind: int, fp: int, rp: int) -> int:
        raise exception

    hook = world.hook(on_hook)
    future = world.call(world.load(HOOK_LOOP).export("sum"), 1)
    assert not future.poll()
    assert future.interrupted is exception
    assert future.waiting is hook
    future.interrupted = None
    hook.resume(8)
    assert future.poll()
    assert future.outcome() == capi.Returned((8,))
    future.delete()


@pytest.mark.parametrize("answer", ["1", 1 << 40, 2.5])
def test_an_impossible_answer_is_a_bug_that_is_noted(world: World, answer: object) -> None:
    world.hook(lambda kind, fp, rp: answer)  # type: ignore[arg-type,return-value]
    future = world.call(world.load(HOOK_LOOP).export("sum"), 1)
    assert not future.poll()
    assert isinstance(future.interrupted, Exception)
    future.delete()


def test_a_hook_may_be_defined_in_a_linker_too(world: World) -> None:
    hook = capi.define_hook(world.linker, world.store, "h0", lambda kind, fp, rp: 4)
    assert repr(hook) == "<Hook 'h0'>"
    func = world.load(HOOK_LOOP.replace('"h" "hook"', '"trio_wasmdbg" "h0"')).export("sum")
    assert finish(world.call(func, 2)) == (8,)


def test_host_functions_are_dropped_with_their_store() -> None:
    before = capi.live_host_functions()
    world = World()
    world.hook(lambda kind, fp, rp: 4)
    assert capi.live_host_functions() > before
    world.store.close()
    del world
    assert capi.live_host_functions() == before


def test_a_store_without_room_for_an_instance_is_wasmtimes_error(world: World) -> None:
    world.store.set_limits(instances=0)
    for _ in range(2):
        with pytest.raises(wasmtime.WasmtimeError, match="instance"):
            world.hook(lambda kind, fp, rp: 0)


def test_how_long_a_pause_takes(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    answer: list[int | None] = [None]
    hook = world.hook(lambda kind, fp, rp: answer[0])
    func = world.load(HOOK_LOOP).export("sum")
    rounds = 20_000
    figures = {}
    for name in ("poll", "poll_inline"):
        future = world.call(func, rounds)
        poll, resume = getattr(future, name), hook.resume
        start = time.perf_counter()
        while not poll():
            resume(1)
        figures[f"suspend and resume, {name}"] = (time.perf_counter() - start) / rounds
        assert future.outcome() == capi.Returned((rounds,))
        future.delete()
    answer[0] = 1
    future = world.call(func, rounds)
    start = time.perf_counter()
    assert future.poll()
    figures["answered at once"] = (time.perf_counter() - start) / rounds
    future.delete()
    with capsys.disabled():
        print()
        for name, seconds in figures.items():
            print(f"  {name}: {seconds * 1e6:.2f} µs")
    # Generous, for slow and busy machines: it is to notice a change of kind, not of degree.
    assert max(figures.values()) < 100e-6


@pytest.mark.skipif(sys.platform == "win32", reason="sends signals")
def test_an_exception_out_of_poll_leaves_a_future_that_can_only_be_deleted(world: World) -> None:
    result = run_python(f"""
import os, signal
world = World()
hook = world.hook(lambda *a: 1)
future = world.call(world.load(HOOK_LOOP).export("sum"), 1)
import trio_wasmdbg.capi._calls as calls
def torn(pointer):
    poll(pointer)  # an interrupt between this instruction and the next
    raise KeyboardInterrupt
poll, calls.lib.poll = calls.lib.poll, torn
try: future.poll()
except KeyboardInterrupt: print("interrupted", {int(signal.SIGINT)})
calls.lib.poll = poll
try: future.poll()
except capi._calls.InternalError as exc: print(exc)
future.delete()
print(capi.live_futures())
""")
    assert result.stderr == ""
    assert result.stdout.splitlines() == [
        f"interrupted {int(signal.SIGINT)}",
        "polling a call future that an exception tore out of: it can only be deleted",
        "0",
    ]
