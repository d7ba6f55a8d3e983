"""Breakpoints on a function and at an instruction, and the whole stack at each.

The guest is a shop's till.  ``checkout`` sums the basket recursively with ``subtotal``, which asks
``line_total`` for each line.  We stop at that function, walk to its multiplication, set a breakpoint
there instead, and look at every frame: name, offset, locals, operand stack.
"""

from __future__ import annotations

from trio_wasmdbg import debug_wasm, events
from trio_wasmdbg.cli.scenes._host import HOST
from trio_wasmdbg.cli.scenes._show import Show


async def breakpoint(wasm: bytes, show: Show) -> None:
    async with debug_wasm(wasm, "checkout", [0], imports=HOST) as debuggee:
        entry = debuggee.add_breakpoint("line_total")
        show.say("checkout(0) is called, with a breakpoint on the function line_total:")
        event = await debuggee.run()
        assert isinstance(event, events.Breakpoint)
        show.event(event)
        show.backtrace(event.frame)

        debuggee.remove_breakpoint(entry)
        frame = event.frame
        while frame.instruction.op.name != "i32.mul":
            event = await debuggee.step()
            assert isinstance(event, events.Step)
            frame = event.frame
        debuggee.add_breakpoint(offset=frame.module_offset)
        show.say(f"Its multiplication is at {frame.module_offset:#x}: a breakpoint there, for the next item:")
        event = await debuggee.run()
        assert isinstance(event, events.Breakpoint)
        show.event(event)
        show.backtrace(event.frame)

        show.event(await debuggee.finish())
