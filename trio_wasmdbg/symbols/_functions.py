"""Names for functions and locals, with a fallback that always works."""

from __future__ import annotations

from ..wasm import Module

__all__ = ["function_label", "local_label"]


def function_label(module: Module, function: int) -> str:
    """The name section's name, else an export's, else the import's, else ``func[12]``."""
    return module.function_name(function) or f"func[{function}]"


def local_label(module: Module, function: int, local: int) -> str:
    """The name section's name of a local, else ``local[3]``."""
    return module.names.locals.get(function, {}).get(local) or f"local[{local}]"
