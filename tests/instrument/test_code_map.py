"""Every offset maps there and back, and what was copied is what was there, byte for byte."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import wasmtime
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.spec._wast import modules, suite_folder
from tests.wasm._engine import is_valid
from trio_wasmdbg.addresses import InstrumentedOffset, ModuleOffset
from trio_wasmdbg.errors import ModuleError, UnsupportedFeatureError
from trio_wasmdbg.instrument import Instrumented, Place, instrument
from trio_wasmdbg.instrument._additions import Additions
from trio_wasmdbg.instrument._body import INSERTED
from trio_wasmdbg.instrument._opaque import opaque_twin
from trio_wasmdbg.wasm import MAGIC, Imm, Module, decode_module, name, read_body, uleb

TESTS = Path(__file__).parents[1]
GUESTS = sorted([*(TESTS / "guests").glob("*.wasm"), *(TESTS.parent / "trio_wasmdbg/guests").glob("*.wasm")])
SUITE = suite_folder()

REASON = UnsupportedFeatureError("for the test")


def uses_globals(module: Module, function: int) -> bool:
    instructions = read_body(module, module.functions[function])
    return any(instruction.op.imm is Imm.GLOBAL for instruction in instructions)


def copied(module: Module) -> bytes:
    """The module put together again from what the decoder says where things are, nothing inserted.

    Bodies go through the rewriter that changes nothing but global indices.
    """
    data, out = module.data, [MAGIC]
    for part in module.sections:
        out.append(data[part.header_start : part.start])
        position = part.start
        if part is module.code_section:
            for function in module.functions:
                if function.body is not None:
                    out.append(data[position : function.body.start])
                    out.append(opaque_twin(Additions(module), function, REASON, set()).body)
                    position = function.body.end
        out.append(data[position : part.end])
    return b"".join(out)


def check(rewritten: Instrumented) -> Counter[str]:
    """Everything that is promised of a module's map; what it counts are bytes."""
    module, map, counts = rewritten.original, rewritten.code_map, Counter[str]()
    for function, start, end, new, old in map.bodies():
        body = module.functions[function].body
        assert body is not None
        # The ranges are in order, and what was copied is the same.
        assert list(new) == sorted(set(new))
        for begin, finish, origin in zip(new, [*new[1:], end - start], old, strict=True):
            if not origin & INSERTED:
                size = finish - begin
                assert body.start <= origin and origin + size <= body.end
                copy = rewritten.wasm[start + begin : start + finish]
                assert copy == module.data[origin : origin + size]
        # From there: each byte comes from somewhere in this body, and a copied byte is found again.
        seen: set[int] = set()
        for at in range(start, end):
            place = map.to_original(InstrumentedOffset(at))
            assert place is not None and place.function == function == map.function_at(InstrumentedOffset(at))
            assert body.start <= place.offset <= body.end
            if not place.inserted:
                assert place.offset not in seen  # nothing is copied twice
                seen.add(place.offset)
                assert map.to_instrumented(function, place.offset) == at
        # And from here: what was copied is known, the rest was replaced.
        for instruction in read_body(module, module.functions[function]):
            for offset in range(instruction.offset, instruction.end):
                to = map.to_instrumented(function, ModuleOffset(offset))
                assert (to is not None) == (offset in seen)
                if to is not None:
                    assert map.to_original(to) == Place(function, ModuleOffset(offset), False)
            first = instruction.offset in seen
            # An instruction was copied whole or not at all.
            assert all((offset in seen) == first for offset in range(instruction.offset, instruction.end))
            counts["copied" if first else "replaced"] += instruction.end - instruction.offset
        for outside in (body.start - 1, body.end):
            assert map.to_instrumented(function, ModuleOffset(outside)) is None
        for around in (start - 1, end):
            beside = map.to_original(InstrumentedOffset(around))
            assert beside is None or beside.function != function
    return counts


@pytest.mark.parametrize("path", GUESTS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_guests(path: Path) -> None:
    counts = check(instrument(decode_module(path.read_bytes())))
    assert counts["copied"] > counts["replaced"]


def suite_modules() -> Iterator[tuple[str, bytes]]:
    """Up to four of each script; those that need others to be assembled, or are refused, are left out."""
    assert SUITE is not None
    for path in sorted(SUITE.rglob("*.wast")):
        if "legacy" in path.parts:
            continue
        found = (one for one in modules(path.read_text("utf-8", "surrogateescape")) if not one.context)
        for one in itertools.islice(found, 4):
            try:
                data = (
                    one.content if isinstance(one.content, bytes) else bytes(wasmtime.wat2wasm(one.content))
                )
            except (wasmtime.WasmtimeError, UnicodeError):
                continue
            yield f"{path.name}:{one.line}", data


@pytest.mark.skipif(SUITE is None, reason="the official test suite is not there (../shared/spec)")
def test_modules_of_the_official_suite(capsys: pytest.CaptureFixture[str]) -> None:
    checked = refused = same = 0
    counts = Counter[str]()
    for place, data in suite_modules():
        try:
            rewritten = instrument(decode_module(data))
        except ModuleError:
            refused += 1
            continue
        try:
            counts += check(rewritten)
        except AssertionError as error:
            raise AssertionError(f"in {place}: {error}") from error
        checked += 1
        defined = [function.index for function in rewritten.original.functions if function.body is not None]
        if not any(uses_globals(rewritten.original, index) for index in defined):
            try:
                assert copied(rewritten.original) == data, place
            except UnsupportedFeatureError:  # functions that catch are not copied like this
                continue
            same += 1
    with capsys.disabled():
        print(f"\n{checked} modules, {refused} refused, {same} came back whole; bytes: {dict(counts)}")
    assert checked > 300 and same > 200


# ── numbers written longer than need be ────────────────────────────────────────────────────────


def long(value: int, more: int) -> bytes:
    """An unsigned LEB of up to *more* bytes more than it needs (five at most)."""
    out = bytearray(uleb(value))
    for _ in range(min(more, 5 - len(out))):
        out[-1] |= 0x80
        out.append(0)
    return bytes(out)


more = st.integers(0, 4)


@st.composite
def codes(draw: st.DrawFn) -> bytes:
    """Instructions that leave the stack as it was, with numbers of any length."""
    index = draw(st.integers(0, 3))
    number = long(index, draw(more))
    constant = b"\x41" + long(draw(st.integers(0, 60)), draw(more))  # below 64: as good as a signed one
    align, offset = long(2, draw(more)), long(draw(st.integers(0, 1000)), draw(more))
    return draw(
        st.sampled_from(
            [
                b"\x01",
                constant + b"\x1a",
                b"\x20" + number + b"\x1a",
                constant + b"\x21" + number,
                constant + b"\x28" + align + offset + b"\x1a",
                constant * 2 + b"\x36" + align + offset,
                b"\x10" + long(0, draw(more)),
                b"\x02\x40" + constant + b"\x0d" + long(0, draw(more)) + b"\x0b",
                b"\x03\x40" + b"\x0b",
            ]
        )
    )


@st.composite
def long_modules(draw: st.DrawFn) -> bytes:
    """A module in which sizes, counts and indices may be longer than they need be."""

    def wide(id: int, payload: bytes) -> bytes:
        return bytes((id,)) + long(len(payload), draw(more)) + payload

    bodies = []
    for _ in range(draw(st.integers(1, 3))):
        groups = long(2, draw(more)) + long(3, draw(more)) + b"\x7f" + long(1, draw(more)) + b"\x7f"
        code = groups + b"".join(draw(st.lists(codes(), max_size=12))) + b"\x0b"
        bodies.append(long(len(code), draw(more)) + code)
    count = len(bodies)
    types = b"".join(long(0, draw(more)) for _ in bodies)
    return b"".join(
        [
            MAGIC,
            wide(1, long(1, draw(more)) + b"\x60" + long(0, draw(more)) + long(0, draw(more))),
            wide(3, long(count, draw(more)) + types),
            wide(5, long(1, draw(more)) + b"\x00" + long(1, draw(more))),
            wide(10, long(count, draw(more)) + b"".join(bodies)),
            wide(0, name("extra") + draw(st.binary(max_size=8))),
        ]
    )


@given(long_modules())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_with_nothing_to_insert_the_module_comes_back_byte_for_byte(data: bytes) -> None:
    module = decode_module(data)
    assert copied(module) == data
    for function in module.functions:
        instructions = read_body(module, function)
        assert function.body is not None
        pieces = [data[function.body.start : function.body.code_start]]
        pieces += [data[instruction.offset : instruction.end] for instruction in instructions]
        assert b"".join(pieces) == data[function.body.start : function.body.end]


@given(long_modules())
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_long_numbers_are_copied_as_they_are(data: bytes) -> None:
    assert is_valid(data)
    rewritten = instrument(decode_module(data))
    check(rewritten)
    assert is_valid(rewritten.wasm)


def test_functions_of_the_guests_without_globals_come_back_byte_for_byte() -> None:
    same = 0
    for path in GUESTS:
        module = decode_module(path.read_bytes())
        for function in module.functions:
            body = function.body
            if body is not None and not uses_globals(module, function.index):
                copy = opaque_twin(Additions(module), function, REASON, set()).body
                assert copy == module.data[body.start : body.end]
                same += 1
    assert same > 50
