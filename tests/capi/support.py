"""Guests and small helpers for the tests of ``capi``."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import wasmtime

from trio_wasmdbg import capi

ROOT = Path(__file__).resolve().parents[2]

#: Sums the hook's answers to (1, n, -1), n times.
HOOK_LOOP = """
(module
  (import "h" "hook" (func $hook (param i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "sum") (param $n i32) (result i32) (local $s i32)
    (loop $l
      (local.set $s (i32.add (local.get $s) (call $hook (i32.const 1) (local.get $n) (i32.const -1))))
      (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $s))
  (func $deep (export "deep") (param $n i32) (result i32)
    (if (result i32) (i32.eqz (local.get $n))
      (then (call $hook (i32.const 7) (i32.const 0) (i32.const 0)))
      (else (i32.add (i32.const 1) (call $deep (i32.sub (local.get $n) (i32.const 1))))))))
"""


class World:
    """A store with one instance, and what was made for it."""

    def __init__(self, engine: wasmtime.Engine | None = None) -> None:
        self.engine = engine or wasmtime.Engine()
        self.store = wasmtime.Store(self.engine)
        self.linker = capi.RawLinker.new(self.engine)

    def hook(self, on_hook: Callable[[int, int, int], int | None], name: str = "hook") -> capi.Hook:
        hook = capi.define_hook(None, self.store, name, on_hook)
        self.linker.define(self.store, "h", name, hook.func)
        return hook

    def load(self, text: str) -> capi.RawInstance:
        module = wasmtime.Module(self.engine, text)
        (instance,) = finish(capi.start_instantiate(self.store, self.linker, module))
        assert isinstance(instance, capi.RawInstance)
        return instance

    def call(self, func: wasmtime.Func, *args: object) -> capi.CallFuture:
        return capi.start_call(self.store, func, args)


def finish(future: capi.CallFuture) -> tuple[Any, ...]:
    """Poll a future that must return without a pause."""
    assert future.poll()
    outcome = future.outcome()
    future.delete()
    assert isinstance(outcome, capi.Returned), outcome
    return outcome.values


def run_python(code: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run code in a process of its own: for what may end it."""
    prelude = "import wasmtime\nfrom trio_wasmdbg import capi\nfrom tests.capi.support import *\n"
    return subprocess.run(
        [sys.executable, *options, "-c", prelude + code],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def resident_bytes() -> int:
    """Resident memory of this process, from Linux's /proc."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def no_results(_: Sequence[object]) -> None:
    """For callbacks that need none."""
