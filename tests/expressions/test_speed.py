"""How long an evaluation in the guest takes; printed with ``-s``, and bounded generously."""

from __future__ import annotations

import time

import pytest
import wasmtime

from tests.expressions._machine import LAYOUT, SCOPE, i, typed
from tests.wasm._engine import engine
from trio_wasmdbg.expressions import FramePlaces, Scratch, compile_condition
from trio_wasmdbg.wasm import (
    I32,
    MAGIC,
    BlockType,
    FuncType,
    Limits,
    MemArg,
    MemoryType,
    SectionId,
    ValType,
    func_type,
    local_groups,
    memory_type,
    name,
    section,
    uleb,
    vector,
)

ROUNDS = 2_000_000


def no_references(type: ValType, offset: int) -> bytes:
    raise AssertionError


def loop(text: str | None) -> float:
    """Seconds that *ROUNDS* evaluations take, each over a changed frame."""
    # (frame pointer, rounds) -> how often the condition was met; local 2 counts
    debug, scratch = 1, Scratch(3)
    condition = b"" if text is None else compile_condition(
        typed(text), FramePlaces(LAYOUT, 0, debug, scratch, no_references)
    )  # fmt: skip
    count = condition + i("local.get", 2) + i("i32.add") + i("local.set", 2) if text else b""
    code = [
        i("loop", BlockType(None, (), ())),
        i("local.get", 0),
        i("local.get", 1),
        i("i32.store", MemArg(2, LAYOUT.local(0), debug)),
        count,
        i("local.get", 1),
        i("i32.const", -1),
        i("i32.add"),
        i("local.tee", 1),
        i("br_if", 0),
        i("end"),
        i("local.get", 2),
        i("end"),
    ]
    body = local_groups([I32, *scratch.types]) + b"".join(code)
    memories = [SCOPE.memories[0], MemoryType(Limits(1))]
    wasm = b"".join(
        [
            MAGIC,
            section(SectionId.TYPE, vector([func_type(FuncType((I32, I32), (I32,)))])),
            section(SectionId.FUNCTION, vector([b"\0"])),
            section(SectionId.MEMORY, vector(map(memory_type, memories))),
            section(SectionId.EXPORT, vector([name("run") + b"\0\0"])),
            section(SectionId.CODE, vector([uleb(len(body)) + body])),
        ]
    )
    store = wasmtime.Store(engine())
    run = wasmtime.Instance(store, wasmtime.Module(engine(), wasm), []).exports(store)["run"]
    assert isinstance(run, wasmtime.Func)
    best = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        met = run(store, 256, ROUNDS)
        best = min(best, time.perf_counter() - start)
    assert text is None or met > 0, "each of them is met now and then"
    return best


@pytest.mark.parametrize(
    "text",
    [
        "a == 1000",
        "a > 1000 && b == 0",
        "a % 1000 == 0",
        "100 / a == 1",
        "mem32[p + 8] == 0",
        "mem8u[a & 0xffff] == 0 && mem32[a & 0xfff] == 0",
        "x * x + y * y < a",
    ],
)
def test_speed(text: str) -> None:
    spent = max(loop(text) - loop(None), 0)

    print(f"{spent / ROUNDS * 1e9:6.2f} ns an evaluation: {text}")
    assert spent / ROUNDS < 1e-6, "gdb's conditions take 140 µs"
