"""Asynchronous host functions, plain ones of the user's linker, and whose exception comes back."""

from __future__ import annotations

import gc
import threading
import weakref

import pytest
import wasmtime
from wasmtime import _func

from tests.capi.support import World, finish
from trio_wasmdbg import capi
from trio_wasmdbg.errors import InternalError

ASYNC = """
(module
  (import "h" "wait" (func $wait (param i32 f64) (result i64 f32)))
  (func (export "f") (param i32) (result i64 f32) (call $wait (local.get 0) (f64.const 2.5))))
"""


def waiting_world(world: World) -> tuple[list[capi.Pending], wasmtime.Func]:
    calls: list[capi.Pending] = []
    capi.define_async(world.linker, world.store, "h", "wait", ("i32", "f64"), ("i64", "f32"), calls.append)
    return calls, world.load(ASYNC).export("f")


def test_results_given_later(world: World) -> None:
    calls, func = waiting_world(world)
    future = world.call(func, -3)
    assert not future.poll()
    (pending,) = calls
    assert future.waiting is pending
    assert pending.future is future
    assert pending.args == (-3, 2.5)
    pending.finish((1 << 63, 0.5))
    assert pending.answered
    assert future.poll()
    assert future.outcome() == capi.Returned((-(1 << 63), 0.5))
    future.delete()


def test_results_given_at_once_do_not_suspend(world: World) -> None:
    capi.define_async(
        world.linker,
        world.store,
        "h",
        "wait",
        ("i32", "f64"),
        ("i64", "f32"),
        lambda p: p.finish((p.args[0], 1.5)),
    )
    assert finish(world.call(world.load(ASYNC).export("f"), 9)) == (9, 1.5)


@pytest.mark.parametrize(
    ("results", "error"),
    [
        ((), TypeError),
        ((1,), TypeError),
        ((1, 2.0, 3), TypeError),
        ((1, "2"), TypeError),
        ((1.0, 2.0), TypeError),
        ((1 << 64, 2.0), ValueError),
    ],
)
def test_bad_results_leave_the_call_waiting(
    world: World, results: tuple[object, ...], error: type[Exception]
) -> None:
    calls, func = waiting_world(world)
    future = world.call(func, 1)
    assert not future.poll()
    with pytest.raises(error):
        calls[0].finish(results)
    assert future.waiting is calls[0]
    assert not future.poll()
    calls[0].finish((1, 2.0))
    assert future.poll()
    assert future.outcome() == capi.Returned((1, 2.0))
    future.delete()


def test_an_answer_too_late_or_twice_is_refused(world: World) -> None:
    calls, func = waiting_world(world)
    future = world.call(func, 1)
    assert not future.poll()
    future.delete()
    with pytest.raises(InternalError):
        calls[0].finish((1, 2.0))
    with pytest.raises(InternalError):
        calls[0].fail(ValueError())
    future = world.call(func, 1)
    assert not future.poll()
    calls[1].finish((1, 2.0))
    with pytest.raises(InternalError):
        calls[1].finish((1, 2.0))
    assert future.poll()
    future.delete()


@pytest.mark.parametrize("at_once", [True, False])
def test_a_failure_comes_back_by_identity(world: World, at_once: bool) -> None:
    error = ValueError("bad \udcff luck")
    calls: list[capi.Pending] = []

    def on_call(pending: capi.Pending) -> None:
        if at_once:
            pending.fail(error)
        calls.append(pending)

    capi.define_async(world.linker, world.store, "h", "wait", ("i32", "f64"), ("i64", "f32"), on_call)
    future = world.call(world.load(ASYNC).export("f"), 1)
    if not at_once:
        assert not future.poll()
        calls[0].fail(error)
    assert future.poll()
    outcome = future.outcome()
    future.delete()
    assert isinstance(outcome, capi.Failed)
    assert outcome.exception is error
    assert outcome.exit_code is None
    assert outcome.message.startswith("error while executing") or "ValueError: bad" in outcome.message
    assert [frame.func_index for frame in outcome.frames] == [1]


def test_a_failure_deleted_before_its_poll_is_forgotten(world: World) -> None:
    calls, func = waiting_world(world)
    future = world.call(func, 1)
    assert not future.poll()
    calls[0].fail(ValueError())
    future.delete()
    future = world.call(func, 1)
    assert not future.poll()
    calls[1].finish((1, 2.0))
    assert future.poll()
    assert isinstance(future.outcome(), capi.Returned)
    future.delete()


def test_nested_failures_are_told_apart(world: World) -> None:
    calls, func = waiting_world(world)
    outer, inner = world.call(func, 1), None
    assert not outer.poll()
    inner = world.call(func, 2)
    assert not inner.poll()
    errors = ValueError("outer"), ValueError("inner")
    with pytest.raises(InternalError, match="innermost"):
        outer.poll()
    calls[0].fail(errors[0])  # noted, while the inner call is still in the way
    calls[1].fail(errors[1])
    for future, error in ((inner, errors[1]), (outer, errors[0])):
        assert future.poll()
        outcome = future.outcome()
        assert isinstance(outcome, capi.Failed)
        assert outcome.exception is error
        future.delete()


@pytest.mark.parametrize("exception", [RuntimeError("bug"), KeyboardInterrupt()])
def test_an_exception_in_the_callback_is_noted(world: World, exception: BaseException) -> None:
    pendings: list[capi.Pending] = []

    def on_call(pending: capi.Pending) -> None:
        pendings.append(pending)
        raise exception

    capi.define_async(world.linker, world.store, "h", "wait", ("i32", "f64"), ("i64", "f32"), on_call)
    future = world.call(world.load(ASYNC).export("f"), 1)
    assert not future.poll()
    assert future.interrupted is exception
    assert future.waiting is pendings[0]
    pendings[0].fail(exception)
    assert future.poll()
    outcome = future.outcome()
    assert isinstance(outcome, capi.Failed)
    assert outcome.exception is exception
    future.delete()


def test_types_and_names_are_checked(world: World) -> None:
    with pytest.raises(TypeError, match="anyref"):
        capi.define_async(world.linker, world.store, "h", "x", ("anyref",), (), lambda p: None)
    capi.define_async(world.linker, world.store, "h", "x", (), (), lambda p: None)
    before = capi.live_host_functions()
    with pytest.raises(wasmtime.WasmtimeError, match="h::x"):
        capi.define_async(world.linker, world.store, "h", "x", (), (), lambda p: None)
    assert capi.live_host_functions() == before


# ── plain functions of the user's own linker ───────────────────────────────────────────────────


class Boom(Exception):
    pass


def plain_world(raises: BaseException) -> tuple[World, wasmtime.Func]:
    world = World()
    user_linker = wasmtime.Linker(world.engine)

    def plain() -> None:
        raise raises

    user_linker.define_func("h", "plain", wasmtime.FuncType([], []), plain)
    world.linker = capi.RawLinker.clone_of(user_linker)
    world.hook(lambda kind, fp, rp: None)  # the user's linker must not learn of it
    with pytest.raises(wasmtime.WasmtimeError):
        user_linker.get(world.store, "h", "hook")
    instance = world.load("""
      (module (import "h" "plain" (func $p))
        (import "h" "hook" (func $hook (param i32 i32 i32) (result i32)))
        (func (export "f") (drop (call $hook (i32.const 0) (i32.const 0) (i32.const 0))) (call $p)))""")
    return world, instance.export("f")


def run_plain(future: capi.CallFuture) -> capi.Failed:
    while not future.poll():
        assert isinstance(future.waiting, capi.Hook)
        future.waiting.resume(0)
    outcome = future.outcome()
    future.delete()
    assert isinstance(outcome, capi.Failed)
    return outcome


@pytest.mark.parametrize("error", [Boom(), KeyboardInterrupt(), SystemExit(3)])
def test_the_exception_of_a_plain_function_comes_back(error: BaseException) -> None:
    world, func = plain_world(error)
    outcome = run_plain(world.call(func))
    assert outcome.exception is error
    assert outcome.frames
    assert _func.LAST_EXCEPTION is None


def test_somebody_elses_exception_is_left_alone(world: World) -> None:
    calls, func = waiting_world(world)
    future = world.call(func, 1)
    assert not future.poll()
    ours, theirs = Boom("ours"), Boom("theirs")
    try:
        raise theirs
    except Boom:
        _func.LAST_EXCEPTION = theirs
    calls[0].fail(ours)
    assert future.poll()
    outcome = future.outcome()
    future.delete()
    assert isinstance(outcome, capi.Failed)
    assert outcome.exception is ours
    assert _func.LAST_EXCEPTION is theirs
    # one that is not ours is not taken for ours either
    broken = capi.start_instantiate(
        world.store, world.linker, wasmtime.Module(world.engine, '(module (import "no" "such" (func)))')
    )
    assert broken.poll()
    outcome = broken.outcome()
    broken.delete()
    assert isinstance(outcome, capi.Failed)
    assert outcome.exception is None
    assert _func.LAST_EXCEPTION is theirs
    _func.LAST_EXCEPTION = None


def test_two_threads_never_get_each_others_exception() -> None:
    wrong: list[object] = []
    barrier = threading.Barrier(2)

    def work(number: int) -> None:
        error = Boom(number)
        world, func = plain_world(error)
        barrier.wait(60)
        for _ in range(300):
            outcome = run_plain(world.call(func))
            # Lost if the other thread overwrote wasmtime-py's only slot in between; never the wrong one.
            if outcome.exception not in (error, None):
                wrong.append(outcome.exception)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []
    assert _func.LAST_EXCEPTION is None


# ── references ─────────────────────────────────────────────────────────────────────────────────


class Thing:
    pass


def test_external_references_travel_and_are_freed(world: World) -> None:
    given: list[capi.Pending] = []
    capi.define_async(
        world.linker, world.store, "h", "swap", ("externref",), ("externref", "v128"), given.append
    )
    func = world.load("""
      (module (import "h" "swap" (func $swap (param externref) (result externref v128)))
        (func (export "f") (param externref) (result externref v128) (call $swap (local.get 0))))""").export(
        "f"
    )
    alive: list[weakref.ref[Thing]] = []
    for delete_early in (False, True, False):
        there, back = Thing(), Thing()
        alive += [weakref.ref(there), weakref.ref(back)]
        future = world.call(func, there)
        assert not future.poll()
        pending = given.pop()
        assert pending.args == (there,)
        pending.finish((back, bytes(range(16))))
        if not delete_early:
            assert future.poll()
            assert future.outcome() == capi.Returned((back, bytes(range(16))))
        future.delete()
        del there, back, pending, future
    world.store.gc()
    gc.collect()
    world.store.gc()
    assert [ref() for ref in alive] == [None] * 6


def test_null_and_function_references(world: World) -> None:
    instance = world.load("""
      (module (func $seven (export "seven") (result i32) (i32.const 7))
        (func (export "same") (param funcref externref) (result funcref externref)
          (local.get 0) (local.get 1))
        (elem declare func $seven))""")
    same, seven = instance.export("same"), instance.export("seven")
    assert finish(world.call(same, None, None)) == (None, None)
    func, thing = finish(world.call(same, seven, 0))
    assert thing == 0
    assert finish(world.call(func)) == (7,)
    other = World()
    foreign = other.load('(module (func (export "f")))').export("f")
    with pytest.raises(ValueError, match=r"another wasmtime\.Store"):
        world.call(same, foreign, None)
    with pytest.raises(TypeError):
        world.call(same, 5, None)
