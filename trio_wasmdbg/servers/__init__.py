"""Debug servers: a protocol on one side, debug targets on the other, trio streams between.

They may import `abc`, `wasm`, `symbols`, `engine` and the protocols; never `debuggee`, so all of
them run on the test kit's fake, too.

Start reading at ``gdb``.
"""

from __future__ import annotations

__all__: list[str] = []
