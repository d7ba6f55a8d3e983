"""Sites and stops armed at random, again and again while the guest runs, change nothing that it computes."""

from __future__ import annotations

import random

import pytest

from trio_wasmdbg.instrument import FRAME_MODES, KIND_SITE, KIND_STOP, FrameMode, instrument
from trio_wasmdbg.wasm import decode_module

from ._harness import Plain, Rig
from ._programs import CALLS, FLOAT_CALLS, compiled, needs_clang

ROUNDS = 4


@needs_clang
@pytest.mark.parametrize("level", ["-O0", "-O1", "-O2", "-Os"])
@pytest.mark.parametrize("frames", FRAME_MODES)
@pytest.mark.parametrize("seed", range(ROUNDS))
def test_results_stay(level: str, seed: int, frames: FrameMode) -> None:
    wasm = compiled(level)
    instrumented = instrument(decode_module(wasm), frames=frames)
    chance = random.Random(f"{level} {seed}")
    layout = instrumented.layout

    def shuffle(rig: Rig, share: float) -> None:
        for _ in range(3):
            rig.view[layout.sites_base + chance.randrange(layout.sites)] = chance.random() < share
            rig.view[layout.stops_base + chance.randrange(layout.stops)] = chance.random() < share / 2

    seen = set()

    def on_stop(rig: Rig, kind: int, fp: int, k: int) -> int:
        seen.add(kind)
        rig.spoil()  # walks all frames; in exact mode, there is nothing to overwrite
        shuffle(rig, 0.5)
        if kind == KIND_SITE and chance.random() < 0.5:
            rig.arm_sites(0)
        if kind == KIND_STOP and chance.random() < 0.02:
            rig.arm_stops(0)
        return 0

    rig = Rig(wasm, on_stop=on_stop, instrumented=instrumented)
    plain = Plain(wasm)
    for name, args in CALLS + FLOAT_CALLS:
        rig.arm_sites(0)
        rig.arm_stops(0)
        for _ in range(layout.sites // 3):
            shuffle(rig, 0.7)
        assert rig.call(name, *args) == plain.call(name, *args), name
    memory = rig.exports[rig.names.memory(0)]
    assert bytes(memory.read(rig.store)) == bytes(plain.exports["memory"].read(plain.store))  # type: ignore[union-attr]
    assert seen >= {KIND_SITE, KIND_STOP}
