"""What a debuggee pauses at: breakpoints, watchpoints, traces, and the switches of other stops.

All of it can be changed at any time, also while the guest runs: it takes effect at the next check
site.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

import wasmtime

from .. import capi
from ..addresses import ModuleOffset
from ..engine import (
    Breakpoint,
    GlobalWatch,
    LocalWatch,
    MemoryWatch,
    Watchpoint,
    Where,
    events,
)
from ..errors import UsageError
from ..instrument import Recording
from ._exceptions import THROWS, exception_filter
from ._tellers import Growth, HostCalls
from ._threads import compute
from ._tracing import Called, CallTrace, Returned, trace_calls
from ._watching import global_uses, local_uses

if TYPE_CHECKING:
    from ._core import Core
    from ._frames import Frame
    from ._instances import GuestInstance
    from ._modules import GuestModule

__all__ = ["StopControls"]


class StopControls:
    """The part of :class:`Debuggee` that says where it pauses."""

    _core: Core

    # ── breakpoints ────────────────────────────────────────────────────────────────────────────

    def add_breakpoint(
        self,
        function: str | int | re.Pattern[str] | None = None,
        *,
        offset: int | None = None,
        module: GuestModule | None = None,
        at_end: bool = False,
        instructions: str | Iterable[str] = (),
        import_: str | re.Pattern[str] | None = None,
        condition: Callable[[Frame], object] | str | None = None,
        hits: str | int | None = None,
        log: str | None = None,
        once: bool = False,
        enabled: bool = True,
        callback: Callable[[events.Breakpoint], Any] | None = None,
    ) -> Breakpoint:
        """Pause before an instruction whenever the guest comes to it.

        Where (one of these; *function* also narrows the others down):

        :param function: name (name section or export), index, or a compiled regular expression that
            is searched in every function's name; its first instruction.  An imported function has none
            here: see *import_*.
        :param at_end: the function's final ``end``, before it returns, instead.
        :param offset: module offset; one inside an instruction slips to the next one, and the
            breakpoint's binding says so.
        :param instructions: every instruction of this name (``"memory.grow"``), or with one of these names.
        :param import_: every call of this import, ``"env.log"``, or of all in whose name a compiled regular
            expression is found; also those through tables and references
            that lead to it (not to what the host itself has put into a table).
        :param module: only in this module; else in any that has such a place.

        When:

        :param condition: text in the expression language, which the guest evaluates itself, or a
            function of the :class:`Frame`, which runs in the debug callback, in whichever thread runs the
            guest: where it is false, the one costs no call of the host, the other no pause.  One that
            can't be evaluated pauses, and the breakpoint's ``error`` says why.
        :param hits: ``"== 3"``, ``">= 3"``, ``"% 3"`` (every third) or ``3``, counted where the
            condition holds.
        :param enabled: see :attr:`Breakpoint.enabled`.

        What then:

        :param log: don't pause; write this message, with ``{expressions}``, to
            :attr:`log_sink` (default: the logger ``trio_wasmdbg.logpoint``).
        :param callback: ``fn(event)``, plain or async, in the debuggee's task; where all callbacks of
            a pause return True, the guest goes on and ``run()`` does not return.
        :param once: remove it when it has paused the guest, or has written its message.

        What it asks for can be changed later, at the :class:`~trio_wasmdbg.engine.Breakpoint` itself.  One
        that no instantiated module can bind is *pending* until one is instantiated.
        While the guest runs, a change takes effect at the next check site of the function.

        :raises UsageError: *hits* is malformed; there is no such instruction; or the place is none, such as
            at two things at the same time.
        :raises ExpressionError: *condition* or *log* does not parse.
        :raises TypeError: an argument is of another type, or there is no place.
        """
        names = frozenset([instructions] if isinstance(instructions, str) else instructions)
        where = Where(
            function,
            None if offset is None else ModuleOffset(offset),
            module,
            names or None,
            import_,
            at_end,
        )
        return self._core.arming.decider.breakpoints.add(
            where,
            condition=condition,
            hits=hits,
            log=log,
            once=once,
            enabled=enabled,
            callback=callback,
        )

    def remove_breakpoint(self, breakpoint: Breakpoint) -> None:
        """Take a breakpoint away; no error if it is gone already."""
        self._core.arming.decider.breakpoints.remove(breakpoint)

    @property
    def breakpoints(self) -> tuple[Breakpoint, ...]:
        """All breakpoints, pending ones too."""
        return tuple(each for each in self._core.arming.decider.breakpoints if each.teller is None)

    def stop_on_exceptions(
        self, which: str = "all", *, tag: int | str | wasmtime.Tag | None = None
    ) -> Breakpoint:
        """Pause where WebAssembly exceptions are thrown; the event is :class:`events.ExceptionThrown`.

        :param which: ``"all"``, or ``"uncaught"``: those that no ``try_table`` of the activation catches.
        :param tag: only this tag's: by its index in the module that throws, by its name there (name section,
            export, or ``module.name`` of its import), or the tag itself.
        :returns: a breakpoint: disable or remove it like any other.
        :raises UsageError: *which* is neither.
        :raises TypeError: *tag* is of another type.
        """
        return self._core.arming.decider.breakpoints.add(
            Where(instructions=THROWS), condition=exception_filter(which, tag), on_exception=True
        )

    # ── watchpoints ────────────────────────────────────────────────────────────────────────────

    def watch_memory(
        self,
        instance: GuestInstance,
        address: int,
        size: int = 4,
        *,
        memory: int = 0,
        access: str = "write",
        condition: Callable[[Frame], object] | str | None = None,
        hits: str | int | None = None,
        once: bool = False,
        callback: Callable[[events.Watch], Any] | None = None,
    ) -> Watchpoint:
        """Pause after an instruction that touches *size* bytes of a memory, from *address*.

        :param access: ``"write"``, ``"read"``, ``"access"`` (either) or ``"change"`` (the bytes differ).
        :param condition: as for :meth:`add_breakpoint`; evaluated in the frame that has touched the
            memory, after the instruction.
        :param hits: as for :meth:`add_breakpoint`.
        :param once: remove it when it has paused the guest.
        :param callback: ``fn(event)``, as for :meth:`add_breakpoint`.

        Bulk instructions and vector accesses count, and every instance that has the memory.  While one
        is set, functions run in their slow twins, from the next check site on.

        :raises UsageError: *access* or *hits* is none of these forms, or *size* is not positive.
        :raises ExpressionError: the condition does not parse.
        """
        if size < 1 or address < 0:
            raise UsageError(f"can't watch {size} bytes at {address}")
        what = MemoryWatch(capi.identity_of(instance.memory(memory)), address, size)
        return self._core.arming.decider.watches.add(
            what, access, condition=condition, hits=hits, once=once, callback=callback
        )

    async def watch_global(
        self,
        instance: GuestInstance,
        index: int,
        *,
        access: str = "write",
        condition: Callable[[Frame], object] | str | None = None,
        hits: str | int | None = None,
        once: bool = False,
        callback: Callable[[events.Watch], Any] | None = None,
    ) -> Watchpoint:
        """Pause after an instruction of *instance* that uses one of its globals; a checkpoint.

        Looks through the module's code, off the trio thread.  Parameters and errors as
        :meth:`watch_memory`.  Cancelled: nothing is watched.
        """
        instance.global_(index)
        uses = await compute(lambda tick: global_uses(instance.module, index, access))
        what = GlobalWatch(instance.id, index)
        return self._core.watching.add_variable(
            what, uses, access, condition=condition, hits=hits, once=once, callback=callback
        )

    def watch_local(
        self,
        frame: Frame,
        which: int | str,
        *,
        access: str = "write",
        condition: Callable[[Frame], object] | str | None = None,
        hits: str | int | None = None,
        once: bool = False,
        callback: Callable[[events.Watch], Any] | None = None,
    ) -> Watchpoint:
        """Pause after an instruction that uses a local of this frame; gone with the frame.

        Parameters and errors as :meth:`watch_memory`.
        """
        index = frame.local_index(which)
        what = LocalWatch(frame.instance.id, frame.address, frame.function_index, index)
        uses = local_uses(frame, index, access)
        watchpoint = self._core.watching.add_variable(
            what, uses, access, condition=condition, hits=hits, once=once, callback=callback
        )
        frame._make_slow()
        return watchpoint

    def remove_watchpoint(self, watchpoint: Watchpoint) -> None:
        """Take a watchpoint away; no error if it is gone already."""
        self._core.arming.decider.watches.remove(watchpoint)

    @property
    def watchpoints(self) -> tuple[Watchpoint, ...]:
        """All watchpoints."""
        return tuple(self._core.arming.decider.watches)

    @property
    def log_sink(self) -> Callable[[str, Breakpoint], None] | None:
        """What log points write to: ``sink(text, breakpoint)``, called in the trio thread, in order."""
        return self._core.evaluation.sink

    @log_sink.setter
    def log_sink(self, sink: Callable[[str, Breakpoint], None] | None) -> None:
        self._core.evaluation.sink = sink

    def trace_calls(
        self, functions: str | re.Pattern[str], sink: Callable[[Called | Returned], None]
    ) -> CallTrace:
        """Tell *sink* of every entry to and return from the functions in whose name a pattern is found.

        The guest does not pause.  *sink* is called in the trio thread, in order, soon after; what it raises
        goes to the logger ``trio_wasmdbg.trace``.  Tracing a function makes it run in its slow twin.

        :returns: the trace; it ends with its ``stop()`` or ``with`` block.
        """
        return trace_calls(self._core, re.compile(functions), sink)

    @property
    def stop_on_host_calls(self) -> re.Pattern[str] | None:
        """Pause before and after host functions in whose name (``module.name``) this is found.

        Host functions that were given to us pause the guest on the way to them and back.  With those in a
        ``wasmtime.Linker`` of the user's it pauses at the call instruction and at the one after it, if it
        comes there: not after a tail call, or an error.
        """
        return self._core.stop_on_host_calls

    @stop_on_host_calls.setter
    def stop_on_host_calls(self, pattern: str | re.Pattern[str] | None) -> None:
        compiled = re.compile(pattern) if pattern is not None else None
        self._core.stop_on_host_calls = compiled
        teller = None if compiled is None else HostCalls(self._core, compiled)
        self._core.set_teller(HostCalls, teller, None if teller is None else teller.where)

    @property
    def stop_on_memory_growth(self) -> bool:
        """Pause after each ``memory.grow`` that has made a memory larger; see :class:`events.MemoryGrown`."""
        return Growth in self._core.tellers

    @stop_on_memory_growth.setter
    def stop_on_memory_growth(self, on: bool) -> None:
        self._core.set_teller(Growth, Growth() if on else None, Growth.where)

    @property
    def precise_traps(self) -> bool:
        """Whether all traps are foreseen that can be; every function runs in its slow twin then.

        Without it, ``unreachable``, divisions and conversions pause before they trap; after other traps
        the innermost frame of a function that ran in its fast twin has no values (:attr:`Frame.exact`).
        With it nearly all others do, too: what is out of bounds, null or of the wrong type.  The rest
        (stack exhaustion, failing allocations, segments that were dropped) is told after the guest has
        unwound, but every frame has its values.  Takes effect at the next check site.
        """
        return self._core.arming.precise

    @precise_traps.setter
    def precise_traps(self, on: bool) -> None:
        self._core.arming.precise = on
        self._core.arming.rearm()

    @property
    def recording(self) -> bool | str:
        """Whether the instructions that the guest executes are noted, without pausing.

        With ``"branches"``, only the first one of each basic block is, and the history reaches farther back.
        :meth:`GuestInstance.last_branches` tells of it; coverage and counts are then of those first
        instructions, and calls are still exact.

        Faster are ``"trace"``, which keeps the history of all instructions and counts none, and
        ``"coverage"``, which counts them and keeps no history.

        Read them with :meth:`GuestInstance.last_instructions`, :meth:`~GuestInstance.coverage` and
        :attr:`~GuestInstance.executed_instructions`.  Functions run in flavours that note whole blocks, or in
        their slow twins.  Takes effect at the next check site, so switch it on before the code of interest is
        entered.
        """
        records = self._core.arming.records
        return records is not None and (records == "instructions" or records)

    @recording.setter
    def recording(self, what: bool | str) -> None:
        if what not in _RECORDINGS:
            raise UsageError(f"recording can be True, False, 'branches', 'trace' or 'coverage', not {what!r}")
        self._core.arming.records = _RECORDINGS[what]
        self._core.arming.rearm()

    @property
    def flavours(self) -> bool:
        """Whether functions may run in flavours: copies that test conditions and stop bytes at full speed.

        On by default.  Off: functions that have breakpoints run in their slow twins, and an activation that
        was stopped in stays in its own.  What the guest does and where it stops is the same.  Takes effect at
        the next check site.
        """
        return self._core.arming.flavours

    @flavours.setter
    def flavours(self, on: bool) -> None:
        self._core.arming.flavours = on
        self._core.arming.rearm()

    @property
    def stop_on_instances(self) -> bool:
        """Pause when a module has been instantiated, before its start function runs."""
        return self._core.stop_on_instances

    @stop_on_instances.setter
    def stop_on_instances(self, on: bool) -> None:
        self._core.stop_on_instances = on


_RECORDINGS: Final[dict[bool | str, Recording | None]] = {
    False: None, True: "instructions", "branches": "branches", "trace": "trace", "coverage": "coverage"
}  # fmt: skip
