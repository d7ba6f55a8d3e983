"""Call futures: running a guest in slices, on whichever thread, and stopping it for good.

A :class:`CallFuture` owns one ``wasmtime_call_future_t`` and everything that the header
(``wasmtime/async.h``) wants kept alive and unmoved until that is deleted: the store, the function,
arguments, results, and the two error cells.  Its life::

    start_call / start_instantiate ──▶ live ──poll() is True──▶ complete ──delete()──▶ deleted
                                        │ ▲                                              ▲
                    poll() is False ────┘ └─ answered                                    │
                                        └──────────────── delete() ──────────────────────┘

Rules that Wasmtime answers with an abort of the process, and which are kept here:

* a complete future is never polled again;
* futures of one store nest: only the innermost live one is polled or deleted;
* a future is never deleted after its store was closed (its memory is abandoned instead);
* a store is not destroyed while one of its futures is live, at interpreter exit and in forked children, too.

A live future is never freed by the garbage collector: that could happen on any thread, in the middle
of anything, and in any order.  Whoever starts one deletes it; what is left at interpreter exit is
deleted then.

Poll under KeyboardInterrupt protection when on the main thread
(``trio.lowlevel.enable_ki_protection``): an interrupt can strike between two Python instructions
anywhere, and inside a callback, before its ``try``, Wasmtime would be left without an answer, which
it takes for a reason to abort.  If an exception does come out of the C call, the future is *torn*:
nobody knows whether it completed, so it can only be deleted.
"""

from __future__ import annotations

import atexit
import ctypes
import itertools
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any

import wasmtime
from wasmtime import _func as wasmtime_func

from trio_wasmdbg.capi import _library as lib
from trio_wasmdbg.capi._exceptions import take_exception
from trio_wasmdbg.capi._instances import RawInstance, RawLinker
from trio_wasmdbg.capi._outcomes import Outcome, Returned, failed, trapped
from trio_wasmdbg.capi._statistics import ABANDONED, FUTURES
from trio_wasmdbg.capi._store import StoreHandle, Storelike
from trio_wasmdbg.capi._values import Signature, from_raw, signature_of, to_raw, unroot
from trio_wasmdbg.errors import InternalError, ReentryError, StoreClosedError

if TYPE_CHECKING:
    from trio_wasmdbg.capi._host_functions import Hook, Pending

__all__ = ["CallFuture", "start_call", "start_instantiate"]

_keys = itertools.count()


class CallFuture:
    """One call into a guest.  Made by :func:`start_call` and :func:`start_instantiate`.

    Not thread-safe: one thread at a time, but any thread.

    :ivar handle: the store's handle.
    :ivar complete: the call has ended by itself; :meth:`outcome` tells how.
    :ivar deleted: :meth:`delete` was called.
    :ivar waiting: the :class:`Hook` or :class:`Pending` that the guest is suspended in, or None.  None
        after ``poll()`` returned False means that the guest yielded (epoch or fuel): poll again.
    :ivar interrupted: an exception (such as ``KeyboardInterrupt``, or a bug) that escaped from one of our
        Python callbacks while the guest ran.  The guest is suspended there, with ``waiting`` set as
        usual; the driver decides whether to answer or to delete.  Set back to None by the driver.
    """

    __slots__ = (
        "_arguments",
        "_cell",
        "_cell_address",
        "_collect",
        "_errors",
        "_exception",
        "_forked",
        "_key",
        "_keep",
        "_outcome",
        "_pointer",
        "_polling",
        "_results",
        "_results_address",
        "_store",
        "_torn",
        "_trap_address",
        "complete",
        "deleted",
        "handle",
        "interrupted",
        "waiting",
    )

    def __init__(
        self,
        handle: StoreHandle,
        arguments: Any,
        results: Any,
        keep: object,
        collect: Callable[[CallFuture], tuple[Any, ...]],
    ) -> None:
        """Not for users of this layer."""
        self.handle = handle
        self.complete = False
        self.deleted = False
        self.waiting: Hook | Pending | None = None
        self.interrupted: BaseException | None = None
        self._store = handle.store
        self._arguments = arguments
        self._results = results
        self._keep = keep
        self._collect = collect
        self._errors = (ctypes.c_void_p * 2)()  # wasm_trap_t *, wasmtime_error_t *
        # What the continuation looks at: b"\1\0" once the suspended host call has its answer.
        self._cell = (ctypes.c_ubyte * 2)()
        self._cell_address = ctypes.addressof(self._cell)
        self._results_address = 0  # where the suspended host call's results go
        self._trap_address = 0  # where a hook's trap goes
        self._exception: BaseException | None = None  # raised by the suspended host call
        self._outcome: Outcome | None = None
        self._polling = False
        self._torn = False
        self._forked = False
        self._pointer = 0
        self._key = next(_keys)

    def _begin(self, pointer: int) -> None:
        self._pointer = pointer
        FUTURES[self._key] = self
        self.handle._live.append(self)

    # ── running ────────────────────────────────────────────────────────────────────────────────

    def poll(self) -> bool:
        """Run the guest until it completes or is suspended; the GIL is free meanwhile.

        :returns: True when the call is complete, False when the guest is suspended.
        :raises InternalError: the future is complete, deleted, torn, being polled by another thread, or
            not the innermost live one of its store.
        :raises StoreClosedError: the store has been closed.
        """
        return self._poll(lib.poll)

    def poll_inline(self) -> bool:
        """Like :meth:`poll`, but keeping the GIL.

        For runs that are sure to be short (a single step): with other Python threads busy, giving up
        the GIL can cost a whole switch interval (5 ms) to get it back.
        """
        return self._poll(lib.poll_inline)

    def _poll(self, run: Callable[[int], bool]) -> bool:
        live = self.handle._live
        if not live or live[-1] is not self or self._polling or self._torn:
            raise InternalError(self._why_not())
        try:
            self._store._context()
        except ValueError:
            raise StoreClosedError("the wasmtime.Store was closed while a guest was paused in it") from None
        self._polling = True
        try:
            done = run(self._pointer)
        except BaseException:
            self._torn = True
            raise
        finally:
            self._polling = False
        if done:
            self._finish(sys._getframe())
        return done

    def _why_not(self) -> str:
        if self._forked:
            return "polling a call future in a forked child: its guest belongs to the parent process"
        if self.deleted:
            return "polling a deleted call future"
        if self.complete:
            return "polling a call future that is complete"
        if self._torn:
            return "polling a call future that an exception tore out of: it can only be deleted"
        if self._polling:
            return "polling a call future that another thread is polling"
        return "polling a call future that is not the innermost live one of its store"

    def _finish(self, frame: FrameType) -> None:
        self.complete = True
        self.waiting = None
        self.handle._live.pop()
        FUTURES.pop(self._key, None)
        lib.future_delete(self._pointer)
        trap, error = self._errors
        self._errors[0] = self._errors[1] = None
        if error:
            exception, self._exception = self._exception, None
            thrown = take_exception(self.handle)
            self._outcome = failed(error, exception or _take_foreign_exception(frame), thrown)
        elif trap:
            self._outcome = trapped(trap)
        else:
            self._outcome = Returned(self._collect(self))
        self._release()

    def outcome(self) -> Outcome:
        """How the call ended.

        :raises InternalError: the call is not complete.
        """
        if self._outcome is None:
            raise InternalError("the call is not complete")
        return self._outcome

    @property
    def is_polled(self) -> bool:
        """Whether the guest is running."""
        return self._polling

    # ── ending ─────────────────────────────────────────────────────────────────────────────────

    def delete(self) -> None:
        """Stop the guest where it is (its stack is unwound), and free everything.  Idempotent.

        The store stays usable.  Nothing of the guest runs any more.

        :raises InternalError: another thread is polling, or an inner future is still live.
        """
        if self.deleted:
            return
        if self._polling:
            raise InternalError("deleting a call future that another thread is polling")
        if not self.complete:
            self.handle._require_innermost(self, "deleting")
            self.handle._live.pop()
            FUTURES.pop(self._key, None)
            if self.handle.closed:
                # Deleting it now would end the process; its fiber's stack can't be given back.
                ABANDONED.append(self._pointer)
                _GRAVEYARD.append((self._errors, self._arguments, self._results, self._cell, self._keep))
                warnings.warn(
                    "a wasmtime.Store was closed while a guest was paused in it; the guest's memory leaks",
                    ResourceWarning,
                    stacklevel=2,
                )
            else:
                lib.future_delete(self._pointer)
                trap, error = self._errors
                if trap:
                    lib.trap_delete(trap)
                if error:
                    lib.error_delete(error)
        self.deleted = True
        self.waiting = None
        self._exception = None
        self._release()

    def _release(self) -> None:
        for array in (self._arguments, self._results):
            if array is not None:
                base = ctypes.addressof(array)
                for i in range(len(array)):
                    unroot(base + lib.VAL_SIZE * i)
        self._arguments = self._results = None

    # ── suspension: called by _host_functions, on the guest's stack ────────────────────────────

    def _suspend(self, waiting: Hook | Pending, results: int) -> int:
        # Returns the environment for the continuation.
        self._cell[0] = 0
        self._results_address = results
        self.waiting = waiting
        return self._cell_address

    def _answered(self) -> None:
        self.waiting = None
        self._cell[0] = 1

    def __repr__(self) -> str:
        if self.deleted:
            state = "deleted"
        elif self.complete:
            state = "complete"
        elif self.waiting is not None:
            state = f"suspended in {self.waiting!r}"
        else:
            state = "live"
        return f"<CallFuture {self._key} {state}>"


#: Memory that Wasmtime may still point into, of futures whose store was closed under them.
_GRAVEYARD: list[object] = []


def _take_foreign_exception(frame: FrameType) -> BaseException | None:
    """The exception of a plain function of the user's linker, if it was raised inside this poll.

    wasmtime-py leaves it in one slot for the whole process.  It is ours when its traceback begins in
    a frame that was called from the frame that polled; then it is taken out, or the user's next
    ordinary call would raise it.
    """
    exception: BaseException | None = wasmtime_func.LAST_EXCEPTION
    if exception is None or exception.__traceback__ is None:
        return None
    if exception.__traceback__.tb_frame.f_back is not frame:
        return None
    if wasmtime_func.LAST_EXCEPTION is exception:
        wasmtime_func.LAST_EXCEPTION = None
    return exception


def start_call(
    store: Storelike,
    func: wasmtime.Func,
    args: Sequence[object] = (),
    *,
    signature: Signature | None = None,
) -> CallFuture:
    """Prepare a call; nothing runs before the first poll.

    :param signature: the function's type, if known; saves asking Wasmtime.
    :raises TypeError: wrong number of arguments, or one of the wrong type.
    :raises ValueError: an argument out of range; a function of another store.
    :raises ReentryError: the guest of this store is running (the caller is a host function).
    :raises StoreClosedError: the store has been closed.
    """
    handle = StoreHandle.of(store)
    context = handle.context
    handle.check(func)
    if signature is None:
        signature = signature_of(handle, func)
    if len(args) != len(signature.params):
        raise TypeError(f"the function takes {len(signature.params)} arguments, not {len(args)}")
    _refuse_reentry(handle)
    arguments = (lib.wasmtime_val_t * len(args))()
    results = (lib.wasmtime_val_t * len(signature.results))()
    base = ctypes.addressof(arguments)
    try:
        for i, (valtype, value) in enumerate(zip(signature.params, args, strict=True)):
            to_raw(handle, valtype, value, base + lib.VAL_SIZE * i)
    except BaseException:
        for i in range(len(args)):
            unroot(base + lib.VAL_SIZE * i)
        raise
    future = CallFuture(handle, arguments, results, func, _collect_values)
    trap = ctypes.addressof(future._errors)
    future._begin(
        lib.func_call_async(
            context, ctypes.addressof(func._func), base, len(args),
            ctypes.addressof(results), len(results), trap, trap + 8,
        )
    )  # fmt: skip
    return future


def _refuse_reentry(handle: StoreHandle) -> None:
    if handle._live and handle._live[-1]._polling:
        raise ReentryError("the guest is running: a call can be started only while it is paused")


def _collect_values(future: CallFuture) -> tuple[Any, ...]:
    base = ctypes.addressof(future._results)
    return tuple(
        from_raw(future.handle, base + lib.VAL_SIZE * i, owned=True) for i in range(len(future._results))
    )


def start_instantiate(store: Storelike, linker: RawLinker, module: wasmtime.Module) -> CallFuture:
    """Prepare an instantiation; nothing runs before the first poll.

    The outcome is ``Returned((instance,))`` with a :class:`~trio_wasmdbg.capi.RawInstance`.

    :raises ValueError: the linker belongs to another engine.
    :raises ReentryError: the guest of this store is running (the caller is a host function).
    :raises StoreClosedError: the store has been closed.
    """
    handle = StoreHandle.of(store)
    context = handle.context
    if linker.engine is not handle.engine:
        raise ValueError("the linker belongs to another wasmtime.Engine than the store")
    _refuse_reentry(handle)
    instance = lib.wasmtime_instance_t()

    def collect(future: CallFuture) -> tuple[Any, ...]:
        return (RawInstance(future.handle, instance),)

    future = CallFuture(handle, None, None, (linker, module, instance), collect)
    trap = ctypes.addressof(future._errors)
    future._begin(
        lib.linker_instantiate_async(
            linker.pointer, context, module.ptr(), ctypes.addressof(instance), trap, trap + 8
        )
    )
    return future


def _delete_all() -> None:
    # Innermost first: a store that is destroyed under a live future takes the process with it.
    left = sorted(FUTURES.values(), key=lambda future: -future._key)
    for future in left:
        if future._polling:
            # Its thread is in the guest; nothing may touch it, nor end the store under it.
            _keep_for_ever(future)
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                future.delete()
    if left:
        # Last: where warnings are errors, this raises.
        warnings.warn(
            f"the interpreter exits with {len(left)} calls of guests under way, which end with it: leave the "
            "blocks of their debuggees first (a trio.run() in a daemon thread is not waited for)",
            RuntimeWarning,
            stacklevel=2,
        )


def _keep_for_ever(future: CallFuture) -> None:
    # Also when the interpreter's last act is to clear this module.
    for each in (future, future._store):
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(each))


atexit.register(_delete_all)


def _forget_all() -> None:
    # In the child of a fork the guests are copies without threads of their own, and what they have of
    # the outside world is shared with the parent.  So nothing of them is run, unwound or freed.
    for future in FUTURES.values():
        _keep_for_ever(future)
        future.handle._live.clear()
        future._forked = future.deleted = True
        future.waiting = None
    FUTURES.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
