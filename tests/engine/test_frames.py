"""The walk of the shadow stack, over made-up memories."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable

import pytest

from trio_wasmdbg.engine import count_frames, decode_value, encode_value, walk_frames
from trio_wasmdbg.errors import InternalError
from trio_wasmdbg.instrument import MATERIALISED, SLOW
from trio_wasmdbg.wasm import F32, F64, I32, I64, V128, ValType


class Memories:
    """Two instances; function f has frames of 32 f bytes, and is escapable if f is odd."""

    def __init__(self) -> None:
        self.memory = {1: bytearray(1024), 2: bytearray(1024)}

    def put(self, instance: int, fp: int, head: int, position: int, before: int = 0) -> None:
        struct.pack_into("<III", self.memory[instance], fp, head, position, before)

    def header(self, instance: int, address: int) -> tuple[int, int, int]:
        return struct.unpack_from("<III", self.memory[instance], address)

    def frame_size(self, instance: int, function: int) -> int:
        return 32 * function

    def is_escapable(self, instance: int, function: int) -> bool:
        return bool(function & 1)


def test_frames_of_two_instances_on_one_stack() -> None:
    memories = Memories()
    memories.put(1, 960, 2 | SLOW, 5)
    memories.put(2, 864, 3, 7 | MATERIALISED, before=1)
    memories.put(2, 832, 1, 9, before=2)
    frames = list(walk_frames(memories, 2, 832, 1024))
    assert [(f.instance, f.fp, f.function, f.resume_point) for f in frames] == [
        (2, 832, 1, 9),
        (2, 864, 3, 7),
        (1, 960, 2, 5),
    ]
    assert [count_frames(memories, 2, fp, 1024) for fp in (832, 864)] == [3, 2]
    assert [(f.slow, f.materialised) for f in frames] == [(False, False), (False, True), (True, False)]


def test_an_empty_activation_has_no_frames() -> None:
    assert list(walk_frames(Memories(), 1, 512, 512)) == []
    assert count_frames(Memories(), 1, 512, 512) == 0


@pytest.mark.parametrize("walk", [lambda *where: list(walk_frames(*where)), count_frames])
def test_a_damaged_stack_is_an_internal_error_and_ends(walk: Callable[..., object]) -> None:
    memories = Memories()
    memories.put(1, 960, 4, 0)  # 128 bytes: past the base
    with pytest.raises(InternalError, match="not at its base"):
        walk(memories, 1, 960, 1024)
    memories.put(1, 960, 0, 0)  # size 0: would never end
    with pytest.raises(InternalError, match="size 0"):
        walk(memories, 1, 960, 1024)


@pytest.mark.parametrize(
    ("valtype", "value", "seen"),
    [
        (I32, -1, -1),
        (I32, 0xFFFF_FFFF, -1),
        (I32, 7, 7),
        (I64, -(1 << 63), -(1 << 63)),
        (F64, 1.5, 1.5),
        (F32, 0.5, 0.5),
        (F64, 3, 3.0),
        (V128, bytes(range(16)), bytes(range(16))),
        (V128, 1, b"\1" + bytes(15)),
    ],
)
def test_values_there_and_back(valtype: ValType, value: object, seen: object) -> None:
    assert decode_value(valtype, encode_value(valtype, value).ljust(16, b"\0")) == seen


def test_nan() -> None:
    back = decode_value(F64, encode_value(F64, math.nan))
    assert isinstance(back, float)
    assert math.isnan(back)


@pytest.mark.parametrize(
    ("valtype", "value", "error"),
    [
        (I32, 1 << 32, ValueError),
        (I32, -(1 << 31) - 1, ValueError),
        (I32, 1.0, TypeError),
        (I64, "1", TypeError),
        (F64, "1", TypeError),
        (V128, b"short", TypeError),
    ],
)
def test_values_that_do_not_fit(valtype: ValType, value: object, error: type[Exception]) -> None:
    with pytest.raises(error):
        encode_value(valtype, value)
