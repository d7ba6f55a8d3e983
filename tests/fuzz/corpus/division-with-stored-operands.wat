;; A division that leaves its fast twin, whose operands the call before it has put into the frame.
(module
  (func $id (param i32) (result i32) (local.get 0))
  (func (export "divide") (param i32 i32) (result i32)
    (local.get 0) (local.get 1)
    (drop (call $id (i32.const 7)))
    (i32.div_s)))
