"""Host functions that suspend the guest: the hook of the instrumented code, and asynchronous imports.

Only the two callbacks of this file run on a guest's stack (its fiber), where Python has little room
and where an exception has nowhere to go.  So they read the arguments, note the request, and name the
continuation, which is a function of the C runtime (see :data:`_library.ready_function`).
Everything else happens outside, between two polls: answering means to write the result where Wasmtime
will look for it and to set the cell that the continuation looks at.

State of a suspension is kept on the call future that is suspended (a fiber waits in one place at a
time), never on the hook: while one guest is paused in a hook, a nested call may be paused in the same
hook, and deleting a future forgets its suspension.
"""

from __future__ import annotations

import ctypes
import itertools
import weakref
from collections.abc import Callable, Sequence
from ctypes import CFUNCTYPE, c_size_t, c_void_p
from struct import Struct
from typing import Any, Final, TypeAlias

import wasmtime
from wasmtime import _bindings

from trio_wasmdbg.capi import _library as lib
from trio_wasmdbg.capi._calls import CallFuture, start_instantiate
from trio_wasmdbg.capi._exceptions import trap_that_throws
from trio_wasmdbg.capi._instances import RawLinker
from trio_wasmdbg.capi._modules import compile
from trio_wasmdbg.capi._outcomes import Failed
from trio_wasmdbg.capi._raw_memory import MEMORY
from trio_wasmdbg.capi._statistics import HOST_FUNCTIONS
from trio_wasmdbg.capi._store import StoreHandle, Storelike
from trio_wasmdbg.capi._values import WasmException, from_raw, function_type, to_raw, unroot
from trio_wasmdbg.errors import InternalError

__all__ = ["Hook", "Pending", "define_async", "define_hook"]

# wasmtime_async_continuation_t: callback, environment, finalizer.  The finalizer stays NULL: what
# there is to free, the future's owner frees.
_set_continuation = Struct("<QQQ").pack_into
# Three i32 values of 32 bytes each; and one: kind (0 is i32) and value.
_hook_arguments = Struct("<8xI28xI28xI").unpack_from
_set_u32 = Struct("<QI").pack_into
_set_pointer = Struct("<Q").pack_into

_READY: Final = lib.ready_function
_DONE = ctypes.create_string_buffer(b"\1", 2)
_DONE_ADDRESS: Final = ctypes.addressof(_DONE)

_numbers = itertools.count(1)


# ── what Wasmtime calls ────────────────────────────────────────────────────────────────────────


def _call(
    number: int,
    caller: int,
    arguments: int,
    n_arguments: int,
    results: int,
    n_results: int,
    trap: int,
    continuation: int,
) -> None:
    try:
        HOST_FUNCTIONS[number](arguments, results, trap, continuation)
    except BaseException as exc:
        # A continuation must be set, whatever happens: without one the process is aborted.
        _set_continuation(MEMORY, continuation, _READY, _NEVER_ADDRESS, 0)
        _ORPHANS.append(exc)


_Forget: TypeAlias = Callable[[int, None], object]


# Stores that live until the interpreter exits are freed when this module's globals are gone already:
# so what this needs is bound here, and the callback objects are never freed.
def _drop(number: int, forget: _Forget = HOST_FUNCTIONS.pop) -> None:
    forget(number, None)


_on_call = CFUNCTYPE(None, c_void_p, c_void_p, c_void_p, c_size_t, c_void_p, c_size_t, c_void_p, c_void_p)(
    _call
)
_on_drop = CFUNCTYPE(None, c_void_p)(_drop)
for _callback in (_on_call, _on_drop):
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(_callback))


# Where a suspension ends up that could not even be noted on its future: it is never ready.
_NEVER = ctypes.create_string_buffer(2)
_NEVER_ADDRESS: Final = ctypes.addressof(_NEVER)
_ORPHANS: list[BaseException] = []

_ON_CALL: Final = lib.address_of(_on_call)
_ON_DROP: Final = lib.address_of(_on_drop)


def _define(
    linker: RawLinker,
    module: str,
    name: str,
    params: Sequence[str],
    results: Sequence[str],
    body: Callable[[int, int, int, int], None],
) -> int:
    # Returns the number by which the callbacks know the function.
    type_ = function_type(params, results)
    number = next(_numbers)
    HOST_FUNCTIONS[number] = body
    module_text, name_text = module.encode(), name.encode()
    try:
        # The library owns `number` from here on, and gives it back through _on_drop, also on error.
        error = lib.linker_define_async_func(
            linker.pointer, module_text, len(module_text), name_text, len(name_text), type_,
            _ON_CALL, number, _ON_DROP,
        )  # fmt: skip
    finally:
        lib.functype_delete(type_)
    if error:
        raise wasmtime.WasmtimeError._from_ptr(ctypes.cast(error, ctypes.POINTER(_bindings.wasmtime_error_t)))
    return number


# (module (import "" "" (func)))
_MARKER: Final = bytes.fromhex("0061736d0100000001040160000002050100000000")
_markers: weakref.WeakKeyDictionary[wasmtime.Engine, wasmtime.Module] = weakref.WeakKeyDictionary()


def _make_async(handle: StoreHandle) -> None:
    """Make Wasmtime know that guests of this store may be suspended.

    From then on it refuses ordinary calls into the store ("`*_async` functions are used instead").  It
    learns that only when a module that imports an asynchronous function is instantiated; a function that
    is taken out of a linker, as a hook is, tells it nothing, and an ordinary call that reaches such a
    function ends the process.
    """
    if handle._is_async:
        return
    linker = RawLinker.new(handle.engine)
    _define(linker, "", "", (), (), _never_called)
    module = _markers.get(handle.engine)
    if module is None:
        module = _markers[handle.engine] = compile(handle.engine, _MARKER)
    future = start_instantiate(handle, linker, module)
    future.poll()
    outcome = future.outcome()
    future.delete()
    if isinstance(outcome, Failed):  # such as a limit on the store's number of instances
        raise outcome.error
    handle._is_async = True


def _never_called(arguments: int, results: int, trap: int, continuation: int) -> None:
    raise InternalError("the marker's import was called")


# ── the hook ───────────────────────────────────────────────────────────────────────────────────


class Hook:
    """The host's end of the instrumented code's hook, ``(kind, fp, rp) -> i32``.

    :ivar func: the function to be put in the guest's table (or to be given to a linker).
    """

    __slots__ = ("_handle", "func", "name")

    def __init__(self, handle: StoreHandle, name: str) -> None:
        self._handle = handle
        self.name = name
        self.func: wasmtime.Func

    def resume(self, value: int) -> None:
        """Give the answer for which the innermost call of the store waits; takes effect at the next poll.

        :param value: i32, signed or unsigned.
        :raises ValueError: no i32; the call still waits.
        :raises InternalError: the innermost call does not wait for this hook.
        """
        future = self._waiting()
        if not -0x8000_0000 <= value <= 0xFFFF_FFFF:
            raise ValueError(f"{value} does not fit into i32")
        _set_u32(MEMORY, future._results_address, 0, value & 0xFFFF_FFFF)
        future._answered()

    def throw(self, exception: WasmException) -> None:
        """Let the innermost call of the store throw where it waits; takes effect at the next poll.

        :raises ValueError: the exception belongs to another store; the call still waits.
        :raises InternalError: the innermost call does not wait for this hook.
        """
        future = self._waiting()
        _set_pointer(MEMORY, future._trap_address, trap_that_throws(self._handle, exception))
        future._answered()

    def _waiting(self) -> CallFuture:
        live = self._handle._live
        future = live[-1] if live else None
        if future is None or future.waiting is not self:
            raise InternalError(f"{self!r} is not what the innermost call waits for")
        return future

    def __repr__(self) -> str:
        return f"<Hook {self.name!r}>"


def define_hook(
    linker: RawLinker | None,
    store: Storelike,
    name: str,
    on_hook: Callable[[int, int, int], int | None],
) -> Hook:
    """Make a hook for a store.  A store may have any number.

    ``on_hook(kind, fp, rp)`` runs on the guest's stack, inside ``poll()``; the three numbers are
    unsigned.  It returns the answer (an i32), and the guest goes on at once; or None, and the guest
    is suspended, ``poll()`` returns False, and :meth:`Hook.resume` gives the answer later.  If it
    raises, the guest is suspended, and the exception is found in :attr:`CallFuture.interrupted`.

    :param linker: None, or the linker in which the function is also to be defined as
        ``"trio_wasmdbg" name``.
    From now on, ordinary calls into the store are refused by Wasmtime.

    :raises wasmtime.WasmtimeError: that name is taken in the linker; the store's limit leaves no room for
        one more instance (the first hook or asynchronous function of a store takes one).
    :raises ReentryError: a guest of the store is running.
    """
    handle = StoreHandle.of(store)
    _make_async(handle)
    hook = Hook(handle, name)
    live = handle._live

    def body(arguments: int, results: int, trap: int, continuation: int) -> None:
        try:
            kind, fp, rp = _hook_arguments(MEMORY, arguments)
            answer = on_hook(kind, fp, rp)
            if answer is not None:
                if not -0x8000_0000 <= answer <= 0xFFFF_FFFF:
                    raise ValueError(f"the hook's answer {answer} does not fit into i32")
                _set_u32(MEMORY, results, 0, answer & 0xFFFF_FFFF)
                _set_continuation(MEMORY, continuation, _READY, _DONE_ADDRESS, 0)
                return
        except BaseException as exc:
            live[-1].interrupted = exc
        future = live[-1]
        future._cell[0] = 0
        future._results_address = results
        future._trap_address = trap
        future.waiting = hook
        _set_continuation(MEMORY, continuation, _READY, future._cell_address, 0)

    own = RawLinker.new(handle.engine)
    _define(own, "trio_wasmdbg", name, ("i32", "i32", "i32"), ("i32",), body)
    func = own.get(handle, "trio_wasmdbg", name)
    assert isinstance(func, wasmtime.Func)
    hook.func = func
    if linker is not None:
        linker.define(handle, "trio_wasmdbg", name, func)
    return hook


_ZEROS: Final = {"i32": 0, "i64": 0, "f32": 0.0, "f64": 0.0, "v128": bytes(16)}


# ── asynchronous imports ───────────────────────────────────────────────────────────────────────


class Pending:
    """One call of an asynchronous host function, waiting for its results.

    :ivar args: the arguments, as Python values.
    :ivar token: free for the driver's use.
    :ivar future: the suspended call.
    :ivar answered: :meth:`finish` or :meth:`fail` was called.
    """

    __slots__ = ("_result_types", "_results", "_trap", "answered", "args", "future", "token")

    def __init__(
        self,
        args: tuple[Any, ...],
        future: CallFuture,
        result_types: tuple[str, ...],
        results: int,
        trap: int,
    ) -> None:
        self.args = args
        self.token: object = None
        self.future = future
        self.answered = False
        self._result_types = result_types
        self._results = results
        self._trap = trap

    def finish(self, results: Sequence[object] = ()) -> None:
        """Give the results; the guest goes on at the next poll.

        :raises TypeError: wrong number of results, or one of the wrong type; the call still waits.
        :raises ValueError: a result out of range; the call still waits.
        :raises InternalError: the call does not wait any more.
        """
        self._check()
        if len(results) != len(self._result_types):
            raise TypeError(f"the host function has {len(self._result_types)} results, not {len(results)}")
        done = 0
        try:
            for valtype, value in zip(self._result_types, results, strict=True):
                to_raw(self.future.handle, valtype, value, self._results + lib.VAL_SIZE * done)
                done += 1
        except BaseException:
            for i in range(done):
                unroot(self._results + lib.VAL_SIZE * i)
            raise
        self.answered = True
        self.future._answered()

    def finish_with_zeros(self) -> None:
        """Give zeros and nulls as results; the guest goes on at the next poll.

        :raises InternalError: the call does not wait any more.
        """
        self.finish([_ZEROS.get(valtype) for valtype in self._result_types])

    def fail(self, exc: BaseException) -> None:
        """Make the guest's call fail; ``exc`` comes back as :attr:`Failed.exception`, by identity.

        :raises InternalError: the call does not wait any more.
        """
        self._check()
        message = f"{type(exc).__name__}: {exc}".encode(errors="replace")
        # The library owns the trap from here on.
        _set_pointer(MEMORY, self._trap, lib.trap_new(message, len(message)))
        self.answered = True
        self.future._exception = exc
        self.future._answered()

    def throw(self, exception: WasmException) -> None:
        """Let the host function throw an exception, which the guest may catch.

        :raises ValueError: it belongs to another store; the call still waits.
        :raises InternalError: the call does not wait any more.
        """
        self._check()
        _set_pointer(MEMORY, self._trap, trap_that_throws(self.future.handle, exception))
        self.answered = True
        self.future._answered()

    def _check(self) -> None:
        if self.answered or self.future.waiting is not self:
            raise InternalError("this host call does not wait for an answer (any more)")

    def __repr__(self) -> str:
        return f"<Pending {self.args!r}{' answered' if self.answered else ''}>"


def define_async(
    linker: RawLinker,
    store: Storelike,
    module: str,
    name: str,
    params: Sequence[str],
    results: Sequence[str],
    on_call: Callable[[Pending], None],
) -> None:
    """Define an asynchronous host function in a linker, for one store.

    ``on_call(pending)`` runs on the guest's stack, inside ``poll()``: note and return only.  If it has
    answered the pending when it returns, the guest goes on at once; else it is suspended.  If it
    raises, the guest is suspended, and the exception is found in :attr:`CallFuture.interrupted`.

    :param params: types, as text: ``i32 i64 f32 f64 v128 funcref externref``.
    :raises TypeError: another type.
    :raises wasmtime.WasmtimeError: the name is taken.
    """
    handle = StoreHandle.of(store)
    _make_async(handle)
    live = handle._live
    n_params = len(params)
    result_types = tuple(results)

    def body(arguments: int, results: int, trap: int, continuation: int) -> None:
        future = live[-1]
        pending = Pending((), future, result_types, results, trap)
        _set_continuation(MEMORY, continuation, _READY, future._suspend(pending, results), 0)
        try:
            # The roots of the arguments stay Wasmtime's.
            pending.args = tuple(from_raw(handle, arguments + lib.VAL_SIZE * i) for i in range(n_params))
            on_call(pending)
        except BaseException as exc:
            future.interrupted = exc

    _define(linker, module, name, params, result_types, body)
