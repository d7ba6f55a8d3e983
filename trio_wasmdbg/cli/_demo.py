"""``demo``: plays the scenes on the bundled guest."""

from __future__ import annotations

import os
import sys

import trio

from trio_wasmdbg.cli._arguments import DemoOptions
from trio_wasmdbg.cli._printing import Printer, make_printer
from trio_wasmdbg.cli.scenes import SCENES, Show, source, summary
from trio_wasmdbg.guests import guest_bytes

__all__ = ["demo", "play"]


def demo(options: DemoOptions) -> int:
    """Play the scenes that were asked for, or tell about them; the exit code."""
    unknown = [name for name in options.scenes if name not in SCENES]
    if unknown:
        print(f"trio-wasmdbg demo: no scene {unknown[0]!r}; there are {', '.join(SCENES)}", file=sys.stderr)
        return 2
    names = options.scenes or tuple(SCENES)
    printer = make_printer(sys.stdout, os.environ)
    if options.list:
        printer.rows(("scene", "what it shows"), [(name, summary(SCENES[name])) for name in names])
    elif options.source:
        for name in names:
            print(source(SCENES[name]))
    else:
        guest = guest_bytes("demo")
        for name in names:
            trio.run(play, name, guest, printer)
    return 0


async def play(name: str, guest: bytes, printer: Printer) -> None:
    """Play one scene on a guest (the bundled one, or one like it)."""
    scene = SCENES[name]
    printer.heading(f"{name}: {summary(scene)}")
    await scene(guest, Show(printer))
