// Vectors of 128 bits: a dot product of floats and a sum of absolute differences of bytes.
#include "bench.h"
#include <wasm_simd128.h>
static float left[2048], right[2048];
static u8 before[4096], after[4096];
static float dot(void) {
  v128_t sum = wasm_f32x4_splat(0);
  for (int i = 0; i < 2048; i += 4)
    sum = wasm_f32x4_add(sum, wasm_f32x4_mul(wasm_v128_load(left + i), wasm_v128_load(right + i)));
  return wasm_f32x4_extract_lane(sum, 0) + wasm_f32x4_extract_lane(sum, 3);
}
static u32 differences(void) {
  v128_t sum = wasm_i32x4_splat(0);
  for (int i = 0; i < 4096; i += 16) {
    v128_t a = wasm_v128_load(before + i), b = wasm_v128_load(after + i);
    v128_t difference = wasm_v128_or(wasm_u8x16_sub_sat(a, b), wasm_u8x16_sub_sat(b, a));
    sum = wasm_i32x4_add(sum, wasm_u32x4_extadd_pairwise_u16x8(wasm_u16x8_extadd_pairwise_u8x16(difference)));
  }
  return wasm_i32x4_extract_lane(sum, 0) + wasm_i32x4_extract_lane(sum, 2);
}
EXPORT int run(int n) {
  for (int i = 0; i < 2048; i++) { left[i] = i & 15; right[i] = 16 - (i & 31); }
  for (int i = 0; i < 4096; i++) { before[i] = i * 7; after[i] = i * 13; }
  float total = 0;
  u32 sum = 0;
  for (int round = 0; round < n; round++) {
    total += dot();
    sum += differences();
    before[round & 4095]++;
  }
  return (int)total ^ (int)sum;
}
