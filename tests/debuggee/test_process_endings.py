"""Endings of the process, or of a part of it, while guests are alive: each in a process of its own."""

from __future__ import annotations

import signal

import pytest

from tests.debuggee._processes import in_a_process

PRELUDE = '''
import gc, os, signal, sys, threading, time
import trio, wasmtime
from trio_wasmdbg import capi, debug_wasm, events, load_module, make_engine, open_debuggee, run_debuggee

# Where the tests run in the background, a shell has had SIGINT ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)

GUEST = """
(module (import "host" "f" (func $f)) (memory 1 100)
  (func (export "spin") (loop (br 0)))
  (func (export "calls") (loop (call $f) (br 0)))
  (func (export "once") (call $f))
  (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0))))
"""

async def debug(export, f=lambda: None, *args):
    return debug_wasm(await load_module(make_engine(), GUEST, cache=None), export, args,
                      imports={"host": {"f": f}})

def flat(exc):
    return [each for inner in exc.exceptions for each in flat(inner)] if hasattr(exc, "exceptions") else [exc]

async def computing(debuggee):
    while debuggee.statistics().polls_in_threads < 2:
        await trio.sleep(0)
'''

EXIT = """
ready = threading.Event()

async def main():
    async with await debug({export!r}) as debuggee:
        if {paused}:
            debuggee.add_breakpoint({export!r})
            await debuggee.run()
            ready.set()
            await trio.sleep_forever()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(debuggee.run)
            await computing(debuggee)
            ready.set()

threading.Thread(target=trio.run, args=(main,), daemon=True).start()
ready.wait()
print("leaving")
"""


@pytest.mark.parametrize(("export", "paused"), [("spin", False), ("calls", False), ("spin", True)])
async def test_the_interpreter_exits_with_a_live_guest(export: str, paused: bool) -> None:
    program = PRELUDE + EXIT.format(export=export, paused=paused)
    done = await in_a_process(program, "-W", "default")
    assert (done.returncode, done.stdout) == (0, "leaving\n"), done
    assert "RuntimeWarning: the interpreter exits with 1 calls of guests under way" in done.stderr
    assert "leave the blocks of their debuggees first" in done.stderr


FORK = """
async def main():
    async with await debug("once") as paused, await debug("spin") as other, trio.open_nursery() as nursery:
        paused.add_breakpoint("once")
        await paused.run()
        nursery.start_soon(other.run)
        await computing(other)
        child = os.fork()
        if not child:
            status = 0 if capi.live_futures() == 0 else 1
            gc.collect()
            os._exit(status)
        _, status = os.waitpid(child, 0)
        assert status == 0, status
        print(await paused.run())  # the parent's guests have noticed nothing
        assert capi.live_futures() == 1
        nursery.cancel_scope.cancel()

trio.run(main)
"""


async def test_a_fork_leaves_the_guests_to_the_parent() -> None:
    done = await in_a_process(PRELUDE + FORK, "-W", "ignore::DeprecationWarning")
    assert (done.returncode, done.stderr) == (0, ""), done
    assert done.stdout == "Finished(result=None, error=None, exit_code=None)\n"


FORK_AND_EXIT = """
import wasmtime
from trio_wasmdbg.errors import InternalError

engine = make_engine()
store = wasmtime.Store(engine)
linker = capi.RawLinker.new(engine)
hook = capi.define_hook(linker, store, "hook", lambda *numbers: None)
future = capi.start_call(store, hook.func, (1, 2, 3))
assert not future.poll()
child = os.fork()
if child:
    _, status = os.waitpid(child, 0)
    hook.resume(5)
    assert future.poll()
    print(status, future.outcome().values)
else:
    try:
        future.poll()
    except InternalError as exc:
        print(exc)
    future.delete()
    # To the end of the interpreter, which frees the store: it may not touch the fiber.
    sys.exit(0)
"""


async def test_a_forked_child_exits_without_touching_a_guest() -> None:
    done = await in_a_process(PRELUDE + FORK_AND_EXIT)
    assert (done.returncode, done.stderr) == (0, ""), done
    assert "its guest belongs to the parent process" in done.stdout
    assert done.stdout.endswith("0 (5,)\n")


# ── signals ────────────────────────────────────────────────────────────────────────────────────

CTRL_C = """
def host():
    if {at!r} == "in a host function":
        signal.raise_signal(signal.SIGINT)

async def main():
    async with await debug({export!r}, host) as debuggee:
        if {at!r} == "paused":
            debuggee.add_breakpoint("spin")
            await debuggee.run()
            signal.raise_signal(signal.SIGINT)
            await trio.sleep_forever()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(debuggee.run)
            if {at!r} == "computing":
                await computing(debuggee)
                signal.raise_signal(signal.SIGINT)
            await trio.sleep_forever()

try:
    trio.run(main)
except BaseException as exc:
    print([type(each).__name__ for each in flat(exc)])
print(capi.live_futures(), capi.abandoned_futures())
"""


@pytest.mark.parametrize(
    ("at", "export"), [("computing", "spin"), ("paused", "spin"), ("in a host function", "once")]
)
async def test_ctrl_c(at: str, export: str) -> None:
    done = await in_a_process(PRELUDE + CTRL_C.format(at=at, export=export))
    assert (done.returncode, done.stderr) == (0, ""), done
    # Where it ends the body, the block's own run() says that the debuggee is gone.
    also = "'ClosedResourceError', " if at == "in a host function" else ""
    assert done.stdout == f"[{also}'KeyboardInterrupt']\n0 0\n"


CTRL_C_ANYWHERE = """
# In the main thread, at seeded moments: single steps are polled there, and callbacks run on the fiber.
import random
hits = 0
chance = random.Random({seed})

async def main():
    async with await debug("calls") as debuggee:
        await debuggee.step()
        while True:
            await debuggee.step(20)

def strike(pid):
    time.sleep(chance.uniform(0.0, 0.3))
    os.kill(pid, signal.SIGINT)

for _ in range(12):
    striker = threading.Thread(target=strike, args=(os.getpid(),))
    try:
        striker.start()
        trio.run(main)
    except BaseException as exc:
        *others, last = flat(exc)
        assert isinstance(last, KeyboardInterrupt), repr(exc)
        assert all(isinstance(other, trio.ClosedResourceError) for other in others), repr(exc)
        hits += 1
    striker.join()
    assert capi.live_futures() == 0
print(hits)
"""


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
async def test_ctrl_c_at_any_moment(seed: int) -> None:
    done = await in_a_process(PRELUDE + CTRL_C_ANYWHERE.format(seed=seed))
    assert (done.returncode, done.stdout, done.stderr) == (0, "12\n", ""), done


SIGTERM = """
async def main():
    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        async with await debug("spin") as debuggee, trio.open_nursery() as nursery:
            nursery.start_soon(debuggee.run)
            await computing(debuggee)
            os.kill(os.getpid(), signal.SIGTERM)
            async for number in signals:
                print(signal.Signals(number).name)
                break
            nursery.cancel_scope.cancel()
    print(capi.live_futures())

trio.run(main)
"""


async def test_a_signal_that_the_application_receives() -> None:
    done = await in_a_process(PRELUDE + SIGTERM)
    assert (done.returncode, done.stdout, done.stderr) == (0, "SIGTERM\n0\n", ""), done


HANDLER = """
def handler(number, frame):
    raise SystemExit(3)

signal.signal(signal.SIGTERM, handler)

async def main():
    async with await debug("calls") as debuggee:
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM)).start()
        while True:
            await debuggee.step(20)

try:
    trio.run(main)
finally:
    print(capi.live_futures())
"""


async def test_a_handler_that_raises() -> None:
    done = await in_a_process(PRELUDE + HANDLER)
    # trio has no way to hold such an exception back; the process must end by it, and not crash.
    assert done.returncode in (1, 3), done
    assert done.stdout in ("0\n", "1\n"), done


async def test_a_signal_that_nobody_handles_ends_the_process() -> None:
    program = """
async def main():
    async with await debug("spin") as debuggee, trio.open_nursery() as nursery:
        nursery.start_soon(debuggee.run)
        await computing(debuggee)
        os.kill(os.getpid(), signal.SIGTERM)
        await trio.sleep_forever()

trio.run(main)
"""
    done = await in_a_process(PRELUDE + program)
    assert done.returncode == -signal.SIGTERM, done


# ── resources ──────────────────────────────────────────────────────────────────────────────────

ADDRESS_SPACE = """
import resource

async def main():
    module = await load_module(make_engine(many_guests={many}), GUEST, cache=None)
    with open("/proc/self/status") as file:
        size = int(next(line for line in file if line.startswith("VmSize")).split()[1])
    resource.setrlimit(resource.RLIMIT_AS, ((size << 10) + (64 << 20), -1))

    async def body(guest):
        instance = await guest.instantiate({{"host": {{"f": lambda: None}}}}, module)
        return [await guest.call(instance.func("grow"), pages) for pages in (3, 98, 0)]

    async with open_debuggee(wasmtime.Store(module.engine), body) as debuggee:
        finished = await debuggee.run()
        print(finished.result if finished.error is None else type(finished.error).__name__)

trio.run(main)
"""


@pytest.mark.parametrize("many", [False, True])
async def test_out_of_address_space(many: bool) -> None:
    done = await in_a_process(PRELUDE + ADDRESS_SPACE.format(many=many))
    assert (done.returncode, done.stderr) == (0, ""), done
    # Gigabytes for each memory don't fit; as they are, they do, and a memory grows while it can.
    assert done.stdout == ("[1, -1, 4]\n" if many else "WasmtimeError\n")
