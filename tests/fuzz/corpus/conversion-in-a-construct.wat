;; A conversion that will trap leaves its fast twin, with operands below its construct that the frame has already.
(module
  (func $one (result i32) (i32.const 1))
  (func (export "convert") (param f64) (result i32)
    (i32.const 5) (f32.const 2)
    (if (result i32) (call $one)
      (then (i32.trunc_f64_u (local.get 0)))
      (else (i32.const 0)))
    (f32.convert_i32_u) (f32.add) (i32.trunc_f32_s) (i32.add)))
