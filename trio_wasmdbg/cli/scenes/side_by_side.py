"""Two guests in one nursery, each under its own debugger: one is paused while the other runs.

One store and one debuggee each; the module is loaded once.  ``run_debuggee`` puts them into a nursery of
our own, so they are ordinary tasks of this program.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio
import wasmtime

from trio_wasmdbg import Guest, events, load_module, make_engine, run_debuggee
from trio_wasmdbg.cli.scenes._host import HOST
from trio_wasmdbg.cli.scenes._show import Show


async def side_by_side(wasm: bytes, show: Show) -> None:
    module = await load_module(make_engine(), wasm)

    def checkout(discount: int) -> Callable[[Guest], Awaitable[int]]:
        async def body(guest: Guest) -> int:
            instance = await guest.instantiate(HOST, module)
            result: int = await guest.call(instance.exports["checkout"], discount)
            return result

        return body

    async with trio.open_nursery() as nursery:
        left = await nursery.start(run_debuggee, wasmtime.Store(module.engine), checkout(0))
        right = await nursery.start(run_debuggee, wasmtime.Store(module.engine), checkout(50))
        left.add_breakpoint("with_tax")
        right.add_breakpoint("with_tax")
        left_event, right_event = await left.run(), await right.run()
        assert isinstance(left_event, events.Breakpoint)
        assert isinstance(right_event, events.Breakpoint)
        full, half = left_event.frame.local(0), right_event.frame.local(0)
        show.say(f"Both are paused in with_tax, one with {full} cents, the other with {half}.")

        show.say("The right one goes on to its end:")
        show.event(await right.finish())
        show.say("The left one has not moved, nor have its locals:")
        show.frame(left_event.frame)
        show.event(await left.finish())
