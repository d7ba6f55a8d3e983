// Hashing: SHA-256 over a buffer.
#include "bench.h"
static u32 H[8], K[64];
static u8 data[4096];
static u32 rotate(u32 x, int n) { return x >> n | x << (32 - n); }
static void block(const u8 *p) {
  u32 w[64];
  for (int i = 0; i < 16; i++) w[i] = (u32)p[4 * i] << 24 | p[4 * i + 1] << 16 | p[4 * i + 2] << 8 | p[4 * i + 3];
  for (int i = 16; i < 64; i++) {
    u32 x = w[i - 15], y = w[i - 2];
    w[i] = w[i - 16] + (rotate(x, 7) ^ rotate(x, 18) ^ x >> 3) + w[i - 7] + (rotate(y, 17) ^ rotate(y, 19) ^ y >> 10);
  }
  u32 a = H[0], b = H[1], c = H[2], d = H[3], e = H[4], f = H[5], g = H[6], h = H[7];
  for (int i = 0; i < 64; i++) {
    u32 t1 = h + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + ((e & f) ^ (~e & g)) + K[i] + w[i];
    u32 t2 = (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
    h = g; g = f; f = e; e = d + t1; d = c; c = b; b = a; a = t1 + t2;
  }
  H[0] += a; H[1] += b; H[2] += c; H[3] += d; H[4] += e; H[5] += f; H[6] += g; H[7] += h;
}
EXPORT int run(int n) {
  for (u32 i = 0; i < 64; i++) K[i] = i * 2654435761u; // other constants, the same work
  for (u32 i = 0; i < 8; i++) H[i] = i * 0x9e3779b9u;
  for (u32 i = 0; i < sizeof data; i++) data[i] = (u8)(i * 31);
  for (int round = 0; round < n; round++)
    for (u32 at = 0; at < sizeof data; at += 64) block(data + at);
  return (int)(H[0] ^ H[7]);
}
