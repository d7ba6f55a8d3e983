"""The child process of the runner: ``python -m tests.spec._worker``.

Reads one request a line (``{"path": …, "modes": […]}``), answers with one line a mode.  If a script kills
the process, the parent knows which one it was.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

from tests.spec._pool import LIMIT
from tests.spec._script import run_script

__all__ = ["main"]


def main() -> None:
    """Serves until standard input ends."""
    for line in sys.stdin:
        request = json.loads(line)
        for mode in request["modes"]:
            patience = int(time.process_time()) + LIMIT
            resource.setrlimit(resource.RLIMIT_CPU, (patience, resource.RLIM_INFINITY))
            report = run_script(Path(request["path"]), mode)
            answer = {
                "mode": mode,
                "counts": dict(report.counts),
                "failures": report.failures,
                "answered": report.answered,
                "seconds": report.seconds,
                "hook_calls": report.hook_calls,
            }
            print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
