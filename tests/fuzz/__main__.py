"""``python -m tests.fuzz --seconds N``: random modules, plain against every other way to run them.

Modules come from each generator that is there, in turn (see ``_generators``).  Each batch runs in a child
process, so that a module which kills the process, or never ends, is known as well.  What differs is written
to ``tests/fuzz/corpus`` (``GENERATOR-SEED.wasm``), where it is a test from then on.
"""

from __future__ import annotations

import argparse
import os
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from itertools import cycle
from pathlib import Path

from tests.fuzz._generators import GENERATORS, NoModule

CORPUS = Path(__file__).parent / "corpus"
BATCH = 25
PATIENCE = 20
"""Seconds of CPU that a module may take, on the average of a batch, in all modes together."""
BUSY = 20
"""So many times as long a batch may take by the clock: the machine may have other things to do."""


def work(name: str, first: int, count: int) -> int:
    """The child: prints a line before each module, how it came out, and what differs."""
    from tests.fuzz._compare import compare
    from tests.spec._driver import Failure

    resource.setrlimit(resource.RLIMIT_CPU, (PATIENCE * count, PATIENCE * count + 5))
    generator, failed = GENERATORS[name], 0
    for seed in range(first, first + count):
        print(f"seed {seed}", flush=True)
        try:
            data = generator.make(seed)
        except NoModule:
            print("none", flush=True)
            continue
        try:
            found = compare(data, seed)
        except Failure as refused:
            print(f"refused {' '.join(str(refused).split())}", flush=True)
            continue
        except Exception as error:
            found = [f"{type(error).__name__}: {error}"]
        for line in found:
            print(f"differs {' '.join(line.split())}", flush=True)
        print("ran", flush=True)
        failed += bool(found)
    return 1 if failed else 0


def batch(name: str, first: int, counts: Counter[str]) -> int:
    """Runs one batch in a child; the number of modules that came out wrong."""
    environment = dict(os.environ, TRIO_WASMDBG_FUZZ="1")
    command = [sys.executable, "-m", "tests.fuzz", "--work", name, "--seed", str(first)]
    try:
        child = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False,
            timeout=PATIENCE * BATCH * BUSY,
        )  # fmt: skip
        out, died = child.stdout, "" if child.returncode in (0, 1) else f"died ({child.returncode})"
        died += f": {child.stderr[-2000:]}" if died else ""
        if child.returncode == -signal.SIGXCPU:
            died = "did not come to an end"
    except subprocess.TimeoutExpired as late:
        out, died = late.stdout.decode() if late.stdout is not None else "", "did not come to an end"
    at, wrong = first, set()
    for line in out.splitlines():
        word, _, rest = line.partition(" ")
        counts[word] += word != "seed"
        if word == "seed":
            at = int(rest)
        elif word == "differs":
            print(f"{name} {at}: {rest[:1000]}", flush=True)
            wrong.add(at)
    if died:
        print(f"{name} {at}: the process {died}", flush=True)
        wrong.add(at)
    for seed in wrong:
        CORPUS.mkdir(exist_ok=True)
        (CORPUS / f"{name}-{seed}.wasm").write_bytes(GENERATORS[name].make(seed))
    return len(wrong)


def main() -> int:
    """Runs batches until the time is over; 1 if anything differed."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0, help="where to begin")
    parser.add_argument("--generators", default=",".join(GENERATORS), help="default: %(default)s")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work is not None:
        return work(arguments.work, arguments.seed, BATCH)
    names = []
    for name in arguments.generators.split(","):
        why = GENERATORS[name].missing()
        if why is None:
            names.append(name)
        else:
            print(f"{name} is left out: {why}")
    begun, wrong = time.monotonic(), 0
    counts: dict[str, Counter[str]] = {name: Counter() for name in names}
    seeds = dict.fromkeys(names, arguments.seed)
    for name in cycle(names):
        if time.monotonic() - begun >= arguments.seconds:
            break
        wrong += batch(name, seeds[name], counts[name])
        seeds[name] += BATCH
    for name, count in counts.items():
        print(f"{name}: {count['ran']} modules in every mode, {count['refused']} refused by the engine")
    print(f"{time.monotonic() - begun:.0f} s, {wrong} differences")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
