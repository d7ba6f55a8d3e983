"""Cutting code into instructions without looking at them one by one: a regular expression does.

Nine in ten instructions of a module are among a few thousand different ones, as bytes.  So whoever goes
through a whole module cuts its bodies into *words*, the bytes of an instruction each, and looks up what a
word means.  The expression knows the shapes of immediates, and no limits: what it cuts is to be decoded
once for each different word, by :func:`read_word`, which says if it is an instruction at all.
"""

from __future__ import annotations

import re
from typing import Final

from ..errors import ModuleError
from ._leb import read_u32
from ._pace import Tick, no_tick

__all__ = ["cut"]

_PIECE: Final = 1 << 14
"""Bytes that are cut at a time: about a millisecond's work."""

_LONGEST: Final = 700
"""No word is longer, but for a ``br_table`` of 128 targets and more."""

_U32: Final = rb"[\x80-\xff]{0,4}[\x00-\x7f]"
_U64: Final = rb"[\x80-\xff]{0,9}[\x00-\x7f]"
# Spec, "Binary Format, Memory Instructions": bit 6 of the alignment says that a memory index follows.
_MEMARG: Final = b"(?:[\\x00-\\x3f]%b|[\\x40-\\x7f]%b%b)" % (_U64, _U32, _U64)
_TABLES: Final = b"|".join(
    [re.escape(bytes((n,))) + b"(?:%b){%d}" % (_U32, n + 1) for n in range(128)]
)

_WORD: Final = re.compile(
    b"|".join(
        [
            rb"[\x20-\x26\x41\x0c\x0d\x10\x12\x3f\x40]" + _U32,
            rb"[\x00\x01\x05\x0b\x0f\x1a\x1b\x45-\xc4\xd1]",
            rb"[\x28-\x3e]" + _MEMARG,
            rb"[\x02-\x04](?:[\x63\x64]%b|%b)" % (_U32, _U32),
            rb"\x42" + _U64,
            rb"\x44.{8}",
            rb"\x43.{4}",
            rb"[\x11\x13]%b%b" % (_U32, _U32),
            rb"\x0e(?:%b)" % _TABLES,
            rb"\xfc(?:[\x00-\x07\x13-\x16]|[\x08\x0a\x0c\x0e]%b%b|[\x09\x0b\x0d\x0f-\x11]%b)"
            % (_U32, _U32, _U32),
            rb"\xfd(?:[\x00-\x0b\x5c\x5d]%b|[\x0c\x0d].{16}|[\x15-\x22].|[\x54-\x5b]%b.|%b)"
            % (_MEMARG, _MEMARG, _U32),
            rb"\xfe(?:\x03.|[\x00-\x02\x04-\x7f]%b)" % _MEMARG,
            rb"[\x08\x14\x15\xd2\xd5\xd6]" + _U32,
            rb"\xd0" + _U32,
            rb".",
        ]
    ),
    re.DOTALL,
)


def cut(data: bytes, pos: int, end: int, tick: Tick = no_tick) -> list[bytes]:
    """The words from *pos* to *end*; they are all of the bytes there.

    What can't be cut is words of one byte; a word that runs over the end may be anything.

    :param tick: called about every 8,000 instructions.
    """
    if end - pos <= _PIECE:
        words = _WORD.findall(data, pos, end)
        if b"\x0e" not in words:
            return words
    words = []
    while pos < end:
        limit = min(pos + _PIECE, end)
        piece = _WORD.findall(data, pos, limit)
        keep, kept_to = len(piece), limit
        while limit < end and kept_to > limit - _LONGEST:
            # The last ones may have been cut off.
            keep -= 1
            kept_to -= len(piece[keep])
        try:
            # A table of many targets, or no instruction at all.
            keep = table = piece.index(b"\x0e", 0, keep)
            kept_to = pos + sum(map(len, piece[:keep]))
        except ValueError:
            table = -1
        words += piece[:keep]
        pos = kept_to
        if table >= 0:
            after = _after_table(data, pos, end)
            words.append(data[pos:after])
            pos = after
        tick()
    return words


def _after_table(data: bytes, pos: int, end: int) -> int:
    """Where the ``br_table`` at *pos* ends; after its first byte if it is none."""
    try:
        count, at = read_u32(data, pos + 1, end)
        if count >= end - at:
            return pos + 1
        for _ in range(count + 1):
            _, at = read_u32(data, at, end)
    except ModuleError:
        return pos + 1
    return at
