"""Cancel a guest that computes, and show that nothing is left of it; the loop never stalls.

A sampler task wants to wake up every millisecond.  While the guest spins, and while it is cancelled, its
lateness tells how long the trio loop was not there for anybody else.
"""

from __future__ import annotations

import trio

from trio_wasmdbg import debug_wasm
from trio_wasmdbg.cli.scenes._host import HOST
from trio_wasmdbg.cli.scenes._show import Show


async def sample(late: list[float]) -> None:
    """How late each one-millisecond sleep ends, in seconds."""
    while True:
        due = trio.current_time() + 0.001
        await trio.sleep_until(due)
        late.append(trio.current_time() - due)


async def cancel(wasm: bytes, show: Show) -> None:
    late: list[float] = []
    limiter = trio.CapacityLimiter(1)
    async with trio.open_nursery() as nursery:
        async with debug_wasm(wasm, "spin", imports=HOST, limiter=limiter) as debuggee:
            nursery.start_soon(sample, late)
            with trio.move_on_after(0.5):
                await debuggee.run()
            calls = debuggee.statistics().calls
            show.say(
                f"The guest has spun for 500 ms: the debuggee is {debuggee.state.value}, "
                f"calls under way: {calls}, threads in use: {limiter.borrowed_tokens}."
            )
            began = trio.current_time()
            debuggee.cancel()
        took = trio.current_time() - began
        nursery.cancel_scope.cancel()
    calls = debuggee.statistics().calls
    show.say(
        f"Cancelled: the debuggee is {debuggee.state.value}, calls under way: {calls}, "
        f"threads in use: {limiter.borrowed_tokens}."
    )
    show.say(f"From cancel() to gone: {1000 * took:.1f} ms.")
    show.say(f"The loop's longest gap in the whole time: {1000 * max(late):.1f} ms.")
