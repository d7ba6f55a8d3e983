"""``python -m trio_wasmdbg``: the same as ``trio-wasmdbg``."""

from __future__ import annotations

import sys

from trio_wasmdbg.cli import main

if __name__ == "__main__":
    sys.exit(main())
