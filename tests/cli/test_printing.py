"""The three printers: plain lines, JSON lines, tables on a terminal."""

from __future__ import annotations

import io
import json
import re

import pytest

from trio_wasmdbg.cli._plain import event_line, frame_lines, table_lines
from trio_wasmdbg.cli._printing import JsonPrinter, PlainPrinter, Printer, RichPrinter, make_printer
from trio_wasmdbg.cli._records import EventRecord, FrameRecord, LocalRecord, Value
from trio_wasmdbg.cli._rich import make_console

SUBTOTAL = FrameRecord(
    depth=0,
    function_index=3,
    function_name="subtotal",
    module_offset=0x136,
    instruction="call 3",
    locals=(
        LocalRecord(0, "items", Value("i32", 16428)),
        LocalRecord(1, None, Value("i32", 2)),
    ),
    operand_stack=(Value("i32", 149),),
)
CHECKOUT = FrameRecord(1, 5, "checkout", 0x159, exact=False)
EVENT = EventRecord("breakpoint", "1", "subtotal", 0x136, "third time")


class Terminal(io.StringIO):
    """A stream that claims to be a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def everything(printer: Printer) -> None:
    printer.heading("A breakpoint")
    printer.say("The guest is paused.")
    printer.event(EVENT)
    printer.backtrace([SUBTOTAL, CHECKOUT])
    printer.rows(("scene", "what"), [("trap", "a bad pointer"), ("spin", "a loop")])


def test_plain() -> None:
    stream = io.StringIO()

    everything(PlainPrinter(stream))

    assert stream.getvalue() == (
        "== A breakpoint\n"
        "The guest is paused.\n"
        "* breakpoint 1 in subtotal at 0x136: third time\n"
        "  #0 subtotal (function 3) at 0x136  call 3\n"
        "     local 0 items  i32  16428 (0x402c)\n"
        "     local 1        i32  2\n"
        "     operand stack [i32 149 (0x95)]\n"
        "  #1 checkout (function 5) at 0x159\n"
        "     operand stack []\n"
        "     (unwound by the trap: locals and operands are not exact)\n"
        "  scene  what\n"
        "  trap   a bad pointer\n"
        "  spin   a loop\n"
    )


def test_json() -> None:
    stream = io.StringIO()

    everything(JsonPrinter(stream))

    event, backtrace, table = (json.loads(line) for line in stream.getvalue().splitlines())
    assert event == {
        "event": "breakpoint",
        "detail": "1",
        "function_name": "subtotal",
        "module_offset": 0x136,
        "note": "third time",
    }
    assert [frame["function_name"] for frame in backtrace["frames"]] == ["subtotal", "checkout"]
    assert backtrace["frames"][0]["locals"][0] == {
        "index": 0,
        "name": "items",
        "type": "i32",
        "text": "16428 (0x402c)",
        "value": 16428,
        "bits": "0x402c",
    }
    assert table["rows"][1] == {"scene": "spin", "what": "a loop"}


@pytest.mark.parametrize("colour", [True, False])
def test_rich(colour: bool) -> None:
    stream = Terminal()

    everything(RichPrinter(make_console(stream, colour=colour, width=120)))

    output = stream.getvalue()
    assert bool(re.search(r"\x1b\[[0-9;]*3[0-9]", output)) is colour
    text = re.sub(r"\x1b\[[0-9;]*m", "", output)
    for fact in (
        "A breakpoint",
        "breakpoint 1 in subtotal at 0x136: third time",
        "0 items i32 16428 (0x402c)",
    ):
        assert fact in text
    for fact in ("i32 149 (0x95)", "0x159", "not exact", "a bad pointer", "call 3"):
        assert fact in text


NASTY = "\x1b[2J[red]x[/red]:smile:\n\u202e"


@pytest.mark.parametrize("rich", [True, False])
def test_names_from_a_module_are_only_text(rich: bool) -> None:
    stream = Terminal()
    printer: Printer = (
        RichPrinter(make_console(stream, colour=False, width=200)) if rich else PlainPrinter(stream)
    )
    frame = FrameRecord(
        0,
        1,
        NASTY,
        1,
        NASTY,
        (LocalRecord(0, NASTY, Value("externref", NASTY)),),
        (Value("externref", NASTY),),
    )

    printer.heading(NASTY)
    printer.say(NASTY)
    printer.event(EventRecord("trap", NASTY, NASTY, 1, NASTY))
    printer.backtrace([frame])
    printer.rows(("a",), [(NASTY,)])

    output = stream.getvalue()
    assert "\x1b[2J" not in output
    assert "\u202e" not in output
    # folded columns may break a word over two lines, so line ends are taken out first
    assert "[red]x[/red]:smile:" in output


def test_a_stream_that_lacks_a_character() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")

    PlainPrinter(stream).event(EventRecord("step", "", "größe", 1))

    assert raw.getvalue() == b"* step in gr\\xf6\\xdfe at 0x1\n"


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (EventRecord("step"), "step"),
        (EventRecord("step", "", "f", 0), "step in f at 0x0"),
        (EventRecord("finished", "result 7"), "finished result 7"),
        (EventRecord("interrupted", note="not started yet"), "interrupted: not started yet"),
    ],
)
def test_event_line(event: EventRecord, expected: str) -> None:
    assert event_line(event) == expected


def test_an_opaque_frame() -> None:
    assert frame_lines(FrameRecord(2, 0, "main", None)) == [
        "#2 main (function 0) at ?",
        "   operand stack []",
    ]


def test_table_lines() -> None:
    assert table_lines([]) == []
    assert table_lines([("a", "bb"), ("ccc", "")]) == ["a    bb", "ccc"]


@pytest.mark.parametrize(
    ("stream", "environ", "as_json", "kind"),
    [
        (Terminal(), {}, False, RichPrinter),
        (Terminal(), {"TERM": "xterm-256color"}, False, RichPrinter),
        (Terminal(), {"TERM": "dumb"}, False, PlainPrinter),
        (Terminal(), {}, True, JsonPrinter),
        (io.StringIO(), {}, False, PlainPrinter),
        (io.StringIO(), {}, True, JsonPrinter),
    ],
)
def test_which_printer(stream: io.StringIO, environ: dict[str, str], as_json: bool, kind: type) -> None:
    assert type(make_printer(stream, environ, as_json=as_json)) is kind


def test_a_terminal_without_box_characters_gets_plain_lines() -> None:
    class Old(Terminal):
        encoding = "iso-8859-1"

    assert isinstance(make_printer(Old(), {}), PlainPrinter)


@pytest.mark.parametrize(
    ("environ", "colours"), [({}, True), ({"NO_COLOR": ""}, True), ({"NO_COLOR": "1"}, False)]
)
def test_no_color(environ: dict[str, str], colours: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    stream = Terminal()

    make_printer(stream, environ).event(EVENT)

    assert bool(re.search(r"\x1b\[[0-9;]*3[0-9]", stream.getvalue())) is colours


def test_without_rich_it_is_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "trio_wasmdbg.cli._rich", None)

    assert isinstance(make_printer(Terminal(), {}), PlainPrinter)
