"""How fast is gdb on the same loop, compiled by gcc?

One session of gdb measures each kind of event for a while, in a script of its own Python, and writes down how
many there were in a second.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from attrs import frozen

from tests.benchmarks._measure import NotMeasured

__all__ = ["Gdb", "gdb"]

_LOOP: Final = """\
#include <stdlib.h>
volatile int total;
__attribute__((noinline)) int run(int n) {
  int i = 0;
  do {
    total = i;
  } while (++i != n);
  return i;
}
int main(int count, char **arguments) { return count > 1 && run(atoi(arguments[1])) == 0; }
"""

_SCRIPT: Final = """\
import gdb, json, os, time

quick = os.environ["QUICK"] == "1"
found = {}

def quiet(command):
    gdb.execute(command, to_string=True)

def start(iterations):
    quiet("delete")
    quiet(f"set args {iterations}")
    quiet("tbreak run")
    quiet("run")

def measured(name, count, action):
    begun = time.perf_counter()
    action()
    found[name] = count / (time.perf_counter() - begun)
    if gdb.selected_inferior().pid:
        quiet("kill")

quiet("set pagination off")
quiet("set confirm off")
quiet("set breakpoint pending off")
scale = 1 if quick else 4

start(2000 * scale)
quiet("break loop.c:6 if i == -1")
measured("condition", 2000 * scale, lambda: quiet("continue"))

start(1000000)
quiet("break loop.c:6")
measured("stop", 500 * scale, lambda: [quiet("continue") for _ in range(500 * scale)])

start(1000000)
measured("stepi N", 4000 * scale, lambda: quiet(f"stepi {4000 * scale}"))

start(1000000)
measured("stepi", 1000 * scale, lambda: [quiet("stepi") for _ in range(1000 * scale)])

start(2000 * scale)
quiet("watch total if total == -1")
measured("watch", 2000 * scale, lambda: quiet("continue"))

with open(os.environ["RESULTS"], "w") as file:
    json.dump(found, file)
"""


@frozen
class Gdb:
    """gdb, and a program for it.

    :ivar version: ``gdb 13.1``.
    """

    version: str
    folder: Path

    def rates(self, *, quick: bool) -> dict[str, float]:
        """Events a second: ``condition``, ``stop``, ``stepi N``, ``stepi``, ``watch``; blocks for seconds."""
        results = self.folder / "results.json"
        environment = os.environ | {"QUICK": str(int(quick)), "RESULTS": str(results)}
        done = subprocess.run(
            ["gdb", "-nx", "-batch", "-x", "script.py", "loop"],
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
        )
        if not results.exists():
            last = (done.stderr.strip().splitlines() or ["no output"])[-1]
            raise NotMeasured(f"gdb: {last}")
        found: dict[str, float] = json.loads(results.read_text())
        results.unlink()
        return found


@contextmanager
def gdb() -> Iterator[Gdb]:
    """A program for gdb, for the length of a block.

    :raises NotMeasured: gdb or gcc is not here.
    """
    for tool in ("gdb", "gcc"):
        if shutil.which(tool) is None:
            raise NotMeasured(f"{tool} is not installed")
    told = subprocess.run(["gdb", "--version"], capture_output=True, text=True).stdout.partition("\n")[0]
    match = re.search(r"(\d+(\.\d+)+)(?!.*\d\.\d)", told)
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "loop.c").write_text(_LOOP)
        (folder / "script.py").write_text(_SCRIPT)
        subprocess.run(["gcc", "-O1", "-g", "-o", "loop", "loop.c"], cwd=folder, check=True)
        yield Gdb(f"gdb {match[1] if match else 'of some version'}", folder)
