"""The guest calls an async host function, which awaits, calls back, and may fail.

``refresh_prices`` asks the host for each item's price.  Our function takes its time, in trio's way, and
even calls into the guest again: then there are two activations on the stack.  When it raises, the debugger
says so before the guest is unwound.
"""

from __future__ import annotations

import trio
import wasmtime

from trio_wasmdbg import Guest, GuestInstance, events, load_module, make_engine, open_debuggee
from trio_wasmdbg.cli.scenes._host import sleep_ms
from trio_wasmdbg.cli.scenes._show import Show


async def host_function(wasm: bytes, show: Show) -> None:
    module = await load_module(make_engine(), wasm)
    instance: GuestInstance
    asked: list[int] = []
    sold_out = None

    async def body(guest: Guest) -> int:
        nonlocal instance

        async def fetch_price(item: int) -> int:
            asked.append(item)
            await trio.sleep(0.01)  # other tasks run meanwhile, other guests too
            if item == sold_out:
                raise LookupError(f"item {item} is sold out")
            price: int = await guest.call(instance.exports["average_line"], 2)
            show.say(f"fetch_price({item}) has asked the guest for an average, and answers {price}.")
            return price

        host = {"fetch_price": fetch_price, "sleep_ms": sleep_ms}
        instance = await guest.instantiate({"host": host}, module)
        await guest.call(instance.exports["refresh_prices"])
        result: int = await guest.call(instance.exports["refresh_prices"])
        return result

    async with open_debuggee(wasmtime.Store(module.engine), body) as debuggee:
        inside = debuggee.add_breakpoint("line_total")
        event = await debuggee.run()
        debuggee.remove_breakpoint(inside)
        show.event(event)
        rows = await debuggee.with_store(
            lambda view: [
                (activation.depth, activation.function, frame.function_name, list(frame.locals))
                for activation in view.activations
                for frame in activation.frames
            ]
        )
        show.table(("activation", "called", "frame", "locals"), rows)

        again = debuggee.add_breakpoint("checkout")
        show.event(await debuggee.run())
        debuggee.remove_breakpoint(again)
        sold_out = asked[0]
        show.say(f"The second time, item {sold_out} is sold out:")
        event = await debuggee.run()
        assert isinstance(event, events.HostcallError)
        show.event(event)
        show.backtrace(event.frame)
        try:
            await debuggee.finish()
        except LookupError as error:
            show.say(f"Then the guest unwinds, and the body sees: {error!r}")
