"""Modules loaded with ``frames="live"``: what is shown is right, what is not kept is said to be so."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from tests.debuggee._support import ENGINE, debug, load, run_to
from tests.servers.client import attached
from trio_wasmdbg import (
    OPTIMISED_OUT,
    Frame,
    GuestModule,
    ModuleCache,
    OptimisedOutError,
    debug_wasm,
    events,
    load_module,
)
from trio_wasmdbg.debuggee import GuestTrap

PROGRAM = """
(module
  (func $leaf (param $x i32) (result i32)
    (local $y i32)
    (local.set $y (i32.add (local.get $x) (i32.const 1)))
    (local.get $y))
  (func $main (export "main") (param $a i32) (param $b i32) (result i32)
    (local $product i32) (local $kept i32) (local $never i32)
    (local.set $product (i32.mul (local.get $a) (local.get $b)))
    (local.set $kept (i32.add (local.get $product) (local.get $a)))
    (local.set $a (call $leaf (local.get $product)))
    (i32.add (local.get $a) (i32.add (local.get $kept) (local.get $never))))
  (func (export "spin") (param $n i32) (param $m i32)
    (local.set $m (i32.add (local.get $m) (i32.const 1)))
    (loop (br_if 0 (local.get $n))))
  (func (export "fall") (param $n i32) (result i32)
    (i32.add (local.get $n) (i32.load (i32.const -1))))
  (func (export "outer") (param $a i32) (param $b i32) (result i32)
    (call $main (local.get $a) (local.get $b)))
  (memory 1))
"""


async def live(source: str = PROGRAM) -> GuestModule:
    return await load_module(ENGINE, source, frames="live", cache=None)


async def in_leaf(debuggee: Any) -> Frame:
    debuggee.add_breakpoint("leaf", once=True)
    frame: Frame | None = (await run_to(debuggee, events.Breakpoint)).frame
    assert frame is not None
    return frame


async def test_what_the_callers_no_longer_need() -> None:
    module = await live()
    assert module.frames == "live"
    async with debug(module, "main", 3, 5) as debuggee:
        frame = await in_leaf(debuggee)
        assert frame.locals == (15, 0)  # stopped at its entry: everything is there
        caller = frame.parent
        assert caller is not None
        out = OPTIMISED_OUT
        assert caller.locals == (out, out, out, 18, 0)
        assert [(each.name, each.value) for each in caller.variables][2:4] == [("product", out), ("kept", 18)]
        assert repr(out) == "<optimised out>"
        with pytest.raises(OptimisedOutError, match=r"local 2 is optimised out at 0x\w+ of main"):
            caller.set_local("product", 1)
        assert (await debuggee.finish()).result == 16 + 18
        assert debuggee.statistics().frames == {"live": 1}


async def test_all_that_is_shown_is_what_exact_frames_hold() -> None:
    shown = []
    for module in (await load(PROGRAM), await live()):
        async with debug(module, "main", 3, 5) as debuggee:
            frame = await in_leaf(debuggee)
            values = []
            while True:
                values += [each.locals for each in (frame, frame.parent) if each is not None]
                event = await debuggee.step()
                if isinstance(event, events.Finished):
                    break
                frame = event.frame
            shown.append(values)
    exact, live_ = shown
    assert len(exact) == len(live_) > 10
    for one, other in zip(exact, live_, strict=True):
        assert len(one) == len(other)
        assert all(b is OPTIMISED_OUT or a == b for a, b in zip(one, other, strict=True))


async def test_a_live_local_of_a_caller_can_be_changed() -> None:
    async with debug(await live(), "main", 3, 5) as debuggee:
        caller = (await in_leaf(debuggee)).parent
        assert caller is not None
        caller.set_local("kept", 100)
        caller.set_local("never", 1000)  # never assigned: zero, and known to be
        assert caller.locals[3:] == (100, 1000)
        assert (await debuggee.finish()).result == 16 + 1100


async def test_after_the_call_it_goes_on_slowly_without_the_dead_ones() -> None:
    async with debug(await live(), "main", 3, 5) as debuggee:
        await in_leaf(debuggee)
        frame = (await debuggee.step_out()).frame
        assert frame is not None and frame.function_name == "main"
        assert frame.locals[:4] == (OPTIMISED_OUT, OPTIMISED_OUT, OPTIMISED_OUT, 18)
        assert frame.operand_stack == (16,)
        await debuggee.step()
        assert (await debuggee.finish()).result == 34


async def test_another_instruction_that_needs_what_is_gone() -> None:
    async with debug(await live(), "main", 3, 5) as debuggee:
        await in_leaf(debuggee)
        await debuggee.step_out()
        frame = (await debuggee.step()).frame  # past the local.set: the operand stack is empty
        assert frame is not None and not frame.operand_stack
        offsets = frame.instance.module.offsets(frame.function_index)
        with pytest.raises(OptimisedOutError, match="needs local 1"):
            frame.set_next_instruction(offsets[0])
        frame.set_next_instruction(frame.module_offset)
        assert (await debuggee.finish()).result == 34


async def test_a_loop_that_is_interrupted() -> None:
    async with debug(await live(), "spin", 1, 2) as debuggee:
        async with trio.open_nursery() as nursery:

            async def interrupt() -> None:
                await trio.sleep(0.02)
                debuggee.interrupt()

            nursery.start_soon(interrupt)
            event = await run_to(debuggee, events.Interrupted)
        frame = event.frame
        assert frame is not None
        assert frame.locals == (1, OPTIMISED_OUT)
        with pytest.raises(OptimisedOutError, match="needs local 1"):
            frame.set_next_instruction(frame.instance.module.offsets(frame.function_index)[0])
        frame.set_local("n", 0)
        await debuggee.finish()


async def test_a_condition_on_what_is_gone_pauses_and_says_so() -> None:
    async with debug(await live(), "main", 3, 5) as debuggee:
        frame = (await in_leaf(debuggee)).parent
        assert frame is not None
        offsets = frame.instance.module.offsets(frame.function_index)
        after = offsets[frame.resume_point + 1]
        gone = debuggee.add_breakpoint(offset=after, condition="product == 0")
        kept = debuggee.add_breakpoint(offset=after, condition="kept == 0")
        event = await run_to(debuggee, events.Breakpoint)
        assert event.breakpoints == (gone,)
        assert "not available" in (gone.error or "")
        assert kept.error is None
        await debuggee.finish()


async def test_a_condition_where_everything_is_there() -> None:
    """The function was stopped at its entry: so its locals are whole."""
    module = await live()
    offsets = module.offsets(1)
    for text, hit in (("product == 15", True), ("product == 16", False)):
        async with debug(module, "main", 3, 5) as debuggee:
            debuggee.add_breakpoint("main", once=True)
            await run_to(debuggee, events.Breakpoint)
            place = debuggee.add_breakpoint(offset=offsets[-4], condition=text)
            event = await debuggee.run()
            assert isinstance(event, events.Breakpoint) is hit
            assert place.error is None
            if hit:
                assert event.frame.local("product") == 15
                await debuggee.finish()


async def test_a_breakpoint_where_nobody_has_stopped_before() -> None:
    """It shows what is live there, and a condition may read that."""
    module = await live()
    async with debug(module, "main", 3, 5) as debuggee:
        place = debuggee.add_breakpoint(offset=module.offsets(1)[-5], condition="kept == 18")
        frame = (await run_to(debuggee, events.Breakpoint)).frame
        assert place.error is None
        assert frame is not None and (frame.local("kept"), frame.local("never")) == (18, 0)
        for value, exact in zip(frame.locals, (16, 5, 15, 18, 0), strict=True):
            assert value is OPTIMISED_OUT or value == exact
        await debuggee.finish()


async def test_after_a_trap() -> None:
    async with debug(await live(), "fall", 7) as debuggee:
        event = await run_to(debuggee, events.Trap)
        assert not event.live and event.frame is not None and not event.frame.exact
        with pytest.raises(GuestTrap):
            await debuggee.finish()


async def test_bytes_for_lldb_are_refused() -> None:
    # The function that the client finds the guest in is stopped at its entry; what that calls is not.
    async with debug_wasm(await live(), "outer", [3, 5]) as debuggee:
        debuggee.add_breakpoint("leaf")
        async with attached(debuggee) as client:
            await client.go()
            assert await client.ask(b"qWasmLocal:1;3") == b"12000000"
            assert (await client.ask(b"qWasmLocal:1;2")).startswith(b"E")
            assert await client.go() == {"end": "W00"}
            await client.stream.aclose()


async def test_other_frames_are_refused() -> None:
    with pytest.raises(ValueError, match=r"exact, live, .*, not 'half'"):
        await load_module(ENGINE, PROGRAM, frames="half")  # type: ignore[arg-type]


async def test_the_cache_keeps_both(tmp_path: Any) -> None:
    cache = ModuleCache(tmp_path / "cache", min_module=0)
    made = [await load_module(ENGINE, PROGRAM, frames=frames, cache=cache) for frames in ("exact", "live")]
    assert len(list((tmp_path / "cache").iterdir())) == 2
    again = [await load_module(ENGINE, PROGRAM, frames=frames, cache=cache) for frames in ("exact", "live")]
    assert [each.frames for each in again] == ["exact", "live"]
    assert [each._instrumented.wasm for each in made] == [each._instrumented.wasm for each in again]
    async with debug(again[1], "main", 3, 5) as debuggee:
        caller = (await in_leaf(debuggee)).parent
        assert caller is not None and caller.local("product") is OPTIMISED_OUT
        await debuggee.finish()


async def test_debug_wasm() -> None:
    async with debug_wasm(PROGRAM, "main", [3, 5], frames="live") as debuggee:
        caller = (await in_leaf(debuggee)).parent
        assert caller is not None and caller.local("a") is OPTIMISED_OUT
        assert (await debuggee.finish()).result == 34


