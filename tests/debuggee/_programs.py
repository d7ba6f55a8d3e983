"""Small guests in text form, and the short way to a paused debuggee for one of their exports."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

import wasmtime

from trio_wasmdbg import Debuggee, Guest, GuestInstance, GuestModule, load_module, make_engine, open_debuggee

CALC = """
(module
  (import "env" "twice" (func $twice (param i32) (result i32)))
  (memory (export "memory") 1 4)
  (global $count (mut i32) (i32.const 0))
  (func $add (export "add") (param $a i32) (param $b i32) (result i32)
    (global.set $count (i32.add (global.get $count) (i32.const 1)))
    (i32.add (local.get $a) (local.get $b)))
  (func $sum (export "sum") (param $n i32) (result i32) (local $i i32) (local $total i32)
    (loop $again
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (local.set $total (call $add (local.get $total) (local.get $i)))
      (br_if $again (i32.lt_s (local.get $i) (local.get $n))))
    (local.get $total))
  (func $fib (export "fib") (param $n i32) (result i32)
    (if (result i32) (i32.lt_s (local.get $n) (i32.const 2))
      (then (local.get $n))
      (else (i32.add
        (call $fib (i32.sub (local.get $n) (i32.const 1)))
        (call $fib (i32.sub (local.get $n) (i32.const 2)))))))
  (func $divide (export "divide") (param $a i32) (param $b i32) (result i32)
    (i32.div_s (local.get $a) (local.get $b)))
  (func $outer (export "outer") (param $x i32) (result i32)
    (i32.mul (i32.const 10) (call $middle (local.get $x))))
  (func $middle (param $x i32) (result i32)
    (i32.add (i32.const 1000) (call $inner (local.get $x))))
  (func $inner (param $x i32) (result i32)
    (i32.sub (local.get $x) (i32.const 1)))
  (func $pair (export "pair") (param $x i32) (result i32 i64)
    (local.get $x) (i64.const 7))
  (func (export "ask") (param $x i32) (result i32)
    (i32.add (call $twice (local.get $x)) (i32.const 1)))
  (func (export "grow") (param $pages i32) (result i32)
    (memory.grow (local.get $pages)))
  (func (export "spin") (loop $forever (br $forever)))
  (func (export "poke") (param $address i32) (param $value i32)
    (i32.store (local.get $address) (local.get $value)))
  (func (export "crash") (param $x i32) (result i32)
    (i32.load offset=4 (call $add (local.get $x) (i32.const 0)))))
"""


@cache
def engine() -> wasmtime.Engine:
    return make_engine()


_modules: dict[str, GuestModule] = {}


async def module_of(text: str) -> GuestModule:
    module = _modules.get(text)
    if module is None:
        module = _modules[text] = await load_module(engine(), text)
    return module


def twice(x: int) -> int:
    return 2 * x


class Program:
    """A paused debuggee, the instance (once its body has begun), and the calls' results."""

    def __init__(self, debuggee: Debuggee, store: wasmtime.Store) -> None:
        self.debuggee = debuggee
        self.store = store
        self.instance: GuestInstance
        self.results: list[Any] = []


@asynccontextmanager
async def program(
    *calls: tuple[Any, ...], text: str = CALC, imports: Any = None
) -> AsyncIterator[Program]:
    """A debuggee, paused at its start, that is going to make these calls: ``("fib", 5)``."""
    module = await module_of(text)
    store = wasmtime.Store(engine())

    async def body(guest: Guest) -> list[Any]:
        given = {"env": {"twice": twice}} if imports is None else imports
        it.instance = await guest.instantiate(given, module)
        for name, *arguments in calls:
            it.results.append(await guest.call(it.instance.func(name), *arguments))
        return it.results

    async with open_debuggee(store, body) as debuggee:
        it = Program(debuggee, store)
        yield it
