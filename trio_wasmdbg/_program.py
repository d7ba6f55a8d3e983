"""Which code rewrites modules, as a digest: results are taken from just this code only."""

from __future__ import annotations

import hashlib
import sys
from functools import cache
from types import ModuleType

from ._version import __version__

__all__ = ["rewriting_program"]

_LAYERS = ("instrument", "wasm")


@cache
def rewriting_program() -> bytes:
    """Stands for the code that rewrites: its version, and its source, which changes more often.

    The source is that of what has been imported, which are all of these layers; where it can't be read, as in
    a program in one file, the version has to do.
    """
    digest = hashlib.sha256(__version__.encode())
    prefixes = tuple(f"{__package__}.{layer}" for layer in _LAYERS)
    # A copy: other threads may import.
    for name, module in sorted(sys.modules.copy().items()):
        if name.startswith(prefixes):
            source = _source(module)
            digest.update(f"{name} {len(source)} ".encode())
            digest.update(source)
    return digest.digest()


def _source(module: ModuleType) -> bytes:
    spec = module.__spec__
    read = getattr(spec and spec.loader, "get_data", None)
    if spec is None or spec.origin is None or read is None:
        return b""
    try:
        found: bytes = read(spec.origin)
    except OSError:
        return b""
    return found
