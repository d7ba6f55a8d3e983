// Calls of small functions that are not inlined, with a few arguments each.
#include "bench.h"
static int state;
static APART int add(int a, int b) { return a + b + (state & 1); }
static APART int mix(int a, int b, int c) { return add(a ^ b, c) * 3 + add(b, c >> 1); }
static APART void note(int value) { state = (state << 1 ^ value) & 0xffff; }
EXPORT int run(int n) {
  int sum = 0;
  for (int i = 0; i < n * 1000; i++) {
    sum = mix(sum, i, i ^ 0x55);
    note(sum);
  }
  return sum ^ state;
}
