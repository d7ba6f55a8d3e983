"""trio_wasmdbg: put a WebAssembly guest under a debugger, inside a trio application.

General layout, bottom up (``tests/architecture`` holds every folder to it):

* ``errors``, ``addresses``: what everything may import;
* ``wasm``, ``instrument``, ``symbols``, ``engine``: pure; formats and decisions, no waiting;
* ``capi``: the only folder that knows ctypes and wasmtime's private bindings; no trio in it;
* ``debuggee``: a guest under control, in a nursery;
* ``servers``, ``testing``, ``cli``: the faces;
* ``guests``: small bundled programs, compiled from C.
"""

from __future__ import annotations

from trio_wasmdbg._version import __version__
from trio_wasmdbg.addresses import CodeOffset, ModuleOffset
from trio_wasmdbg.capi import OpaqueReference, WasmException, prepare_config
from trio_wasmdbg.debuggee import (
    OPTIMISED_OUT,
    UNAVAILABLE,
    Activation,
    Branch,
    Called,
    CallTrace,
    Coverage,
    Debuggee,
    Executed,
    Frame,
    Guest,
    GuestException,
    GuestInstance,
    GuestModule,
    GuestTrap,
    ModuleCache,
    Progress,
    Returned,
    Statistics,
    StoreView,
    Variable,
    debug_wasm,
    load_module,
    make_engine,
    open_debuggee,
    run_debuggee,
)
from trio_wasmdbg.engine import State
from trio_wasmdbg.engine import events as events
from trio_wasmdbg.errors import (
    CallAbandonedError,
    DebuggerError,
    EngineConfigError,
    EnvironmentProblem,
    EvaluationError,
    ExpressionError,
    GrowthRefusedError,
    InternalError,
    MalformedModuleError,
    ModuleError,
    NotFoundError,
    OptimisedOutError,
    OutOfBoundsError,
    ReentryError,
    RemoteProtocolError,
    StaleHandleError,
    StoreClosedError,
    StoreLimitError,
    TooManyGuests,
    UnsupportedFeatureError,
    UnsupportedInstructionError,
    UnsupportedPythonError,
    UnsupportedWasmtimeError,
    UsageError,
    WrongStateError,
)
from trio_wasmdbg.instrument import FrameMode
from trio_wasmdbg.servers.gdb import GuestOutput, serve_gdb
from trio_wasmdbg.symbols import format_value
from trio_wasmdbg.wasm import NaN

__all__ = [
    "OPTIMISED_OUT",
    "UNAVAILABLE",
    "Activation",
    "Branch",
    "CallAbandonedError",
    "CodeOffset",
    "Debuggee",
    "DebuggerError",
    "EngineConfigError",
    "EnvironmentProblem",
    "EvaluationError",
    "ExpressionError",
    "Frame",
    "FrameMode",
    "Guest",
    "GuestException",
    "GuestInstance",
    "GuestModule",
    "Coverage",
    "Executed",
    "CallTrace",
    "Returned",
    "Called",
    "GuestTrap",
    "GuestOutput",
    "GrowthRefusedError",
    "InternalError",
    "MalformedModuleError",
    "ModuleCache",
    "ModuleError",
    "ModuleOffset",
    "NaN",
    "NotFoundError",
    "OpaqueReference",
    "OptimisedOutError",
    "OutOfBoundsError",
    "Progress",
    "ReentryError",
    "RemoteProtocolError",
    "StaleHandleError",
    "State",
    "Statistics",
    "StoreClosedError",
    "StoreLimitError",
    "StoreView",
    "TooManyGuests",
    "UnsupportedFeatureError",
    "UnsupportedInstructionError",
    "UnsupportedPythonError",
    "UnsupportedWasmtimeError",
    "UsageError",
    "Variable",
    "WasmException",
    "WrongStateError",
    "__version__",
    "debug_wasm",
    "events",
    "format_value",
    "load_module",
    "make_engine",
    "open_debuggee",
    "prepare_config",
    "run_debuggee",
    "serve_gdb",
]
