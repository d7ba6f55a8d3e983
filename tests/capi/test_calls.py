"""Call futures: results, traps, failures, order, threads, and deletion in mid-flight."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable

import pytest
import wasmtime

from tests.capi.support import HOOK_LOOP, World, finish, resident_bytes, run_python
from trio_wasmdbg import capi
from trio_wasmdbg.errors import InternalError, ReentryError, StoreClosedError

MANY = """
(module $m
  (func (export "swap") (param i32 f64) (result f64 i32) (local.get 1) (local.get 0))
  (func (export "nothing"))
  (func $oob (export "oob") (result i32) (i32.load (i32.const -1)))
  (func (export "outer") (result i32) (call $oob))
  (func (export "unreachable") unreachable)
  (func (export "recurse") (call 5))
  (memory (export "memory") 1))
"""


def in_thread(function: Callable[[], object]) -> object:
    results: list[object] = []
    thread = threading.Thread(target=lambda: results.append(function()))
    thread.start()
    thread.join(60)
    assert results, "the thread died"
    return results[0]


def test_results_come_back(world: World) -> None:
    instance = world.load(MANY)
    assert finish(world.call(instance.export("swap"), 7, 2.5)) == (2.5, 7)
    assert finish(world.call(instance.export("nothing"))) == ()


@pytest.mark.parametrize(
    ("args", "error"),
    [
        ((), TypeError),
        ((1, 2.0, 3), TypeError),
        (("1", 2.0), TypeError),
        ((1.0, 2.0), TypeError),
        ((1, None), TypeError),
        ((1 << 32, 2.0), ValueError),
        ((-(1 << 31) - 1, 2.0), ValueError),
    ],
)
def test_bad_arguments_never_reach_the_library(
    world: World, args: tuple[object, ...], error: type[Exception]
) -> None:
    instance = world.load(MANY)
    with pytest.raises(error):
        world.call(instance.export("swap"), *args)


def test_a_function_of_another_store_is_refused(world: World) -> None:
    other = World(world.engine)
    func = other.load(MANY).export("nothing")
    with pytest.raises(ValueError, match=r"another wasmtime\.Store"):
        world.call(func)


def test_a_trap_has_code_and_frames(world: World) -> None:
    instance = world.load(MANY)
    future = world.call(instance.export("outer"))
    assert future.poll()
    outcome = future.outcome()
    future.delete()
    assert isinstance(outcome, capi.Trapped)
    assert outcome.code == "MEMORY_OUT_OF_BOUNDS"
    assert "out of bounds" in outcome.message
    inner, outer = outcome.frames
    assert (inner.func_index, inner.func_name, inner.module_name) == (2, "oob", "m")
    assert outer.func_index == 3
    assert outer.func_name is None
    assert inner.module_offset is not None
    assert inner.func_offset is not None
    wasm = bytes(wasmtime.wat2wasm(MANY))
    assert wasm[inner.module_offset] == 0x28  # i32.load
    assert isinstance(outcome.trap, wasmtime.Trap)
    assert outcome.trap.trap_code is wasmtime.TrapCode.MEMORY_OUT_OF_BOUNDS
    # and the store lives on
    assert finish(world.call(instance.export("swap"), 1, 2.0)) == (2.0, 1)


@pytest.mark.parametrize(
    ("export", "code"),
    [("unreachable", "UNREACHABLE"), ("recurse", "STACK_OVERFLOW")],
)
def test_trap_codes(world: World, export: str, code: str) -> None:
    future = world.call(world.load(MANY).export(export))
    assert future.poll()
    outcome = future.outcome()
    assert isinstance(outcome, capi.Trapped)
    assert outcome.code == code
    future.delete()


@pytest.mark.parametrize("exit_code", [0, 3])
def test_a_wasi_exit_tells_its_code(exit_code: int) -> None:
    engine = wasmtime.Engine()
    store = wasmtime.Store(engine)
    store.set_wasi(wasmtime.WasiConfig())
    user_linker = wasmtime.Linker(engine)
    user_linker.define_wasi()
    linker = capi.RawLinker.clone_of(user_linker)
    module = wasmtime.Module(
        engine,
        f"""(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
              (memory (export "memory") 1)
              (func (export "_start") (call $exit (i32.const {exit_code}))))""",
    )
    (instance,) = finish(capi.start_instantiate(store, linker, module))
    future = capi.start_call(store, instance.export("_start"))
    assert future.poll()
    outcome = future.outcome()
    future.delete()
    assert isinstance(outcome, capi.Failed)
    assert outcome.exit_code == exit_code
    assert outcome.exception is None
    assert isinstance(outcome.error, wasmtime.ExitTrap)
    assert [frame.func_index for frame in outcome.frames] == [1]


def test_a_complete_future_is_never_polled_again(world: World) -> None:
    future = world.call(world.load(MANY).export("nothing"))
    with pytest.raises(InternalError, match="not complete"):
        future.outcome()
    assert future.poll()
    with pytest.raises(InternalError, match="complete"):
        future.poll()
    future.delete()
    future.delete()
    with pytest.raises(InternalError, match="deleted"):
        future.poll_inline()


def test_a_future_may_be_deleted_before_its_first_poll(world: World) -> None:
    future = world.call(world.load(MANY).export("swap"), 1, 2.0)
    assert capi.live_futures() == 1
    future.delete()


# ── nesting ────────────────────────────────────────────────────────────────────────────────────


def test_nested_calls_wait_for_the_same_hook(world: World) -> None:
    hook = world.hook(lambda kind, fp, rp: None)
    func = world.load(HOOK_LOOP).export("sum")
    futures = []
    for depth in range(5):
        future = world.call(func, 2)
        assert not future.poll()
        assert future.waiting is hook
        futures.append(future)
        assert capi.live_pendings() == depth + 1
    with pytest.raises(InternalError, match="innermost"):
        futures[0].poll()
    with pytest.raises(InternalError, match="innermost"):
        futures[1].delete()
    for depth, future in reversed(list(enumerate(futures))):
        hook.resume(10 * depth)
        assert future.waiting is None
        assert not future.poll()
        hook.resume(1)
        assert future.poll()
        assert future.outcome() == capi.Returned((10 * depth + 1,))
        future.delete()


def test_an_inner_future_deleted_leaves_the_outer_one_waiting(world: World) -> None:
    hook = world.hook(lambda kind, fp, rp: None)
    func = world.load(HOOK_LOOP).export("sum")
    outer = world.call(func, 1)
    assert not outer.poll()
    for _ in range(3):
        inner = world.call(func, 1)
        assert not inner.poll()
        inner.delete()
    nothing = world.call(func, 1)
    nothing.delete()
    assert outer.waiting is hook
    hook.resume(42)
    assert outer.poll()
    assert outer.outcome() == capi.Returned((42,))
    outer.delete()


def test_an_inner_trap_leaves_the_outer_call_alone(world: World) -> None:
    hook = world.hook(lambda kind, fp, rp: None)
    func = world.load(HOOK_LOOP).export("sum")
    trapping = world.load(MANY).export("oob")
    outer = world.call(func, 1)
    assert not outer.poll()
    inner = world.call(trapping)
    assert inner.poll()
    assert isinstance(inner.outcome(), capi.Trapped)
    inner.delete()
    hook.resume(-5)
    assert outer.poll()
    assert outer.outcome() == capi.Returned((-5,))
    outer.delete()


def test_instantiating_and_reading_while_a_guest_is_paused(world: World) -> None:
    hook = world.hook(lambda kind, fp, rp: None)
    instance = world.load(HOOK_LOOP)
    outer = world.call(instance.export("deep"), 30)
    assert not outer.poll()
    other = world.load(MANY)
    memory = capi.MemoryView(world.store, other.export("memory"))
    memory.set_u32(0, 9)
    assert finish(world.call(other.export("swap"), 1, 2.0)) == (2.0, 1)
    hook.resume(100)
    assert outer.poll()
    assert outer.outcome() == capi.Returned((130,))
    outer.delete()


def test_polling_again_before_the_answer_changes_nothing(world: World) -> None:
    hook = world.hook(lambda kind, fp, rp: None)
    future = world.call(world.load(HOOK_LOOP).export("sum"), 1)
    for _ in range(3):
        assert not future.poll()
        assert future.waiting is hook
    hook.resume(1)
    assert future.poll()
    future.delete()


# ── deletion ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.skipif(sys.platform != "linux", reason="reads memory figures from Linux's /proc")
def test_two_thousand_guests_deleted_in_mid_flight_leave_nothing(world: World) -> None:
    hook = world.hook(lambda kind, fp, rp: None)
    func = world.load(HOOK_LOOP).export("deep")

    def round_(n: int) -> None:
        for _ in range(n):
            future = world.call(func, 20)
            assert not future.poll()
            assert future.waiting is hook
            future.delete()

    round_(200)
    maps, resident = capi.memory_maps_in_use(), resident_bytes()
    round_(2000)
    maps_after = capi.memory_maps_in_use()
    assert maps is not None
    assert maps_after is not None
    assert maps_after <= maps + 50
    assert resident_bytes() <= resident + (4 << 20)
    assert capi.live_futures() == 0
    assert finish_sum(world, hook) == 3


def finish_sum(world: World, hook: capi.Hook) -> object:
    func = world.load(HOOK_LOOP).export("sum")
    future = world.call(func, 3)
    while not future.poll():
        hook.resume(1)
    future.delete()
    outcome = future.outcome()
    assert isinstance(outcome, capi.Returned)
    return outcome.values[0]


def test_answered_and_then_deleted(world: World) -> None:
    hook = world.hook(lambda kind, fp, rp: None)
    future = world.call(world.load(HOOK_LOOP).export("sum"), 1)
    assert not future.poll()
    hook.resume(1)
    future.delete()
    assert finish_sum(world, hook) == 3


def test_a_store_is_freed_only_after_its_futures(world: World) -> None:
    result = run_python("""
import weakref, gc
world = World()
hook = world.hook(lambda *a: None)
future = world.call(world.load(HOOK_LOOP).export("sum"), 1)
assert not future.poll()
alive = weakref.ref(world.store)
del world, hook
gc.collect()
assert alive() is not None
future.delete()
del future
gc.collect()
assert alive() is None
assert capi.live_host_functions() == 0, capi.live_host_functions()
print("fine")
""")
    assert (result.returncode, result.stdout, result.stderr) == (0, "fine\n", "")


def test_a_future_left_alive_at_exit_is_deleted_in_time() -> None:
    result = run_python("""
world = World()
hook = world.hook(lambda *a: None)
func = world.load(HOOK_LOOP).export("sum")
futures = [world.call(func, 1)]
futures[0].poll()
futures.append(world.call(func, 1))
futures[1].poll()
cycle = futures
cycle.append(cycle)
print("fine")
""")
    assert (result.returncode, result.stdout) == (0, "fine\n")
    # Nothing but the warning.
    assert result.stderr.count("\n") == 1
    assert "RuntimeWarning: the interpreter exits with 2 calls of guests under way" in result.stderr


def test_a_store_closed_under_a_future_does_not_end_the_process() -> None:
    result = run_python("""
import warnings
from trio_wasmdbg.errors import StoreClosedError
world = World()
hook = world.hook(lambda *a: None)
future = world.call(world.load(HOOK_LOOP).export("sum"), 1)
future.poll()
world.store.close()
for action in (future.poll, future.poll_inline, lambda: world.call(hook.func, 1, 2, 3)):
    try: action()
    except StoreClosedError: print("closed")
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    future.delete()
print([w.category.__name__ for w in caught], capi.abandoned_futures(), capi.live_futures())
""")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == "closed\nclosed\nclosed\n['ResourceWarning'] 1 0\n"


def test_a_closed_store_is_named() -> None:
    world = World()
    func = world.load(MANY).export("nothing")
    world.store.close()
    with pytest.raises(StoreClosedError, match="closed"):
        capi.start_call(world.store, func)


# ── threads ────────────────────────────────────────────────────────────────────────────────────


def test_polled_in_one_thread_then_another_and_deleted_in_a_third(world: World) -> None:
    hook = world.hook(lambda kind, fp, rp: None)
    func = world.load(HOOK_LOOP).export("sum")
    future = world.call(func, 3)
    for _ in range(3):
        assert in_thread(future.poll) is False
        hook.resume(2)
    assert in_thread(future.poll) is True
    assert future.outcome() == capi.Returned((6,))
    future.delete()
    future = world.call(func, 3)
    assert in_thread(future.poll) is False
    hook.resume(2)
    assert future.poll() is False

    def delete() -> bool:
        future.delete()
        return True

    assert in_thread(delete)
    assert future.deleted
    assert finish_sum(world, hook) == 3


def test_the_gil_is_free_while_the_guest_runs(world: World) -> None:
    # The guest spins until this thread, which needs the GIL for it, lets it go.
    instance = world.load("""
      (module (memory (export "memory") 1)
        (func (export "spin")
          (i32.store8 (i32.const 1) (i32.const 1))
          (loop $l (br_if $l (i32.eqz (i32.load8_u (i32.const 0)))))))""")
    memory = capi.MemoryView(world.store, instance.export("memory"), fixed=True)
    future = world.call(instance.export("spin"))
    results: list[bool] = []
    thread = threading.Thread(target=lambda: results.append(future.poll()))
    thread.start()
    while not memory.u8(1):
        pass
    with pytest.raises(InternalError, match="another thread"):
        future.poll()
    with pytest.raises(InternalError, match="another thread"):
        future.delete()
    memory.set_u8(0, 1)
    thread.join(60)
    assert results == [True]
    future.delete()


# ── what Wasmtime refuses, and yields ──────────────────────────────────────────────────────────


def test_ordinary_calls_into_a_store_with_hooks_are_refused_by_wasmtime(world: World) -> None:
    world.hook(lambda kind, fp, rp: 1)
    func = world.load(HOOK_LOOP).export("sum")
    with pytest.raises(wasmtime.WasmtimeError, match="async"):
        func(world.store, 1)
    assert finish(world.call(func, 4)) == (4,)


def test_a_host_function_cannot_start_a_call_in_the_running_store(world: World) -> None:
    seen: list[BaseException] = []
    func: wasmtime.Func

    def plain() -> None:
        try:
            capi.start_call(world.store, func)
        except ReentryError as exc:
            seen.append(exc)
        with pytest.raises(InternalError, match="polling"):
            future.poll()
        with pytest.raises(InternalError, match="polling"):
            future.delete()

    world.linker.linker.define_func("h", "plain", wasmtime.FuncType([], []), plain)
    func = world.load('(module (import "h" "plain" (func $p)) (func (export "f") (call $p)))').export("f")
    future = world.call(func)
    assert future.poll()
    assert future.outcome() == capi.Returned(())
    future.delete()
    assert len(seen) == 1


def test_an_epoch_yield_waits_for_nothing() -> None:
    config = wasmtime.Config()
    config.epoch_interruption = True
    world = World(wasmtime.Engine(config))

    def on_hook(kind: int, fp: int, rp: int) -> int:
        world.engine.increment_epoch()
        return 1

    world.hook(on_hook)
    world.store.set_epoch_deadline(1)
    lib = capi._library
    lib.epoch_deadline_async_yield_and_update(capi.StoreHandle.of(world.store).context, 1)
    future = world.call(world.load(HOOK_LOOP).export("sum"), 5)
    yields = 0
    while not future.poll():
        assert future.waiting is None
        yields += 1
    assert yields >= 3
    assert future.outcome() == capi.Returned((5,))
    future.delete()


# ── instantiation ──────────────────────────────────────────────────────────────────────────────


def test_a_start_function_may_pause(world: World) -> None:
    hook = world.hook(lambda kind, fp, rp: None)
    module = wasmtime.Module(
        world.engine,
        """(module (import "h" "hook" (func $hook (param i32 i32 i32) (result i32)))
             (global (export "g") (mut i32) (i32.const 0))
             (func $s (global.set 0 (call $hook (i32.const 0) (i32.const 0) (i32.const 0))))
             (start $s))""",
    )
    future = capi.start_instantiate(world.store, world.linker, module)
    assert not future.poll()
    hook.resume(77)
    assert future.poll()
    outcome = future.outcome()
    future.delete()
    assert isinstance(outcome, capi.Returned)
    assert capi.I32Global(world.store, outcome.values[0].export("g")).get() == 77


def test_an_instantiation_may_be_stopped(world: World) -> None:
    hook = world.hook(lambda kind, fp, rp: None)
    module = wasmtime.Module(
        world.engine,
        """(module (import "h" "hook" (func $hook (param i32 i32 i32) (result i32)))
             (func $s (drop (call $hook (i32.const 0) (i32.const 0) (i32.const 0)))) (start $s))""",
    )
    future = capi.start_instantiate(world.store, world.linker, module)
    assert not future.poll()
    future.delete()
    assert finish_sum(world, hook) == 3


def test_a_missing_import_and_a_trap_at_start(world: World) -> None:
    missing = wasmtime.Module(world.engine, '(module (import "no" "such" (func)))')
    future = capi.start_instantiate(world.store, world.linker, missing)
    assert future.poll()
    outcome = future.outcome()
    future.delete()
    assert isinstance(outcome, capi.Failed)
    assert "no::such" in outcome.message
    assert outcome.frames == ()
    trapping = wasmtime.Module(world.engine, "(module (func $s unreachable) (start $s))")
    future = capi.start_instantiate(world.store, world.linker, trapping)
    assert future.poll()
    outcome = future.outcome()
    future.delete()
    assert isinstance(outcome, capi.Trapped)
    assert outcome.code == "UNREACHABLE"


def test_a_linker_of_another_engine_is_refused(world: World) -> None:
    with pytest.raises(ValueError, match=r"another wasmtime\.Engine"):
        capi.start_instantiate(
            world.store, capi.RawLinker.new(wasmtime.Engine()), wasmtime.Module(world.engine, "(module)")
        )
