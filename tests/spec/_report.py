"""What ran, by script and by mode."""

from __future__ import annotations

from tests.spec._driver import MODES
from tests.spec._pool import Results

__all__ = ["REPORT", "lines"]

REPORT: dict[str, Results] = {}
"""Results by the script's path in its folder."""


def lines() -> list[str]:
    """A table: one line a script, with failed of all commands in each mode; and the sums."""
    out = [f"{'script':44}" + "".join(f"{mode:>16}" for mode in MODES) + f"{'seconds':>10}"]
    sums: dict[str, list[float]] = {mode: [0, 0, 0, 0, 0.0] for mode in MODES}
    for path in sorted(REPORT):
        row, seconds = f"{path:44}", 0.0
        for result in REPORT[path]:
            if "died" in result:
                row += f"{'died':>16}"
                continue
            count: float = sum(result["counts"].values())
            failed: float = len(result["failures"])
            row += f"{f'{count - failed}/{count}':>16}"
            seconds += result["seconds"]
            numbers = (count, failed, result["hook_calls"], result["answered"], result["seconds"])
            for i, number in enumerate(numbers):
                sums[result["mode"]][i] += number
        out.append(f"{row}{seconds:>10.2f}")
    for mode, (count, failed, hooks, answered, seconds) in sums.items():
        out.append(
            f"{mode}: {len(REPORT)} scripts, {count:,} commands, {failed} failed, "
            f"{hooks:,} stops and pauses, "
            f"{answered} invalid modules rewritten without an error, {seconds:.1f} s"
        )
    return out
