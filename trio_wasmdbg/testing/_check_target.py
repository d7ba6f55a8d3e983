"""The conformance kit of ``abc.DebugTarget``: one set of rules, for the real target and the fake."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeAlias

import trio
from attrs import frozen

from ..abc import DebugTarget, TargetView
from ..addresses import ModuleOffset
from ..engine import events
from ..errors import NotFoundError, UsageError, WrongStateError

__all__ = ["TargetMaker", "TargetUnderTest", "check_debug_target"]


@frozen
class TargetUnderTest:
    """A target that has not begun, and what its guest is.

    The guest is a function without branches, in a module with a memory of at least 16 bytes and an
    i32 global 0; its local 0 is an i32, and it ends by itself, or spins.
    """

    target: DebugTarget
    offsets: Sequence[int]
    """Of its instructions, in order; at least four."""
    body: int
    """Where its body begins: a byte before the first instruction."""


TargetMaker: TypeAlias = Callable[[bool], AbstractAsyncContextManager[TargetUnderTest]]
"""Called with True for a guest that computes for ever, after its first instruction."""


async def check_debug_target(make: TargetMaker) -> None:
    """Try a target against everything that ``abc.DebugTarget`` promises.

    :param make: makes a fresh target each time.
    :raises AssertionError: it breaks a promise; the message says which.
    """
    for check in (_steps, _breakpoints, _state, _ends):
        async with make(False) as made:
            await check(made)
    for check in (_interrupts, _cancellation, _killing):
        async with make(True) as made:
            await check(made)


def _claim(truth: object, promise: str) -> None:
    if not truth:
        raise AssertionError(promise)


def _refused(call: Callable[[], object], error: type[Exception], promise: str) -> None:
    try:
        call()
    except error:
        return
    raise AssertionError(promise)


def _place(view: TargetView) -> int:
    return next(view.frames()).module_offset


async def _steps(made: TargetUnderTest) -> None:
    target, offsets = made.target, made.offsets
    _claim(target.name, "a target has a name")
    _claim(not target.running and not target.computing, "it does not run before it is told to")
    _claim(target.finished is None, "it has not ended before it has begun")
    _claim(not await target.inspect(lambda view: list(view.frames())), "it has no frames at first")
    with target.attach():
        for offset in offsets:
            event = await target.step()
            _claim(isinstance(event, events.Step), f"a step ends in Step, not in {event}")
            _claim(await target.inspect(_place) == offset, f"a step goes to the instruction at {offset:#x}")
            _claim(not target.running, "at an event it does not run")
        following = await target.inspect(lambda view: next(view.frames()).return_offset)
        _claim(following >= offsets[-1], "a frame's return offset is not before its place")


async def _breakpoints(made: TargetUnderTest) -> None:
    target, offsets = made.target, made.offsets
    with target.attach():
        await target.step()
        module = await target.inspect(lambda view: view.instances[0].module)
        _claim(isinstance(module.bytecode, bytes), "a module has its bytes")
        token = target.add_breakpoint(module, ModuleOffset(offsets[2]))
        event = await target.run()
        _claim(isinstance(event, events.Breakpoint), f"a breakpoint stops it, not {event}")
        _claim(token in event.breakpoints, "a Breakpoint event names the breakpoint")  # type: ignore[union-attr]
        _claim(await target.inspect(_place) == offsets[2], "it stops before the instruction")
        here = await target.inspect(lambda view: tuple(view.breakpoints_here()))
        _claim(here == (token,), "breakpoints_here() are those of this place")
        event = await target.step()
        _claim(await target.inspect(_place) == offsets[3], "a breakpoint does not stop it twice")
        _claim(not await target.inspect(lambda view: view.breakpoints_here()), "none stands here")
        target.remove_breakpoint(token)
        target.remove_breakpoint(token)
        _refused(
            lambda: target.add_breakpoint(module, ModuleOffset(1 << 31)),
            NotFoundError,
            "a breakpoint outside of all code is refused",
        )
        slipped = target.add_breakpoint(module, ModuleOffset(made.body))
        _claim(slipped is not None, "a breakpoint on a body's first byte is taken")
        _claim(isinstance(await target.run(), events.Finished), "it goes on to its end")


async def _state(made: TargetUnderTest) -> None:
    target = made.target
    with target.attach():
        await target.step()
        await target.step()

        def look(view: TargetView) -> None:
            frame = next(view.frames())
            _claim(frame.function_name, "a frame's function has a name")
            instance = frame.instance
            _claim(instance.id in [each.id for each in view.instances], "a frame's instance is listed")
            before = frame.read_local(0)
            _claim(len(before) == 4, "an i32 has four bytes")
            frame.write_local(0, b"\x01\x02\x03\x04")
            _claim(frame.read_local(0) == b"\x01\x02\x03\x04", "a local keeps what is written")
            _claim(
                [each.index for each in frame.variables] == list(range(len(frame.variables))),
                "variables are listed by index",
            )
            _refused(lambda: frame.write_local(0, b"\0"), UsageError, "a wrong width is refused")
            _refused(lambda: frame.read_local(9999), NotFoundError, "a local that is not there")
            _refused(lambda: frame.read_operand(9999), NotFoundError, "an operand that is not there")
            memory = instance.memory(0)
            memory.write(4, b"abcd")
            _claim(memory.read(3, 6) == b"\0abcd\0", "memory keeps what is written")
            _refused(lambda: memory.read(memory.size - 1, 2), IndexError, "reads end with the memory")
            _refused(lambda: memory.write(memory.size - 1, b"xx"), IndexError, "writes, too")
            _claim(memory.read(memory.size - 1, 1) == b"\0", "a refused write has written nothing")
            _refused(lambda: instance.memory(99), NotFoundError, "a memory that is not there")
            instance.write_global(0, b"\x09\0\0\0")
            _claim(instance.read_global(0) == b"\x09\0\0\0", "a global keeps what is written")
            _refused(lambda: instance.read_global(99), NotFoundError, "a global that is not there")
            _refused(lambda: instance.write_global(0, b"\0"), UsageError, "a wrong width is refused")

        await target.inspect(look)
        try:
            await target.inspect(lambda view: 1 // 0)
        except ZeroDivisionError:
            pass
        else:
            raise AssertionError("what a look raises comes out of inspect()")
        _claim(isinstance(target.statistics(), dict), "statistics are counters by name")


async def _ends(made: TargetUnderTest) -> None:
    target = made.target
    with target.attach():
        try:
            with target.attach():
                raise AssertionError("a target is held once")
        except trio.BusyResourceError:
            pass
        target.resume_nowait()
        event = await target.run()
        _claim(isinstance(event, events.Finished), f"left alone it comes to its end, not to {event}")
        _claim(target.finished is event, "finished is the last event")
        _claim(not target.running and not target.computing, "it runs no more")
        for call in (target.run, target.step):
            try:
                await call()
            except WrongStateError:
                continue
            raise AssertionError("what has ended can't be run")
        await target.inspect(lambda view: list(view.instances))
    with target.attach():
        pass


async def _interrupts(made: TargetUnderTest) -> None:
    target = made.target
    with target.attach():
        for _ in range(2):
            async with trio.open_nursery() as nursery:
                found: list[events.Event] = []

                async def wait(found: list[events.Event] = found) -> None:
                    found.append(await target.run())

                nursery.start_soon(wait)
                await _until(lambda: target.computing)
                try:
                    await target.inspect(lambda view: None)
                except WrongStateError:
                    pass
                else:
                    raise AssertionError("a guest that computes can't be looked at")
                target.interrupt()
                target.interrupt()
            _claim(isinstance(found[0], events.Interrupted), "an interrupt pauses what computes")
            _claim(await target.inspect(lambda view: list(view.frames())), "then it has frames")
        target.interrupt()
        target.clear_interrupt()
        with trio.move_on_after(0.05) as scope:
            await target.run()
        _claim(scope.cancelled_caught, "an interrupt that was taken back does not come")


async def _cancellation(made: TargetUnderTest) -> None:
    target = made.target
    with target.attach():
        with trio.move_on_after(0.05):
            await target.run()
        _claim(target.running, "a run() that was cancelled leaves it running")
        target.interrupt()
        event = await target.step()
        _claim(isinstance(event, events.Interrupted), "the next one returns the event")


async def _killing(made: TargetUnderTest) -> None:
    target = made.target
    with target.attach():
        outcome: list[Any] = []

        async def wait() -> None:
            try:
                outcome.append(await target.run())
            except trio.ClosedResourceError as exc:
                outcome.append(exc)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await _until(lambda: target.computing)
            target.kill()
        _claim(isinstance(outcome[0], trio.ClosedResourceError), "who waits for what was killed is told")
        await _until(lambda: target.finished is not None)


async def _until(condition: Callable[[], bool]) -> None:
    # There is no event for it; a guest that computes is in another thread.
    while not condition():  # noqa: ASYNC110
        await trio.sleep(0.001)
