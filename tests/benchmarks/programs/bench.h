// What every program has: run(n) does n rounds of its work and returns a checksum.
#pragma once
typedef unsigned char u8;
typedef unsigned u32;
typedef unsigned long long u64;
#define EXPORT __attribute__((export_name("run")))
#define APART __attribute__((noinline)) // a call that stays a call at -O2

static u32 seed;
static inline u32 next_random(void) { return seed = seed * 1664525u + 1013904223u; }
