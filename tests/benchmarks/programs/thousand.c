// A hot loop of calls, and a thousand functions that are never called: the places of cold breakpoints.
#include "bench.h"
static APART u32 mix(u32 a, u32 b) { return (a ^ b) * 2654435761u + (a >> 7); }
EXPORT int run(int n) {
  u32 sum = 1;
  for (int i = 0; i < n * 1000; i++) sum = mix(sum, (u32)i);
  return (int)sum;
}
#define ONE(x) __attribute__((export_name("cold_" #x))) u32 cold_##x(u32 a) { return mix(a, 0x##x) ^ mix(a + 1, 0x##x); }
#define TEN(x) ONE(x##0) ONE(x##1) ONE(x##2) ONE(x##3) ONE(x##4) ONE(x##5) ONE(x##6) ONE(x##7) ONE(x##8) ONE(x##9)
#define HUNDRED(x) TEN(x##0) TEN(x##1) TEN(x##2) TEN(x##3) TEN(x##4) TEN(x##5) TEN(x##6) TEN(x##7) TEN(x##8) TEN(x##9)
HUNDRED(0) HUNDRED(1) HUNDRED(2) HUNDRED(3) HUNDRED(4) HUNDRED(5) HUNDRED(6) HUNDRED(7) HUNDRED(8) HUNDRED(9)
