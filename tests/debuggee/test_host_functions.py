"""Host functions: given to us (plain and async), and in the user's own linker."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.lowlevel
import wasmtime
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.debuggee._support import ASKS, ENGINE, body_of, debug, load, run_to
from tests.waiting import until
from trio_wasmdbg import (
    Guest,
    GuestInstance,
    ReentryError,
    WrongStateError,
    events,
    open_debuggee,
)

I32 = wasmtime.ValType.i32()


class Mistake(Exception):
    pass


def asks(fn: Callable[..., Any]) -> dict[str, dict[str, Any]]:
    return {"host": {"ask": fn}}


async def test_plain_and_async_run_on_the_trio_thread() -> None:
    threads = []

    def plain(x: int) -> int:
        threads.append(threading.current_thread())
        return x * 2

    async def slow(x: int) -> int:
        await trio.lowlevel.checkpoint()
        threads.append(threading.current_thread())
        return x * 3

    for fn, result in ((plain, 15), (slow, 22)):
        async with debug(ASKS, "main", 7, imports=asks(fn)) as debuggee:
            assert (await debuggee.finish()).result == result
    assert threads == [threading.current_thread()] * 2


@pytest.mark.parametrize("is_async", [False, True])
async def test_an_exception_is_an_event_before_the_guest_unwinds(is_async: bool) -> None:
    mistake = Mistake("no answer")
    seen: list[BaseException] = []
    module = await load(ASKS)

    def plain(x: int) -> int:
        raise mistake

    async def slow(x: int) -> int:
        await trio.lowlevel.checkpoint()
        raise mistake

    async def use(guest: Guest, instance: GuestInstance) -> None:
        try:
            await guest.call(instance.func("main"), 7)
        except Mistake as exc:
            seen.append(exc)
            raise

    with pytest.raises(Mistake) as left:
        async with open_debuggee(
            wasmtime.Store(ENGINE), body_of(module, use, asks(slow if is_async else plain))
        ) as debuggee:
            event = await run_to(debuggee, events.HostcallError)
            assert event.error is mistake
            assert event.live
            assert event.host_function == "host.ask"
            # Not unwound: the frame, and what is below the call's arguments, can be seen.
            assert event.frame.locals == (7,)
            assert event.frame.operand_stack == (1,)
            assert seen == []
            finished = await run_to(debuggee, events.Finished)
            assert finished.error is mistake
            assert seen == [mistake]
            with pytest.raises(Mistake) as caught:
                await debuggee.finish()
            assert caught.value is mistake
            raise mistake
    assert left.value is mistake


async def test_an_exception_that_nobody_collected_is_raised_by_leaving_the_block() -> None:
    mistake = Mistake("no answer")

    def fail(x: int) -> int:
        raise mistake

    with pytest.raises(Mistake) as caught:
        async with debug(ASKS, "main", 7, imports=asks(fail)) as debuggee:
            await run_to(debuggee, events.HostcallError)
            debuggee_task_done = debuggee.run
            async with trio.open_nursery() as nursery:
                nursery.start_soon(debuggee_task_done)
                while debuggee.state.value != "running":
                    await trio.lowlevel.checkpoint()
                nursery.cancel_scope.cancel()
            while "Finished" not in debuggee.statistics().events:
                await trio.lowlevel.checkpoint()
    assert caught.value is mistake


async def test_the_body_may_handle_it() -> None:
    module = await load(ASKS)

    def fail(x: int) -> int:
        if x == 1:
            raise Mistake
        return x

    async def use(guest: Guest, instance: GuestInstance) -> Any:
        try:
            await guest.call(instance.func("main"), 1)
        except Mistake:
            return await guest.call(instance.func("main"), 2)

    async with open_debuggee(wasmtime.Store(ENGINE), body_of(module, use, asks(fail))) as debuggee:
        assert isinstance(await debuggee.run(), events.HostcallError)
        assert await debuggee.run() == events.Finished(result=3)


async def test_a_wrong_result_is_a_hostcall_error() -> None:
    for answer in ("three", None, 1 << 40, (1, 2)):
        with pytest.raises((TypeError, ValueError, OverflowError)):
            async with debug(ASKS, "main", 7, imports=asks(lambda x, answer=answer: answer)) as debuggee:
                event = await run_to(debuggee, events.HostcallError)
                assert isinstance(event.error, TypeError | ValueError | OverflowError)
                await debuggee.finish()


class Unusual(BaseException):
    pass


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit, Unusual])
@pytest.mark.parametrize("is_async", [False, True])
async def test_what_is_no_error_ends_the_debuggee(kind: type[BaseException], is_async: bool) -> None:
    def plain(x: int) -> int:
        raise kind("enough")

    async def slow(x: int) -> int:
        await trio.lowlevel.checkpoint()
        raise kind("enough")

    with pytest.raises(kind, match="enough"):
        async with debug(ASKS, "main", 7, imports=asks(slow if is_async else plain)) as debuggee:
            with pytest.raises(trio.ClosedResourceError):
                await debuggee.run()
            assert "HostcallError" not in debuggee.statistics().events


async def test_a_timeout_inside_a_host_function() -> None:
    async def slow(x: int) -> int:
        with trio.move_on_after(0.01):
            await trio.sleep_forever()
        return 8

    async with debug(ASKS, "main", 7, imports=asks(slow)) as debuggee:
        assert await debuggee.run() == events.Finished(result=9)


async def test_a_timeout_that_escapes_is_an_error_of_the_host() -> None:
    async def slow(x: int) -> int:
        with trio.fail_after(0.01):
            await trio.sleep_forever()
        raise AssertionError

    async with debug(ASKS, "main", 7, imports=asks(slow)) as debuggee:
        event = await run_to(debuggee, events.HostcallError)
        assert isinstance(event.error, trio.TooSlowError)
        with pytest.raises(trio.TooSlowError):
            await debuggee.finish()


async def test_cancelled_is_never_a_hostcall_error() -> None:
    module = await load(ASKS)

    async def slow(x: int) -> int:
        await trio.sleep_forever()
        raise AssertionError

    async def use(guest: Guest, instance: GuestInstance) -> Any:
        with trio.move_on_after(0.01) as scope:
            await guest.call(instance.func("main"), 1)
        assert scope.cancelled_caught
        return await guest.call(instance.func("twice"), 4)

    async with open_debuggee(wasmtime.Store(ENGINE), body_of(module, use, asks(slow))) as debuggee:
        assert await debuggee.run() == events.Finished(result=8)
        assert debuggee.statistics().events == {"Finished": 1}


async def test_the_bodys_timeout_stops_a_guest_that_computes() -> None:
    module = await load(ASKS)

    async def use(guest: Guest, instance: GuestInstance) -> Any:
        with trio.move_on_after(0.01) as scope:
            await guest.call(instance.func("spin"))
        assert scope.cancelled_caught
        return await guest.call(instance.func("twice"), 4)

    async with open_debuggee(wasmtime.Store(ENGINE), body_of(module, use, asks(int))) as debuggee:
        assert await debuggee.run() == events.Finished(result=8)


async def test_the_bodys_timeout_waits_while_the_guest_is_paused(mock_clock: MockClock) -> None:
    module = await load(ASKS)
    timed_out = []

    async def use(guest: Guest, instance: GuestInstance) -> Any:
        with trio.move_on_after(10) as scope:
            await guest.call(instance.func("twice"), 1)
        timed_out.append(scope.cancelled_caught)
        return await guest.call(instance.func("twice"), 4)

    async with open_debuggee(wasmtime.Store(ENGINE), body_of(module, use, asks(int))) as debuggee:
        debuggee.add_breakpoint("twice")
        event = await run_to(debuggee, events.Breakpoint)
        mock_clock.jump(100)
        await wait_all_tasks_blocked()
        assert event.frame.locals == (1,)  # still there
        await debuggee.with_store(lambda view: None)
        event = await run_to(debuggee, events.Breakpoint)
        assert timed_out == [True]
        assert event.frame.locals == (4,)
        assert (await debuggee.finish()).result == 8


async def test_a_host_function_calls_back_in() -> None:
    module = await load(ASKS)
    where: dict[str, GuestInstance] = {}
    guests: list[Guest] = []

    async def ask(x: int) -> int:
        result: int = await guests[0].call(where["it"].func("twice"), x + 1)
        return result

    async def use(guest: Guest, instance: GuestInstance) -> Any:
        where["it"] = instance
        guests.append(guest)
        return await guest.call(instance.func("main"), 20)

    async with open_debuggee(wasmtime.Store(ENGINE), body_of(module, use, asks(ask))) as debuggee:
        debuggee.add_breakpoint("twice")
        event = await run_to(debuggee, events.Breakpoint)
        view = await debuggee.with_store(
            lambda view: (
                [(each.function, [(f.function_name, f.locals, f.operand_stack) for f in each.frames])
                 for each in view.activations],
                [frame.function_name for frame in view.exit_frames()],
                [frame.function_name for frame in view.frames()],
            )
        )  # fmt: skip
        assert view == (
            [("twice", [("twice", (21,), ())]), ("main", [("main", (20,), (1,))])],
            ["twice", "main"],
            ["twice", "main"],
        )
        assert event.frame.parent is None
        # Change the caller, through two activations; it is read back when the guest is there again.
        frames = await debuggee.with_store(lambda view: list(view.frames()))
        frames[0].set_local(0, 100)
        frames[1].set_operand(0, 50)
        step = await debuggee.step_out()
        assert isinstance(step, events.Step)
        assert step.frame.function_name == "main"
        assert step.frame.operand_stack == (50, 200)
        assert await debuggee.run() == events.Finished(result=250)


async def test_only_the_paused_calls_own_host_function_may_call_in() -> None:
    module = await load(ASKS)
    asked, answer = trio.Event(), trio.Event()
    caught: list[BaseException] = []

    async def ask(x: int) -> int:
        asked.set()
        await answer.wait()
        return x

    async def use(guest: Guest, instance: GuestInstance) -> Any:
        async def second() -> None:
            await asked.wait()
            with pytest.raises(trio.BusyResourceError, match="another task"):
                await guest.call(instance.func("twice"), 1)
            with pytest.raises(trio.BusyResourceError, match="another task"):
                await guest.instantiate(asks(ask), module)
            answer.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(second)
            result = await guest.call(instance.func("main"), 5)
        return result

    async with open_debuggee(wasmtime.Store(ENGINE), body_of(module, use, asks(ask))) as debuggee:
        assert (await debuggee.finish()).result == 6
    assert caught == []


async def test_two_tasks_of_one_host_function() -> None:
    module = await load(ASKS)
    seen: list[str] = []
    guests: list[tuple[Guest, GuestInstance]] = []

    async def ask(x: int) -> int:
        guest, instance = guests[0]

        async def one() -> None:
            try:
                seen.append(str(await guest.call(instance.func("twice"), 3)))
            except trio.BusyResourceError:
                seen.append("busy")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(one)
            nursery.start_soon(one)
        return x

    async def use(guest: Guest, instance: GuestInstance) -> Any:
        guests.append((guest, instance))
        return await guest.call(instance.func("main"), 5)

    async with open_debuggee(wasmtime.Store(ENGINE), body_of(module, use, asks(ask))) as debuggee:
        assert (await debuggee.finish()).result == 6
    assert sorted(seen) == ["6", "busy"]


async def left_behind(export: str, after: Callable[[Guest, GuestInstance], Any] | None = None) -> None:
    """A host function leaves a task behind, in a nursery that is not the debuggee's, in a nested call."""
    module = await load(ASKS)
    guests: list[tuple[Guest, GuestInstance]] = []
    order: list[str] = []

    async with trio.open_nursery() as outside:

        async def nested() -> None:
            guest, instance = guests[0]
            try:
                arguments = [3] * (export == "twice")
                order.append(f"nested {await guest.call(instance.func(export), *arguments)}")
            except trio.ClosedResourceError:
                order.append("nested closed")

        async def ask(x: int) -> int:
            outside.start_soon(nested)
            while len(debuggee_core(guests[0][0]).calls) < 2:
                await trio.lowlevel.checkpoint()
            order.append("host function done")
            return x

        async def use(guest: Guest, instance: GuestInstance) -> Any:
            guests.append((guest, instance))
            result = await guest.call(instance.func("main"), 5)
            order.append("call done")
            return result

        async with open_debuggee(wasmtime.Store(ENGINE), body_of(module, use, asks(ask))) as debuggee:
            if export == "twice":
                assert (await debuggee.finish()).result == 6
                assert sorted(order[:2]) == ["host function done", "nested 6"]
                assert order[2:] == ["call done"]
            else:
                outside.start_soon(swallow_closed, debuggee.run)
                while "host function done" not in order:
                    await trio.lowlevel.checkpoint()
        if export == "spin":
            assert "call done" not in order
    if export == "spin":
        assert order == ["host function done", "nested closed"]


async def swallow_closed(fn: Callable[[], Any]) -> None:
    try:
        await fn()
    except trio.ClosedResourceError:
        pass


def debuggee_core(guest: Guest) -> Any:
    return guest._core


async def test_a_task_left_behind_holds_the_outer_call_until_it_is_done() -> None:
    await left_behind("twice")


async def test_dropping_ends_a_nested_call_that_was_left_behind() -> None:
    with trio.fail_after(20):
        await left_behind("spin")


async def test_a_call_left_behind_by_the_body_ends_with_it() -> None:
    module = await load(ASKS)
    seen: list[str] = []

    async with trio.open_nursery() as outside:

        async def use(guest: Guest, instance: GuestInstance) -> str:
            async def stray() -> None:
                with pytest.raises(trio.ClosedResourceError):
                    await guest.call(instance.func("spin"))
                seen.append("stray ended")
                with pytest.raises(Exception, match=r"ended|gone"):
                    await guest.call(instance.func("twice"), 1)

            outside.start_soon(stray)
            while not len(debuggee_core(guest).calls):
                await trio.lowlevel.checkpoint()
            return "body done"

        async with open_debuggee(wasmtime.Store(ENGINE), body_of(module, use, asks(int))) as debuggee:
            assert await debuggee.run() == events.Finished(result="body done")
            assert seen == ["stray ended"]


async def test_a_shielded_body_is_dropped_all_the_same() -> None:
    module = await load(ASKS)
    seen: list[str] = []

    async def use(guest: Guest, instance: GuestInstance) -> None:
        with trio.CancelScope(shield=True):
            try:
                await guest.call(instance.func("spin"))
            except trio.ClosedResourceError as exc:
                seen.append(str(exc))
            with pytest.raises(trio.ClosedResourceError):
                await guest.call(instance.func("twice"), 1)

    with trio.fail_after(20):
        for pause in (False, True):
            async with open_debuggee(wasmtime.Store(ENGINE), body_of(module, use, asks(int))) as debuggee:
                if pause:
                    debuggee.add_breakpoint("spin")
                    await run_to(debuggee, events.Breakpoint)
                else:
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(debuggee.run)
                        await until(lambda: debuggee.statistics().polls_in_threads >= 2)
                        nursery.cancel_scope.cancel()
    assert len(seen) == 2


# ── plain functions in the user's own linker ───────────────────────────────────────────────────


def own_linker(fn: Callable[..., Any], *, caller: bool = False) -> wasmtime.Linker:
    linker = wasmtime.Linker(ENGINE)
    linker.define_func("host", "ask", wasmtime.FuncType([I32], [I32]), fn, access_caller=caller)
    return linker


async def run_with(linker: wasmtime.Linker, store: wasmtime.Store, found: list[Any]) -> Any:
    module = await load(ASKS)

    async def body(guest: Guest) -> Any:
        found.append(await guest.instantiate(linker, module))
        return await guest.call(found[0].func("main"), 7)

    return open_debuggee(store, body)


async def test_own_linker_with_caller() -> None:
    threads = []

    def ask(caller: wasmtime.Caller, x: int) -> int:
        threads.append(threading.current_thread())
        memory = caller["memory"]
        assert isinstance(memory, wasmtime.Memory)
        memory.write(caller, b"hi", 3)
        return x + 1

    linker = own_linker(ask, caller=True)
    found: list[Any] = []
    async with await run_with(linker, wasmtime.Store(ENGINE), found) as debuggee:
        debuggee.add_breakpoint(1)
        assert (await debuggee.finish()).result == 9
        assert found[0].read_memory(2, 4) == b"\0hi\0"
    assert threads != [threading.current_thread()]
    # The user's linker is as it was: nothing of ours is defined in it.
    with pytest.raises(wasmtime.WasmtimeError, match="unknown import"):
        module = wasmtime.Module(ENGINE, '(module (import "host" "x" (func)))')
        linker.instantiate(wasmtime.Store(ENGINE), module)


async def test_own_linker_exception() -> None:
    mistake = Mistake("mine")

    def ask(x: int) -> int:
        raise mistake

    with pytest.raises(Mistake) as caught:
        async with await run_with(own_linker(ask), wasmtime.Store(ENGINE), []) as debuggee:
            event = await run_to(debuggee, events.HostcallError)
            assert event.error is mistake
            assert not event.live
            assert event.frame.function_name == "main"
            assert event.frame.locals == (7,)
            assert event.frame.operand_stack == (1,)
            await debuggee.finish()
    assert caught.value is mistake


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
async def test_own_linker_base_exception(kind: type[BaseException]) -> None:
    def ask(x: int) -> int:
        raise kind("enough")

    with pytest.raises(kind, match="enough"):
        async with await run_with(own_linker(ask), wasmtime.Store(ENGINE), []) as debuggee:
            with pytest.raises(trio.ClosedResourceError):
                await debuggee.run()


async def test_own_linker_cannot_reenter() -> None:
    store = wasmtime.Store(ENGINE)
    found: list[GuestInstance] = []

    def ask(caller: wasmtime.Caller, x: int) -> int:
        result = found[0].func("twice")(caller, x)
        assert isinstance(result, int)
        return result

    with pytest.raises(ReentryError, match="async def"):
        async with await run_with(own_linker(ask, caller=True), store, found) as debuggee:
            event = await run_to(debuggee, events.HostcallError)
            assert isinstance(event.error, ReentryError)
            assert isinstance(event.error.__cause__, wasmtime.WasmtimeError)
            await debuggee.finish()


async def test_reading_while_the_guest_computes() -> None:
    module = await load(ASKS)
    instances: list[GuestInstance] = []

    async def use(guest: Guest, instance: GuestInstance) -> None:
        instances.append(instance)
        await guest.call(instance.func("spin"))

    async with open_debuggee(wasmtime.Store(ENGINE), body_of(module, use, asks(int))) as debuggee:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(debuggee.run)
            await until(lambda: debuggee.statistics().polls_in_threads >= 2)
            nursery.cancel_scope.cancel()
        with pytest.raises(WrongStateError, match="running"):
            instances[0].read_memory(0, 1)
        with pytest.raises(WrongStateError, match="running"):
            instances[0].write_memory(0, b"x")
        debuggee.interrupt()
        await run_to(debuggee, events.Interrupted)
        instances[0].write_memory(0, b"x")
        assert instances[0].read_memory(0, 1) == b"x"
