"""What rewriting a module has computed, as bytes and back: a second load need not do it again.

The format is ours, and holds numbers only: nothing in it is executed, or trusted with a size::

    8 bytes    MAGIC
    32 bytes   checksum of all that follows, keyed by what was rewritten, and by what
    u32        size of the header
    header     JSON: what was appended, which functions are opaque, how long the arrays are
    columns    one u32 of each function, column after column (see ``_COLUMNS``)
    arrays     u32 each: check sites, and the two arrays of the code map, of all functions one after another
    the rewritten module

Numbers are little-endian.  The checksum says that the bytes are those that were saved for this module by
this program; whatever is read is checked against the module all the same, so that a file made up by hand
gives an error and nothing else.
"""

from __future__ import annotations

import json
import struct
import sys
from array import array
from collections.abc import Callable
from hashlib import blake2b
from itertools import chain, repeat
from typing import Any, Final

from ..errors import UnsupportedFeatureError, UnsupportedInstructionError
from ..wasm import F32, F64, I32, I64, V128, Function, FuncType, Module, ValType, ref_type
from ._additions import TOP_TYPES, Additions
from ._body import INSERTED
from ._code_map import CodeMap
from ._frames import HEADER_SIZE, MAX_FRAME, FrameLayout
from ._layout import Layout, Reserved
from ._modes import FRAME_MODES
from ._plans import FunctionPlan, Instrumented, no_tick

__all__ = ["DamagedError", "restored", "saved"]

MAGIC: Final = b"twdbgrw1"
_CHECKSUM: Final = 32
_HEADER_AT: Final = len(MAGIC) + _CHECKSUM + 4

_COLUMNS: Final = ("instructions", "frame_size", "flags", "sites", "ranges", "start", "length")
_WIDE, _ESCAPABLE, _OPAQUE = 1, 2, 4

_NUMBERS: Final = {type.code: type for type in (I32, I64, F32, F64, V128)}
_UNSIGNED: Final = 0xFFFF_FFFF & ~INSERTED


class DamagedError(Exception):
    """Bytes that are not what :func:`saved` made of this module."""


def saved(instrumented: Instrumented, key: bytes, tick: Callable[[], None] = no_tick) -> list[bytes]:
    """The pieces of what is to be saved.

    :param key: 32 bytes that stand for the original module's contents and this program's version.
    :param tick: called now and then, as by :func:`~trio_wasmdbg.instrument.instrument`.
    """
    columns = {name: array("I") for name in _COLUMNS}
    sites, new, old = array("I"), array("I"), array("I")
    for function, start, end, starts, origins in instrumented.code_map.bodies():
        plan = instrumented.plans[function]
        row = [0, 0, _OPAQUE, 0]
        if plan is not None:
            flags = (_WIDE if plan.frame.slot_size == 16 else 0) | (_ESCAPABLE if plan.escapable else 0)
            row = [plan.instructions, plan.frame.size, flags, len(plan._sites)]
            sites += plan._sites
        for name, value in zip(_COLUMNS, [*row, len(starts), start, end - start], strict=True):
            columns[name].append(value)
        new += starts
        old += origins
        if len(columns["start"]) % 256 == 0:
            tick()
    additions = instrumented.additions
    header = {
        "mode": instrumented.mode,
        "size": len(instrumented.original.data),
        "functions": len(columns["start"]),
        "sites": len(sites),
        "ranges": len(new),
        "wasm": len(instrumented.wasm),
        "types": [_type_out(type) for type in additions.types],
        "references": list(additions.reference_tables),
        "helpers": list(additions.helpers),
        "executed": [[code.hex(), _type_out(type)] for code, type in additions.executed],
        "opaque": {
            str(index): [str(why), why.offset, isinstance(why, UnsupportedInstructionError)]
            for index, why in instrumented.opaque.items()
        },
    }
    text = json.dumps(header, separators=(",", ":")).encode()
    pieces = [struct.pack("<I", len(text)), text]
    pieces += [_array_out(each) for each in (*columns.values(), sites, new, old)]
    pieces.append(instrumented.wasm)
    return [MAGIC, _checksum(key, pieces), *pieces]


def restored(module: Module, key: bytes, data: bytes, tick: Callable[[], None] = no_tick) -> Instrumented:
    """What was saved of *module*.

    :param tick: called now and then, as by :func:`~trio_wasmdbg.instrument.instrument`.
    :raises DamagedError: *data* was not saved with this key, or is damaged.
    """
    view = memoryview(data)
    if len(data) < _HEADER_AT or data[: len(MAGIC)] != MAGIC:
        raise DamagedError("it does not begin as it should")
    if data[len(MAGIC) : _HEADER_AT - 4] != _checksum(key, [view[_HEADER_AT - 4 :]]):
        raise DamagedError("the checksum is wrong")
    try:
        return _restored(module, view, tick)
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise DamagedError(f"it makes no sense: {error!r}") from error


def _restored(module: Module, view: memoryview, tick: Callable[[], None]) -> Instrumented:
    (size,) = struct.unpack_from("<I", view, _HEADER_AT - 4)
    position = _HEADER_AT + size
    header = json.loads(bytes(view[_HEADER_AT:position]))
    defined = [function for function in module.functions if function.body is not None]
    _require(header["size"] == len(module.data), "it belongs to another module")
    _require(header["functions"] == len(defined), "number of functions")
    lengths = [len(defined)] * len(_COLUMNS) + [header["sites"], header["ranges"], header["ranges"]]
    wasm_size = header["wasm"]
    _require(min([wasm_size, *lengths]) >= 0, "a length")
    _require(position + 4 * sum(lengths) + wasm_size == len(view), "its size")
    arrays: list[array[int]] = []
    for length in lengths:
        arrays.append(_array_in(view[position : position + 4 * length]))
        position += 4 * length
        tick()
    mode = header["mode"]
    _require(mode in FRAME_MODES, "the mode")
    result = Instrumented(
        module, mode, Reserved.of(module), _additions(module, header), bytes(view[position:]),
        opaque={int(index): _opaque(int(index), why) for index, why in header["opaque"].items()},
    )  # fmt: skip
    _functions(result, defined, arrays, tick)
    return result


def _additions(module: Module, header: dict[str, Any]) -> Additions:
    additions = Additions(module)
    for entry in header["types"]:
        additions.type_index(_type_in(module, entry))
    for kind in header["references"]:
        _require(kind in TOP_TYPES and kind not in additions.reference_tables, "a kind of reference")
        additions.reference_tables[kind] = additions.slots_table + 1 + len(additions.reference_tables)
    for code, entry in header["executed"]:
        number = len(additions.executed)
        item = bytes.fromhex(code), _type_in(module, entry)
        additions.executed.append(item)
        additions.executed_numbers[item] = number
    for name, first, second in header["helpers"]:
        _require(isinstance(name, str), "a helper's name")
        additions.helper(name, _count(first), _count(second))
    counts = (len(additions.types), len(additions.executed_numbers), len(additions.helpers))
    expected = (len(header["types"]), len(header["executed"]), len(header["helpers"]))
    _require(counts == expected, "an item is there twice")
    return additions


def _functions(
    result: Instrumented, defined: list[Function], arrays: list[array[int]], tick: Callable[[], None]
) -> None:
    module = result.original
    *columns, sites, new, old = arrays
    counts, _, flags, site_counts, range_counts, starts, lengths = columns
    _require(sum(site_counts) == len(sites) and sum(range_counts) == len(new), "the arrays' lengths")
    opaque = {function.index for function, flag in zip(defined, flags, strict=True) if flag & _OPAQUE}
    _require(opaque == set(result.opaque), "which functions are opaque")
    stubs = len({function.type.results for function in defined})
    result.layout = layout = Layout.of(len(sites), sum(counts), len(defined), stubs)
    stop_base = layout.stops_base
    imported = module.imported_functions
    first_slot = layout.first_function_slot - imported
    plans: list[FunctionPlan | None] = [None] * imported
    result.plans = plans
    ranges: list[tuple[array[int], array[int]]] = []
    site = place = before = 0
    for function, count, frame_size, flag, site_count, range_count, start, length in zip(
        defined, *columns, strict=True
    ):
        body = function.body
        assert body is not None
        _require(before <= start and start + length <= len(result.wasm), "a body's place")
        before = start + length
        starts_here, origins = new[place : place + range_count], old[place : place + range_count]
        place += range_count
        _require(max(starts_here) <= length, "a range's place")
        _require(max(map(_UNSIGNED.__and__, origins)) <= body.end, "a range's origin")
        ranges.append((starts_here, origins))
        sites_here = sites[site : site + site_count]
        if flag & _OPAQUE:
            _require(not count and not site_count, "an opaque function")
            plans.append(None)
            continue
        _require(0 < count <= body.end - body.code_start, "number of instructions")
        _require(not site_count or max(sites_here) >> 2 < count, "a check site")
        frame = _frame(function, frame_size, bool(flag & _WIDE))
        plans.append(
            FunctionPlan(
                function.index, first_slot + function.index, frame, bool(flag & _ESCAPABLE),
                count, site, stop_base, sites_here, result,
            )
        )  # fmt: skip
        site += site_count
        stop_base += count
        if len(plans) % 256 == 0:
            tick()
    functions = array("I", [function.index for function in defined])
    ends = array("I", [start + length for start, length in zip(starts, lengths, strict=True)])
    result.code_map = CodeMap(functions, starts, ends, ranges)


def _frame(function: Function, size: int, wide: bool) -> FrameLayout:
    body = function.body
    assert body is not None
    groups = chain.from_iterable(repeat(type, count) for count, type in body.local_groups)
    locals_ = (*function.type.params, *groups)
    slot = 16 if wide else 8
    _require(HEADER_SIZE + slot * len(locals_) <= size <= MAX_FRAME and not size % 16, "a frame's size")
    return FrameLayout(size, slot, locals_)


def _opaque(index: int, why: list[Any]) -> UnsupportedFeatureError:
    text, offset, instruction = why
    _require(isinstance(text, str) and (offset is None or isinstance(offset, int)), "an explanation")
    # The text has the place in it already.
    error = (UnsupportedInstructionError if instruction else UnsupportedFeatureError)(text)
    error.function, error.offset = index, offset
    return error


# ── small things ───────────────────────────────────────────────────────────────────────────────


def _require(condition: bool, what: str) -> None:
    if not condition:
        raise ValueError(what)


def _count(value: object) -> int:
    if not isinstance(value, int) or not 0 <= value < 1 << 32:
        raise ValueError(f"{value!r} is no index")
    return value


def _checksum(key: bytes, pieces: list[bytes] | list[memoryview]) -> bytes:
    checksum = blake2b(digest_size=_CHECKSUM, key=key)
    for piece in pieces:
        checksum.update(piece)
    return checksum.digest()


def _array_out(numbers: array[int]) -> bytes:
    if sys.byteorder == "big":
        numbers = numbers[:]
        numbers.byteswap()
    return numbers.tobytes()


def _array_in(data: memoryview) -> array[int]:
    numbers = array("I")
    numbers.frombytes(data)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


def _type_out(type: FuncType) -> list[list[int | list[int]]]:
    def out(one: ValType) -> int | list[int]:
        return one.code if one.heap is None else [one.heap, int(one.nullable)]

    return [[out(one) for one in type.params], [out(one) for one in type.results]]


def _type_in(module: Module, entry: Any) -> FuncType:
    def read(one: Any) -> ValType:
        if isinstance(one, int):
            return _NUMBERS[one]
        heap, nullable = one
        _require(isinstance(heap, int) and heap < len(module.types), "a reference's type")
        return ref_type(bool(nullable), heap)

    params, results = entry
    return FuncType(tuple(map(read, params)), tuple(map(read, results)))
