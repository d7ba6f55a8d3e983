"""The checks of loops are in the machine code, inside of their loops; Cranelift may delete what it knows.

A check of a byte that a dominating check has read already is replaced by the stale register, if the way out
of the first does not come back; a loop with such a check can't be interrupted any more.  ``test_interrupt``
interrupts loops; here the compiled code is disassembled, so that all loops of real programs are looked at.
"""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import wasmtime

from trio_wasmdbg.instrument import FRAME_MODES, FrameMode, instrument
from trio_wasmdbg.wasm import decode_module

from ._harness import ENGINE
from ._programs import wat
from .test_interrupt import ENDLESS, LOOPS

pytestmark = [
    pytest.mark.skipif(shutil.which("objdump") is None, reason="objdump is not installed (binutils)"),
    pytest.mark.skipif(platform.machine() != "x86_64", reason="the machine code is read for x86-64 only"),
]

_ROOT = Path(__file__).parents[1]
PROGRAMS = sorted([*(_ROOT / "benchmarks/programs/O2").glob("*.wasm"), *(_ROOT / "guests").glob("*.wasm")])

_LOAD = re.compile(r"^ +([0-9a-f]+):\tmov[a-z]* +0x([0-9a-f]+)\(%r[a-z0-9]+\)", re.MULTILINE)
_JUMP = re.compile(r"^ +([0-9a-f]+):\tj[a-z]+ +([0-9a-f]+)\b", re.MULTILINE)


def disassembled(wasm: bytes, folder: Path) -> str:
    """The machine code of a module."""
    path = folder / "module.elf"
    path.write_bytes(wasmtime.Module(ENGINE, wasm).serialize())
    command = ["objdump", "--disassemble", "--wide", "--no-show-raw-insn", str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def loads_of(code: str) -> dict[int, list[int]]:
    """Where something is loaded from a constant offset, by that offset."""
    found: dict[int, list[int]] = {}
    for match in _LOAD.finditer(code):
        found.setdefault(int(match[2], 16), []).append(int(match[1], 16))
    return found


def loops_of(code: str) -> list[tuple[int, int]]:
    """The jumps backwards: where to, where from."""
    jumps = [(int(match[2], 16), int(match[1], 16)) for match in _JUMP.finditer(code)]
    return [(to, at) for to, at in jumps if to <= at]


def missing(wasm: bytes, frames: FrameMode, folder: Path) -> list[str]:
    """Sites that the machine code does not check, and sites of loops that it checks outside of loops."""
    instrumented = instrument(decode_module(wasm), frames=frames)
    code = disassembled(instrumented.wasm, folder)
    loads, loops = loads_of(code), loops_of(code)
    found = []
    for plan in instrumented.defined():
        for site in plan.sites:
            places = loads.get(site.address, [])
            if not places:
                found.append(f"function {plan.index}: no check at {site}")
            elif site.kind == "loop" and not any(to <= at <= back for at in places for to, back in loops):
                found.append(f"function {plan.index}: not in its loop: {site}")
    return found


ONCE = {"inner": 1}
"""Loops of which Cranelift knows that they are never gone round: the one inside never ends."""


@pytest.mark.parametrize("frames", FRAME_MODES)
@pytest.mark.parametrize("name", LOOPS)
def test_loops_that_do_nothing_else(name: str, frames: FrameMode, tmp_path: Path) -> None:
    found = missing(wat(ENDLESS % LOOPS[name]), frames, tmp_path)
    assert len(found) == ONCE.get(name, 0), found
    assert all("not in its loop" in each for each in found)


@pytest.mark.parametrize("frames", FRAME_MODES)
@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_loops_of_programs(path: Path, frames: FrameMode, tmp_path: Path) -> None:
    assert missing(path.read_bytes(), frames, tmp_path) == []


HAZARD = """
(module
  (type $out (func (result i32)))
  (memory (export "memory") 1)
  (table 1 funcref)
  (func (export "spin") (result i32) (local $i i32)
    (if (i32.load8_u (i32.const 0x8040)) (then (return_call_indirect (type $out) (i32.const 0))))
    (loop $again
      (if (i32.load8_u (i32.const {second})) (then (return_call_indirect (type $out) (i32.const 0))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br $again))
    (unreachable)))
"""


def hazard(second: int) -> bytes:
    return wat(HAZARD.format(second=second))


def test_two_checks_of_one_byte_are_made_one(tmp_path: Path) -> None:
    """The reason for all this.  Once this fails, Cranelift has become careful: sites could share bytes."""
    assert len(loads_of(disassembled(hazard(0x8040), tmp_path))[0x8040]) == 1


def test_two_checks_of_two_bytes_stay(tmp_path: Path) -> None:
    code = disassembled(hazard(0x8041), tmp_path)
    loads, loops = loads_of(code), loops_of(code)
    assert len(loads[0x8040]) == len(loads[0x8041]) == 1
    assert any(to <= loads[0x8041][0] <= back for to, back in loops)
    assert not any(to <= loads[0x8040][0] <= back for to, back in loops)
