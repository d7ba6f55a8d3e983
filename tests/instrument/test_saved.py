"""What rewriting has computed, saved and restored: the same, or an error."""

from __future__ import annotations

import json
import random
import struct
from hashlib import blake2b
from pathlib import Path

import pytest
import wasmtime

from trio_wasmdbg.instrument import DamagedError, Instrumented, instrument, restored, saved, slow_twin
from trio_wasmdbg.wasm import decode_module

GUESTS = sorted((Path(__file__).parents[1] / "guests").glob("*.wasm"))

KEY = bytes(range(32))

MIXED = """(module
  (type $s (struct (field i32)))
  (import "host" "f" (func $f (param i32) (result i32)))
  (tag $t (param i32))
  (table 4 funcref)
  (memory 1 1 shared)
  (elem (i32.const 0) $wide $refs)
  (data $d "abc")
  (func $wide (export "wide") (param v128) (result v128) (call $f (i32.const 1)) drop (local.get 0))
  (func $refs (param $x (ref null $s)) (result (ref null $s) i32) (local externref)
    (memory.init $d (i32.const 0) (i32.const 0) (i32.const 1))
    (local.get 0) (call $f (i32.atomic.load (i32.const 0))))
  (func $catches (result i32)
    (block $b (result i32) (try_table (result i32) (catch $t $b) (throw $t (i32.const 3)))))
  (func $loops (param i32) (loop $l (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))
  (func $tail (param i32) (result i32) (return_call $f (local.get 0)))
  (func $huge {locals} {code}))
"""


def mixed(locals_: int = 0, operands: int = 0) -> bytes:
    text = MIXED.replace("{locals}", f"(local {'v128 ' * locals_})" if locals_ else "")
    text = text.replace("{code}", "(i32.const 1)" * operands + "drop " * operands)
    return bytes(wasmtime.wat2wasm(text))


MODULES = {path.stem: path.read_bytes() for path in GUESTS} | {
    "mixed": mixed(),
    "entry": mixed(50_000),
    "opaque": mixed(50_000, 20_000),
    "empty": b"\0asm\1\0\0\0",
}


def facts(it: Instrumented) -> tuple[object, ...]:
    """All that has been computed, to be compared."""
    additions = it.additions
    return (
        it.wasm,
        it.names,
        it.layout,
        list(additions.types.items()),
        list(additions.reference_tables.items()),
        list(additions.helpers.items()),
        additions.executed,
        additions.executed_numbers,
        [
            plan
            and (
                plan.index, plan.slot, plan.frame, plan.escapable, plan.instructions, plan.sites,
                plan.stop_addresses, plan.site_addresses,
            )
            for plan in it.plans
        ],
        list(it.code_map.bodies()),
        {index: (str(why), why.offset, why.function) for index, why in it.opaque.items()},
    )  # fmt: skip


@pytest.mark.parametrize("name", MODULES)
def test_there_and_back(name: str) -> None:
    module = decode_module(MODULES[name])
    rewritten = instrument(module)

    again = restored(decode_module(MODULES[name]), KEY, b"".join(saved(rewritten, KEY)))

    assert facts(again) == facts(rewritten)
    for plan in rewritten.defined():
        assert slow_twin(again, [plan.index]) == slow_twin(rewritten, [plan.index])
        last = plan.instructions - 1
        assert again.plan(plan.index).unassigned(last) == plan.unassigned(last)
        assert again.plan(plan.index).has_frame(last) == plan.has_frame(last)


def test_one_of_them_has_an_opaque_function() -> None:
    assert instrument(decode_module(MODULES["opaque"])).opaque


SMALL = decode_module(mixed())
SAVED = b"".join(saved(instrument(SMALL), KEY))


def test_every_byte_counts() -> None:
    for at in range(len(SAVED)):
        damaged = bytearray(SAVED)
        damaged[at] ^= 1 << at % 8
        with pytest.raises(DamagedError):
            restored(SMALL, KEY, bytes(damaged))


def test_every_length_but_the_right_one_is_refused() -> None:
    for size in range(len(SAVED)):
        with pytest.raises(DamagedError):
            restored(SMALL, KEY, SAVED[:size])
    with pytest.raises(DamagedError):
        restored(SMALL, KEY, SAVED + b"\0")


def test_another_key_is_refused() -> None:
    with pytest.raises(DamagedError, match="checksum"):
        restored(SMALL, bytes(32), SAVED)


def forged(data: bytes) -> bytes:
    """With the right checksum, as somebody would write it who knows the module."""
    return data[:8] + blake2b(data[40:], digest_size=32, key=KEY).digest() + data[40:]


def test_another_module_is_refused() -> None:
    other = decode_module(bytes(wasmtime.wat2wasm("(module (func))")))
    with pytest.raises(DamagedError, match="another module"):
        restored(other, KEY, SAVED)


def test_forged_bytes_are_an_error_or_harmless() -> None:
    rng = random.Random(1)
    refused = 0
    code = SAVED.rindex(b"\0asm")
    for _ in range(3000):
        data = bytearray(SAVED)
        for _ in range(rng.randint(1, 4)):
            data[rng.randrange(40, code)] = rng.randrange(256)
        try:
            found = restored(SMALL, KEY, forged(bytes(data)))
        except DamagedError:
            refused += 1
            continue
        # Whatever it says is inside the module.
        for function, start, end, _, origins in found.code_map.bodies():
            assert 0 <= start <= end <= len(found.wasm)
            body = SMALL.functions[function].body
            assert body is not None and all(origin & 0x7FFF_FFFF <= body.end for origin in origins)
        for plan in found.defined():
            assert all(0 <= site.resume_point < plan.instructions for site in plan.sites)
            assert plan.stop_addresses.stop <= found.layout.counts_base
    assert refused > 1000


def with_header(**changes: object) -> bytes:
    (size,) = struct.unpack_from("<I", SAVED, 40)
    header = json.loads(SAVED[44 : 44 + size]) | changes
    text = json.dumps(header).encode()
    return forged(SAVED[:40] + struct.pack("<I", len(text)) + text + SAVED[44 + size :])


def test_a_header_made_again_is_as_good() -> None:
    assert facts(restored(SMALL, KEY, with_header())) == facts(instrument(SMALL))


@pytest.mark.parametrize(
    "changes",
    [
        {"size": 1},
        {"functions": 10**9},
        {"sites": -1},
        {"ranges": 1 << 40},
        {"wasm": -5},
        {"sites": "many"},
        {"types": [[[127], [[10**6, 1]]]]},
        {"types": [[[127], [[-99, 1]]]]},
        {"types": [[[127], []]] * 2},
        {"types": [[[1], []]]},
        {"types": 7},
        {"references": ["func", "func"]},
        {"references": ["what"]},
        {"references": [[]]},
        {"helpers": [["memory.init", -1, 0]]},
        {"helpers": [["memory.init", 1.5, 0]]},
        {"helpers": [[1, 2, 3]]},
        {"executed": [["zz", [[], []]]]},
        {"opaque": {"5": ["no", 0, False]}},
        {"opaque": {"x": ["no", 0, False]}},
        {"opaque": None},
    ],
    ids=str,
)
def test_headers_that_make_no_sense(changes: dict[str, object]) -> None:
    with pytest.raises(DamagedError, match="makes no sense"):
        restored(SMALL, KEY, with_header(**changes))


def test_a_deep_header() -> None:
    text = b"[" * 100_000
    with pytest.raises(DamagedError):
        restored(SMALL, KEY, forged(SAVED[:40] + struct.pack("<I", len(text)) + text))
