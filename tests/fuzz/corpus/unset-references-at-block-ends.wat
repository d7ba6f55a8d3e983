;; A non-nullable local that is set in a block has no value after it.
(module
  (type $f (func))
  (func $nothing (type $f))
  (elem declare func $nothing)
  (func (export "blocks") (param i32) (result i32) (local (ref $f)) (local i32)
    (block (local.set 1 (ref.func $nothing)) (call $nothing) (call_ref $f (local.get 1)))
    (if (local.get 0) (then (local.set 1 (ref.func $nothing)) (call_ref $f (local.get 1))))
    (call $nothing)
    (loop $again
      (local.set 1 (ref.func $nothing)) (call $nothing) (call_ref $f (local.get 1))
      (local.set 2 (i32.add (local.get 2) (i32.const 1)))
      (br_if $again (i32.lt_u (local.get 2) (i32.const 3))))
    (local.get 2)))
