"""Limits of the engine are met with a clear error, before the engine meets them."""

from __future__ import annotations

import pytest
import wasmtime

from tests.instrument._harness import ENGINE, wat
from trio_wasmdbg.errors import UnsupportedFeatureError
from trio_wasmdbg.instrument import instrument, slow_twin
from trio_wasmdbg.wasm import decode_module


@pytest.mark.parametrize(
    ("item", "most", "kind"),
    [("(table 1 funcref)", 98, "tables"), ("(memory 0)", 99, "memories")],
)
def test_as_many_as_the_engine_takes(item: str, most: int, kind: str) -> None:
    body = f"(func (result i32) (call 1)) (func (result i32) {'(drop (i32.const 1))' * 400} (i32.const 2))"
    good, bad = (wat(f"(module {item * count} {body})") for count in (most, most + 1))
    made = instrument(decode_module(good))
    wasmtime.Module.validate(ENGINE, made.wasm)
    # with chunks, for which it needs one more table
    wasmtime.Module.validate(ENGINE, slow_twin(made, [0, 1]).wasm)
    wasmtime.Module.validate(ENGINE, bad)
    with pytest.raises(UnsupportedFeatureError, match=f"has {most + 1} {kind}.*engine takes 100"):
        instrument(decode_module(bad))
