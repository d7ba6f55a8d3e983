"""``python -m tests.fuzz --seconds N``: random modules, plain against every other way to run them.

Each batch runs in a child process, so that a module which kills the process is known as well.  What differs
is written to ``tests/fuzz/corpus`` (``SEED.wasm``), where it is a test from then on.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from random import Random

from tests.fuzz._generate import generate

CORPUS = Path(__file__).parent / "corpus"
BATCH = 50


def work(first: int, count: int) -> int:
    """The child: prints a line before each module, and what differs."""
    from tests.fuzz._compare import compare

    failed = 0
    for seed in range(first, first + count):
        print(f"seed {seed}", flush=True)
        try:
            found = compare(generate(Random(seed)), seed)
        except Exception as error:
            found = [f"{type(error).__name__}: {error}"]
        for line in found:
            print(f"differs {line}", flush=True)
        failed += bool(found)
    return 1 if failed else 0


def main() -> int:
    """Runs batches until the time is over; 1 if anything differed."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0, help="where to begin")
    parser.add_argument("--work", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work is not None:
        return work(arguments.seed, arguments.work)
    environment = dict(os.environ, TRIO_WASMDBG_FUZZ="1")
    begun, seed, failures = time.monotonic(), arguments.seed, 0
    while time.monotonic() - begun < arguments.seconds:
        command = [sys.executable, "-m", "tests.fuzz", "--seed", str(seed), "--work", str(BATCH)]
        child = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        at = seed
        for line in child.stdout.splitlines():
            word, _, rest = line.partition(" ")
            if word == "seed":
                at = int(rest)
            elif word == "differs":
                print(f"module {at}: {rest[:1000]}")
                failures += 1
                _keep(at)
        if child.returncode not in (0, 1):
            print(f"module {at}: the process ended with {child.returncode}: {child.stderr[-2000:]}")
            failures += 1
            _keep(at)
        seed += BATCH
    print(f"{seed - arguments.seed} modules in {time.monotonic() - begun:.0f} s, {failures} differences")
    return 1 if failures else 0


def _keep(seed: int) -> None:
    CORPUS.mkdir(exist_ok=True)
    (CORPUS / f"{seed}.wasm").write_bytes(generate(Random(seed)))


if __name__ == "__main__":
    sys.exit(main())
