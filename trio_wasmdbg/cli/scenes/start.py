"""A debuggee starts paused: before the body has done anything, everything can be prepared.

The body instantiates the module and calls into it; all of that happens under the debugger, and only
when it is told to run.  A breakpoint may be set while there is no module yet to set it in.
"""

from __future__ import annotations

import wasmtime

from trio_wasmdbg import Guest, events, load_module, make_engine, open_debuggee
from trio_wasmdbg.cli.scenes._host import HOST
from trio_wasmdbg.cli.scenes._show import Show


async def start(wasm: bytes, show: Show) -> None:
    engine = make_engine()
    module = await load_module(engine, wasm)
    store = wasmtime.Store(engine)

    async def body(guest: Guest) -> int:
        instance = await guest.instantiate(HOST, module)
        result: int = await guest.call(instance.exports["checkout"], 15)
        return result

    async with open_debuggee(store, body) as debuggee:
        instances = await debuggee.with_store(lambda view: view.instances)
        show.say(f"Paused at the start; instances in the store: {len(instances)}.")
        breakpoint = debuggee.add_breakpoint("checkout")
        show.say(f"A breakpoint on checkout, of which there is none yet; pending: {breakpoint.pending}.")

        event = await debuggee.run()
        assert isinstance(event, events.Breakpoint)
        show.event(event)
        show.frame(event.frame)
        instances = await debuggee.with_store(lambda view: view.instances)
        show.say(f"Instances in the store: {len(instances)}; pending: {breakpoint.pending}.")
        show.event(await debuggee.finish())
