// Recursion, two calls an activation, nothing else.
#include "bench.h"
static APART int fib(int n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }
EXPORT int run(int n) {
  int sum = 0;
  for (int i = 0; i < n; i++) sum += fib(16 + (i & 1));
  return sum;
}
