// Bound by memory: a chain of pointers through 8 MiB in random order.
#include "bench.h"
#define COUNT (1 << 21)
static u32 chain[COUNT];
static int linked;
static void link_all(void) { // one cycle through all entries (Sattolo's shuffle)
  seed = 7;
  for (u32 i = 0; i < COUNT; i++) chain[i] = i;
  for (u32 i = COUNT - 1; i > 0; i--) {
    u32 k = (u32)(((u64)next_random() * i) >> 32), swapped = chain[i];
    chain[i] = chain[k];
    chain[k] = swapped;
  }
  linked = 1;
}
EXPORT int run(int n) {
  if (!linked) link_all();
  u32 at = 0;
  for (int i = 0; i < n * 1000; i++) at = chain[at];
  return (int)at;
}
