"""For LLDB 22: ``wnext``, a ``next`` that stays out of the functions that a line calls.

``command script import wasm_next.py``.  LLDB 22 can't tell WebAssembly's frames apart and may take a call
for a return; counting frames can.  LLDB 23 needs none of this.
"""

from typing import Any


def wnext(debugger: Any, command: str, context: Any, result: Any, _names: dict[str, Any]) -> None:
    """Step to the next source line of this function, or out of it."""
    thread = context.GetThread()
    depth, line = thread.GetNumFrames(), thread.GetFrameAtIndex(0).GetLineEntry().GetLine()
    done = debugger.GetAsync()
    debugger.SetAsync(False)
    try:
        while True:
            thread.StepOver()
            while _finished_step(thread) and thread.GetNumFrames() > depth:
                thread.StepOut()
            here = thread.GetFrameAtIndex(0).GetLineEntry().GetLine()
            if not _finished_step(thread) or thread.GetNumFrames() != depth or here != line:
                break
    finally:
        debugger.SetAsync(done)
    if context.GetProcess().GetState() == 5:  # lldb.eStateStopped
        result.AppendMessage(str(thread.GetFrameAtIndex(0)))


def _finished_step(thread: Any) -> bool:
    # lldb.eStopReasonPlanComplete; anything else (a breakpoint, a trap, the end) is for the user.
    return thread.IsValid() and thread.GetStopReason() == 8


def __lldb_init_module(debugger: Any, _names: dict[str, Any]) -> None:
    debugger.HandleCommand(f"command script add --overwrite --function {__name__}.wnext wnext")
