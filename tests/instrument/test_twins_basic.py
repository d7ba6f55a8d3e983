"""Plain, fast, slow and single-stepped runs of small programs agree."""

from __future__ import annotations

from ._harness import check_same, wat


def test_recursion_loop_and_globals() -> None:
    wasm = wat("""
        (module (memory (export "memory") 1) (global $g (export "g") (mut i32) (i32.const 5))
          (func $add (param i32 i32) (result i32) local.get 0 local.get 1 i32.add)
          (func $fib (export "fib") (param i32) (result i32) (local i32)
            local.get 0 i32.const 2 i32.lt_s
            if (result i32) local.get 0
            else
              local.get 0 i32.const 1 i32.sub call $fib local.get 0 i32.const 2 i32.sub call $fib i32.add
              global.get $g i32.const 1 i32.add global.set $g
            end)
          (func (export "loop") (param i32) (result i32) (local i32)
            loop
              local.get 1 local.get 0 call $add local.set 1
              local.get 0 i32.const 1 i32.sub local.tee 0 br_if 0
            end
            local.get 1))
    """)
    check_same(wasm, [("fib", (9,)), ("loop", (10,)), ("fib", (3,))])


def test_division_traps_and_unreachable() -> None:
    wasm = wat("""
        (module
          (func (export "div_s") (param i32 i32) (result i32)
            i32.const 7 local.get 0 local.get 1 i32.div_s i32.add)
          (func (export "rem_s") (param i64 i64) (result i64) local.get 0 local.get 1 i64.rem_s)
          (func (export "div64") (param i64 i64) (result i64) local.get 0 local.get 1 i64.div_s)
          (func (export "divu") (param i32 i32) (result i32) local.get 0 local.get 1 i32.div_u)
          (func (export "ten") (param i32) (result i32) local.get 0 i32.const 10 i32.rem_u)
          (func (export "zero") (param i32) (result i32) local.get 0 i32.const 0 i32.rem_u)
          (func (export "unreachable") (param i32) (result i32)
            i32.const 3 local.get 0 if unreachable end i32.const 4 i32.add))
    """)
    low32, low64 = -(1 << 31), -(1 << 63)
    check_same(
        wasm,
        [
            ("div_s", (7, 2)), ("div_s", (7, 0)), ("div_s", (low32, -1)), ("div_s", (low32, 1)),
            ("rem_s", (low64, -1)), ("rem_s", (1, 0)), ("rem_s", (-7, 3)),
            ("div64", (low64, -1)), ("div64", (9, 0)), ("div64", (-9, 2)),
            ("divu", (low32, -1)), ("divu", (1, 0)), ("ten", (77,)), ("zero", (77,)),
            ("unreachable", (0,)), ("unreachable", (1,)),
        ],
    )  # fmt: skip


def test_operands_wait_below_calls_and_blocks() -> None:
    wasm = wat("""
        (module
          (func $id (param i32) (result i32) local.get 0)
          (func $pair (param i32) (result i64 i32) local.get 0 i64.extend_i32_s local.get 0)
          (func (export "f") (param i32) (result f64) (local i64)
            f64.const 2.5
            i64.const 77
            local.get 0
            block (param i32) (result i32)
              i32.const 5 call $id i32.add
              loop (param i32) (result i32)
                i32.const 1 i32.sub
                local.get 0 call $pair drop drop
                local.get 0 i32.const 1 i32.sub local.tee 0
                br_if 0
              end
              i32.const 3
              local.get 0 br_if 0
              drop
            end
            call $pair
            drop
            i64.add
            f64.convert_i64_s
            f64.add))
    """)
    check_same(wasm, [("f", (4,)), ("f", (1,))])


def test_branches() -> None:
    wasm = wat("""
        (module
          (func (export "table") (param i32) (result i32)
            i32.const 100
            block $a (result i32)
              i32.const 7
              block $b (result i32)
                i32.const 9
                block $c (result i32)
                  i32.const 20
                  local.get 0
                  br_table $c $b $a $c 3
                end
                i32.const 1 i32.add
                i32.add
              end
              i32.add
            end
            i32.add)
          (func (export "early") (param i32) (result i32 i64)
            i32.const 1
            i32.const 2
            block
              local.get 0 i32.eqz br_if 0
              i32.const 40 i64.const 50 return
            end
            i32.add i64.const 8)
          (func (export "back") (param i32) (result i32) (local i32)
            block $out
              loop $again
                local.get 1 i32.const 3 i32.add local.set 1
                block $one block $two
                  local.get 0 i32.const 1 i32.sub local.tee 0
                  br_table $out $one $two $again $again $two
                end
                br $again
                end
              br $again
              end
            end
            local.get 1)
          (func (export "dead") (param i32) (result i32)
            block (result i32)
              local.get 0
              br 0
              drop
              i32.const 1
              loop (param i32) (result i32) i32.const 2 i32.add end
              if unreachable else nop end
              i32.const 0
            end))
    """)
    calls: list[tuple[str, tuple[object, ...]]] = [("table", (i,)) for i in range(7)]
    calls += [("early", (i,)) for i in range(2)] + [("back", (i,)) for i in range(1, 9)] + [("dead", (5,))]
    check_same(wasm, calls)
