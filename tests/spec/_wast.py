"""Reading the official test suite's ``.wast`` files: s-expressions, and the modules in them.

Spec repository, "interpreter/README.md", "Scripts".  No recursion; positions are kept, so that the
text of a module can be handed to an assembler as it stands.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from attrs import define, field

__all__ = ["Form", "WastModule", "module_of", "modules", "parse", "suite_folder"]

_ROOT = Path(__file__).resolve().parents[2]

_TOKEN = re.compile(
    r"""(?P<space>\s+|;;[^\n]*)
      | (?P<comment>\(;)
      | (?P<open>\()
      | (?P<close>\))
      | (?P<string>"(?:[^"\\]|\\.)*")
      | (?P<atom>(?:[^\s()";]|;(?!;)|"(?:[^"\\]|\\.)*")+)
    """,
    re.VERBOSE | re.DOTALL,
)
_COMMENT_EDGE = re.compile(r"\(;|;\)")
_ESCAPE = re.compile(rb"\\(?:u\{([0-9a-fA-F_]+)\}|([0-9a-fA-F]{2})|(.))", re.DOTALL)
_SIMPLE = {b"t": b"\t", b"n": b"\n", b"r": b"\r"}


@define
class Form:
    """A parenthesised form; strings are ``bytes`` (escapes resolved), other atoms ``str``.

    :ivar start: where its ``(`` stands in the source; *end* is after its ``)``.
    :ivar offsets: where each item starts.
    """

    items: list[Form | str | bytes] = field(factory=list, repr=False)
    start: int = 0
    end: int = 0
    line: int = 0
    offsets: list[int] = field(factory=list, repr=False)

    @property
    def head(self) -> str:
        """The first atom, ``""`` if there is none."""
        return self.items[0] if self.items and isinstance(self.items[0], str) else ""


class WastModule(NamedTuple):
    """A module found in a script.

    :ivar kind: ``text`` and ``quote`` have text in *content* (to be assembled), ``binary`` has bytes.
    :ivar context: ``""`` for a module that has to be good, else the assertion that it stands in,
        e.g. ``"assert_invalid"``.
    """

    kind: Literal["text", "quote", "binary"]
    content: str | bytes
    line: int
    context: str


def suite_folder() -> Path | None:
    """The folder of the official test suite, or None if it isn't there."""
    shared = Path(os.environ.get("TRIO_WASMDBG_SHARED", _ROOT.parent / "shared"))
    folder = shared / "spec" / "testsuite"
    return folder if folder.is_dir() else None


def _unescape(text: str) -> bytes:
    def resolve(match: re.Match[bytes]) -> bytes:
        point, pair, other = match.groups()
        if point is not None:
            return chr(int(point.replace(b"_", b""), 16)).encode()
        if pair is not None:
            return bytes.fromhex(pair.decode())
        return _SIMPLE.get(other, other)

    return _ESCAPE.sub(resolve, text.encode("utf-8", "surrogateescape"))


def parse(source: str) -> list[Form]:
    """The top-level forms of a script."""
    top = Form()
    stack = [top]
    pos, line = 0, 1
    while pos < len(source):
        match = _TOKEN.match(source, pos)
        if match is None:
            raise ValueError(f"line {line}: can't tokenise {source[pos : pos + 20]!r}")
        kind, start, here = match.lastgroup, pos, line
        pos = match.end()
        if kind == "comment":
            depth = 1
            while depth:
                edge = _COMMENT_EDGE.search(source, pos)
                if edge is None:
                    raise ValueError(f"line {here}: comment without end")
                depth += 1 if edge.group() == "(;" else -1
                pos = edge.end()
        line += source.count("\n", start, pos)
        if kind == "open":
            form = Form([], start, start, here)
            stack[-1].items.append(form)
            stack[-1].offsets.append(start)
            stack.append(form)
        elif kind == "close":
            if len(stack) == 1:
                raise ValueError(f"line {here}: ) without (")
            closed = stack.pop()
            closed.end = pos
            if source.startswith("(@", closed.start):
                # an annotation, which means nothing here
                stack[-1].items.pop()
                stack[-1].offsets.pop()
        elif kind in ("string", "atom"):
            text = match.group()
            stack[-1].items.append(_unescape(text[1:-1]) if kind == "string" else text)
            stack[-1].offsets.append(start)
    if len(stack) > 1:
        raise ValueError(f"line {stack[-1].line}: ( without )")
    return [item for item in top.items if isinstance(item, Form)]


def module_of(source: str, form: Form, context: str = "") -> WastModule | None:
    """The module that a form holds; None for ``(module instance …)``."""
    at = 1
    items = form.items
    if at < len(items) and items[at] == "definition":
        at += 1
    elif at < len(items) and items[at] == "instance":
        return None
    name_at = at
    if at < len(items) and isinstance(items[at], str) and str(items[at]).startswith("$"):
        at += 1
    word = items[at] if at < len(items) else ""
    if word in ("binary", "quote"):
        data = b"".join(item for item in items[at + 1 :] if isinstance(item, bytes))
        if word == "binary":
            return WastModule("binary", data, form.line, context)
        text = data.decode("utf-8", "surrogateescape")
        return WastModule("quote", text, form.line, context)
    rest = source[form.offsets[name_at] : form.end] if name_at < len(items) else ")"
    return WastModule("text", f"(module {rest}", form.line, context)


def modules(source: str) -> Iterator[WastModule]:
    """Every module of a script, in order, also those in assertions.

    A script that is itself one inline module (no ``(module …)`` around it) gives that module.
    """
    forms = parse(source)
    fields = {"func", "memory", "table", "type", "global", "export", "import", "data", "elem", "tag", "start"}
    if forms and all(form.head in fields for form in forms):
        yield WastModule("text", f"(module {source}\n)", 1, "")
        return
    for form in forms:
        if form.head == "module":
            found = module_of(source, form)
            if found is not None:
                yield found
        elif form.head.startswith("assert_"):
            for item in form.items:
                if isinstance(item, Form) and item.head == "module":
                    found = module_of(source, item, form.head)
                    if found is not None:
                        yield found
