"""Step by the instruction, over a call, and out of a function; watch the operand stack.

``with_tax`` is nothing but arithmetic: stepping through it shows how a stack machine computes.
"""

from __future__ import annotations

from trio_wasmdbg import debug_wasm, events
from trio_wasmdbg.cli.scenes._host import HOST
from trio_wasmdbg.cli.scenes._show import Show


async def step(wasm: bytes, show: Show) -> None:
    async with debug_wasm(wasm, "checkout", [0], imports=HOST) as debuggee:
        entry = debuggee.add_breakpoint("subtotal")
        event = await debuggee.run()
        debuggee.remove_breakpoint(entry)
        assert isinstance(event, events.Breakpoint)
        while event.frame.instruction.op.name != "call":
            event = await debuggee.step()
            assert isinstance(event, events.Step)
        show.say("subtotal is about to call line_total. Step over the call:")
        show.event(event)
        event = await debuggee.step_over()
        assert isinstance(event, events.Step)
        show.frame(event.frame)

        show.say("Step out of subtotal, and all the calls it has yet to make:")
        event = await debuggee.step_out()
        assert isinstance(event, events.Step)
        show.frame(event.frame)

        debuggee.add_breakpoint("with_tax")
        event = await debuggee.run()
        assert isinstance(event, events.Breakpoint)
        show.say(f"with_tax({event.frame.local(0)}), an instruction at a time:")
        rows = []
        while event.frame.function_name == "with_tax":
            frame = event.frame
            rows.append((f"{frame.module_offset:#x}", frame.instruction.op.name, list(frame.operand_stack)))
            event = await debuggee.step()
            assert isinstance(event, events.Step)
        show.table(("offset", "next instruction", "operand stack"), rows)
        show.say(f"Back in {event.frame.function_name}, with {list(event.frame.operand_stack)}.")
        show.event(await debuggee.finish())
