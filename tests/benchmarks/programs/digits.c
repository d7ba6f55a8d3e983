// Long arithmetic: digits of pi by a spigot over 64-bit products and divisions.
#include "bench.h"
#define DIGITS 120
#define CELLS (DIGITS * 10 / 3 + 2)
static u32 cells[CELLS];
static u32 spigot(void) {
  u32 sum = 0, predigit = 0, nines = 0;
  for (int i = 0; i < CELLS; i++) cells[i] = 2;
  for (int digit = 0; digit <= DIGITS; digit++) {
    u64 carry = 0;
    for (int i = CELLS - 1; i > 0; i--) {
      u64 x = (u64)cells[i] * 10 + carry;
      cells[i] = (u32)(x % (u64)(2 * i + 1));
      carry = x / (u64)(2 * i + 1) * (u64)i;
    }
    u64 x = (u64)cells[0] * 10 + carry;
    cells[0] = (u32)(x % 10);
    u32 q = (u32)(x / 10);
    if (q == 9) nines++;
    else {
      sum = sum * 3 + predigit + (q == 10);
      for (; nines; nines--) sum = sum * 3 + (q == 10 ? 0 : 9);
      predigit = q == 10 ? 0 : q;
    }
  }
  return sum;
}
EXPORT int run(int n) {
  u32 sum = 0;
  for (int i = 0; i < n; i++) sum = sum * 31 + spigot();
  return (int)sum;
}
