"""What do modules and functions of any size look like?"""

from __future__ import annotations

import wasmtime

from trio_wasmdbg.wasm import decode_module
from trio_wasmdbg.wasm._leb import read_u32, uleb

__all__ = ["calls_of", "function_of", "grown"]

_FUNCTION, _CODE = 3, 10


def grown(wasm: bytes, times: int) -> bytes:
    """The module with each of its functions so many times; nobody calls the copies."""
    module = decode_module(wasm)
    out = bytearray(wasm[:8])
    for section in module.sections:
        payload = wasm[section.start : section.end]
        if section.id in (_FUNCTION, _CODE):
            count, start = read_u32(payload, 0, len(payload))
            payload = uleb(count * times) + payload[start:] * times
        out += bytes([section.id]) + uleb(len(payload)) + payload
    return bytes(out)


def function_of(instructions: int) -> str:
    """A module whose ``run`` has so many instructions: blocks that can be left early, with calls in them."""
    add = "(local.set $x (i32.add (local.get $x) (i32.const 7)))"
    call = "(local.set $x (call $leaf (i32.xor (local.get $x) (i32.const 3))))"
    piece = f"(block (br_if 0 (i32.eqz (local.get $x))) {' '.join([add, add, call, add, add] * 3)})"
    body = " ".join([piece] * max(1, instructions // 69))
    return f"""(module
      (func $leaf (param i32) (result i32) (i32.add (local.get 0) (i32.const 1)))
      (func (export "run") (param $x i32) (result i32) {body} (local.get $x)))"""


def calls_of(count: int) -> str:
    """A module whose ``run`` has so many calls in a row."""
    return f"""(module
      (func $leaf (param i32) (result i32) (i32.add (local.get 0) (i32.const 1)))
      (func (export "run") (param $x i32) (result i32)
        {"(local.set $x (call $leaf (local.get $x)))" * count} (local.get $x)))"""


def wasm_of(text: str) -> bytes:
    """Compiled from text."""
    return bytes(wasmtime.wat2wasm(text))
