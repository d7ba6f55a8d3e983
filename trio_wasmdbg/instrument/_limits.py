"""The engine's limits, checked before it meets the rewritten module.

The engine would refuse what exceeds them with a message about things that the user never wrote.
The numbers are those of the ``wasmparser`` crate's ``limits.rs``, which is what wasmtime validates with.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ..errors import UnsupportedFeatureError

__all__ = ["check_limits"]

_LIMITS: Final = {
    "types": 1_000_000,
    "functions": 1_000_000,
    "imports": 1_000_000,
    "globals": 1_000_000,
    "exports": 1_000_000,
    "tables": 100,
    "memories": 100,
    "element segments": 100_000,
    "bytes": 1 << 30,
}


def check_limits(counts: Mapping[str, tuple[int, int]]) -> None:
    """Makes sure that the rewritten module has not too much of anything.

    :param counts: by kind, how many the original has and how many the rewritten one (or a companion).
    :raises UnsupportedFeatureError: too many; the message says of what.
    """
    for kind, (before, after) in counts.items():
        limit = _LIMITS[kind]
        if after > limit:
            raise UnsupportedFeatureError(
                f"the module has {before:,} {kind}; to be made debuggable it needs {after:,}, "
                f"and the engine takes {limit:,}"
            )
