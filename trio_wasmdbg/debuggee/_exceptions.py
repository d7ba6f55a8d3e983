"""WebAssembly exceptions: at their throw point, and when nobody has caught them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import wasmtime

from .. import capi
from ..errors import UsageError
from ..symbols import format_values, tag_names
from ..wasm import ControlFrame
from ._floats import carried
from ._frames import Frame
from ._instances import GuestInstance
from ._traps import TrapFrame

__all__ = ["THROWS", "GuestException", "exception_filter", "is_caught", "thrown", "uncaught"]

THROWS = frozenset({"throw", "throw_ref"})
"""Instructions that throw."""


class GuestException(wasmtime.WasmtimeError):
    """An exception of the guest that nobody has caught, as its caller gets it.

    Raised by a host function, it throws that exception into the guest, which may catch it.

    :ivar exception: the exception itself.
    :ivar tag: its tag.
    :ivar values: what it carries.
    :ivar tag_index: of its tag in the module that threw it; None if it has no index there.
    :ivar frames: where it was thrown, innermost first, at most 100; names as ``wasmtime.Frame``'s.
    """

    def __init__(
        self,
        exception: capi.WasmException,
        message: str = "",
        *,
        tag_index: int | None = None,
        frames: Sequence[TrapFrame] = (),
    ) -> None:
        """
        :param exception: from :meth:`GuestInstance.make_exception`.
        :param message: what ``str()`` gives; default: what it carries.
        """
        self.exception = exception
        self.tag = exception.tag
        self.values = carried(exception)
        self.tag_index = tag_index
        self.frames = tuple(frames)
        self._text = message or f"exception of the guest, with {self.values!r}"
        super().__init__(self._text)

    def __str__(self) -> str:
        return self._text


def uncaught(
    exception: capi.WasmException, frame: Frame | None, frames: Sequence[TrapFrame]
) -> GuestException:
    """The error for whoever called the guest; *frame* is the innermost one."""
    index = frame.instance.tag_of(exception) if frame is not None else None
    which = "" if index is None or frame is None else f" {_tag_label(frame.instance, index)}"
    payload = carried(exception)
    values = ", ".join(map(repr, payload))
    if index is not None and frame is not None:
        types = frame.instance.module.original.tags[index].type.type.params
        values = format_values(types, payload)
    text = f"uncaught exception: tag{which or ' of another module'} with ({values})"
    return GuestException(exception, text, tag_index=index, frames=frames)


def _tag_label(instance: GuestInstance, index: int) -> str:
    name = instance.module.original.names.tags.get(index)
    return f"{index} ({name})" if name else str(index)


def thrown(frame: Frame) -> tuple[int | None, tuple[Any, ...]]:
    """Tag and payload of the exception that the next instruction throws."""
    operands = frame.operand_stack
    tag = _own_tag(frame)
    if tag is None:
        exception = operands[-1]
        # A null reference is going to trap.
        return (frame.instance.tag_of(exception), carried(exception)) if exception is not None else (None, ())
    count = len(frame.instance.module.original.tags[tag].type.type.params)
    return tag, operands[len(operands) - count :]


def _own_tag(frame: Frame) -> int | None:
    """What ``throw`` names; None for ``throw_ref``."""
    instruction = frame.instruction
    return instruction.imm if instruction.op.name == "throw" else None


def _tag_thrown(frame: Frame) -> bytes | None:
    """The identity of the tag of what the next instruction throws; None if that is a null reference."""
    tag = _own_tag(frame)
    if tag is not None:
        return _identity(frame.instance, tag)
    exception = frame.operand_stack[-1]
    return capi.identity_of(exception.tag) if exception is not None else None


def is_caught(frame: Frame) -> bool:
    """Whether a ``try_table`` of this activation catches what the next instruction throws.

    Spec, "Execution, Instructions, throw_ref": the innermost handler on the stack whose clause has the
    exception's tag, or catches all, takes it.
    """
    identity = _tag_thrown(frame)
    at: Frame | None = frame if identity is not None else None
    while at is not None:
        for clause_tag in _clauses(at):
            if clause_tag is None or _identity(at.instance, clause_tag) == identity:
                return True
        at = at.parent
    return False


def _clauses(frame: Frame) -> Iterable[int | None]:
    """The tags that the ``try_table`` constructs around a frame's place catch, innermost first; None: all."""
    scope: ControlFrame | None = frame.scope
    while scope is not None:
        if scope.kind == "try_table":
            for catch in frame.body[scope.start].imm.catches:
                yield catch.tag
        scope = scope.parent


def _tags_asked_for(frame: Frame, tag: int | str | wasmtime.Tag) -> set[bytes]:
    """The identities of the tags that this is in a frame's instance."""
    if isinstance(tag, wasmtime.Tag):
        return {capi.identity_of(tag)}
    module = frame.instance.module.original
    indices = (
        [index for index in range(len(module.tags)) if tag in tag_names(module, index)]
        if isinstance(tag, str)
        else [tag] * (0 <= tag < len(module.tags))
    )
    return {_identity(frame.instance, index) for index in indices}


def _identity(instance: GuestInstance, tag: int) -> bytes:
    return capi.identity_of(instance.tag(tag))


def exception_filter(which: str, tag: int | str | wasmtime.Tag | None) -> Callable[[Frame], bool]:
    """The condition of a breakpoint at every throw.

    :param tag: index, name, or the tag itself.
    :raises UsageError: *which* is neither ``"all"`` nor ``"uncaught"``.
    :raises TypeError: *tag* is none of these.
    """
    if not isinstance(tag, int | str | wasmtime.Tag | None):
        raise TypeError(f"a tag is an index, a name or a wasmtime.Tag, not {tag!r}")
    if which not in ("all", "uncaught"):
        raise UsageError(f"exceptions pause the guest if 'all' or 'uncaught' are asked for, not {which!r}")

    def wanted(frame: Frame) -> bool:
        if tag is not None and _tag_thrown(frame) not in _tags_asked_for(frame, tag):
            return False
        return which == "all" or not is_caught(frame)

    return wanted
