"""Runs inside LLDB: a thread that interrupts the process when the file ``$HALT_WHEN`` appears."""

import os
import threading
import time
from typing import Any


def __lldb_init_module(debugger: Any, _names: dict[str, Any]) -> None:
    process = debugger.GetSelectedTarget().process

    def wait() -> None:
        while not os.path.exists(os.environ["HALT_WHEN"]):
            time.sleep(0.01)
        process.SendAsyncInterrupt()

    threading.Thread(target=wait, daemon=True).start()
