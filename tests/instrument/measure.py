"""Measures rewriting, compiling, and running: ``python -m tests.instrument.measure [MODULE.wasm ...]``.

Runs are interleaved and ratios are those of the minima; the row "null" is the plain module once more, so it
says how far the numbers can be trusted.  The kernels are chosen to hurt: tiny functions and tiny loops.
"""

from __future__ import annotations

import math
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import wasmtime

from trio_wasmdbg.instrument import FRAME_MODES, FrameMode, instrument
from trio_wasmdbg.wasm import decode_module

from ._harness import ENGINE, Plain, Rig
from ._programs import CLANG

ROUNDS = 9

KERNELS = r"""
#define EXPORT(name) __attribute__((export_name(#name), noinline))
typedef unsigned char u8; typedef unsigned u32;
static u8 flags[8192];
EXPORT(sieve) int sieve(int n) {
  int count = 0;
  for (int r = 0; r < n; r++) {
    count = 0;
    for (int i = 0; i < 8192; i++) flags[i] = 1;
    for (int i = 2; i < 8192; i++)
      if (flags[i]) { count++; for (int k = i + i; k < 8192; k += i) flags[k] = 0; }
  }
  return count;
}
static int fibonacci(int n) { return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2); }
EXPORT(fib) int fib(int n) { return fibonacci(n); }
static double A[64][64], B[64][64], C[64][64];
EXPORT(matmul) int matmul(int n) {
  for (int i = 0; i < 64; i++) for (int j = 0; j < 64; j++) { A[i][j] = i + j; B[i][j] = i - j; }
  for (int r = 0; r < n; r++) for (int i = 0; i < 64; i++) for (int j = 0; j < 64; j++) {
    double s = 0;
    for (int k = 0; k < 64; k++) s += A[i][k] * B[k][j];
    C[i][j] = s;
  }
  return C[3][5];
}
static u32 rotate(u32 x, int n) { return x >> n | x << (32 - n); }
static u32 H[8], K[64];
EXPORT(sha) int sha(int n) {
  u32 w[64];
  for (int i = 0; i < 64; i++) K[i] = i * 2654435761u;
  for (int i = 0; i < 8; i++) H[i] = i * 0x9e3779b9u;
  for (int r = 0; r < n; r++) {
    for (int i = 0; i < 16; i++) w[i] = r * i + 7;
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
  return H[0] ^ H[7];
}
static int numbers[20000];
static int compare(const void *a, const void *b) { int x = *(int *)a, y = *(int *)b; return x < y ? -1 : x > y; }
typedef int (*comparison)(const void *, const void *);
static void sort(int *a, int low, int high, comparison c) {
  if (low >= high) return;
  int pivot = a[(low + high) / 2], i = low, j = high;
  while (i <= j) {
    while (c(&a[i], &pivot) < 0) i++;
    while (c(&a[j], &pivot) > 0) j--;
    if (i <= j) { int t = a[i]; a[i] = a[j]; a[j] = t; i++; j--; }
  }
  sort(a, low, j, c); sort(a, i, high, c);
}
comparison volatile chosen = compare;
EXPORT(qsort) int qsort_(int n) {
  u32 sum = 0;
  for (int r = 0; r < n; r++) {
    u32 x = 12345 + r;
    for (int i = 0; i < 20000; i++) { x = x * 1103515245u + 12345; numbers[i] = x >> 8; }
    sort(numbers, 0, 19999, chosen);
    sum += numbers[100];
  }
  return sum;
}
typedef struct Tree { struct Tree *left, *right; int value; } Tree;
static Tree pool[70000]; static int used;
static Tree *make(int depth) {
  Tree *t = &pool[used++]; t->value = depth;
  if (depth > 0) { t->left = make(depth - 1); t->right = make(depth - 1); } else t->left = t->right = 0;
  return t;
}
static int check(Tree *t) { return t->left ? t->value + check(t->left) - check(t->right) + 1 : 1; }
EXPORT(tree) int tree(int n) { int s = 0; for (int i = 0; i < n; i++) { used = 0; s += check(make(15)); } return s; }
static char text[64];
static int put(char *to, u32 v, u32 base) {
  char digits[12]; int n = 0;
  do { int d = v % base; digits[n++] = d < 10 ? '0' + d : 'a' + d - 10; v /= base; } while (v);
  for (int i = 0; i < n; i++) to[i] = digits[n - 1 - i];
  return n;
}
static int print(char *to, const char *f, const u32 *args) {
  char *start = to;
  for (; *f; f++) {
    if (*f != '%') { *to++ = *f; continue; }
    switch (*++f) {
      case 'd': to += put(to, *args++, 10); break;
      case 'x': to += put(to, *args++, 16); break;
      default: *to++ = *f;
    }
  }
  return to - start;
}
EXPORT(format) int format(int n) {
  int s = 0;
  for (int i = 0; i < n; i++) { u32 a[3] = {i, i * 7, i ^ 99}; s += print(text, "v=%d h=%x 100%% %d;", a); }
  return s;
}
"""  # noqa: E501

CALLS = [
    ("fib", 31), ("sieve", 600), ("matmul", 60), ("sha", 20000),
    ("qsort", 4), ("tree", 40), ("format", 60000),
]  # fmt: skip


def least(action: Callable[[], object], rounds: int = 5) -> float:
    """CPU seconds of the fastest of some rounds."""
    best = math.inf
    for _ in range(rounds):
        start = time.process_time()
        action()
        best = min(best, time.process_time() - start)
    return best


def measure_module(name: str, wasm: bytes) -> None:
    """Rewriting and compiling."""
    for frames in FRAME_MODES:
        measure_mode(name, wasm, frames)


def measure_mode(name: str, wasm: bytes, frames: FrameMode) -> None:
    """Rewriting and compiling in one mode."""
    module = decode_module(wasm)
    section = module.code_section
    assert section is not None
    result = instrument(module, frames=frames)
    count = sum(plan.instructions for plan in result.defined())
    size = section.end - section.start
    rewriting = least(lambda: instrument(module, frames=frames))
    plain = least(lambda: wasmtime.Module(ENGINE, wasm), 3)
    fast = least(lambda: wasmtime.Module(ENGINE, result.wasm), 3)
    artifacts = [len(wasmtime.Module(ENGINE, w).serialize()) for w in (wasm, result.wasm)]
    print(f"{name}, {frames}: {size:,} bytes of code, {count:,} instructions")
    print(f"  rewriting {size / rewriting / 1e6:.2f} MB/s, {rewriting / plain:.2f} of the plain compile time")
    grown = decode_module(result.wasm).code_section
    assert grown is not None
    print(f"  code x{(grown.end - grown.start) / size:.2f}, compile time x{fast / plain:.2f}, ", end="")
    print(f"artifact x{artifacts[1] / artifacts[0]:.2f}")


def kernels() -> bytes:
    assert CLANG is not None, "clang is not installed"
    with TemporaryDirectory() as folder:
        source, out = Path(folder, "k.c"), Path(folder, "k.wasm")
        source.write_text(KERNELS)
        command = [CLANG, "--target=wasm32-unknown-unknown", "-nostdlib", "-fno-builtin", "-Wl,--no-entry"]
        subprocess.run([*command, "--no-wasm-opt", "-O2", "-o", str(out), str(source)], check=True)
        return out.read_bytes()


def measure_kernels() -> None:
    """Running: each flavour against the plain module."""
    wasm = kernels()
    rigs: dict[str, Plain] = {"plain": Plain(wasm), "null": Plain(wasm)}
    for frames in FRAME_MODES:
        rigs[frames] = Rig(wasm, frames=frames)
    slow = Rig(wasm)
    slow.make_all_slow()
    slow.arm_sites()
    rigs["slow"] = slow
    best: dict[tuple[str, str], float] = {}
    for round in range(ROUNDS):
        for name, n in CALLS:
            for flavour, rig in rigs.items():
                if flavour == "slow" and round > 1:
                    continue
                function = rig.exports[name]
                assert isinstance(function, wasmtime.Func)
                start = time.process_time()
                function(rig.store, n)
                spent = time.process_time() - start
                best[flavour, name] = min(best.get((flavour, name), math.inf), spent)
    print("kernels at -O2, times the plain run:")
    for flavour in ("null", *FRAME_MODES, "slow"):
        ratios = [best[flavour, name] / best["plain", name] for name, _ in CALLS]
        row = "  ".join(f"{name} {ratio:5.2f}" for (name, _), ratio in zip(CALLS, ratios, strict=True))
        mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
        print(f"  {flavour:11} {row}  geomean {mean:.2f}")


def main() -> None:
    paths = [Path(argument) for argument in sys.argv[1:]]
    for path in paths or [Path(__file__).parents[1] / "guests" / "hello.wasm"]:
        measure_module(path.name, path.read_bytes())
    measure_kernels()


if __name__ == "__main__":
    main()
