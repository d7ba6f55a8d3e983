"""What one of several processes runs that rewrite a module together (see ``debuggee/_processes``).

It imports neither trio nor the engine, and so starts in a fifth of the time.  It says first which program it
is; then it is told the module, then functions again and again, and answers with what it makes of them.  It
ends when nobody is there any more to tell it something, or to hear it.
"""

from __future__ import annotations

import gc
import pickle
import signal
import sys

from ._program import rewriting_program
from .instrument import Share
from .wasm import decode_module

__all__ = ["GREETING_SIZE", "greeting", "main"]

GREETING_SIZE = 48
"""Bytes of :func:`greeting`."""


def greeting() -> bytes:
    """The first bytes: that this is the same program, run by the same interpreter."""
    return b"twdbg" + sys.hexversion.to_bytes(8, "big") + bytes(3) + rewriting_program()


def main() -> None:
    """Serve the process that has started this one."""
    # Ctrl-C goes to all processes of a terminal; the one that is in use deals with it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.disable()  # as where one process rewrites: nothing here is in cycles
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    try:
        answers.write(greeting())
        answers.flush()
        data, frames = pickle.load(requests)
        share = Share(decode_module(data), frames)
        while True:
            functions = pickle.load(requests)
            pickle.dump([share.make(index) for index in functions], answers, pickle.HIGHEST_PROTOCOL)
            answers.flush()
    except (EOFError, BrokenPipeError):
        pass
