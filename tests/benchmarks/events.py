"""How many conditions, stops, steps are there in a second, beside gdb and native debugging?  (Rows 4 to 6.)

Conditions, and all events of the peers, are those of one loop of ten instructions, which gdb gets from gcc;
our stops and steps are those of ``stops``.  All of them, the peers too, take turns.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Final

import wasmtime
from attrs import frozen

from tests.benchmarks import stops
from tests.benchmarks._measure import NotMeasured, Spread
from tests.benchmarks._native import Native
from tests.benchmarks._report import Figure, Matrix, number
from tests.benchmarks._settings import Settings
from trio_wasmdbg import Frame, Guest, GuestModule, events, load_module, make_engine, open_debuggee

__all__ = ["measure"]

LOOP: Final = """
(module (memory (export "memory") 1)
  (func (export "run") (param $n i32) (result i32) (local $i i32)
    (loop $again
      (i32.store (i32.const 0) (local.get $i))
      (br_if $again (i32.ne (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n))))
    (local.get $i)))
"""

_STORE: Final = 3
"""Which instruction of the function stores."""


@frozen
class Kind:
    """One kind of event.

    :ivar ours: its name in ``stops``.
    :ivar gdb: its name in ``_gdb``.
    :ivar native: its name in :func:`native_rates`.
    :ivar over_gdb: how many times as many as gdb there are to be.
    """

    row: int
    what: str
    unit: str
    goal: tuple[str, float] | None = None
    ours: str = ""
    gdb: str = ""
    native: str = ""
    over_gdb: float | None = None


_CONDITION: Final = "condition in the guest"
_CALLABLE: Final = "Python callable"
_CALLBACK: Final = "Python callback at each step, without channels"

KINDS: Final = (
    Kind(
        4, "condition, false, in a loop of ten instructions", "/s", ("≥", 1e8),
        _CONDITION, "condition", "condition", 10_000,
    ),
    Kind(
        4, "condition that is a Python callable, false", "/s", ("≥", 3e5), _CALLABLE, "condition",
    ),
    Kind(
        5, "stop, decide in another task, resume", "µs", ("≤", 40),
        "stop, decide in another task, resume", "stop", "stop",
    ),
    Kind(
        5, "the same, over both channels", "µs", ("≤", 40), "stop, over both channels", "stop", "stop",
    ),
    Kind(
        5, "the same, of a guest that imports WASI", "µs", None,
        "stop, of a guest that imports WASI", "stop", "stop",
    ),
    Kind(5, "bare hand-over over two channels", "µs", None, stops.BARE),
    Kind(
        6, "step(n), instructions", "/s", ("≥", 2e8),
        "step(n): an instruction", "stepi N", "callback", 10_000,
    ),
    Kind(6, "await step()", "/s", ("≥", 25_000), "await step()", "stepi", "stepi"),
    Kind(
        6, "await step(), over both channels", "/s", ("≥", 25_000),
        "await step(), over both channels", "stepi", "stepi",
    ),
    Kind(6, _CALLBACK, "/s", ("≥", 3e5), _CALLBACK, "stepi", "callback"),
)  # fmt: skip


def in_python(frame: Frame) -> bool:
    """``i == -1``."""
    return bool(frame.local(1) == -1)


async def evaluations(
    module: GuestModule, iterations: int, condition: str | Callable[[Frame], bool] = "i == -1"
) -> float:
    """CPU seconds of so many evaluations of a condition that is false."""
    seconds = 0.0

    async def body(guest: Guest) -> None:
        nonlocal seconds
        instance = await guest.instantiate(None, module)
        run = instance.func("run")
        await guest.call(run, 1000)  # whatever has to be made is made
        began = time.process_time()
        await guest.call(run, iterations)
        seconds = time.process_time() - began

    async with open_debuggee(wasmtime.Store(module.engine), body) as debuggee:
        breakpoint = debuggee.add_breakpoint(offset=module.offsets(0)[_STORE], condition=condition)
        event = await debuggee.run()
        assert isinstance(event, events.Finished) and breakpoint.error is None
    return seconds


async def callback_at_each_step(module: GuestModule, iterations: int) -> float:
    """CPU seconds of so many iterations, with a Python function called before each of their instructions."""
    calls = 0

    def callback(frame: Frame) -> bool:
        nonlocal calls
        calls += 1
        return False

    async def body(guest: Guest) -> None:
        instance = await guest.instantiate(None, module)
        await guest.call(instance.func("run"), iterations)

    names = {each.op.name for each in module.plan(0).typed().instructions}
    async with open_debuggee(wasmtime.Store(module.engine), body) as debuggee:
        debuggee.add_breakpoint(instructions=names, condition=callback)
        began = time.process_time()
        assert isinstance(await debuggee.run(), events.Finished)
        took = time.process_time() - began
    assert calls >= 9 * iterations
    return took * 10 * iterations / calls


def native_rates(peer: Native, path: Path, at: int, count: int) -> dict[str, float]:
    """Events a second of the native peer: decided in its handler, or in another task by its Debuggee."""
    return {
        "condition": peer.events(path, 10 * count, at=at, through="handler"),
        "stop": peer.events(path, count, at=at, through="task"),
        "stepi": peer.events(path, count // 10, at=None, through="task"),
        "callback": peer.events(path, count, at=None, through="handler"),
    }


async def measure(settings: Settings) -> list[Figure | Matrix]:
    """Our rates, each with its ratio to those of the peers."""
    scale = 0.2 if settings.quick else 1.0
    missing: dict[str, str] = {}
    peers: dict[str, Callable[[], Mapping[str, float]]] = {}
    module = await load_module(make_engine(), LOOP)
    with TemporaryDirectory() as folder:
        path, at = Path(folder) / "loop.wasm", int(module.offsets(0)[_STORE])
        path.write_bytes(wasmtime.wat2wasm(LOOP))
        try:
            native = settings.native()
            peers["native"] = lambda: native_rates(native, path, at, 100_000)
        except NotMeasured as exc:
            missing["native"] = str(exc)
        try:
            debugger = settings.gdb()
            peers["gdb"] = lambda: debugger.rates(quick=settings.quick)
        except NotMeasured as exc:
            missing["gdb"] = str(exc)
        ours, theirs = await _turns(settings, module, peers, scale)
    figures: list[Figure | Matrix] = []
    for kind in KINDS:
        figures += _figures(kind, settings, ours, theirs, missing)
    return figures


async def _turns(
    settings: Settings,
    module: GuestModule,
    peers: Mapping[str, Callable[[], Mapping[str, float]]],
    scale: float,
) -> tuple[dict[str, list[float]], dict[str, dict[str, list[float]]]]:
    """Events a second, round by round: ours, and those of the peers."""
    ours: dict[str, list[float]] = defaultdict(list)
    theirs: dict[str, dict[str, list[float]]] = {name: defaultdict(list) for name in peers}
    program = await load_module(make_engine(), stops.GUEST)
    wanted = {kind.ours for kind in KINDS}
    for turn in range(settings.rounds):
        iterations = max(1000, int(30_000_000 * scale))
        ours[_CONDITION].append(iterations / await evaluations(module, iterations))
        ours[_CALLABLE].append(iterations / 1000 / await evaluations(module, iterations // 1000, in_python))
        ours[_CALLBACK].append(iterations / 100 / await callback_at_each_step(module, iterations // 1000))
        for what, row in ((what, row) for what, row in stops.ROWS.items() if what in wanted):
            count = max(1, int(row.count * scale))
            ours[what].append(count / await row.measure(program, count))
        # A session of gdb takes seconds, and is steadier than we are.
        for name, peer in peers.items() if turn % 3 == 0 else ():
            for what, rate in peer().items():
                theirs[name][what].append(rate)
    return ours, theirs


def _figures(
    kind: Kind,
    settings: Settings,
    ours: Mapping[str, list[float]],
    theirs: Mapping[str, Mapping[str, list[float]]],
    missing: Mapping[str, str],
) -> list[Figure]:
    found = ours.get(kind.ours)
    if found is None:
        return [Figure(kind.row, kind.what, "exact", note="there is no such thing yet", goal=kind.goal)]
    mode = "" if kind.ours == stops.BARE else "exact"
    spread = Spread.of([_in(kind.unit, rate) for rate in found])
    quartiles = f"quartiles {number(spread.low)} to {number(spread.high)}"
    figures = [Figure(kind.row, kind.what, mode, spread.median, kind.unit, "", quartiles, kind.goal)]
    for peer, theirs_name, goal in (("gdb", kind.gdb, kind.over_gdb), ("native", kind.native, None)):
        if not theirs_name:
            continue
        called = settings.gdb_version if peer == "gdb" else "native"
        if peer in missing:
            figures.append(Figure(kind.row, kind.what, mode, against=called, note=missing[peer]))
            continue
        rate = median(theirs[peer][theirs_name])
        of_peer = f"{called}: {number(_in(kind.unit, rate))} {kind.unit}"
        bound = None if goal is None else ("≥", goal)
        figures.append(
            Figure(kind.row, kind.what, mode, median(found) / rate, "× as fast", of_peer, "", bound)
        )
    return figures


def _in(unit: str, rate: float) -> float:
    return 1e6 / rate if unit == "µs" else rate
