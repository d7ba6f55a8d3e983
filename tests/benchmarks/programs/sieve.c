// Tiny loops over bytes.
#include "bench.h"
static u8 flags[8192];
EXPORT int run(int n) {
  int count = 0;
  for (int round = 0; round < n; round++) {
    count = 0;
    for (int i = 0; i < 8192; i++) flags[i] = 1;
    for (int i = 2; i < 8192; i++)
      if (flags[i]) {
        count++;
        for (int k = i + i; k < 8192; k += i) flags[k] = 0;
      }
  }
  return count;
}
