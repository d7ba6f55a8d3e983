"""The machine that attacks cancellation: random guests, random moments, and what must hold anyway.

It may import the package's own face and what `testing` may.

Start reading at ``_run`` (the whole), then ``_life`` (one debuggee under attack) and ``_scenario``
(what an uncancelled run depends on).
"""

from ._profiles import PROFILES
from ._report import Failure, Report, StressFailure
from ._run import stress

__all__ = ["PROFILES", "Failure", "Report", "StressFailure", "stress"]
