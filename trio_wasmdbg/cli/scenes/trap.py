"""Catch a trap with its whole state, and one that has not happened yet.

``sum_list`` follows a linked list whose last pointer is garbage.  A breakpoint on the function shows each
node on the way; then the load traps, and every frame is still there to be read.  A division by zero
is caught before it happens: its operands can be changed, and the instruction tried again.
"""

from __future__ import annotations

import struct

import wasmtime

from trio_wasmdbg import debug_wasm, events
from trio_wasmdbg.cli.scenes._host import HOST
from trio_wasmdbg.cli.scenes._show import Show


async def trap(wasm: bytes, show: Show) -> None:
    async with debug_wasm(wasm, "sum_list", imports=HOST) as debuggee:
        debuggee.add_breakpoint("sum_nodes")
        event = await debuggee.run()
        while isinstance(event, events.Breakpoint):
            node = event.frame.local(0)
            try:
                value, following = struct.unpack("<2I", event.frame.instance.read_memory(node, 8))
                show.say(f"The node at {node:#x} holds {value}, and points to {following:#x}.")
            except IndexError:
                show.say(f"There is no memory at {node:#x}.")
            event = await debuggee.run()
        assert isinstance(event, events.Trap)
        show.event(event)
        show.backtrace(event.frame)
        try:
            await debuggee.finish()
        except wasmtime.Trap as error:
            show.say(f"Then it unwinds, and the body sees {error.trap_code}.")

    async with debug_wasm(wasm, "average_line", [0], imports=HOST) as debuggee:
        event = await debuggee.run()
        assert isinstance(event, events.Trap)
        assert event.live
        show.event(event)
        show.backtrace(event.frame)
        instance = event.frame.instance
        basket = await debuggee.with_store(lambda view: instance.exports["basket"].value(view.store))
        price = int.from_bytes(instance.read_memory(basket + 8, 4), "little")
        show.say(f"The division has not been executed yet. Divide the first price, {price}, by 2 instead:")
        event.frame.set_operand(0, price)
        event.frame.set_operand(1, 2)
        show.event(await debuggee.run(retry=True))
