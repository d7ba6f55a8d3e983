"""Modules that a compiler made: the package's own guests, and one from the compiler that is installed."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

import pytest

import trio_wasmdbg
from tests.wasm._oracle import disagreement
from trio_wasmdbg.wasm import Module, decode_module, instruction, operand_types, type_body

_GUESTS = Path(trio_wasmdbg.__file__).parent / "guests"

PROGRAM = r"""
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
static int compare(const void *a, const void *b) { return *(int *)a - *(int *)b; }
int main(int argc, char **argv) {
  int a[100];
  double d = 0;
  for (int i = 0; i < 100; i++) a[i] = (i * 7919) % 101;
  qsort(a, 100, sizeof *a, compare);
  for (int i = 0; i < 100; i++) printf("%d %f %s\n", a[i], sin(a[i]), strerror(a[i]));
  sscanf(argv[0], "%lf", &d);
  return (int)(d + strtod(argv[argc - 1], 0));
}
"""


def check(module: Module, stride: int) -> None:
    count = size = 0
    began = time.perf_counter()
    bodies = [type_body(module, f) for f in module.functions if f.body is not None]
    spent = time.perf_counter() - began
    for body in bodies:
        place = body.function.body
        assert place is not None
        size += place.end - place.start
        if body.reachable[-1]:
            assert operand_types(body.stacks[-1]) == body.function.type.results
        for k, one in enumerate(body.instructions):
            count += 1
            raw = module.data[one.offset : one.end]
            again = instruction(one.op, one.imm)
            assert len(again) <= len(raw)  # linkers pad what they relocate
            assert again == raw or raw[0] == again[0]
            if count % stride == 0:
                assert disagreement(module, body, k) is None
    print(f"\n{count} instructions, {size} bytes, read and typed at {size / spent / 1e6:.2f} MB/s")
    assert count


@pytest.mark.parametrize("path", sorted(_GUESTS.rglob("*.wasm")), ids=lambda p: p.name)
def test_guests(path: Path) -> None:
    module = decode_module(path.read_bytes())
    check(module, stride=max(1, len(module.data) // 200))


@pytest.mark.parametrize("level", ["-O0", "-O2"])
def test_a_program_of_the_installed_compiler(level: str, tmp_path: Path) -> None:
    compiler = shutil.which("clang-22") or shutil.which("clang")
    if compiler is None:
        pytest.skip("no clang")
    source, target = tmp_path / "program.c", tmp_path / "program.wasm"
    source.write_text(PROGRAM)
    command = [
        compiler,
        "--target=wasm32-wasi",
        "-Wno-deprecated",
        "--sysroot=/usr",
        "--no-wasm-opt",
        "-g",
        level,
    ]
    done = subprocess.run([*command, "-o", target, source], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"{compiler} can't build for wasm32-wasi: {done.stderr.splitlines()[:1]}")
    module = decode_module(target.read_bytes())
    assert "main" in " ".join(module.names.functions.values())
    check(module, stride=500)
