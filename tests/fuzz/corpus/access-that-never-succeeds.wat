;; The engine sees that the access always traps, and gives the trap the place of the check after the call:
;; it was taken for a shadow stack that is full.
(module
  (memory (export "memory") 0 0)
  (func $call (export "call") (call $nothing) (drop (i32.load (i32.const 8))))
  (func $wide (export "wide") (call $nothing) (drop (v128.load16x4_s (i32.const -16542980))))
  (func $later (export "later") (result i32)
    (call $nothing) (ref.null extern) (i32.const 3) (i32.const 4) (i32.add) (i64.load) (drop) (drop) (i32.const 1))
  (func $nothing))
