"""WebAssembly values between Python and ``wasmtime_val_t``.

========= =================================================== =================================
type      accepted                                            given back
========= =================================================== =================================
i32, i64  int; signed or unsigned range                       int, signed
f32, f64  float or int; :class:`FloatBits` for exact bits     float
v128      16 bytes (little end first)                         16 bytes
funcref   :class:`wasmtime.Func` of the same store, or None   the same
externref any object, or None                                 that very object, or None
exnref    :class:`WasmException`, or None                     the same
others    None                                                None, or an :class:`OpaqueReference`
========= =================================================== =================================

A Python float is a double: the payload of an f64 NaN survives, but an f32 *signalling* NaN is made
quiet by the conversion.  Where the bits matter, pass and ask for :class:`FloatBits`.

References are *rooted*: Wasmtime's garbage collector keeps what a ``wasmtime_val_t`` points to until
it is unrooted (``wasmtime/val.h``).  :func:`to_raw` makes a root that the caller must give back with
:func:`unroot`; :func:`from_raw` reads without giving back, unless ``owned``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from ctypes import POINTER, addressof, byref, c_int32, c_uint32, c_void_p, cast
from struct import Struct
from typing import Any, Final

import wasmtime
from attrs import frozen
from wasmtime import _bindings, _value

from trio_wasmdbg.capi import _library as lib
from trio_wasmdbg.capi._raw_memory import MEMORY, pack, read_bytes, write_bytes
from trio_wasmdbg.capi._store import StoreHandle, Storelike

__all__ = [
    "FloatBits",
    "OpaqueReference",
    "Signature",
    "WasmException",
    "from_raw",
    "function_type",
    "signature_at",
    "signature_of",
    "signature_of_type",
    "to_raw",
    "unroot",
]

_I32: Final = Struct("<i")
_I64: Final = Struct("<q")
_U64: Final = Struct("<Q")
_F32: Final = Struct("<f")
_F64: Final = Struct("<d")
_U32: Final = Struct("<I")
_PAIR: Final = Struct("<QQ")

_KINDS: Final = {
    "i32": lib.KIND_I32,
    "i64": lib.KIND_I64,
    "f32": lib.KIND_F32,
    "f64": lib.KIND_F64,
    "v128": lib.KIND_V128,
    "funcref": lib.KIND_FUNCREF,
    "externref": lib.KIND_EXTERNREF,
}


@frozen
class FloatBits:
    """A float by its bits: what a Python float can't always carry.

    :ivar valtype: ``"f32"`` or ``"f64"``.
    :ivar bits: the bits, as an unsigned integer.
    """

    valtype: str
    bits: int

    def __float__(self) -> float:
        packed = _U32.pack(self.bits) if self.valtype == "f32" else _U64.pack(self.bits)
        number: float = (_F32 if self.valtype == "f32" else _F64).unpack(packed)[0]
        return number


@frozen
class OpaqueReference:
    """A reference that Python can name but not hold, such as a garbage-collected struct.

    :ivar kind: what it is: ``"structref"``, ``"arrayref"``, ``"i31ref"``, ``"anyref"`` for a host's
        reference that the guest took in, or ``"externref"`` for one that the guest made itself.
    :ivar number: of an ``i31ref``, its integer.
    :ivar length: of an ``arrayref``, how many elements it has.
    """

    kind: str
    number: int | None = None
    length: int | None = None


class WasmException:
    """An exception of the guest: what ``throw`` makes, ``catch_all_ref`` gives, and ``throw_ref`` takes.

    Keeps the exception alive, and is good for as long as its store.  To be looked at while the guest does
    not compute.
    """

    __slots__ = ("_handle", "_raw")

    def __init__(self, handle: StoreHandle, raw: Any) -> None:
        """Not for users: see ``GuestInstance.make_exception``.  Takes *raw* over."""
        self._handle = handle
        self._raw = raw

    def __del__(self, _unroot: Callable[..., None] = lib.exnref_unroot) -> None:
        # The root is not the store's: this may run after that has been closed, in any thread.
        raw = getattr(self, "_raw", None)
        if raw is not None:
            _unroot(byref(raw))

    @property
    def tag(self) -> wasmtime.Tag:
        """Its tag.

        :raises StoreClosedError: the store has been closed.
        """
        tag = _bindings.wasmtime_tag_t()
        _raise_error(lib.exnref_tag(self._handle.context, byref(self._raw), byref(tag)))
        return wasmtime.Tag._from_raw(tag)

    @property
    def values(self) -> tuple[Any, ...]:
        """What it carries.

        :raises StoreClosedError: the store has been closed.
        """
        return self.read()

    def read(self, *, bits: bool = False) -> tuple[Any, ...]:
        """What it carries, floats as :class:`FloatBits` if *bits*.

        :raises StoreClosedError: the store has been closed.
        """
        context = self._handle.context
        values = []
        for number in range(lib.exnref_field_count(context, byref(self._raw))):
            cell = lib.wasmtime_val_t()
            _raise_error(lib.exnref_field(context, byref(self._raw), number, byref(cell)))
            values.append(from_raw(self._handle, addressof(cell), owned=True, bits=bits))
        return tuple(values)

    def __repr__(self) -> str:
        futures = self._handle.futures
        if self._handle.closed or (futures and futures[-1].is_polled):
            return "<WasmException>"
        return f"<WasmException {self.values!r}>"


def _raise_error(pointer: int | None) -> None:
    if pointer:
        raise wasmtime.WasmtimeError._from_ptr(cast(pointer, POINTER(_bindings.wasmtime_error_t)))


@frozen
class Signature:
    """Parameter and result types of a function, as text: ``("i32", "funcref")``."""

    params: tuple[str, ...]
    results: tuple[str, ...]


def _int_in_range(valtype: str, value: object, bits: int) -> int:
    if not isinstance(value, int):
        raise TypeError(f"expected an int for {valtype}, not {type(value).__name__}")
    if not -(1 << (bits - 1)) <= value < 1 << bits:
        raise ValueError(f"{value} does not fit into {valtype}")
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def to_raw(store: Storelike, valtype: str, value: object, address: int) -> None:
    """Write a value into the ``wasmtime_val_t`` at an address.

    :param valtype: text of the type; the table above.
    :raises TypeError: the value has the wrong Python type, or no value of this type can be made here.
    :raises ValueError: an integer out of range, a vector that is not 16 bytes, a function of another
        store.  Nothing has been written then, and nothing needs to be unrooted.
    """
    of = address + lib.VAL_OF
    if valtype == "i32":
        number = _int_in_range(valtype, value, 32)
        pack(_U64, address, lib.KIND_I32)
        pack(_I32, of, number)
    elif valtype == "i64":
        number = _int_in_range(valtype, value, 64)
        pack(_U64, address, lib.KIND_I64)
        pack(_I64, of, number)
    elif valtype in ("f32", "f64"):
        wide = valtype == "f64"
        if isinstance(value, FloatBits):
            if value.valtype != valtype:
                raise TypeError(f"expected FloatBits of {valtype}, not of {value.valtype}")
            if not 0 <= value.bits < 1 << (64 if wide else 32):
                raise ValueError(f"{value.bits:#x} has too many bits for {valtype}")
            data = (_U64 if wide else _U32).pack(value.bits)
        elif isinstance(value, float | int):
            try:
                data = (_F64 if wide else _F32).pack(float(value))
            except OverflowError:
                # Rounding to nearest: what does not fit is an infinity (spec, "Rounding").
                data = (_F64 if wide else _F32).pack(math.inf if value > 0 else -math.inf)
        else:
            raise TypeError(f"expected a float for {valtype}, not {type(value).__name__}")
        pack(_U64, address, lib.KIND_F64 if wide else lib.KIND_F32)
        write_bytes(of, data)
    elif valtype == "v128":
        if not isinstance(value, bytes | bytearray):
            raise TypeError(f"expected 16 bytes for v128, not {type(value).__name__}")
        if len(value) != 16:
            raise ValueError(f"expected 16 bytes for v128, not {len(value)}")
        pack(_U64, address, lib.KIND_V128)
        write_bytes(of, bytes(value))
    elif valtype == "externref":
        _externref_to_raw(StoreHandle.of(store), value, address)
    elif isinstance(value, WasmException) and _null_kind(valtype) == lib.KIND_EXNREF:
        if value._handle is not StoreHandle.of(store):
            raise ValueError("the exception belongs to another wasmtime.Store")
        pack(_U64, address, lib.KIND_EXNREF)
        lib.exnref_clone(byref(value._raw), of)
    elif valtype == "funcref" or valtype.startswith("(ref"):
        _reference_to_raw(StoreHandle.of(store), valtype, value, address)
    else:
        raise TypeError(f"no value of type {valtype} can be made in Python")


def _externref_to_raw(handle: StoreHandle, value: object, address: int) -> None:
    of = address + lib.VAL_OF
    pack(_PAIR, of, 0, 0)  # store_id 0: null
    if value is not None:
        # wasmtime-py's own table of objects, so that its Val and ours are interchangeable.
        number = _value._intern(value)
        finalizer = lib.address_of(_value._externref_finalizer)
        if not lib.externref_new(handle.context, number, finalizer, of):
            raise MemoryError("Wasmtime could not allocate an externref")
    pack(_U64, address, lib.KIND_EXTERNREF)


def _reference_to_raw(handle: StoreHandle, valtype: str, value: object, address: int) -> None:
    of = address + lib.VAL_OF
    if isinstance(value, wasmtime.Func):
        handle.check(value)
        pack(_U64, address, lib.KIND_FUNCREF)
        write_bytes(of, bytes(value._func))
        return
    if value is not None:
        raise TypeError(f"expected a wasmtime.Func or None for {valtype}, not {type(value).__name__}")
    pack(_U64, address, _null_kind(valtype))
    pack(_PAIR, of, 0, 0)


_OTHER_HEAPS: Final = {
    "extern": lib.KIND_EXTERNREF,
    "noextern": lib.KIND_EXTERNREF,
    "any": lib.KIND_ANYREF,
    "eq": lib.KIND_ANYREF,
    "i31": lib.KIND_ANYREF,
    "struct": lib.KIND_ANYREF,
    "array": lib.KIND_ANYREF,
    "none": lib.KIND_ANYREF,
    "exn": lib.KIND_EXNREF,
    "noexn": lib.KIND_EXNREF,
}


def _null_kind(valtype: str) -> int:
    # "(ref null any)", "(ref func)", "(ref null struct:concrete)"
    heap = valtype.rstrip(")").split()[-1].partition(":")[0]
    return _OTHER_HEAPS.get(heap, lib.KIND_FUNCREF)


def from_raw(store: Storelike, address: int, *, owned: bool = False, bits: bool = False) -> Any:
    """The Python value of the ``wasmtime_val_t`` at an address.

    :param owned: unroot it afterwards.
    :param bits: give floats as :class:`FloatBits`.
    """
    kind = MEMORY[address]
    of = address + lib.VAL_OF
    if kind == lib.KIND_I32:
        return _I32.unpack_from(MEMORY, of)[0]
    if kind == lib.KIND_I64:
        return _I64.unpack_from(MEMORY, of)[0]
    if kind == lib.KIND_F32:
        return FloatBits("f32", _U32.unpack_from(MEMORY, of)[0]) if bits else _F32.unpack_from(MEMORY, of)[0]
    if kind == lib.KIND_F64:
        return FloatBits("f64", _U64.unpack_from(MEMORY, of)[0]) if bits else _F64.unpack_from(MEMORY, of)[0]
    if kind == lib.KIND_V128:
        return read_bytes(of, 16)
    value: Any = None
    if _U64.unpack_from(MEMORY, of)[0] != 0:  # store_id 0: null
        if kind == lib.KIND_FUNCREF:
            value = wasmtime.Func._from_raw(lib.wasmtime_func_t.from_buffer_copy(read_bytes(of, 16)))
        elif kind == lib.KIND_EXTERNREF:
            number = lib.externref_data(StoreHandle.of(store).context, of)
            value = _value._unintern(number) if number else OpaqueReference("externref")
        elif kind == lib.KIND_ANYREF:
            value = _anyref(StoreHandle.of(store).context, of)
        else:
            root = _bindings.wasmtime_exnref_t()
            lib.exnref_clone(of, byref(root))
            value = WasmException(StoreHandle.of(store), root)
    if owned:
        unroot(address)
    return value


def _anyref(context: int, of: int) -> OpaqueReference:
    # not wasmtime_anyref_is_i31, which says yes to everything that is not null
    number = c_int32()
    if lib.anyref_i31_get_s(context, of, byref(number)):
        return OpaqueReference("i31ref", number.value)
    if lib.anyref_is_struct(context, of):
        return OpaqueReference("structref")
    if not lib.anyref_is_array(context, of):
        return OpaqueReference("anyref")
    array, length = _bindings.wasmtime_arrayref_t(), c_uint32()
    lib.anyref_as_array(context, of, byref(array))
    try:
        _raise_error(lib.arrayref_len(context, byref(array), byref(length)))
    finally:
        lib.arrayref_unroot(byref(array))
    return OpaqueReference("arrayref", length=length.value)


def unroot(address: int) -> None:
    """Give back the root of the ``wasmtime_val_t`` at an address, and make it a zero."""
    if MEMORY[address] >= lib.KIND_EXTERNREF:
        lib.val_unroot(address)
        pack(_U64, address, 0)


# ── function types ─────────────────────────────────────────────────────────────────────────────

# wasmtime/types/val.h, wasmtime_valtype_kind_t and wasmtime_heaptype_kind_t
_NUMBER_NAMES: Final = ("i32", "i64", "f32", "f64", "v128")
_HEAP_NAMES: Final = (
    "extern", "noextern", "func", "func:concrete", "nofunc", "any", "none", "eq", "i31", "array",
    "array:concrete", "struct", "struct:concrete", "exn", "exn:concrete", "noexn",
)  # fmt: skip


def _valtype_text(pointer: int) -> str:
    # wasm_valtype_kind() ends the process for v128 and for most reference types; this does not.
    description = _bindings.wasmtime_valtype_t()
    lib.valtype_describe(pointer, byref(description))
    try:
        kind = _plain(description.kind)
        if kind < len(_NUMBER_NAMES):
            return _NUMBER_NAMES[kind]
        nullable = bool(description.reftype.nullable)
        number = _plain(description.reftype.heaptype.kind)
    finally:
        lib.valtype_description_delete(byref(description))
    heap = _HEAP_NAMES[number] if number < len(_HEAP_NAMES) else "unknown"
    if nullable and heap in ("func", "extern"):
        return heap + "ref"
    return f"(ref {'null ' if nullable else ''}{heap})"


def _plain(number: Any) -> int:
    return int(getattr(number, "value", number))


def _vector(pointer: int) -> Iterable[int]:
    size, data = _PAIR.unpack_from(MEMORY, pointer)
    for i in range(size):
        yield _U64.unpack_from(MEMORY, data + 8 * i)[0]


def signature_of(store: Storelike, func: wasmtime.Func) -> Signature:
    """The type of a function.

    :raises ValueError: the function belongs to another store.
    """
    handle = StoreHandle.of(store)
    handle.check(func)
    pointer = lib.func_type(handle.context, byref(func._func))
    try:
        return signature_at(pointer)
    finally:
        lib.functype_delete(pointer)


def signature_of_type(type_: wasmtime.FuncType) -> Signature:
    """A function type of wasmtime-py's as text.

    Its own ``str(type_.params[0])`` ends the process for ``v128`` and the GC references.
    """
    return signature_at(type_.ptr())


def signature_at(pointer: Any) -> Signature:
    """The function type at a ``wasm_functype_t *``, as text."""
    return Signature(
        tuple(_valtype_text(p) for p in _vector(lib.functype_params(pointer))),
        tuple(_valtype_text(p) for p in _vector(lib.functype_results(pointer))),
    )


_WASM_KINDS: Final = {"i32": 0, "i64": 1, "f32": 2, "f64": 3, "externref": 128, "funcref": 129}


def function_type(params: Sequence[str], results: Sequence[str]) -> int:
    """A new ``wasm_functype_t *`` (to be deleted by the caller; one per engine, never shared).

    :raises TypeError: a type that host functions can't have here; nothing is leaked.
    """
    for name in (*params, *results):
        if name != "v128" and name not in _WASM_KINDS:
            raise TypeError(f"a host function can't have the type {name}")
    pointer: int = lib.functype_new(byref(_types_vector(params)), byref(_types_vector(results)))
    return pointer


def _types_vector(names: Sequence[str]) -> Any:
    # The vector takes the types over, and the function type the vector.
    pointers = [
        lib.valtype_v128() if name == "v128" else lib.valtype_new(_WASM_KINDS[name]) for name in names
    ]
    vector = _bindings.wasm_valtype_vec_t()
    array = (c_void_p * len(pointers))(*pointers)
    lib.valtype_vec_new(byref(vector), len(pointers), array)
    return vector
