"""Random guests: valid programs that end, trap, print, grow, recurse, call out, or never end.

A program is text, made from a seeded generator alone, so that the same seed gives the same guest
everywhere.  What it does depends on nothing but the answers of its host functions, which are made
from a counter; so two runs do the same, whatever the debugger does to one of them.

Termination: a function calls only functions of lower index, every loop has a counter of its own, and
the estimated work of a call is bounded.  Only an *endless* last call never returns.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from attrs import field, frozen

__all__ = ["ENDLESS", "IMPORTS", "Call", "Program", "make_program"]

IMPORTS = """
  (import "linker" "mark" (func $mark (param i32)))
  (import "host" "plain" (func $plain (param i32) (result i32)))
  (import "host" "wait" (func $wait (param i32) (result i32)))
  (import "host" "again" (func $again (param i32) (result i32)))
  (import "host" "fail" (func $fail (param i32)))
  (import "wasi_snapshot_preview1" "fd_write"
    (func $fd_write (param i32 i32 i32 i32) (result i32)))"""
"""``linker``: a plain function of a ``wasmtime.Linker``, run on the guest's own stack; ``host``: functions
given to the debugger."""

ENDLESS = 1_000_000
"""Argument of ``mark``: from here on the guest will never return."""

MEMORY_USED = 4096
PRINTED = 60_000
"""Where the text for WASI lies; nothing else of the program is up there."""


@frozen
class Call:
    """One call that the body makes."""

    export: str
    arguments: tuple[int, ...] = ()
    endless: bool = False


@frozen
class Program:
    """A random guest, and what its body does with it."""

    seed: int
    text: str = field(repr=False)
    calls: tuple[Call, ...]
    functions: tuple[str, ...]
    """Names of functions with bodies, for breakpoints."""
    throws: bool = False

    @property
    def endless(self) -> bool:
        return self.calls[-1].endless


_OPERATORS = ("add", "sub", "mul", "and", "or", "xor", "shl", "shr_u", "lt_s", "gt_u", "eq", "ne")

_ENDLESS = {
    "tight": "(loop (br 0))",
    "counting": "(loop (local.set $x (i32.add (local.get $x) (i32.const 1))) (br 0))",
    "calling": "(loop (drop (call $quick (local.get $x))) (br 0))",
    "host": "(loop (drop (call $plain (local.get $x))) (br 0))",
    "waiting": "(loop (drop (call $wait (local.get $x))) (br 0))",
    "nested": "(loop (drop (call $again (local.get $x))) (br 0))",
    "filling": "(loop (memory.fill (i32.const 8192) (i32.const 1) (i32.const 32768)) (br 0))",
    "deep": "(call $sink (i32.const 300))",
    "growing": "(loop (drop (memory.grow (i32.const 1))) (br 0))",
}

_FAILURES = {
    "unreachable": "(unreachable)",
    "division": "(local.set $x (i32.div_s (local.get $x) (i32.const 0)))",
    "overflow": "(local.set $x (i32.div_s (i32.const 0x80000000) (i32.const -1)))",
    "memory": "(local.set $x (i32.load (i32.const -8)))",
    "store": "(i32.store (i32.const 0x7ffffff0) (i32.const 1))",
    "null": "(drop (call_indirect (type $unary) (i32.const 0) (i32.const 15)))",
    "table": "(drop (call_indirect (type $unary) (i32.const 0) (i32.const 1000)))",
    "signature": "(drop (call_indirect (type $wrong) (i64.const 0) (i32.const 0)))",
    "exhaustion": "(call $forever)",
    "host": "(call $fail (local.get $x))",
}

_SUPPORT = """
  (func $quick (export "quick") (param $x i32) (result i32)
    (i32.xor (i32.const 0x5a5a) (i32.mul (local.get $x) (i32.const 3))))
  (func $forever (call $forever))
  (func $sink (param $n i32)
    (if (local.get $n)
      (then (call $sink (i32.sub (local.get $n) (i32.const 1))))
      (else (loop (br 0)))))
  (func $falling (param $n i32) (result i32)
    (if (result i32) (i32.le_s (local.get $n) (i32.const 0))
      (then (call $quick (local.get $n)))
      (else (i32.add (i32.const 1) (call $falling (i32.sub (local.get $n) (i32.const 1)))))))
  (func $print (param $length i32)
    (i32.store (i32.const 59000) (i32.const 60000))
    (i32.store (i32.const 59004) (local.get $length))
    (drop (call $fd_write (i32.const 1) (i32.const 59000) (i32.const 1) (i32.const 59008))))"""

_THROW = "(block $caught (try_table (catch_all $caught) (throw $oops (local.get $x))))"


class _Writer:
    """Writes the functions of one program."""

    def __init__(self, rng: random.Random, *, grows: bool, throws: bool) -> None:
        self._rng = rng
        self._grows = grows
        self._throws = throws
        self._work: dict[str, int] = {}
        self._counters = 0
        self._budget = 0

    def function(self, name: str, callees: list[str], budget: int) -> str:
        self._counters, self._budget = 0, budget
        body = "\n    ".join(self._statements(callees, 1, 3))
        self._work[name] = budget - self._budget
        counters = "".join(f" (local $c{i} i32)" for i in range(self._counters))
        return (
            f'\n  (func ${name} (export "{name}") (param $x i32) (param $y i32) (result i32)'
            f" (local $z i32) (local $w i64){counters}\n    {body}\n    {self._value(2)})"
        )

    def _statements(self, callees: list[str], weight: int, depth: int) -> Iterator[str]:
        for _ in range(self._rng.randint(1, 5)):
            statement = self._statement(callees, weight, depth)
            if statement:
                yield statement

    def _spend(self, amount: int) -> bool:
        if amount > self._budget:
            return False
        self._budget -= amount
        return True

    def _statement(self, callees: list[str], weight: int, depth: int) -> str:
        rng = self._rng
        kind = rng.choice(_KINDS)
        if not self._spend(weight * 8):
            return ""
        if kind == "set":
            return f"(local.set ${rng.choice('xyz')} {self._value(2)})"
        if kind == "wide":
            return (
                f"(local.set $w (i64.add (i64.mul (local.get $w) (i64.const {rng.randint(-9, 9)})) "
                f"(i64.extend_i32_s {self._value(1)})))"
            )
        if kind == "global":
            return f"(global.set ${rng.choice('gh')} {self._value(2)})"
        if kind == "store":
            return f"(i32.store {self._address()} {self._value(2)})"
        if kind == "fill":
            return f"(memory.fill {self._address()} {self._value(1)} (i32.const {rng.randint(0, 64)}))"
        if kind == "if" and depth:
            then = " ".join(self._statements(callees, weight, depth - 1))
            other = " ".join(self._statements(callees, weight, depth - 1))
            return f"(if {self._value(1)} (then {then}) (else {other}))"
        if kind == "block" and depth:
            inner = " ".join(self._statements(callees, weight, depth - 1))
            return f"(block $out (br_if $out {self._value(1)}) {inner})"
        if kind == "loop" and depth:
            return self._loop(callees, weight, depth)
        if kind == "call" and callees:
            callee = rng.choice(callees)
            if self._spend(weight * self._work[callee]):
                return f"(local.set $z (call ${callee} {self._value(1)} {self._value(1)}))"
        if kind == "fall":
            rounds = rng.randint(1, 40)
            if self._spend(weight * rounds * 10):
                return f"(local.set $y (call $falling (i32.const {rounds})))"
        if kind == "host" and self._spend(weight * 400):
            name = rng.choice(("plain", "plain", "wait", "again"))
            return f"(local.set $z (call ${name} {self._value(1)}))"
        if kind == "mark" and self._spend(weight * 200):
            return f"(call $mark (i32.const {rng.randint(0, 99)}))"
        if kind == "print" and self._spend(weight * 400):
            return f"(call $print (i32.const {rng.randint(1, 30)}))"
        if kind == "grow" and self._grows:
            return f"(local.set $z (memory.grow (i32.const {rng.randint(0, 2)})))"
        if kind == "throw" and self._throws:
            return _THROW
        if kind == "indirect":
            index = rng.randint(0, 1)
            return f"(local.set $z (call_indirect (type $unary) {self._value(1)} (i32.const {index})))"
        return "(nop)"

    def _loop(self, callees: list[str], weight: int, depth: int) -> str:
        rounds = self._rng.choice((1, 2, 3, 3, 10, 30, 200))
        counter = f"$c{self._counters}"
        self._counters += 1
        inner = " ".join(self._statements(callees, weight * rounds, depth - 1))
        return (
            f"(local.set {counter} (i32.const {rounds}))\n    (loop $again {inner}\n"
            f"      (br_if $again (local.tee {counter} (i32.sub (local.get {counter}) (i32.const 1)))))"
        )

    def _value(self, depth: int) -> str:
        rng = self._rng
        if depth and rng.random() < 0.6:
            operator = rng.choice(_OPERATORS)
            return f"(i32.{operator} {self._value(depth - 1)} {self._value(depth - 1)})"
        kind = rng.randrange(6)
        if kind == 0:
            return f"(i32.const {rng.choice((0, 1, -1, 7, rng.randint(-(1 << 31), (1 << 31) - 1)))})"
        if kind == 1:
            return f"(global.get ${rng.choice('gh')})"
        if kind == 2:
            return f"(i32.load {self._address()})"
        return f"(local.get ${rng.choice('xyz')})"

    def _address(self) -> str:
        return f"(i32.and (local.get ${self._rng.choice('xyz')}) (i32.const {MEMORY_USED - 16}))"


_KINDS = (
    "set", "set", "set", "wide", "global", "store", "fill", "if", "block", "loop", "loop", "call", "call",
    "fall", "host", "host", "mark", "print", "grow", "throw", "indirect",
)  # fmt: skip


def make_program(
    seed: int, *, endless: bool = False, grows: bool = True, fails: bool = True, throws: bool = False
) -> Program:
    """The random program of a seed.

    :param endless: its last call never returns.
    :param grows: it may grow its memory, up to 3 pages.
    :param fails: it may trap, exhaust the stack, or call a host function that raises.
    :param throws: it may throw and catch exceptions.
    """
    rng = random.Random(f"trio_wasmdbg program {seed}")
    writer = _Writer(rng, grows=grows, throws=throws)
    names: list[str] = []
    functions: list[str] = []
    for i in range(rng.randint(1, 5)):
        functions.append(writer.function(f"f{i}", names[-3:], 3_000))
        names.append(f"f{i}")
    calls = []
    for i in range(rng.randint(1, 3)):
        functions.append(writer.function(f"main{i}", names, 20_000))
        calls.append(Call(f"main{i}", (rng.randint(-9, 99), rng.randint(-9, 99))))
    if fails and rng.random() < 0.5:
        failure = _FAILURES[rng.choice(list(_FAILURES))]
        functions.append(f'\n  (func $bad (export "bad") (param $x i32) (nop) {failure})')
        calls.insert(rng.randint(0, len(calls)), Call("bad", (rng.randint(0, 99),)))
    if endless:
        loop = _ENDLESS[rng.choice(list(_ENDLESS))]
        functions.append(
            f'\n  (func $never (export "never") (local $x i32) (call $mark (i32.const {ENDLESS})) {loop})'
        )
        calls.append(Call("never", endless=True))
    text = (
        f"(module ;; program {seed}\n  (type $unary (func (param i32) (result i32)))\n"
        f"  (type $wrong (func (param i64) (result i64)))"
        f"{IMPORTS}{_TAG if throws else ''}\n"
        '  (memory (export "memory") 1 3)\n  (global $g (export "g") (mut i32) (i32.const 1))\n'
        '  (global $h (export "h") (mut i32) (i32.const -7))\n'
        "  (table 16 funcref) (elem (i32.const 0) $quick $falling)\n"
        f'  (data (i32.const {PRINTED}) "the quick brown fox jumps over the lazy dog\\n")'
        f"{_SUPPORT}{''.join(functions)})"
    )
    named = (*names, *(call.export for call in calls), "quick", "falling")
    return Program(seed, text, tuple(calls), named, throws)


_TAG = "\n  (tag $oops (param i32))"
