"""Which code rewrites modules, as a digest: results are taken from just this code only."""

from __future__ import annotations

import hashlib
import sys
from functools import cache
from typing import Any

from ._version import __version__

__all__ = ["rewriting_program"]

_LAYERS = ("instrument", "wasm")


@cache
def rewriting_program() -> bytes:
    """Stands for the code that rewrites: its version, and its source, which changes more often.

    The source is that of what has been imported: all of these layers.

    :raises OSError: it can't be read.
    """
    digest = hashlib.sha256(__version__.encode())
    prefixes = tuple(f"{__package__}.{layer}" for layer in _LAYERS)
    # A copy: other threads may import.
    for name, module in sorted(sys.modules.copy().items()):
        if name.startswith(prefixes):
            spec: Any = module.__spec__
            source: bytes = spec.loader.get_data(spec.origin)
            digest.update(f"{name} {len(source)} ".encode())
            digest.update(source)
    return digest.digest()
