"""A loop is left when its site is armed from another thread, however little the loop does.

Cranelift deletes a check that another one dominates, if both read the same byte: such a loop would run
for ever.  Sites have a byte each.
"""

from __future__ import annotations

import threading

import pytest
import wasmtime

from ._harness import KIND_SITE, Rig
from ._programs import wat

LOOPS = {
    "empty": "(loop $a (br $a))",
    "counting": "(loop $a (local.set 1 (i32.add (local.get 1) (i32.const 1))) (br $a))",
    "conditional": "(loop $a (br_if $a (i32.ne (local.get 0) (i32.const 77))))",
    "second of two": """
        (loop $a (local.set 1 (i32.add (local.get 1) (i32.const 1)))
          (br_if $a (i32.lt_u (local.get 1) (i32.const 1000))))
        (loop $b (local.set 1 (i32.sub (local.get 1) (i32.const 1))) (br $b))""",
    "inner": """
        (loop $a
          (local.set 1 (i32.add (local.get 1) (i32.const 1)))
          (loop $b
            (local.set 2 (i32.add (local.get 2) (i32.const 3)))
            (br_if $b (i32.ne (local.get 2) (i32.const 1)))
            (br_if $b (i32.const 1)))
          (br $a))""",
    "outer": """
        (loop $a
          (local.set 2 (i32.const 10))
          (loop $b (br_if $b (local.tee 2 (i32.sub (local.get 2) (i32.const 1)))))
          (br $a))""",
    "with operands below": """
        (i64.const 5) (i32.const 6)
        (loop $a (param i32) (result i32) (i32.const 1) (i32.add) (br $a))
        (drop) (drop)""",
    "calls": "(loop $a (call $nothing) (br $a))",
    "calls a leaf now and then": """
        (loop $a
          (local.set 1 (i32.add (local.get 1) (i32.const 1)))
          (if (i32.eqz (i32.and (local.get 1) (i32.const 0xffffff))) (then (call $nothing)))
          (br $a))""",
    "recursion": "(loop $a (call $deep (i32.const 50)) (br $a))",
    "tail calls": "(call $round (i32.const 0))",
}


class Stop(Exception):
    pass


ENDLESS = """
    (module
      (import "host" "started" (func $started))
      (func $nothing)
      (func $deep (param i32)
        (if (local.get 0) (then (call $deep (i32.sub (local.get 0) (i32.const 1))))))
      (func $round (param i32) (return_call $round (local.get 0)))
      (func (export "run") (param i32) (local i32 i32)
        (call $started)
        %s))
"""


@pytest.mark.parametrize("name", LOOPS)
def test_armed_from_another_thread(name: str) -> None:
    running = threading.Event()
    stops: list[int] = []

    def on_stop(rig: Rig, kind: int, fp: int, k: int) -> int:
        stops.append(kind)
        raise Stop

    def define(linker: wasmtime.Linker, store: wasmtime.Store) -> None:
        linker.define_func("host", "started", wasmtime.FuncType([], []), running.set)

    rig = Rig(wat(ENDLESS % LOOPS[name]), define, on_stop=on_stop)
    function = rig.exports["run"]
    assert isinstance(function, wasmtime.Func)
    run = rig.instrumented.original.exports[0].index
    # Sites before the loop stay as they are: it must be left from inside.
    start = next(site.id for site in rig.instrumented.plan(run).sites if site.kind == "after_call")
    addresses = [
        site.address
        for plan in rig.instrumented.defined()
        for site in plan.sites
        if plan.index != run or site.id > start
    ]

    def arm() -> None:
        assert running.wait(30)
        for address in addresses:
            rig.view[address] = 1

    thread = threading.Thread(target=arm)
    thread.start()
    with pytest.raises(Stop):
        function(rig.store, 1)
    thread.join()
    assert stops == [KIND_SITE]
