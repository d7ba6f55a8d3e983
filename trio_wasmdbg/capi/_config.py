"""What the debugger wants of a :class:`wasmtime.Config`, and how to find out what an engine can do.

A Config can only be written, never read, and Wasmtime ends the process when an engine is made from an
inconsistent one.  So :func:`prepare_config` writes both stack sizes, always together, and only turns on
proposals that every strategy of wasmtime-py supports; and :func:`probe_engine` finds out by trying.
"""

from __future__ import annotations

import weakref
from typing import Final

import wasmtime

from trio_wasmdbg.capi import _library as lib
from trio_wasmdbg.capi._modules import compile, validate
from trio_wasmdbg.errors import EngineConfigError

__all__ = ["HOST_STACK", "MAX_WASM_STACK", "fold_guards", "has_casts", "prepare_config", "probe_engine"]

#: Native stack for guest code, in bytes.  Wasmtime's default is 512 KiB; instrumented code takes up to
#: six times the stack of plain code, and the guest should reach its old depth of recursion.
MAX_WASM_STACK: Final = 4 << 20

#: Native stack that is left for host functions, in bytes, however deep the guest is.  A Python function
#: in a linker runs there, with whatever C code it calls; overflowing it ends the process.
HOST_STACK: Final = 4 << 20

# What instrumented code uses, each with the switch that allows it.
_PROBES: Final = {
    # leaving a fast twin for its slow twin
    "wasm_tail_call": """
        (module (type $t (func (param i32 i32) (result i32))) (table 1 funcref)
          (func (type $t) (return_call_indirect (type $t) (local.get 0) (local.get 1) (i32.const 0))))""",
    # the debug memory is an additional one
    "wasm_multi_memory": "(module (memory 1) (memory 1 1))",
    # zeroing the locals of a frame
    "wasm_bulk_memory": """
        (module (memory 1) (func (memory.fill (i32.const 0) (i32.const 0) (i32.const 0))))""",
    # the slots table is an additional one
    "wasm_reference_types": """
        (module (type $t (func)) (table 1 funcref) (table 1 funcref)
          (func (call_indirect 1 (type $t) (i32.const 0))))""",
    # operands ride through the `if` of a check as block parameters
    "wasm_multi_value": """
        (module (func (param i32) (result i32) (local.get 0) (local.get 0)
          (if (param i32) (result i32) (then))))""",
}

_ALL: Final = """
    (module
      (type $t (func (param i32 i32) (result i32)))
      (import "a" "sp" (global $sp (mut i32)))
      (memory 1) (memory $debug 1 1)
      (table 1 funcref) (table $slots 1 funcref)
      (func (type $t)
        (memory.fill $debug (i32.const 0) (i32.const 0) (i32.const 0))
        (global.set $sp (i32.const 0))
        (local.get 0)
        (if (param i32) (result i32) (i32.load8_u $debug (i32.const 0)) (then))
        drop
        (return_call_indirect $slots (type $t) (local.get 0) (local.get 1) (i32.const 0))))"""

_good_engines: weakref.WeakSet[wasmtime.Engine] = weakref.WeakSet()


def prepare_config(
    config: wasmtime.Config,
    *,
    max_wasm_stack: int = MAX_WASM_STACK,
    host_stack: int = HOST_STACK,
    many_guests: bool = False,
) -> None:
    """Set what the debugger needs; to be called before the :class:`wasmtime.Engine` is made from it.

    Turns on tail calls, multiple memories, bulk memory, reference types and multiple values (all of them
    are on by default), and replaces whatever stack sizes were set before.  Nothing else is touched, but by
    *many_guests*.

    :param max_wasm_stack: bytes of native stack for guest code.
    :param host_stack: bytes of native stack that are left for host functions below it.
    :param many_guests: memories are as large as they are now, without reserved address space and guard
        regions (``memory_reservation``, ``memory_reservation_for_growth`` and ``memory_guard_size`` are 0).
        A guest takes half of the memory maps then, so that 10,000 fit under Linux's usual
        ``vm.max_map_count``; each access is checked, which costs the guest time, and growing a memory
        copies it.
    :raises ValueError: a size that is not positive; a Config that an engine has taken already.
    """
    if max_wasm_stack <= 0 or host_stack <= 0:
        raise ValueError("stack sizes must be positive")
    pointer = config.ptr()
    # The larger first, so that there is no moment at which they contradict each other.
    lib.config_async_stack_size_set(pointer, max_wasm_stack + host_stack)
    lib.config_max_wasm_stack_set(pointer, max_wasm_stack)
    if many_guests:
        config.memory_reservation = 0
        config.memory_reservation_for_growth = 0
        config.memory_guard_size = 0
    config.wasm_tail_call = True
    config.wasm_multi_memory = True
    config.wasm_bulk_memory = True
    config.wasm_reference_types = True
    config.wasm_multi_value = True


def fold_guards(config: wasmtime.Config) -> None:
    """Make the guard region behind each memory a part of its reservation, and have none before it.

    Wasmtime's defaults are 4 GiB of reservation with 32 MiB of guard on both sides.  Compiled code leaves
    out checks of bounds where reservation and guard together reach far enough, whichever of the two it is:
    the machine code stays the same, and a guest takes 6 memory maps instead of 7.
    """
    config.memory_reservation = (4 << 30) + (32 << 20)
    config.memory_guard_size = 0


def probe_engine(engine: wasmtime.Engine) -> None:
    """Make sure that an engine accepts what instrumented code uses.  Asked once per engine.

    :raises EngineConfigError: it does not; ``missing`` names the attributes of :class:`wasmtime.Config`.
    """
    if engine in _good_engines:
        return
    try:
        compile(engine, bytes(wasmtime.wat2wasm(_ALL)))
    except wasmtime.WasmtimeError as whole_error:
        missing = tuple(name for name, text in _PROBES.items() if not _accepts(engine, text))
        if not missing:
            raise EngineConfigError(
                f"the wasmtime.Engine can't compile instrumented code: {whole_error}"
            ) from whole_error
        raise EngineConfigError(
            "the wasmtime.Engine was made from a Config that switches off what the debugger needs: set "
            + ", ".join(f"config.{name} = True" for name in missing)
            + " before making the Engine",
            missing=missing,
        ) from None
    _good_engines.add(engine)


_CAST: Final = """
    (module (type $t (func)) (func (param funcref) (result i32) (ref.test (ref $t) (local.get 0))))"""

_casts: weakref.WeakKeyDictionary[wasmtime.Engine, bool] = weakref.WeakKeyDictionary()


def has_casts(engine: wasmtime.Engine) -> bool:
    """Whether an engine has ``ref.test``, of the garbage collection proposal.  Asked once per engine."""
    found = _casts.get(engine)
    if found is None:
        found = _casts[engine] = _accepts(engine, _CAST)
    return found


def _accepts(engine: wasmtime.Engine, text: str) -> bool:
    try:
        validate(engine, bytes(wasmtime.wat2wasm(text)))
    except wasmtime.WasmtimeError:
        return False
    return True
