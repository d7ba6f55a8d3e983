"""Functions that can't be made debuggable: copied, so that the others of their module can be.

Such a function has no frame, no check sites and no slow twin; it only has some global indices raised.
To the debugger it is what a function of another, uninstrumented module would be.
"""

from __future__ import annotations

from array import array

from ..errors import UnsupportedFeatureError
from ..wasm import Flow, Function, Imm, read_body, uleb
from ._additions import Additions
from ._body import INSERTED, FastTwin
from ._fast_twin import MAX_BODY

__all__ = ["opaque_twin"]


def opaque_twin(
    additions: Additions, function: Function, reason: UnsupportedFeatureError, called: set[int]
) -> FastTwin:
    """The function's body with new global indices.

    :param called: gets the functions that it calls directly.
    :raises UnsupportedFeatureError: *reason*, where not even that can be done: an instruction is unknown; or
        it catches exceptions, and would leave the frames of unwound functions on the shadow stack.
    """
    body = function.body
    assert body is not None
    module = additions.module
    try:
        instructions = read_body(module, function)
    except UnsupportedFeatureError:
        raise reason from None
    data = module.data
    out = bytearray(data[body.start : body.code_start])
    new, old = array("I", [0]), array("I", [body.start])
    position = body.code_start
    for instruction in instructions:
        op = instruction.op
        if op.imm is Imm.GLOBAL:
            out += data[position : instruction.offset]
            new.append(len(out))
            old.append(instruction.offset | INSERTED)
            out += op.encoding + uleb(additions.global_(instruction.imm))
            position = instruction.end
            new.append(len(out))
            old.append(position)
        elif op.imm is Imm.FUNCTION and op.flow is not Flow.NEXT:
            called.add(instruction.imm)
        elif op.flow is Flow.TRY_TABLE and instruction.imm.catches:
            raise reason
    out += data[position : body.end]
    if len(out) > MAX_BODY:
        raise reason
    return FastTwin(bytes(out), new, old, array("I"), {}, [])
