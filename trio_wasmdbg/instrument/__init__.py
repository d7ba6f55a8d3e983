"""Twin code: making a guest debuggable by rewriting its bytecode.

What this layer is: from a decoded module to a rewritten one whose functions can be stopped, looked at,
changed and resumed (:func:`instrument`), the companions that take over where somebody looks
(:func:`slow_twin`), and the map of where everything is (:class:`FunctionPlan`, :class:`FrameLayout`,
:class:`Layout`, :class:`CodeMap`).

Theory of operation
-------------------

Every function exists twice.  The *fast twin* is the original with a shadow frame, pushed where it is first
needed, and with *check sites* at entry, in loops, after calls and where exceptions are caught: one byte is
loaded and tested.  When it is set, the function writes what it knows into its frame and leaves for good, by
a tail call of
``slots[function](frame, resume point)``.  In the slot there is the *slow twin*, a memory machine that
keeps every local and every operand in the frame and can be entered before any instruction; it asks the
host wherever a stop byte is set.  A slot starts out with a *stub*, which asks the host at once: that
is how the host learns that a slow twin is needed, and why nothing is compiled before.  The next call of
the function is fast again.

Because a fast twin stores its dirty locals and its waiting operands before each call, the frames of all
callers are exact at any stop; because it leaves for the slow twin before a division traps, and where
there is an ``unreachable``, these traps find everything in place as well.

The host's side of the bargain is one function, the hook: (kind, frame pointer, resume point) to 0
(go on) or to a resume point plus 1 (go on there).  It may block for as long as it likes, and may
meanwhile read and write frames, set slots, and arm bytes.

What it may import: the standard library, attrs, ``trio_wasmdbg.wasm``, ``.addresses`` and ``.errors``.

Where to start reading: ``_frames.py`` and ``_layout.py`` (what lies where), ``_fast_twin.py`` (with
``_kinds.py``, ``_survey.py``, ``_outline.py``, ``_flow.py`` for what it knows, ``_body.py``, ``_stores.py``
for its output), ``_slow_twin.py``, then ``_rewrite_function.py`` and ``_rewrite.py`` (with ``_shares.py``,
where several processes share the work).
"""

from ._code_map import CodeMap, Place
from ._companion import Companion, Flavour, FlavourCompanion, Part, flavours, slow_twin, slow_twin_part
from ._cover import cover_of
from ._flavour import MOST_OF_A_FLAVOUR, FlavourOptions, NoFlavourError, Recording
from ._frames import (
    ENTERED_OFFSET,
    FUNCTION,
    HEADER_SIZE,
    INSTANCE_OFFSET,
    MATERIALISED,
    RESUME_OFFSET,
    SLOW,
    FrameLayout,
)
from ._layout import (
    DIRECT,
    HOOK_SLOT,
    KIND_CHUNK,
    KIND_HOT,
    KIND_LEFT,
    KIND_SCALE,
    KIND_SITE,
    KIND_STOP,
    KIND_THROW,
    KIND_TRAP,
    KIND_WATCH,
    LOOPS,
    NO_DISPATCH,
    PAID,
    STACK_SIZE,
    WATCH_BASE,
    WATCH_CAPACITY,
    WATCH_ENTRY_SIZE,
    Layout,
    Reserved,
)
from ._modes import FRAME_MODES, FrameMode
from ._notes import Notes, Recorded
from ._outside import entered_from_outside
from ._paying import COUNTS
from ._plans import FunctionPlan, Instrumented, Site
from ._recipes import Recipe, evaluate
from ._rewrite import instrument
from ._saved import DamagedError, restored, saved
from ._shares import Made, Share, batches
from ._trace import ASKS, COVERS, NOTES, TRACES
from ._watch import PRECISE, READS, WRITES, Access, Condition, ConditionPlaces, Conditions, accesses

__all__ = [
    "ASKS",
    "COVERS",
    "DIRECT",
    "COUNTS",
    "ENTERED_OFFSET",
    "FRAME_MODES",
    "FUNCTION",
    "NOTES",
    "HEADER_SIZE",
    "HOOK_SLOT",
    "INSTANCE_OFFSET",
    "KIND_CHUNK",
    "KIND_HOT",
    "KIND_LEFT",
    "KIND_SCALE",
    "KIND_SITE",
    "KIND_STOP",
    "KIND_TRAP",
    "KIND_THROW",
    "KIND_WATCH",
    "LOOPS",
    "MATERIALISED",
    "MOST_OF_A_FLAVOUR",
    "NO_DISPATCH",
    "PAID",
    "PRECISE",
    "READS",
    "RESUME_OFFSET",
    "SLOW",
    "STACK_SIZE",
    "TRACES",
    "WATCH_BASE",
    "WATCH_CAPACITY",
    "WATCH_ENTRY_SIZE",
    "WRITES",
    "Access",
    "CodeMap",
    "Companion",
    "Condition",
    "ConditionPlaces",
    "Conditions",
    "DamagedError",
    "Flavour",
    "FlavourCompanion",
    "FlavourOptions",
    "FrameLayout",
    "FrameMode",
    "FunctionPlan",
    "Instrumented",
    "Layout",
    "Made",
    "NoFlavourError",
    "Notes",
    "Part",
    "Place",
    "Recipe",
    "Recorded",
    "Recording",
    "Reserved",
    "Share",
    "Site",
    "accesses",
    "batches",
    "cover_of",
    "entered_from_outside",
    "evaluate",
    "flavours",
    "instrument",
    "restored",
    "saved",
    "slow_twin",
    "slow_twin_part",
]
