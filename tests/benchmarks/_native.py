"""How is Wasmtime's own guest debugging measured, which has no Python interface?

By a small program in Rust, ``wasmtime_native``, that cargo builds here, and that is asked over its standard
input.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final

from attrs import frozen

from tests.benchmarks._measure import NotMeasured

__all__ = ["Native", "native", "native_version"]

CRATE: Final = Path(__file__).parent / "wasmtime_native"

_TIMEOUT: Final = 3600
"""Seconds for a build: Wasmtime is large."""


def native_version() -> str:
    """Of the crate ``wasmtime`` that the peer is built with."""
    packages = tomllib.loads((CRATE / "Cargo.lock").read_text())["package"]
    return next(str(each["version"]) for each in packages if each["name"] == "wasmtime")


def _rustc_needed() -> tuple[int, ...]:
    """Wasmtime's release 50 needs Rust 1.97, and each next release the next minor version."""
    return (1, 47 + int(native_version().partition(".")[0]))


def _toolchain() -> list[str]:
    """How to call a cargo that is new enough."""
    if shutil.which("cargo") is None:
        raise NotMeasured("cargo is not installed")
    seen = []
    for cargo in (["cargo"], ["cargo", "+stable"], ["cargo", "+nightly"]):
        told = subprocess.run([*cargo, "--version"], capture_output=True, text=True, cwd=CRATE)
        match = re.match(r"cargo (\d+)\.(\d+)", told.stdout)
        if told.returncode == 0 and match is not None:
            if (int(match[1]), int(match[2])) >= _rustc_needed():
                return cargo
            seen.append(f"{match[1]}.{match[2]}")
    needed = ".".join(map(str, _rustc_needed()))
    raise NotMeasured(f"wasmtime {native_version()} needs Rust {needed}, and here is {', '.join(seen)}")


def build() -> Path:
    """Build it, unless that has been done; takes minutes the first time.

    ``CARGO_TARGET_DIR`` says where to, as always with cargo.

    :raises NotMeasured: it can't be built here.
    """
    command = [*_toolchain(), "build", "--release", "--locked", "--message-format=json-render-diagnostics"]
    print("building the native peer; the first time takes minutes", file=sys.stderr, flush=True)
    try:
        built = subprocess.run(
            ["nice", "-n", "19", *command], cwd=CRATE, capture_output=True, text=True, timeout=_TIMEOUT
        )
    except subprocess.TimeoutExpired:
        raise NotMeasured(f"cargo build took more than {_TIMEOUT} seconds") from None
    if built.returncode != 0:
        reason = next(
            (line for line in built.stderr.splitlines() if line.startswith("error")), "cargo failed"
        )
        raise NotMeasured(f"cargo build: {reason}")
    for line in built.stdout.splitlines():
        told = json.loads(line)
        if told.get("executable"):
            return Path(told["executable"])
    raise NotMeasured("cargo build has told of no executable")


@frozen
class Native:
    """The running peer."""

    stdin: IO[str]
    stdout: IO[str]

    def ask(self, **request: object) -> dict[str, Any]:
        """Send a request and wait for its answer; blocks."""
        self.stdin.write(json.dumps(request) + "\n")
        self.stdin.flush()
        answer: dict[str, Any] = json.loads(self.stdout.readline())
        if "error" in answer:
            raise NotMeasured(f"native: {answer['error']}")
        return answer

    def load(self, path: Path, *, debug: bool) -> dict[str, Any]:
        """Compile and instantiate: ``id``, CPU ``seconds`` of the compilation, bytes of ``code``."""
        return self.ask(op="load", path=os.fspath(path), debug=debug)

    def call(self, loaded: dict[str, Any], argument: int) -> tuple[float, int]:
        """CPU seconds and result of its ``run``."""
        answer = self.ask(op="call", id=loaded["id"], argument=argument)
        return answer["seconds"], answer["result"]

    def events(self, path: Path, argument: int, *, at: int | None, through: str) -> float:
        """Events a second in a call of ``run``: breakpoints at a module offset, or steps.

        :param through: ``"task"``, by the Debuggee, or ``"handler"``, in place.
        """
        answer = self.ask(op="events", path=os.fspath(path), argument=argument, at=at, through=through)
        return float(answer["events"] / answer["seconds"])


@contextmanager
def native() -> Iterator[Native]:
    """Build and run the peer for the length of a block.

    :raises NotMeasured: it can't be built here.
    """
    with subprocess.Popen([build()], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        try:
            yield Native(process.stdin, process.stdout)
        finally:
            process.stdin.close()
