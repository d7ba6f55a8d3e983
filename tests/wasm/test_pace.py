"""Long work lets others run: decoding a large module, reading and typing a large function."""

from __future__ import annotations

import wasmtime

from trio_wasmdbg.instrument import FRAME_MODES, instrument
from trio_wasmdbg.wasm import decode_module, read_body, type_body
from trio_wasmdbg.wasm._pace import PIECE, for_ever, in_pieces


class Counter:
    count = 0

    def __call__(self) -> None:
        self.count += 1


def wat(text: str) -> bytes:
    return bytes(wasmtime.wat2wasm(text))


def test_pieces() -> None:
    for size in (0, 1, PIECE, PIECE + 1, 3 * PIECE, 3 * PIECE + 1):
        tick = Counter()
        assert list(in_pieces(range(size), tick)) == list(range(size))
        assert tick.count == max(0, -(-size // PIECE) - 1)
    tick = Counter()
    for number, _ in enumerate(for_ever(tick)):
        if number == 2 * PIECE:
            break
    assert tick.count == 2


def test_a_large_function() -> None:
    module = decode_module(wat(f"(module (func (param i32) {'(drop (local.get 0))' * 10_000}))"))
    reading, typing = Counter(), Counter()
    assert len(read_body(module, module.functions[0], reading)) == 20_001
    assert reading.count == 20_001 // PIECE
    type_body(module, module.functions[0], typing)
    assert typing.count == 2 * reading.count
    for frames in FRAME_MODES:
        tick = Counter()
        instrument(module, frames=frames, tick=tick)
        assert tick.count > typing.count


def test_a_module_with_many_functions() -> None:
    tick = Counter()
    decode_module(wat(f"(module {'(func)' * 10_000} {'(global i32 (i32.const 0))' * 10_000})"), tick)
    assert tick.count == 4 * (10_000 // PIECE)  # declarations, bodies, both together, globals
