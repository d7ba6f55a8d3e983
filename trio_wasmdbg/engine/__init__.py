"""The engine: decides, never waits.

States and events, breakpoints, steps as plans, the walk of the shadow stack, and the verdict of
each check.  It may import `wasm`, `instrument`, `symbols`, `errors` and `addresses`; never trio,
ctypes or wasmtime.

Start reading at ``_lifecycle`` (the table of states), then ``_decide``.
"""

from . import events
from ._breakpoints import Breakpoint, BreakpointTable, HitRule
from ._decide import Decider, Evaluator, Kind, Reason, Verdict
from ._frames import (
    SLOT_LAYOUTS,
    RawFrame,
    StackReader,
    count_frames,
    decode_value,
    encode_value,
    walk_frames,
)
from ._lifecycle import TRANSITIONS, Lifecycle, Signal, State, diagram
from ._stepping import FramePlace, Places, StepKind, StepPlan, make_plan
from ._telling import Teller, Told
from ._watchpoints import (
    ACCESSES,
    GlobalWatch,
    LocalWatch,
    MemoryWatch,
    PendingWatch,
    Range,
    WatchHit,
    Watchpoint,
    WatchTable,
    merge_ranges,
)
from ._where import Binding, ModuleView, Where, is_named

__all__ = [
    "ACCESSES",
    "SLOT_LAYOUTS",
    "TRANSITIONS",
    "Binding",
    "Breakpoint",
    "BreakpointTable",
    "Decider",
    "Evaluator",
    "FramePlace",
    "GlobalWatch",
    "HitRule",
    "Kind",
    "Lifecycle",
    "LocalWatch",
    "MemoryWatch",
    "ModuleView",
    "PendingWatch",
    "Places",
    "Range",
    "RawFrame",
    "Reason",
    "Signal",
    "StackReader",
    "State",
    "StepKind",
    "StepPlan",
    "Teller",
    "Told",
    "Verdict",
    "WatchHit",
    "WatchTable",
    "Watchpoint",
    "Where",
    "count_frames",
    "decode_value",
    "events",
    "diagram",
    "encode_value",
    "is_named",
    "make_plan",
    "merge_ranges",
    "walk_frames",
]
