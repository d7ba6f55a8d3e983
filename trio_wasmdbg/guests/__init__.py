"""Small programs compiled from C that come with the package, to try a debugger on.

What this layer is: package data (``NAME.c``, ``NAME.wasm``, ``build.sh``) and the functions that read it.
It imports nothing of the package.  Start reading with ``demo.c``.

* ``demo``: exports for every scene of the demo (a till, loops that never end, traps, host functions that take
  their time).  It imports ``host.fetch_price: (i32) -> (i32)`` and ``host.sleep_ms: (i32) -> ()``.
* ``greet``: a WASI command that greets its arguments.
"""

from __future__ import annotations

from trio_wasmdbg.guests._files import build_script, guest_bytes, guest_names, guest_source

__all__ = ["build_script", "guest_bytes", "guest_names", "guest_source"]
