"""The loaded Wasmtime library: the functions we call, with prototypes of our own.

``wasmtime._bindings`` declares the whole C API, each function behind a Python wrapper that makes
pointer objects.  Here pointers are plain integers, which is shorter on the hot path, and each
function object is ours alone (``dll["name"]`` makes a new one), so that wasmtime-py's own
prototypes stay as they are.

Layouts relied on (``wasmtime/val.h``, checked by :func:`check_library`): a ``wasmtime_val_t`` is 32
bytes, its kind in byte 0, its value from byte 8.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import sys
from collections.abc import Callable
from ctypes import c_bool, c_int32, c_size_t, c_ubyte, c_uint64, c_void_p
from typing import Any

from wasmtime import _bindings, _ffi

from trio_wasmdbg.errors import UnsupportedPythonError, UnsupportedWasmtimeError

__all__ = ["SUPPORTED", "address_of", "check_library", "check_python", "dll", "ready_function"]

#: First and first-unsupported major version of the ``wasmtime`` package.
SUPPORTED = (50, 51)

dll: ctypes.CDLL = _ffi.dll
#: The same library, called without giving up the GIL.
_inline_dll = ctypes.PyDLL(dll._name, handle=dll._handle)

# wasmtime/val.h: WASMTIME_I32 and so on
KIND_I32, KIND_I64, KIND_F32, KIND_F64, KIND_V128, KIND_FUNCREF, KIND_EXTERNREF, KIND_ANYREF, KIND_EXNREF = (
    range(9)
)
VAL_SIZE = 32
VAL_OF = 8

wasmtime_val_t: Any = _bindings.wasmtime_val_t
wasmtime_func_t: Any = _bindings.wasmtime_func_t
wasmtime_instance_t: Any = _bindings.wasmtime_instance_t

_missing: list[str] = []


def _function(name: str, restype: Any, *argtypes: Any, inline: bool = False) -> Callable[..., Any]:
    try:
        function = (_inline_dll if inline else dll)[name]
    except AttributeError:
        _missing.append(name)

        def absent(*args: object) -> Any:
            raise UnsupportedWasmtimeError(f"the installed wasmtime library has no function {name}")

        return absent
    function.restype = restype
    function.argtypes = argtypes
    return function


# wasmtime/async.h
poll = _function("wasmtime_call_future_poll", c_bool, c_void_p)
poll_inline = _function("wasmtime_call_future_poll", c_bool, c_void_p, inline=True)
future_delete = _function("wasmtime_call_future_delete", None, c_void_p)
func_call_async = _function(
    "wasmtime_func_call_async",
    c_void_p, c_void_p, c_void_p, c_void_p, c_size_t, c_void_p, c_size_t, c_void_p, c_void_p,
)  # fmt: skip
linker_instantiate_async = _function(
    "wasmtime_linker_instantiate_async", c_void_p, c_void_p, c_void_p, c_void_p, c_void_p, c_void_p, c_void_p
)
linker_define_async_func = _function(
    "wasmtime_linker_define_async_func",
    c_void_p, c_void_p, c_void_p, c_size_t, c_void_p, c_size_t, c_void_p, c_void_p, c_void_p, c_void_p,
)  # fmt: skip
config_async_stack_size_set = _function("wasmtime_config_async_stack_size_set", None, c_void_p, c_size_t)
# The header says that this returns an error pointer; the library returns nothing.
epoch_deadline_async_yield_and_update = _function(
    "wasmtime_context_epoch_deadline_async_yield_and_update", None, c_void_p, c_uint64
)

# wasmtime/val.h, wasmtime/extern.h
val_unroot = _function("wasmtime_val_unroot", None, c_void_p)
externref_new = _function("wasmtime_externref_new", c_bool, c_void_p, c_void_p, c_void_p, c_void_p)
anyref_i31_get_s = _function("wasmtime_anyref_i31_get_s", c_bool, c_void_p, c_void_p, c_void_p)
anyref_is_struct = _function("wasmtime_anyref_is_struct", c_bool, c_void_p, c_void_p)
anyref_as_array = _function("wasmtime_anyref_as_array", c_bool, c_void_p, c_void_p, c_void_p)
arrayref_len = _function("wasmtime_arrayref_len", c_void_p, c_void_p, c_void_p, c_void_p)
arrayref_unroot = _function("wasmtime_arrayref_unroot", None, c_void_p)
anyref_is_array = _function("wasmtime_anyref_is_array", c_bool, c_void_p, c_void_p)
externref_data = _function("wasmtime_externref_data", c_void_p, c_void_p, c_void_p)
exnref_new = _function("wasmtime_exnref_new", c_void_p, c_void_p, c_void_p, c_void_p, c_size_t, c_void_p)
exnref_clone = _function("wasmtime_exnref_clone", None, c_void_p, c_void_p)
exnref_unroot = _function("wasmtime_exnref_unroot", None, c_void_p)
exnref_tag = _function("wasmtime_exnref_tag", c_void_p, c_void_p, c_void_p, c_void_p)
exnref_field_count = _function("wasmtime_exnref_field_count", c_size_t, c_void_p, c_void_p)
exnref_field = _function("wasmtime_exnref_field", c_void_p, c_void_p, c_void_p, c_size_t, c_void_p)
context_set_exception = _function("wasmtime_context_set_exception", c_void_p, c_void_p, c_void_p)
context_take_exception = _function("wasmtime_context_take_exception", c_bool, c_void_p, c_void_p)
tag_type = _function("wasmtime_tag_type", c_void_p, c_void_p, c_void_p)
tagtype_functype = _function("wasm_tagtype_functype", c_void_p, c_void_p)
tagtype_delete = _function("wasm_tagtype_delete", None, c_void_p)
func_type = _function("wasmtime_func_type", c_void_p, c_void_p, c_void_p)
functype_delete = _function("wasm_functype_delete", None, c_void_p)
functype_params = _function("wasm_functype_params", c_void_p, c_void_p)
functype_results = _function("wasm_functype_results", c_void_p, c_void_p)
functype_new = _function("wasm_functype_new", c_void_p, c_void_p, c_void_p)
valtype_new = _function("wasm_valtype_new", c_void_p, c_ubyte)
valtype_v128 = _function("wasmtime_wasm_valtype_v128", c_void_p)
valtype_vec_new = _function("wasm_valtype_vec_new", None, c_void_p, c_size_t, c_void_p)
valtype_describe = _function("wasmtime_valtype_new", None, c_void_p, c_void_p)
valtype_description_delete = _function("wasmtime_valtype_delete", None, c_void_p)

# wasmtime/trap.h, wasmtime/error.h
trap_new = _function("wasmtime_trap_new", c_void_p, c_void_p, c_size_t)
trap_delete = _function("wasm_trap_delete", None, c_void_p)
error_delete = _function("wasmtime_error_delete", None, c_void_p)
trap_trace = _function("wasm_trap_trace", None, c_void_p, c_void_p)
error_trace = _function("wasmtime_error_wasm_trace", None, c_void_p, c_void_p)
frame_vec_delete = _function("wasm_frame_vec_delete", None, c_void_p)
frame_func_index = _function("wasm_frame_func_index", ctypes.c_uint32, c_void_p)
frame_func_offset = _function("wasm_frame_func_offset", c_size_t, c_void_p)
frame_module_offset = _function("wasm_frame_module_offset", c_size_t, c_void_p)
frame_func_name = _function("wasmtime_frame_func_name", c_void_p, c_void_p)
frame_module_name = _function("wasmtime_frame_module_name", c_void_p, c_void_p)

# wasmtime/linker.h, wasmtime/instance.h, wasmtime/module.h
linker_clone = _function("wasmtime_linker_clone", c_void_p, c_void_p)
linker_get = _function(
    "wasmtime_linker_get", c_bool, c_void_p, c_void_p, c_void_p, c_size_t, c_void_p, c_size_t, c_void_p
)
instance_export_get = _function(
    "wasmtime_instance_export_get", c_bool, c_void_p, c_void_p, c_void_p, c_size_t, c_void_p
)
module_new = _function("wasmtime_module_new", c_void_p, c_void_p, c_void_p, c_size_t, c_void_p)
module_validate = _function("wasmtime_module_validate", c_void_p, c_void_p, c_void_p, c_size_t)

# wasmtime/global.h, memory.h, table.h
global_get = _function("wasmtime_global_get", None, c_void_p, c_void_p, c_void_p)
global_set = _function("wasmtime_global_set", c_void_p, c_void_p, c_void_p, c_void_p)
memory_data = _function("wasmtime_memory_data", c_void_p, c_void_p, c_void_p)
memory_data_size = _function("wasmtime_memory_data_size", c_size_t, c_void_p, c_void_p)
table_get = _function("wasmtime_table_get", c_bool, c_void_p, c_void_p, c_uint64, c_void_p)
table_set = _function("wasmtime_table_set", c_void_p, c_void_p, c_void_p, c_uint64, c_void_p)
table_size = _function("wasmtime_table_size", c_uint64, c_void_p, c_void_p)
memory_grow = _function("wasmtime_memory_grow", c_void_p, c_void_p, c_void_p, c_uint64, c_void_p)
table_grow = _function("wasmtime_table_grow", c_void_p, c_void_p, c_void_p, c_uint64, c_void_p, c_void_p)
config_max_wasm_stack_set = _function("wasmtime_config_max_wasm_stack_set", None, c_void_p, c_size_t)


def address_of(pointer: Any) -> int:
    """The address that a ctypes pointer, function or array holds, as an integer (0 for NULL)."""
    return ctypes.cast(pointer, c_void_p).value or 0


def _find_ready_function() -> int:
    # The continuation of a suspended host call is `bool (*)(void *env)`: "done?".  strlen of a
    # two-byte cell that holds "\1\0" (done) or "\0\0" (not yet) is exactly that, so that asking
    # takes no Python on the guest's stack: it can't raise, and is over in nanoseconds.
    # `bool` comes back in the low byte of the same register as `size_t` on every platform that
    # wasmtime's wheels exist for (System V and Windows x86-64, AArch64), and is 0 or 1 here.
    runtime = ctypes.cdll.msvcrt if sys.platform == "win32" else ctypes.CDLL(None)
    return address_of(runtime.strlen)


#: Address of a C function ``bool ready(const char *cell)``: true when the cell holds ``b"\1\0"``.
ready_function: int = _find_ready_function()


def check_python(implementation: str, version: tuple[int, int, int]) -> None:
    """Make sure that the interpreter lets Python code run on a stack that is not its thread's own.

    The callbacks of ctypes run on the guest's fiber.  CPython 3.14.0 compares the stack pointer with the
    bounds of its thread's stack, and ends the process ("Stack overflow"); 3.14.1 leaves pointers outside
    of them alone (python/cpython#139653).

    :raises UnsupportedPythonError: it does not.
    """
    if implementation == "cpython" and version == (3, 14, 0):
        raise UnsupportedPythonError(
            "CPython 3.14.0 ends the process when Python code runs on a guest's stack "
            "(python/cpython#139653): use 3.14.1 or later, or 3.11 to 3.13"
        )


def check_library() -> None:
    """Make sure that the installed ``wasmtime`` is one that this release can drive.

    :raises UnsupportedWasmtimeError: another major version, a function that is missing, or a
        ``wasmtime_val_t`` of another shape.  The message says which release to install.
    """
    advice = f"install one with: pip install 'wasmtime>={SUPPORTED[0]},<{SUPPORTED[1]}'"
    try:
        version = importlib.metadata.version("wasmtime")
    except importlib.metadata.PackageNotFoundError:
        raise UnsupportedWasmtimeError(f"the 'wasmtime' package has no metadata; {advice}") from None
    major = version.split(".", 1)[0]
    if not (major.isdecimal() and SUPPORTED[0] <= int(major) < SUPPORTED[1]):
        raise UnsupportedWasmtimeError(f"wasmtime {version} is installed, which is not supported; {advice}")
    if _missing:
        raise UnsupportedWasmtimeError(f"wasmtime {version} lacks {', '.join(sorted(_missing))}; {advice}")
    if ctypes.sizeof(wasmtime_val_t) != VAL_SIZE or wasmtime_val_t.of.offset != VAL_OF:
        raise UnsupportedWasmtimeError(f"wasmtime {version} lays out its values in another way; {advice}")
    if ctypes.sizeof(c_int32) != 4 or ctypes.sizeof(c_void_p) != 8:  # pragma: no cover
        raise UnsupportedWasmtimeError("only 64-bit platforms are supported")
