"""Values there and back through a guest that returns what it gets."""

from __future__ import annotations

import ctypes
import math
import struct

import pytest
import wasmtime
from hypothesis import given
from hypothesis import strategies as st

from tests.capi.support import World, finish, run_python
from trio_wasmdbg import capi
from trio_wasmdbg.capi import _library as lib
from trio_wasmdbg.capi._values import from_raw, to_raw, unroot

ECHO = """
(module
  (func (export "i32") (param i32) (result i32) (local.get 0))
  (func (export "i64") (param i64) (result i64) (local.get 0))
  (func (export "f32") (param f32) (result f32) (local.get 0))
  (func (export "f64") (param f64) (result f64) (local.get 0))
  (func (export "v128") (param v128) (result v128) (local.get 0))
  (func (export "externref") (param externref) (result externref) (local.get 0))
  (func (export "f32 bits") (param f32) (result i32) (i32.reinterpret_f32 (local.get 0)))
  (func (export "f64 bits") (param f64) (result i64) (i64.reinterpret_f64 (local.get 0))))
"""


@pytest.fixture(scope="module")
def echo() -> tuple[World, capi.RawInstance]:
    world = World()
    return world, world.load(ECHO)


def back(echo: tuple[World, capi.RawInstance], name: str, value: object) -> object:
    world, instance = echo
    (result,) = finish(world.call(instance.export(name), value))
    return result


@given(st.integers(-(1 << 31), (1 << 32) - 1))
def test_i32(echo: tuple[World, capi.RawInstance], number: int) -> None:
    assert back(echo, "i32", number) == (number + (1 << 31)) % (1 << 32) - (1 << 31)


@given(st.integers(-(1 << 63), (1 << 64) - 1))
def test_i64(echo: tuple[World, capi.RawInstance], number: int) -> None:
    assert back(echo, "i64", number) == (number + (1 << 63)) % (1 << 64) - (1 << 63)


@given(st.integers(0, (1 << 64) - 1))
def test_f64_keeps_every_bit(echo: tuple[World, capi.RawInstance], bits: int) -> None:
    (number,) = struct.unpack("<d", struct.pack("<Q", bits))
    result = back(echo, "f64", number)
    assert struct.pack("<d", result) == struct.pack("<Q", bits)
    assert back(echo, "f64 bits", capi.FloatBits("f64", bits)) == (bits + (1 << 63)) % (1 << 64) - (1 << 63)


@given(st.integers(0, (1 << 32) - 1))
def test_f32_keeps_every_bit_when_asked_to(echo: tuple[World, capi.RawInstance], bits: int) -> None:
    exact = capi.FloatBits("f32", bits)
    assert back(echo, "f32 bits", exact) == (bits + (1 << 31)) % (1 << 32) - (1 << 31)
    world, _ = echo
    raw = lib.wasmtime_val_t()
    to_raw(world.store, "f32", exact, ctypes.addressof(raw))
    assert from_raw(world.store, ctypes.addressof(raw), bits=True) == exact


@given(st.floats(width=32))
def test_f32(echo: tuple[World, capi.RawInstance], number: float) -> None:
    result = back(echo, "f32", number)
    assert isinstance(result, float)
    assert result == number or (math.isnan(result) and math.isnan(number))
    assert math.copysign(1, result) == math.copysign(1, number)


def test_a_quiet_f32_nan_keeps_its_payload(echo: tuple[World, capi.RawInstance]) -> None:
    number = float(capi.FloatBits("f32", 0xFFC1_2345))
    assert math.isnan(number)
    assert back(echo, "f32 bits", number) == 0xFFC1_2345 - (1 << 32)


def test_floats_out_of_range_become_infinite(echo: tuple[World, capi.RawInstance]) -> None:
    assert back(echo, "f32", 1e300) == math.inf
    assert back(echo, "f32", -1e300) == -math.inf
    assert back(echo, "f64", -(10**400)) == -math.inf
    assert back(echo, "f64", 3) == 3.0


@given(st.binary(min_size=16, max_size=16))
def test_v128(echo: tuple[World, capi.RawInstance], data: bytes) -> None:
    assert back(echo, "v128", data) == data
    assert back(echo, "v128", bytearray(data)) == data


@pytest.mark.parametrize("value", [None, 0, "", object(), ["list"], float])
def test_externref(echo: tuple[World, capi.RawInstance], value: object) -> None:
    assert back(echo, "externref", value) is value


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("v128", b"short", ValueError),
        ("v128", 5, TypeError),
        ("f32", "1", TypeError),
        ("f64", None, TypeError),
        ("f32", capi.FloatBits("f64", 0), TypeError),
        ("f32", capi.FloatBits("f32", 1 << 32), ValueError),
        ("i32", True, None),
        ("i64", 1 << 64, ValueError),
    ],
)
def test_what_is_refused(
    echo: tuple[World, capi.RawInstance], name: str, value: object, error: type[Exception] | None
) -> None:
    if error is None:
        assert back(echo, name, value) == 1
    else:
        with pytest.raises(error):
            back(echo, name, value)


def test_signatures_of_every_kind(world: World) -> None:
    instance = world.load("""
      (module (type $s (struct)) (type $f (func)) (type $a (array i8))
        (func (export "f") (param i32 i64 f32 f64 v128 funcref externref)
            (result (ref null $s) anyref i31ref)
          unreachable)
        (func (export "g") (param (ref $f) (ref null $f) (ref extern) exnref (ref null $a))
            (result (ref null none))
          unreachable))""")
    f = capi.signature_of(world.store, instance.export("f"))
    assert f.params == ("i32", "i64", "f32", "f64", "v128", "funcref", "externref")
    assert f.results == ("(ref null struct:concrete)", "(ref null any)", "(ref null i31)")
    g = capi.signature_of(world.store, instance.export("g"))
    assert g.params == (
        "(ref func:concrete)", "(ref null func:concrete)", "(ref extern)", "(ref null exn)",
        "(ref null array:concrete)",
    )  # fmt: skip
    assert g.results == ("(ref null none)",)


def test_references_that_python_cannot_hold(world: World) -> None:
    instance = world.load("""
      (module
        (type $s (struct (field i32)))
        (func (export "any") (param anyref) (result anyref anyref)
          (local.get 0) (struct.new $s (i32.const 1)))
        (func (export "extern") (result externref) (extern.convert_any (ref.i31 (i32.const 3))))
        (func (export "null") (param (ref null $s) exnref (ref null func)) (result i32)
          (i32.and (ref.is_null (local.get 0))
            (i32.and (ref.is_null (local.get 1)) (ref.is_null (local.get 2))))))""")
    any_ref = capi.OpaqueReference("structref")
    assert finish(world.call(instance.export("any"), None)) == (None, any_ref)
    assert finish(world.call(instance.export("extern"))) == (capi.OpaqueReference("externref"),)
    assert finish(world.call(instance.export("null"), None, None, None)) == (1,)
    with pytest.raises(TypeError):
        world.call(instance.export("any"), any_ref)


def test_null_for_a_type_without_null_is_wasmtimes_error(world: World) -> None:
    func = world.load("""(module (type $f (func)) (func (export "f") (param (ref $f))))""").export("f")
    future = world.call(func, None)
    assert future.poll()
    outcome = future.outcome()
    future.delete()
    assert isinstance(outcome, capi.Failed)
    assert "type mismatch" in outcome.message or "null" in outcome.message


def test_a_wrong_signature_is_wasmtimes_error(echo: tuple[World, capi.RawInstance]) -> None:
    world, instance = echo
    for wrong in (
        capi.Signature(("i64",), ("i32",)),
        capi.Signature((), ("i32",)),
        capi.Signature(("i32",), ()),
        capi.Signature(("i32",), ("i32", "i32")),
    ):
        future = capi.start_call(
            world.store, instance.export("i32"), [0] * len(wrong.params), signature=wrong
        )
        assert future.poll()
        assert isinstance(future.outcome(), capi.Failed)
        future.delete()


def test_unrooting_twice_is_harmless(world: World) -> None:
    raw = lib.wasmtime_val_t()
    address = ctypes.addressof(raw)
    to_raw(world.store, "externref", object(), address)
    unroot(address)
    unroot(address)


def test_no_values_for_other_types(world: World) -> None:
    raw = lib.wasmtime_val_t()
    with pytest.raises(TypeError, match="contref"):
        to_raw(world.store, "contref", None, ctypes.addressof(raw))


def test_wasmtime_py_and_we_share_external_references(world: World) -> None:
    thing = object()
    table_type = wasmtime.TableType(wasmtime.ValType.externref(), wasmtime.Limits(2, None))
    table = wasmtime.Table(world.store, table_type, thing)
    assert capi.table_get(world.store, table, 1) is thing
    other = object()
    capi.table_set(world.store, table, 0, other, "externref")
    assert table.get(world.store, 0) is other


def test_a_gc_heap_switched_off_gives_an_error_and_no_abort() -> None:
    result = run_python("""
config = wasmtime.Config(); config.gc_support = False
world = World(wasmtime.Engine(config))
capi.probe_engine(world.engine)
world.hook(lambda *a: 3)
print(finish(world.call(world.load(HOOK_LOOP).export("sum"), 2)))
""")
    assert (result.returncode, result.stdout) == (0, "(6,)\n"), result.stderr
