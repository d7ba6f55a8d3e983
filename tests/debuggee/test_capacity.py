"""Near the kernel's limit on memory maps a guest is refused, and the process goes on."""

from __future__ import annotations

import pytest

from tests.debuggee._processes import in_a_process
from trio_wasmdbg import capi

PROGRAM = '''
import ctypes, mmap, sys
import trio, wasmtime
from trio_wasmdbg import TooManyGuests, capi, events, load_module, make_engine, open_debuggee, run_debuggee
from trio_wasmdbg.debuggee._capacity import _RESERVE, _room

libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]

def take_maps(leave):
    """Let the process have all but so many of the maps that the reserve leaves."""
    count = (capi.max_map_count() - _RESERVE - capi.memory_maps_in_use() - leave) // 2
    begin = libc.mmap(None, 2 * count * mmap.PAGESIZE, 0, 0x4022, -1, 0)
    for number in range(count):  # every second page is a map of its own
        assert libc.mprotect(begin + 2 * number * mmap.PAGESIZE, mmap.PAGESIZE, 1) == 0
    _room.until = 0  # so many at once, and none for guests: it has to look again

GUEST = """(module (memory 1) (memory 1) (func (export "run")))"""

async def main():
    module = await load_module(make_engine(many_guests={many}), GUEST, cache=None)

    async def body(guest):
        instance = await guest.instantiate(None, module)
        await guest.call(instance.func("run"))

    take_maps(500)
    count, refused = 0, None
    async with trio.open_nursery() as nursery:
        debuggees = []
        while True:
            debuggee = await nursery.start(run_debuggee, wasmtime.Store(module.engine), body)
            debuggee.add_breakpoint("run")
            event = await debuggee.run()
            if isinstance(event, events.Finished):
                break
            debuggees.append(debuggee)
        assert isinstance(event.error, TooManyGuests), event.error
        print(event.error)
        print(len(debuggees))
        for debuggee in debuggees:
            debuggee.cancel()
    # All of them gone, there is room again.
    async with open_debuggee(wasmtime.Store(module.engine), body) as debuggee:
        assert (await debuggee.finish()).error is None
    # And compiled code is refused as well.
    take_maps(0)
    try:
        await load_module(module.engine, "(module (func (export \\"other\\")))", cache=None)
    except TooManyGuests as exc:
        print(exc)
    print("alive")

trio.run(main)
'''


@pytest.mark.skipif(capi.max_map_count() is None, reason="the kernel has no vm.max_map_count")
@pytest.mark.parametrize(("many", "least"), [(False, 35), (True, 100)])
async def test_at_the_limit(many: bool, least: int) -> None:
    limit = capi.max_map_count()
    assert limit is not None
    if limit > 1_000_000:
        pytest.skip(f"vm.max_map_count is {limit}: it would take long to get there")
    done = await in_a_process(PROGRAM.format(many=many))
    assert (done.returncode, done.stderr) == (0, ""), done
    refusal, count, other, alive = done.stdout.splitlines()
    assert f"of {limit} memory maps are in use" in refusal
    assert "many_guests=True" in refusal
    # 500 maps were left: three memories and a fiber's stack for each guest.
    assert least <= int(count) <= 250
    assert "memory maps are in use" in other
    assert alive == "alive"
