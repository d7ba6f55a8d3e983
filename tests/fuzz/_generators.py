"""Where random modules come from: our own generator, and other projects' where they are installed."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Final

from attrs import frozen

from tests.fuzz._generate import generate

__all__ = ["GENERATORS", "Generator", "NoModule"]


class NoModule(Exception):
    """Nothing came of this seed, or the tool is not there."""


@frozen
class Generator:
    """A source of modules, of which each seed gives one.

    :ivar tool: the program that has to be installed; None for our own.
    :ivar get_it: how to install it.
    """

    name: str
    make: Callable[[int], bytes]
    tool: str | None = None
    get_it: str = ""

    def missing(self) -> str | None:
        """Why it can't be used here; None if it can."""
        if self.tool is None or _found(self.tool) is not None:
            return None
        return f"{self.tool} is not installed ({self.get_it})"


def _found(tool: str) -> str | None:
    """The program: from the variable ``WASM_TOOLS`` or ``WASM_OPT``, else on the path."""
    return os.environ.get(tool.upper().replace("-", "_")) or shutil.which(tool)


def _run(tool: str, seed: bytes, *arguments: str) -> bytes:
    program = _found(tool)
    if program is None:
        raise NoModule(f"{tool} is not installed")
    with TemporaryDirectory() as folder:
        source, target = Path(folder) / "seed", Path(folder) / "made.wasm"
        source.write_bytes(seed)
        command = [program, *arguments, str(source), "-o", str(target)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        if done.returncode or not target.exists():
            raise NoModule((done.stderr.strip().splitlines() or [f"{tool} says nothing"])[-1])
        return target.read_bytes()


_ALWAYS: Final[dict[str, str | None]] = {
    "ensure-termination": None, "fuel": "1000", "max-imports": "0", "export-everything": "true",
    "canonicalize-nans": "true", "generate-custom-sections": "false", "max-type-size": "1000",
    "shared-everything-threads-enabled": "false", "custom-descriptors-enabled": "false",
    "compact-imports-enabled": "false", "memory-max-size-required": "true", "table-max-size-required": "true",
    "max-memory32-bytes": "131072", "max-memory64-bytes": "131072", "max-table-elements": "200",
    "max-instructions": "400",
}  # fmt: skip
_SOMETIMES: Final = (
    "gc", "exceptions", "tail-call", "threads", "memory64", "simd", "relaxed-simd", "multi-value",
    "wide-arithmetic", "extended-const", "bulk-memory", "sign-extension-ops", "saturating-float-to-int",
)  # fmt: skip


def _smith(seed: int) -> bytes:
    """A module of ``wasm-tools smith``, with proposals switched on at random."""
    random = Random(seed)
    most = random.choice([1, 3, 10])
    options: dict[str, str | None] = {
        **_ALWAYS,
        **{f"{each}-enabled": str(random.random() < 0.8).lower() for each in _SOMETIMES},
        "reference-types-enabled": "true",
        "min-funcs": str(random.randint(1, most)), "max-funcs": str(most),
        "max-memories": str(random.choice([0, 1, 3])), "max-tables": str(random.choice([0, 1, 3])),
        "disallow-traps": str(random.random() < 0.3).lower(),
        "min-uleb-size": random.choice(["1", "1", "5"]),
    }  # fmt: skip
    if options["gc-enabled"] == "true":
        options |= {"bulk-memory-enabled": "true", "multi-value-enabled": "true"}
    words: list[str] = []
    for key, value in options.items():
        words += [f"--{key}"] if value is None else [f"--{key}", value]
    return _run("wasm-tools", random.randbytes(random.choice([200, 2000, 8000])), "smith", *words)


def _binaryen(seed: int) -> bytes:
    """A module of ``wasm-opt -ttf``, which ends by itself and calls nothing from outside that matters."""
    random = Random(seed)
    size = random.choice([200, 1000, 4000])
    return _run("wasm-opt", random.randbytes(size), "-ttf", "--enable-reference-types", "--enable-multivalue",
                "--enable-bulk-memory", "--enable-sign-ext", "--enable-mutable-globals", "--enable-simd",
                "--enable-nontrapping-float-to-int", "--denan")  # fmt: skip


GENERATORS: Final = {
    each.name: each
    for each in (
        Generator("own", lambda seed: generate(Random(seed))),
        Generator("smith", _smith, "wasm-tools", "cargo install wasm-tools"),
        Generator("binaryen", _binaryen, "wasm-opt", "Debian's or npm's binaryen"),
    )
}
