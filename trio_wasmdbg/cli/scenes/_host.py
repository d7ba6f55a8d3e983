"""What the demo's guest imports, for the scenes in which it has nothing to say."""

from __future__ import annotations

from typing import Final

from trio_wasmdbg.debuggee import Imports

__all__ = ["HOST"]


def fetch_price(item: int) -> int:
    """Everything is free today."""
    return 0


def sleep_ms(milliseconds: int) -> None:
    """Nobody sleeps."""


HOST: Final[Imports] = {"host": {"fetch_price": fetch_price, "sleep_ms": sleep_ms}}
