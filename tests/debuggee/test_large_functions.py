"""Functions as large as the engine takes them, debugged like any other."""

from __future__ import annotations

from tests.debuggee._support import debug, run_to
from trio_wasmdbg import events

MOST = 50_000
LARGE = f"""
(module
  (func $double (param i32) (result i32) (i32.mul (local.get 0) (i32.const 2)))
  (func $large (export "large") (param $n i32) (result i32) (local {"i32 " * (MOST - 1)})
    (local.set 49999 (call $double (local.get $n)))
    (loop $again
      (local.set 30000 (i32.add (local.get 30000) (local.get 20000)))
      (br_if $again (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
    (i32.add (local.get 49999) (local.get 30000))))
"""


async def test_fifty_thousand_locals() -> None:
    async with debug(LARGE, "large", 3) as debuggee:
        debuggee.add_breakpoint("large")
        debuggee.add_breakpoint("double")
        event = await run_to(debuggee, events.Breakpoint)
        frame = event.frame
        assert frame.function_name == "large" and frame.exact
        assert len(frame.locals) == MOST and frame.local(0) == 3 and not any(frame.locals[1:])
        frame.set_local(20_000, 100)
        event = await run_to(debuggee, events.Breakpoint)
        assert event.frame.function_name == "double"
        caller = event.frame.parent
        assert caller is not None and caller.local(20_000) == 100
        caller.set_local(30_000, 1000)
        out = await debuggee.step_out()
        assert isinstance(out, events.Step)
        assert out.frame.operand_stack == (6,)
        after = await debuggee.step()
        assert isinstance(after, events.Step)
        assert after.frame.local(49_999) == 6
        assert (await debuggee.finish()).result == 6 + 1000 + 3 * 100


async def test_an_endless_loop_in_one_is_interrupted() -> None:
    text = LARGE.replace("(br_if $again (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))", "(br $again)")
    async with debug(text, "large", 3) as debuggee:
        debuggee.interrupt()
        await run_to(debuggee, events.Interrupted)
        debuggee.add_breakpoint("double")
        await run_to(debuggee, events.Breakpoint)
        debuggee.interrupt()
        again = await run_to(debuggee, events.Interrupted)
        assert again.location is not None


async def test_a_jump_table_of_thousands() -> None:
    count = 6000
    text = f"""
    (module (func $pick (export "pick") (param $n i32) (result i32)
      {"(block " * count}
        (br_table {" ".join(map(str, range(count)))} (local.get $n))
      {"".join(f") (if (i32.eq (local.get $n) (i32.const {i})) (then (return (i32.const {i * 7}))))"
               for i in range(count))}
      (i32.const -1)))
    """
    for picked in (0, 4321, count - 1):
        async with debug(text, "pick", picked) as debuggee:
            debuggee.add_breakpoint("pick")
            await run_to(debuggee, events.Breakpoint)
            event = await debuggee.step()
            while isinstance(event, events.Step) and event.frame.instruction.op.name != "br_table":
                event = await debuggee.step()
            assert isinstance(event, events.Step)
            assert event.frame.operand_stack == (picked,)
            event = await debuggee.step()
            assert isinstance(event, events.Step)
            assert event.frame.instruction.op.name == "local.get"
            assert (await debuggee.finish()).result == picked * 7
