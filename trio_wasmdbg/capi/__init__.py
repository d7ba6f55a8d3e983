"""Wasmtime's C API as this package uses it: calls that can be suspended, and everything around them.

* **What this layer is**: the only place that knows ctypes and wasmtime-py's private bindings.  It keeps
  the C API's rules (lifetimes, order, what may never be called) so that nobody above has to know them:
  a mistake made above ends in an exception, not in an abort of the process.  It decides nothing.
* **What it may import**: ``wasmtime``, ``ctypes``, and this package's ``errors``.  No trio: a call future
  is polled by whoever wants to, on whichever thread.
* **Where to start reading**: :mod:`._calls` (a call future's life), then :mod:`._host_functions` (how a
  guest is suspended and answered).
"""

from __future__ import annotations

import sys

from trio_wasmdbg.capi._calls import CallFuture, start_call, start_instantiate
from trio_wasmdbg.capi._config import fold_guards, has_casts, prepare_config, probe_engine
from trio_wasmdbg.capi._exceptions import make_exception, tag_params
from trio_wasmdbg.capi._globals import I32Global, get_global, new_global, set_global
from trio_wasmdbg.capi._host_functions import Hook, Pending, define_async, define_hook
from trio_wasmdbg.capi._instances import Extern, RawInstance, RawLinker
from trio_wasmdbg.capi._library import check_library, check_python
from trio_wasmdbg.capi._limits import max_map_count, memory_maps_in_use
from trio_wasmdbg.capi._memory import MemoryView, memory_grow
from trio_wasmdbg.capi._modules import compile, validate
from trio_wasmdbg.capi._outcomes import Failed, Outcome, RawFrame, Returned, Trapped
from trio_wasmdbg.capi._statistics import abandoned_futures, live_futures, live_host_functions, live_pendings
from trio_wasmdbg.capi._store import StoreHandle, Storelike, identity_of
from trio_wasmdbg.capi._tables import table_fill, table_get, table_grow, table_set, table_size
from trio_wasmdbg.capi._values import (
    FloatBits,
    OpaqueReference,
    Signature,
    WasmException,
    signature_of,
    signature_of_type,
)

__all__ = [
    # calls
    "CallFuture",
    "Failed",
    "Outcome",
    "RawFrame",
    "Returned",
    "Trapped",
    "start_call",
    "start_instantiate",
    # host functions
    "Hook",
    "Pending",
    "define_async",
    "define_hook",
    # stores and what is in them
    "Extern",
    "FloatBits",
    "I32Global",
    "MemoryView",
    "OpaqueReference",
    "RawInstance",
    "RawLinker",
    "Signature",
    "StoreHandle",
    "Storelike",
    "WasmException",
    "get_global",
    "identity_of",
    "make_exception",
    "memory_grow",
    "new_global",
    "set_global",
    "signature_of",
    "signature_of_type",
    "tag_params",
    "table_fill",
    "table_get",
    "table_grow",
    "table_set",
    "table_size",
    # engines and modules
    "check_library",
    "check_python",
    "fold_guards",
    "compile",
    "has_casts",
    "prepare_config",
    "probe_engine",
    "validate",
    # what is alive
    "abandoned_futures",
    "live_futures",
    "live_host_functions",
    "live_pendings",
    "max_map_count",
    "memory_maps_in_use",
]

check_python(sys.implementation.name, sys.version_info[:3])
check_library()
