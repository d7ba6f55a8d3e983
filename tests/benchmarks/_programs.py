"""Which programs are run?"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

from attrs import frozen

__all__ = ["LEVELS", "PROGRAMS", "SAMPLE", "THOUSAND", "Program", "build"]

FOLDER: Final = Path(__file__).parent / "programs"

LEVELS: Final = ("O2", "O0")

_KINDS: Final = {
    # what resembles an application, in a few hundred lines
    "application": [
        "compress",
        "digits",
        "interpreter",
        "json",
        "regex",
        "scheduler",
        "sha256",
        "sort",
        "words",
    ],
    # what does one thing only, chosen to hurt
    "kernel": ["calls", "chase", "format", "mandelbrot", "matmul", "nbody", "sieve", "simd"],
    # what does next to nothing but call itself
    "recursion": ["fib", "tree"],
}


@frozen
class Program:
    """A program at one level of optimisation; it exports ``run(n)``, which does n rounds of its work."""

    name: str
    kind: str
    level: str

    @property
    def title(self) -> str:
        return f"{self.name} -{self.level}"

    @property
    def path(self) -> Path:
        return FOLDER / self.level / f"{self.name}.wasm"


PROGRAMS: Final = tuple(
    Program(name, kind, level) for level in LEVELS for kind, names in _KINDS.items() for name in names
)

SAMPLE: Final = tuple(
    each for each in PROGRAMS if each.name in ("interpreter", "sort", "fib", "matmul") and each.level == "O2"
)
"""For a quick look."""


THOUSAND: Final = tuple(Program("thousand", "armed", level) for level in LEVELS)
"""A hot loop, and a thousand functions ``cold_000`` … that are never called."""


def build(folder: Path) -> None:
    """Compile all of them from C into *folder*."""
    subprocess.run(["bash", FOLDER / "build.sh", folder], check=True)
