"""Programs for the comparisons: hand-written ones, and C compiled when a compiler is there."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import wasmtime

CLANG = shutil.which("clang-22") or shutil.which("clang")

needs_clang = pytest.mark.skipif(
    CLANG is None or (shutil.which("wasm-ld-22") is None and shutil.which("wasm-ld") is None),
    reason="clang with wasm-ld is not installed",
)

C = r"""
typedef unsigned char u8; typedef unsigned u32; typedef unsigned long long u64;
#define EXPORT(name) __attribute__((export_name(#name), noinline))
static u8 flags[512];
EXPORT(sieve) int sieve(int n) {
  int count = 0;
  for (int i = 0; i < n; i++) flags[i] = 1;
  for (int i = 2; i < n; i++)
    if (flags[i]) { count++; for (int k = i + i; k < n; k += i) flags[k] = 0; }
  return count;
}
EXPORT(fib) int fib(int n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }
static u32 rotate(u32 x, int n) { return x >> n | x << (32 - n); }
static u32 K[16];
EXPORT(mix) u32 mix(int n) {
  u32 w[16];
  for (int i = 0; i < 16; i++) { K[i] = i * 2654435761u; w[i] = 0; }
  for (int r = 0; r < n; r++) for (int i = 0; i < 16; i++)
    w[i] = rotate(w[(i + 9) & 15] ^ K[i], 7) + (w[i] >> 3) + r;
  u32 sum = 0; for (int i = 0; i < 16; i++) sum ^= w[i];
  return sum;
}
static int numbers[64];
static int up(const void *a, const void *b) { int x = *(int *)a, y = *(int *)b; return x < y ? -1 : x > y; }
static int down(const void *a, const void *b) { return up(b, a); }
typedef int (*compare)(const void *, const void *);
static void sort(int *a, int low, int high, compare c) {
  if (low >= high) return;
  int pivot = a[(low + high) / 2], i = low, j = high;
  while (i <= j) {
    while (c(&a[i], &pivot) < 0) i++;
    while (c(&a[j], &pivot) > 0) j--;
    if (i <= j) { int t = a[i]; a[i] = a[j]; a[j] = t; i++; j--; }
  }
  sort(a, low, j, c); sort(a, i, high, c);
}
compare volatile chosen;
EXPORT(sorted) int sorted(int n, int which) {
  u32 x = 12345;
  for (int i = 0; i < n; i++) { x = x * 1103515245u + 12345; numbers[i] = x >> 8; }
  chosen = which ? up : down;
  sort(numbers, 0, n - 1, chosen);
  return numbers[n / 3];
}
typedef struct Tree { struct Tree *left, *right; int value; } Tree;
static Tree pool[256]; static int used;
static Tree *make(int depth) {
  Tree *t = &pool[used++]; t->value = depth;
  if (depth > 0) { t->left = make(depth - 1); t->right = make(depth - 1); } else t->left = t->right = 0;
  return t;
}
static int check(Tree *t) { return t->left ? t->value + check(t->left) - check(t->right) + 1 : 1; }
EXPORT(tree) int tree(int depth) { used = 0; return check(make(depth)); }
static char text[64];
static int put(char *to, u32 v, u32 base) {
  char digits[12]; int n = 0;
  do { int d = v % base; digits[n++] = d < 10 ? '0' + d : 'a' + d - 10; v /= base; } while (v);
  for (int i = 0; i < n; i++) to[i] = digits[n - 1 - i];
  return n;
}
EXPORT(format) int format(int a, int b) {
  const char *f = "v=%d h=%x %c 100%% %d;"; char *to = text; u32 args[4] = {a, b, 'x', a ^ b}; int next = 0;
  for (; *f; f++) {
    if (*f != '%') { *to++ = *f; continue; }
    switch (*++f) {
      case 'd': to += put(to, args[next++], 10); break;
      case 'x': to += put(to, args[next++], 16); break;
      case 'c': *to++ = args[next++]; break;
      default: *to++ = *f;
    }
  }
  *to = 0; u32 sum = 0; while (to != text) sum = sum * 31 + *--to;
  return sum;
}
EXPORT(wide) long long wide(long long a, int b) {
  u64 x = a; long long sum = 0;
  for (int i = 0; i < b; i++) {
    x ^= x << 13; x ^= x >> 7; x ^= x << 17;
    sum += (long long)x / (i - 3 ? i - 3 : 7); sum ^= x % 1000;
  }
  return sum;
}
EXPORT(divide) int divide(int a, int b) { return a / b + a % b; }
EXPORT(fall) int fall(int at) { return *(volatile int *)at; }
static double A[8][8], B[8][8], R[8][8];
EXPORT(product) double product(int n) {
  for (int i = 0; i < 8; i++) for (int j = 0; j < 8; j++) { A[i][j] = i + j; B[i][j] = i - 0.5 * j; }
  for (int r = 0; r < n; r++) for (int i = 0; i < 8; i++) for (int j = 0; j < 8; j++) {
    double s = 0; for (int k = 0; k < 8; k++) s += A[i][k] * B[k][j];
    R[i][j] = s;
  }
  return R[3][5] + (float)R[1][1];
}
"""

CALLS: list[tuple[str, tuple[object, ...]]] = [
    ("fib", (8,)), ("sieve", (60,)), ("mix", (2,)), ("sorted", (12, 1)), ("sorted", (9, 0)), ("tree", (3,)),
    ("format", (1234, 0xBEEF)), ("wide", (88172645463325252, 9)), ("divide", (17, 5)), ("divide", (1, 0)),
    ("divide", (-(1 << 31), -1)), ("fall", (-8,)), ("fall", (16,)),
]  # fmt: skip
"""Integer only."""

FLOAT_CALLS: list[tuple[str, tuple[object, ...]]] = [("product", (1,))]


@cache
def compiled(level: str, *flags: str) -> bytes:
    """The C program above, for ``-O0``, ``-O2``, …."""
    assert CLANG is not None
    with TemporaryDirectory() as folder:
        source, out = Path(folder, "p.c"), Path(folder, "p.wasm")
        source.write_text(C)
        command = [CLANG, "--target=wasm32-unknown-unknown", "-nostdlib", "-fno-builtin", "-Wl,--no-entry"]
        command += ["--no-wasm-opt", level, *flags, "-o", str(out), str(source)]
        subprocess.run(command, check=True, capture_output=True)
        return out.read_bytes()


def wat(text: str) -> bytes:
    """Assembles."""
    return bytes(wasmtime.wat2wasm(text))
