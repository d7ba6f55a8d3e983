"""Loading a module: validate, rewrite, compile, all off the trio thread."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import trio
import wasmtime

from .. import capi
from ..instrument import FRAME_MODES, FrameMode, Instrumented, instrument
from ..wasm import Module, decode_module
from ._cache import USER_CACHE, ModuleCache
from ._capacity import MODULE, check_room
from ._modules import GuestModule
from ._processes import made_by_processes
from ._progress import Progress, Stage, Teller
from ._refusals import not_compiled, not_validated
from ._threads import collections_held_back, compute

__all__ = ["Source", "load_module", "read_source"]

Source = bytes | bytearray | str | Path
"""What :func:`load_module` takes: wasm bytes, wat text, or a path to either."""


def read_source(source: Source) -> tuple[bytes, str | None]:
    """Wasm bytes and the file's name, if it came from one; blocks while reading the file.

    :raises OSError: a path can't be read.
    :raises ModuleError: wat text doesn't parse; the message has line and column.
    """
    name = None
    if isinstance(source, Path) or (isinstance(source, str) and not _looks_like_text(source)):
        path = Path(source)
        name = path.stem
        source = path.read_bytes()
    if isinstance(source, str):
        return bytes(wasmtime.wat2wasm(source)), name
    data = bytes(source)
    if data.startswith(b"\0asm"):
        return data, name
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return data, name  # neither: the engine's validation says what is wrong with it
    return (bytes(wasmtime.wat2wasm(text)), name) if _looks_like_text(text) else (data, name)


def _looks_like_text(source: str) -> bool:
    return source.lstrip().startswith(("(", ";;"))


async def load_module(
    engine: wasmtime.Engine,
    source: Source,
    *,
    name: str | None = None,
    frames: FrameMode = "exact",
    progress: Callable[[Progress], None] | None = None,
    cache: ModuleCache | None = USER_CACHE,
    processes: int | None = None,
) -> GuestModule:
    """Read, validate, rewrite and compile a module; all off the trio thread; a checkpoint.

    :param engine: the one that its instances are going to run in.
    :param source: wasm bytes, wat text (``str`` or bytes that begin with ``(`` or ``;;``), or a
        path to a file with either (``Path``, or any other ``str``).
    :param name: what to call it; default: its name section's name, else the file's.
    :param frames: how much is kept of the frames of functions that run at full speed: ``"exact"``, every
        local of every frame; ``"live"``, the locals that the program still needs at that place, which makes
        loading and running faster: the others read as :data:`OPTIMISED_OUT`; ``"post-mortem"``, as exact,
        and the innermost frame is whole also after a trap that has unwound the guest, which makes running
        slower (:attr:`Frame.exact`).
    :param progress: called in the trio thread now and then, with how far loading has come; never after this
        function has returned.  What it raises is raised here.
    :param cache: where rewritten modules are kept, so that the next time is faster; default: a folder in the
        user's cache folder.  None: nowhere.
    :param processes: how many processes may rewrite it, this one included; the result is the same.  Default:
        as many as pay, at most 8, and no more than this process may use processors; for modules with less
        than 1 MB of code that is 1, this process alone.  The others run ``sys.executable``, import nothing of
        the application, and end with this call; where they can't be started, or die, this one does the work.
    :raises ValueError: there are no such *frames*, or *processes* is less than 1.
    :raises wasmtime.WasmtimeError: the engine refuses the module; if the place is in a function, a note
        (``__notes__``) names it.
    :raises ModuleError: it uses something that is not supported, or can't be made debuggable; the
        message has feature, offset and function.
    :raises EngineConfigError: the engine lacks a switch that the rewritten module needs.
    :raises TooManyGuests: the process has no room for compiled code.

    Cancelled: the caller goes on at once; the thread ends soon after (a compilation under way
    runs to its end, its result is dropped).
    """

    if frames not in FRAME_MODES:
        raise ValueError(f"frames are kept in the ways {', '.join(FRAME_MODES)}, not {frames!r}")
    if processes is not None and processes < 1:
        raise ValueError(f"at least this process rewrites a module, not {processes}")
    check_room(MODULE, lasting=True)
    teller = None if progress is None else Teller(progress, trio.lowlevel.current_trio_token())
    report = _report_nothing if teller is None else teller.report

    def work(tick: Callable[[], None]) -> GuestModule:
        report("read", 0, 0)
        capi.probe_engine(engine)
        data, stem = read_source(source)
        size = len(data)
        report("read", size, size)
        report("validate", 0, size)
        # The engine's own validator decides what is valid; the decoder may then rely on it.
        try:
            capi.validate(engine, data)
        except wasmtime.WasmtimeError as error:
            why = not_validated(data, error, tick)
            raise why from (error if why is not error else None)
        report("validate", size, size)
        with collections_held_back():
            original = decode_module(data, tick)
            tick()
        instrumented, compiled = _rewrite_and_compile(
            engine, original, frames, cache, processes, tick, report
        )
        return GuestModule._create(engine, name or original.names.module or stem, instrumented, compiled)

    if teller is None:
        return await compute(work)
    module = None
    try:
        with teller.scope:
            module = await compute(work)
            teller.deliver()
    finally:
        teller.close()
        if teller.error is not None:
            raise teller.error
    assert module is not None
    return module


_Report = Callable[[Stage, int, int], None]


def _report_nothing(stage: Stage, done: int, total: int) -> None:
    pass


def _rewrite_and_compile(
    engine: wasmtime.Engine,
    original: Module,
    frames: FrameMode,
    cache: ModuleCache | None,
    processes: int | None,
    tick: Callable[[], None],
    report: _Report,
) -> tuple[Instrumented, wasmtime.Module]:
    size = len(original.data)
    code = sum(f.body.end - f.body.start for f in original.functions if f.body is not None)
    report("rewrite", 0, code)
    kept = None
    if cache is not None:
        with collections_held_back():
            kept = cache.load(original, tick, frames=frames)
    if kept is not None:
        report("rewrite", code, code)
        report("compile", 0, size)
        try:
            compiled = capi.compile(engine, kept.wasm)
        except wasmtime.WasmtimeError:
            # Not for this reason alone: an engine may refuse it fresh from the rewriter as well.
            assert cache is not None
            cache.discard(original, frames=frames)
        else:
            report("compile", size, size)
            return kept, compiled
    with collections_held_back():
        progress = partial(report, "rewrite")
        made = made_by_processes(original, frames, processes, tick, progress)
        instrumented = instrument(original, frames=frames, tick=tick, progress=progress, made=made)
    report("compile", 0, size)
    try:
        compiled = capi.compile(engine, instrumented.wasm)
    except wasmtime.WasmtimeError as error:
        raise not_compiled(engine, original, error) from error
    report("compile", size, size)
    if cache is not None:
        cache.save(instrumented, tick)
    return instrumented, compiled
