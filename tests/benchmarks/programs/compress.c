// Compression of the LZ kind: matches found by a hash of three bytes; then undone and compared.
#include "bench.h"
#define SIZE 8192
static u8 plain[SIZE], packed[2 * SIZE], again[SIZE];
static int heads[1024], previous[SIZE];
static u32 key(const u8 *p) { return ((u32)(p[0] | p[1] << 8 | p[2] << 16) * 2654435761u) >> 22; }
static int match(int a, int b) {
  int n = 0;
  while (b + n < SIZE && n < 66 && plain[a + n] == plain[b + n]) n++;
  return n;
}
static int pack(void) {
  int out = 0, at = 0;
  for (int i = 0; i < 1024; i++) heads[i] = -1;
  while (at < SIZE) {
    int best = 0, from = 0, tries = 8;
    if (at + 3 <= SIZE)
      for (int p = heads[key(plain + at)]; p >= 0 && at - p < 8191 && tries--; p = previous[p]) {
        int n = match(p, at);
        if (n > best) { best = n; from = p; }
      }
    int step = best >= 3 ? best : 1;
    if (best >= 3) {
      packed[out++] = (u8)(0x80 | (best - 3));
      packed[out++] = (u8)(at - from);
      packed[out++] = (u8)((at - from) >> 8);
    } else {
      packed[out++] = plain[at] & 0x7f;
    }
    for (int end = at + step; at < end; at++)
      if (at + 3 <= SIZE) {
        u32 k = key(plain + at);
        previous[at] = heads[k];
        heads[k] = at;
      }
  }
  return out;
}
static int unpack(int size) {
  int at = 0;
  for (int i = 0; i < size;) {
    u8 c = packed[i++];
    if (c & 0x80) {
      int length = (c & 0x7f) + 3, back = packed[i] | packed[i + 1] << 8;
      i += 2;
      for (int k = 0; k < length; k++, at++) again[at] = again[at - back];
    } else {
      again[at++] = c;
    }
  }
  return at;
}
EXPORT int run(int n) {
  int total = 0;
  for (int round = 0; round < n; round++) {
    seed = (u32)round;
    for (int i = 0; i < SIZE; i++) plain[i] = (u8)("the quick brown fox "[i % 20] ^ (next_random() >> 28 ? 0 : 1));
    int size = pack(), length = unpack(size);
    for (int i = 0; i < SIZE; i++) if (plain[i] != again[i]) return -1;
    total += size + length;
  }
  return total;
}
