"""The debug memory's map, and the names under which the added things are reached.

The debug memory is one linear memory appended to the module, of a fixed size (so that its base is a
constant of the machine code)::

    0 .. stack_size      the shadow stack, growing down
    WATCH_BASE           how many ranges of memory are watched, and for what
    instance_id          u32, written by the host after instantiation
    sites_base ..        one byte for each check site of the fast twins
    stops_base ..        one byte for each instruction of the module
    counts_base ..       four bytes for each instruction: how often it was executed
    blocks_base ..       bytes for the check sites of flavours, given out as they are made
    entries_base ..      four bytes for each instruction: the slot of a flavour to be entered there, or 0;
                         before a loop's first one also, negative, how often until the host is asked
    heads_base ..        four bytes for each defined function: the address of its first entry, or 0
    trace_base           the instructions executed last, where that is wanted
    watch_entries        the ranges of memory that are watched
    cover_base           how flavours compare accesses with them
    counters_base ..     eight bytes for each basic block of flavours that count, given out as they are made
"""

from __future__ import annotations

from attrs import frozen

from ..wasm import Module

__all__ = [
    "ASK",
    "COVER_MEMORIES",
    "DIRECT",
    "ENTERED",
    "HOOK_SLOT",
    "KIND_CHUNK",
    "KIND_HOT",
    "KIND_LEFT",
    "KIND_SCALE",
    "KIND_SITE",
    "KIND_STOP",
    "KIND_THROW",
    "KIND_TRAP",
    "KIND_WATCH",
    "LOOPS",
    "PAID",
    "STACK_SIZE",
    "TRACE_ENTRIES",
    "TRACE_LENGTH",
    "WATCH_BASE",
    "WATCH_CAPACITY",
    "WATCH_ENTRY_SIZE",
    "NO_DISPATCH",
    "Layout",
    "Reserved",
]

STACK_SIZE = (8 << 20) + 3072
"""Bytes of shadow stack.  About eight times what the machine stack of a guest can hold in frames of
usual size, so that the machine stack overflows first.

The outermost frames lie in one page of the machine's memory with what is in use of the rest, if the module
is a small one: there may be ten thousand guests."""

PAGE = 65536

HOOK_SLOT = 0
"""Index of the host's hook in the slots table."""

DIRECT = 2
"""Value of the byte of a fast twin's entry site: go on in the flavour in :attr:`FunctionPlan.direct_slot
<trio_wasmdbg.instrument.FunctionPlan.direct_slot>`."""

KIND_SITE = 0
"""First argument of the hook: a fast twin has left at an armed check site, or before a trap."""

KIND_STOP = 1
"""First argument of the hook: a slow twin has come to an instruction whose stop byte is set."""

KIND_TRAP = 2
"""First argument of the hook: a slow twin is about to execute an instruction that will trap."""

KIND_WATCH = 3
"""First argument of the hook: a slow twin is about to touch a watched range of memory."""

KIND_THROW = 4
"""First argument of the hook: a slow twin has been sent to where the host throws an exception."""

KIND_LEFT = 5
"""First argument of the hook: a flavour has left, for the slow twin; otherwise like :data:`KIND_SITE`."""

KIND_HOT = 6
"""First argument of the hook: a slow twin's loop has gone round often.  The answer is the slot of a copy to
go on in, or 0."""

KIND_CHUNK = 7
"""First argument of the hook: a slow twin goes on in a chunk that has not been made yet.  The number of the
twin's table of chunks is added, times :data:`KIND_SCALE`."""

KIND_SCALE = 256
"""What a number is multiplied with to stand beside a kind."""

NO_DISPATCH = 0x8000_0000
"""Flag in the resume point that a slot is entered with: go on in the slow twin, not in a flavour."""

ASK = 0x4000_0000
"""Flag in the resume point that a stub is entered with: ask the host which flavour to go on in.
Resume points are smaller."""

FAMILIES = 4
"""How many flavours all functions may have at a time."""

SPARE_BLOCKS = 1 << 16
"""Bytes for the check sites of flavours, besides those of flavours that all functions have."""

SPARE_SLOTS = 512
"""Slots for flavours and copies of loops, besides those of flavours that all functions have."""


@frozen
class Layout:
    """Addresses in the debug memory (all of them bytes), and places in the slots table.

    :ivar stack_size: the shadow stack is ``[0, stack_size)``, and ``sp`` starts at ``stack_size``.
    :ivar instance_id: address of the u32 that tells this instance from others on the same stack.
    :ivar sites_base: address of the byte of check site 0; ``sites`` of them.
    :ivar stops_base: address of the first function's first stop byte; ``stops`` of them.
    :ivar counts_base: address of the u32 that belongs to the first stop byte; likewise.
    :ivar blocks_base: address of the first byte for check sites of flavours; ``blocks`` of them.
    :ivar entries_base: address of the i32 that belongs to the first stop byte: the slot of the flavour that
        the function is to go on in when it comes there, or 0; see also ``_loop_copy``.
    :ivar heads_base: address of the u32 of the first defined function: the address of the entry that belongs
        to its first instruction, or 0 while it has no flavour.
    :ivar trace_base: address of what is noted of the instructions that are executed (see ``_trace``).
    :ivar watch_entries: address of the table of watched ranges (see ``_watch``).
    :ivar cover_base: address of what flavours compare accesses with (see ``_cover``).
    :ivar counters_base: address of the first byte for the counters of flavours, which have eight each;
        ``counters`` of them.
    :ivar memory_pages: size of the debug memory in pages of 64 KiB.
    :ivar functions: number of defined functions.
    :ivar first_stub_slot: index of the first stub: one for each different list of results, in the order in
        which functions have them.
    :ivar first_free_slot: index of the first slot for flavours.
    :ivar slots: size of the slots table.
    :ivar hook_slot: index of the hook in the slots table.
    :ivar first_function_slot: index of the first defined function's slot; the others follow in order, and
        then as many for flavours that fast twins go on in at their entry.
    """

    stack_size: int
    instance_id: int
    sites_base: int
    sites: int
    stops_base: int
    stops: int
    counts_base: int
    blocks_base: int
    blocks: int
    entries_base: int
    heads_base: int
    trace_base: int
    watch_entries: int
    cover_base: int
    counters_base: int
    counters: int
    memory_pages: int
    functions: int
    first_stub_slot: int
    first_free_slot: int
    slots: int
    hook_slot: int = HOOK_SLOT
    first_function_slot: int = HOOK_SLOT + 1

    @classmethod
    def of(cls, sites: int, stops: int, functions: int = 0, stubs: int = 0) -> Layout:
        """The layout for so many check sites and instructions, functions and different results."""
        stops_base = SITES_BASE + (sites + 15 & ~15)
        counts_base = stops_base + stops + 15 & ~15
        blocks_base = counts_base + 4 * stops
        blocks = FAMILIES * sites + SPARE_BLOCKS
        entries_base = blocks_base + blocks + 3 & ~3
        heads_base = entries_base + 4 * stops
        trace_base = heads_base + 4 * functions + 15 & ~15
        watch_entries = trace_base + TRACE_ENTRIES + 4 * TRACE_LENGTH + 16
        cover_base = watch_entries + WATCH_CAPACITY * WATCH_ENTRY_SIZE
        counters_base = cover_base + COVER_MEMORIES * COVER_SIZE
        counters = 8 * stops + SPARE_BLOCKS
        pages = (counters_base + counters + PAGE - 1) // PAGE
        first_stub_slot = HOOK_SLOT + 1 + 2 * functions
        first_free_slot = first_stub_slot + stubs
        slots = first_free_slot + FAMILIES * functions + SPARE_SLOTS
        return cls(
            STACK_SIZE, INSTANCE_ID, SITES_BASE, sites, stops_base, stops, counts_base, blocks_base, blocks,
            entries_base, heads_base, trace_base, watch_entries, cover_base, counters_base, counters, pages,
            functions, first_stub_slot, first_free_slot, slots,
        )  # fmt: skip


TRACE_ENTRIES = 16
"""From ``trace_base`` to the ring of entries."""
TRACE_LENGTH = 1 << 16
"""Entries of the ring: the last instructions that are remembered."""
WATCH_ENTRY_SIZE = 32
WATCH_CAPACITY = 125
"""Ranges that fit the table; the host merges what is more, and sorts out false alarms."""
COVER_MEMORIES = 16
"""Memories that flavours can compare with: the first ones."""
COVER_SIZE = 160
"""Bytes for each of them."""
WATCH_BASE = STACK_SIZE
"""The table of watched memory ranges (see ``_watch``): its head."""
INSTANCE_ID = WATCH_BASE + 32
LOOPS = WATCH_BASE + 36
"""Byte: slow twins look at the entries of loops, that is, they may be left there for copies."""
PAID = WATCH_BASE + 37
"""Byte: what a slow twin is executing is paid for (see ``_paying``)."""
ENTERED = WATCH_BASE + 40
"""u32: the slot of the flavour that is being entered directly, on the way from the fast twin to there."""
SITES_BASE = WATCH_BASE + 64


@frozen
class Reserved:
    """The names of what was added to a module: its exports, and what may be imported.

    :ivar prefix: the import module's name, and the beginning of each export's name; no name of the
        original module begins with it.
    """

    prefix: str

    @classmethod
    def of(cls, module: Module) -> Reserved:
        """Names that clash with none of *module*'s."""
        names = [e.name for e in module.exports] + [i.module for i in module.imports]
        taken = {name.partition(":")[0] for name in names if name.startswith("trio_wasmdbg")}
        stem, n = "trio_wasmdbg", 1
        while stem in taken:
            n += 1
            stem = f"trio_wasmdbg{n}"
        return cls(f"{stem}:")

    @property
    def sp(self) -> str:
        """Export, or import of module ``prefix``: the shadow stack pointer, a mutable ``i32`` global."""
        return f"{self.prefix}sp"

    @property
    def instance(self) -> str:
        """Export, or import of module ``prefix``: the current instance's id, a mutable ``i32`` global."""
        return f"{self.prefix}instance"

    @property
    def countdown(self) -> str:
        """Import of companions (of module ``prefix``): instructions left to count, a mutable ``i64``."""
        return "countdown"

    @property
    def hook(self) -> str:
        """Import of companions (of module ``prefix``): the host's hook function."""
        return "hook"

    @property
    def companion(self) -> str:
        """Module name of companions, by which backtraces tell them from the rewritten module."""
        return f"{self.prefix}companion"

    def chunks(self, number: int) -> str:
        """Export of a companion, and import of others: the table of a slow twin's chunks."""
        return f"{self.prefix}c{number}"

    @property
    def debug(self) -> str:
        """Export: the debug memory."""
        return f"{self.prefix}debug"

    @property
    def slots(self) -> str:
        """Export: the slots table."""
        return f"{self.prefix}slots"

    def function(self, index: int) -> str:
        """Export: the fast twin of a function, or an imported function as it is."""
        return f"{self.prefix}f{index}"

    def table(self, index: int) -> str:
        """Export: a table of the original index space."""
        return f"{self.prefix}t{index}"

    def memory(self, index: int) -> str:
        """Export: a memory of the original index space."""
        return f"{self.prefix}m{index}"

    def global_(self, index: int) -> str:
        """Export: a global of the original index space."""
        return f"{self.prefix}g{index}"

    def tag(self, index: int) -> str:
        """Export: a tag of the original index space."""
        return f"{self.prefix}e{index}"

    def flavour(self, block: int) -> str:
        """Export of companions: the flavour whose check sites' bytes begin at this address."""
        return f"{self.prefix}v{block}"

    def helper(self, number: int) -> str:
        """Export: a helper function."""
        return f"{self.prefix}h{number}"

    def references(self, kind: str) -> str:
        """Export: the table that holds the references of the shadow frames; *kind* is ``"func"``, …."""
        return f"{self.prefix}{kind}refs"
