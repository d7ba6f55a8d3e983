"""The engine's validator as an oracle for operand typing.

To ask whether the stack before instruction *k* holds exactly the types ``t1 … tn`` above its construct's
base: keep the code before *k*, pop the operands by ``local.set`` into fresh locals of these types, then
``unreachable`` and an ``end`` for every open construct.  That has to be valid; with one ``drop`` more it
has to be invalid where the code is alive, and valid where it is dead.
"""

from __future__ import annotations

from trio_wasmdbg.wasm import Module, Operand, TypedBody, ValType, local_groups, uleb

from ._engine import is_valid, with_body

__all__ = ["disagreement"]

_DROP, _UNREACHABLE, _ELSE, _END = b"\x1a", b"\x00", b"\x05", b"\x0b"


def disagreement(module: Module, body: TypedBody, k: int) -> str | None:
    """What the validator says against the stack before instruction *k*; None if it agrees."""
    frame = body.scopes[k]
    if not frame.live:
        return None if not body.reachable[k] else "alive inside a dead construct"
    types: list[ValType] = []
    node: Operand | None = body.stacks[k]
    while body.reachable[k] and node is not None and node.height >= frame.height:
        types.append(node.type)
        node = node.below
    if body.reachable[k] and (node.height + 1 if node is not None else 0) != frame.height:
        return f"the stack ends below its construct's height {frame.height}"
    exact = _validates(module, body, k, types, b"")
    more = _validates(module, body, k, types, _DROP * 3)
    if not exact:
        return f"not valid with {types}"
    if body.reachable[k] and more:
        return "there are more operands, or the code is dead"
    if not body.reachable[k] and not more:
        return "the code is alive"
    return None


def _validates(module: Module, body: TypedBody, k: int, types: list[ValType], extra: bytes) -> bool:
    place = body.function.body
    assert place is not None
    first = len(body.locals)
    locals_ = local_groups([*body.locals[len(body.function.type.params) :], *types])
    code = [module.data[place.code_start : body.instructions[k].offset]]
    code += [b"\x21" + uleb(first + n) for n in range(len(types))]
    code += [extra, _UNREACHABLE]
    frame = body.scopes[k]
    while True:
        if frame.kind == "if" and (frame.else_ is None or k <= frame.else_):
            code += [_ELSE, _UNREACHABLE]
        code.append(_END + _UNREACHABLE if frame.parent is not None else _END)
        if frame.parent is None:
            break
        frame = frame.parent
    return is_valid(with_body(module, body.function.index, locals_ + b"".join(code)))
