"""Tools for testing what stands on this library, and the library itself: ``import trio_wasmdbg.testing``.

What this layer is: fakes, kits that try an implementation against its contract, and the stress test.  It may
import all but `servers`, `cli` and the protocols.

Start reading at ``_check_target`` (what a debug target promises) and ``_stress``.
"""

from ._check_target import TargetMaker, TargetUnderTest, check_debug_target
from ._fake_target import FAKE_BODY, FAKE_START, FakeModule, FakeTarget
from ._stress import PROFILES, Failure, Report, StressFailure, stress

__all__ = [
    "FAKE_BODY",
    "FAKE_START",
    "PROFILES",
    "Failure",
    "FakeModule",
    "FakeTarget",
    "Report",
    "StressFailure",
    "TargetMaker",
    "TargetUnderTest",
    "check_debug_target",
    "stress",
]
