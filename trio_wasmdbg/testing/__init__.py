"""Tools for testing what stands on this library, and the library itself.

What this layer is: fakes, and kits that try an implementation against its contract.  It may import all but
`servers`, `cli` and the protocols.  Start reading with ``_check_target``.
"""

from __future__ import annotations

from ._check_target import TargetMaker, TargetUnderTest, check_debug_target
from ._fake_target import FAKE_BODY, FAKE_START, FakeModule, FakeTarget

__all__ = [
    "FAKE_BODY",
    "FAKE_START",
    "FakeModule",
    "FakeTarget",
    "TargetMaker",
    "TargetUnderTest",
    "check_debug_target",
]
