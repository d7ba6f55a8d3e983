"""How many steps and stops a second does LLDB 22 get from a guest, and how many packets does a stop take?

Not a test: ``python -m tests.benchmarks.lldb_steps [SECONDS]``, from the repository's root, with lldb-22.
Each row is one LLDB command, repeated for some seconds in one session; its packets are counted at the server.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import trio

from tests.e2e.lldb_client import LLDB, connect, served
from trio_wasmdbg.gdbremote import GdbConnection, Interrupt, NeedData

DRIVER = '''
import json, lldb, os, time

def __lldb_init_module(debugger, names):
    seconds = float(os.environ["SECONDS_EACH"])
    process = debugger.GetSelectedTarget().process
    target, found = debugger.GetSelectedTarget(), {}
    debugger.SetAsync(False)

    def mark(text):
        debugger.HandleCommand("process plugin packet send qMark" + text)

    def measure(name, action):
        mark("Begin")
        begun, count = time.perf_counter(), 0
        while time.perf_counter() - begun < seconds and process.GetState() == lldb.eStateStopped:
            action()
            count += 1
        spent = time.perf_counter() - begun
        mark("End")
        found[name] = [count, spent]

    thread = lambda: process.GetSelectedThread()
    stop = target.BreakpointCreateByName("line_price")
    process.Continue()
    measure("continue to a breakpoint", process.Continue)
    measure("the same, looking at frame and arguments",
            lambda: (process.Continue(), str(thread().GetFrameAtIndex(0)), thread().GetNumFrames()))
    stop.SetCondition("item->id == 103")
    measure("continue, LLDB's condition holds 1 in 3", process.Continue)
    stop.SetCondition(None)
    address = hex(stop.GetLocationAtIndex(0).GetLoadAddress())
    debugger.HandleCommand(f"process plugin packet monitor condition {address} mem32[local[0]] == 103")
    measure("continue, the server's does", process.Continue)
    debugger.HandleCommand(f"process plugin packet monitor condition {address}")
    stop.SetEnabled(False)
    measure("step one instruction", lambda: thread().StepInstruction(False))
    measure("step a source line", lambda: thread().StepInto())
    with open(os.environ["RESULTS"], "w") as file:
        json.dump(found, file)
    process.Kill()
'''


class Count:
    """Counts the packets that the server receives."""

    def __init__(self) -> None:
        self.packets = 0
        self.kinds: Counter[str] = Counter()
        self.marks: list[int] = []
        self._next_event = GdbConnection.next_event

    def install(self) -> None:
        inner, count = self._next_event, self

        def next_event(connection: GdbConnection) -> Any:
            event = inner(connection)
            if not isinstance(event, NeedData | Interrupt):
                if b"qMark" in getattr(event, "payload", b""):
                    count.marks.append(count.packets)
                else:
                    count.packets += 1
                    count.kinds[type(event).__name__] += 1
            return event

        GdbConnection.next_event = next_event  # type: ignore[method-assign,assignment]


async def main(seconds: float) -> None:
    """Run the session, print the table."""
    if LLDB is None:
        sys.exit("lldb-22 is not installed")
    count = Count()
    count.install()
    with tempfile.TemporaryDirectory() as folder:
        driver, results = Path(folder) / "driver.py", Path(folder) / "results.json"
        driver.write_text(DRIVER)
        async with served("basket", "rounds", 2_000_000_000) as at:
            environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
            environment |= {"SECONDS_EACH": str(seconds), "RESULTS": str(results)}
            await trio.run_process(
                [
                    LLDB, "--batch", "--no-lldbinit",
                    "-o", connect(at.port), "-o", f"command script import {driver}",
                ],
                stdin=b"", stdout=subprocess.DEVNULL, check=False, env=environment,
            )  # fmt: skip
        found = json.loads(results.read_text())
    print(f"{'what':44} {'a second':>9} {'packets each':>13}")
    for number, (name, (times, spent)) in enumerate(found.items()):
        packets = count.marks[2 * number + 1] - count.marks[2 * number]
        print(f"{name:44} {times / spent:9.0f} {packets / max(times, 1):13.1f}")
    print(", ".join(f"{kind} {number}" for kind, number in count.kinds.most_common(8)))


if __name__ == "__main__":
    trio.run(main, float(sys.argv[1]) if len(sys.argv) > 1 else 3.0)
