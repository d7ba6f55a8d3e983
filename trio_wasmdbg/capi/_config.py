"""What the debugger wants of a :class:`wasmtime.Config`, and how to find out what an engine can do."""

from __future__ import annotations

import wasmtime

__all__ = ["prepare_config", "probe_engine"]


def prepare_config(config: wasmtime.Config) -> None:
    """Set what the debugger needs; must be called before the :class:`wasmtime.Engine` is made."""
    raise NotImplementedError


def probe_engine(engine: wasmtime.Engine) -> None:
    """Make sure that an engine accepts what the instrumented code uses.

    :raises EngineConfigError: it doesn't; ``missing`` names the attributes of :class:`wasmtime.Config`.
    """
    raise NotImplementedError
