"""Stop a guest that spins: in an empty loop, and in a search that would never end.

Cancelling ``run()`` (here by a timeout) leaves the guest running; ``interrupt()`` pauses it, wherever it is.
The search looks for an odd number among even ones, so nothing but a debugger can help it out.
"""

from __future__ import annotations

import trio

from trio_wasmdbg import debug_wasm, events
from trio_wasmdbg.cli.scenes._host import HOST
from trio_wasmdbg.cli.scenes._show import Show


async def interrupt(wasm: bytes, show: Show) -> None:
    async with debug_wasm(wasm, "spin", imports=HOST) as debuggee:
        with trio.move_on_after(0.1):
            await debuggee.run()
        show.say(f"The guest spins: after 100 ms the debuggee is {debuggee.state.value}.")
        debuggee.interrupt()
        event = await debuggee.run()
        assert isinstance(event, events.Interrupted)
        show.event(event)
        show.frame(event.frame)

    async with debug_wasm(wasm, "search", [1], imports=HOST) as debuggee:
        with trio.move_on_after(0.1):
            await debuggee.run()
        show.say(f"So does search(1), without end: it is {debuggee.state.value}.")
        debuggee.interrupt()
        event = await debuggee.run()
        assert isinstance(event, events.Interrupted)
        while event.frame.instruction.op.name != "i32.add":
            event = await debuggee.step()
            assert isinstance(event, events.Step)
        n, step = event.frame.operand_stack
        show.say(f"It is about to add {step} to n, again; n is {'odd' if n % 2 else 'even'}. We make it 1:")
        event.frame.set_operand(0, 1)
        event = await debuggee.step()
        assert isinstance(event, events.Step)
        show.say(f"After the addition the operand stack is {list(event.frame.operand_stack)}.")
        show.event(await debuggee.finish())
