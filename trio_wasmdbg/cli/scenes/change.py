"""Change a local and the guest's memory while it is paused, and see what it makes of that.

The body asks for the same sum three times.  In the first call we change a local, in the second one we
only rewrite a price in the basket, where the guest keeps it in memory; so the third one is cheaper.
"""

from __future__ import annotations

import struct

import wasmtime

from trio_wasmdbg import Guest, events, load_module, make_engine, open_debuggee
from trio_wasmdbg.cli.scenes._host import HOST
from trio_wasmdbg.cli.scenes._show import Show


async def change(wasm: bytes, show: Show) -> None:
    engine = make_engine()
    module = await load_module(engine, wasm)
    store = wasmtime.Store(engine)

    async def body(guest: Guest) -> list[int]:
        instance = await guest.instantiate(HOST, module)
        return [await guest.call(instance.exports["checkout"], 0) for _ in range(3)]

    async with open_debuggee(store, body) as debuggee:
        debuggee.add_breakpoint("with_tax")
        event = await debuggee.run()
        assert isinstance(event, events.Breakpoint)
        before = event.frame.local(0)
        event.frame.set_local(0, 10_000)
        show.say(f"First call: with_tax({before}) becomes with_tax({event.frame.local(0)}).")

        event = await debuggee.run()
        assert isinstance(event, events.Breakpoint)
        instance = event.frame.instance
        address = instance.exports["basket"].value(store)
        item, quantity, price = struct.unpack("<3i", instance.read_memory(address, 12))
        show.say(f"Second call: with_tax({event.frame.local(0)}) goes on as it is.")
        show.say(f"Memory at {address:#x} says: item {item}, {quantity} pieces, price {price}.")
        instance.write_memory(address + 8, struct.pack("<i", 1))
        item, quantity, price = struct.unpack("<3i", instance.read_memory(address, 12))
        show.say(f"Now it says: item {item}, {quantity} pieces, price {price}.")

        event = await debuggee.run()
        assert isinstance(event, events.Breakpoint)
        show.say(f"Third call: the sum has become with_tax({event.frame.local(0)}).")
        show.event(await debuggee.finish())
