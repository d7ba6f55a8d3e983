"""The command line: ``python -m trio_wasmdbg`` and ``trio-wasmdbg``.

What this layer is: argument parsing, printing, and wiring; everything it shows comes through the public
interface.  It may import every layer but ``capi``, and rich (the ``cli`` extra; without it, output is plain).
Start reading at ``_main.py``, then ``_arguments.py`` for the grammar and ``_printing.py`` for what is shown.
"""

from __future__ import annotations

from trio_wasmdbg.cli._main import main

__all__ = ["main"]
