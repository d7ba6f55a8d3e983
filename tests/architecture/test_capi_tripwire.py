"""Guest debugging in the loaded library, looked for by name, on every platform.

``test_tripwire.py`` lists what the library exports, where its file format can be read.  This one asks
the loaded library itself for the names that such functions would have, after Wasmtime's Rust API
(``Config::guest_debug``, ``Store::set_debug_handler``, ``debug_exit_frames``, ``edit_breakpoints``) and
the C API's way of naming.
"""

from __future__ import annotations

import pytest
from wasmtime import _ffi

STEMS = [
    "config_guest_debug_set",
    "config_debug_guest_set",
    "store_set_debug_handler",
    "context_set_debug_handler",
    "store_debug_handler",
    "context_debug_handler",
    "store_clear_debug_handler",
    "context_clear_debug_handler",
    "store_debug_frames",
    "context_debug_frames",
    "store_debug_exit_frames",
    "context_debug_exit_frames",
    "debug_exit_frames",
    "store_edit_breakpoints",
    "context_edit_breakpoints",
    "store_breakpoints",
    "context_breakpoints",
    "breakpoint_add",
    "breakpoint_remove",
    "context_single_step",
    "frame_handle_local",
    "frame_handle_stack",
    "debuggee_new",
    "debuggee_run",
    "instance_debug_memory",
    "instance_debug_global",
    "module_debug_bytecode",
    "coredump_new",
    "error_coredump",
]


@pytest.mark.parametrize("stem", STEMS)
def test_no_guest_debug_function_answers_to(stem: str) -> None:
    name = f"wasmtime_{stem}"
    assert not hasattr(_ffi.dll, name), (
        f"the wasmtime library has learnt {name}: read its header, then reopen decision 0001 (twin code) "
        "and see whether native guest debugging can now replace or complement the rewriter"
    )


def test_the_question_is_asked_of_the_right_library() -> None:
    assert hasattr(_ffi.dll, "wasmtime_call_future_poll")
