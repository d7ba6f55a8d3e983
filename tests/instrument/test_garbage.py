"""Objects that a program drops can be collected under the debugger, too."""

from __future__ import annotations

import pytest

from tests.instrument._harness import Plain, flavours, wat

LOOP = """
(module
  (type $bytes (array (mut i8)))
  (type $cell (struct (field (ref null $bytes)) (field (ref null $cell))))
  (func $list (param $n i32) (result (ref null $cell))
    (local $list (ref null $cell)) (local $bytes (ref null $bytes))
    (loop $again
      (local.set $bytes (call $allocate (i32.const 1000000)))
      (local.set $list (struct.new $cell (local.get $bytes) (local.get $list)))
      (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $list))
  (func $allocate (param $size i32) (result (ref null $bytes))
    (array.new_default $bytes (local.get $size)))
  (func $length (param $list (ref null $cell)) (result i32) (local $n i32)
    (block $done
      (loop $again
        (br_if $done (ref.is_null (local.get $list)))
        (local.set $n (i32.add (local.get $n) (array.len (struct.get $cell 0 (local.get $list)))))
        (local.set $list (struct.get $cell 1 (local.get $list)))
        (br $again)))
    (local.get $n))
  (func (export "garbage") (param $times i32) (result i32) (local $sum i32)
    (loop $again
      (local.set $sum (i32.add (local.get $sum) (call $length (call $list (i32.const 20)))))
      (br_if $again (local.tee $times (i32.sub (local.get $times) (i32.const 1)))))
    (local.get $sum)))
"""


@pytest.mark.timeout(600)
def test_a_loop_that_makes_more_garbage_than_there_is_memory() -> None:
    """Six gigabytes, where 32-bit references can reach four."""
    wasm = wat(LOOP)
    expected = Plain(wasm).call("garbage", 300)
    assert expected == ("returned", (300 * 20_000_000 + 2**31) % 2**32 - 2**31)
    for flavour, rig in flavours(wasm).items():
        assert rig.call("garbage", 300) == expected, flavour
