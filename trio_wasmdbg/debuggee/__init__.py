"""A guest under control, in a nursery: the library's heart.

It drives `capi` by what `engine` decides, and is the only layer that knows both trio and guests.
It may import everything but `servers` and `cli`.

Start reading at ``_debuggee`` (the handle), then ``_core`` (the theory of operation).
"""

from ._cache import USER_CACHE, ModuleCache
from ._census import process_census
from ._convenience import debug_wasm, make_engine
from ._debuggee import Debuggee, Statistics
from ._exceptions import GuestException
from ._frames import Frame, Variable
from ._guest import Guest, Imports
from ._instances import GuestInstance
from ._loading import Source, load_module
from ._missing import OPTIMISED_OUT, UNAVAILABLE, OptimisedOut, Unavailable
from ._modules import GuestModule
from ._open import Body, open_debuggee, run_debuggee
from ._progress import Progress
from ._recording import Branch, Coverage, Executed
from ._stack import Activation
from ._tracing import Called, CallTrace, Returned
from ._traps import GuestTrap
from ._view import StoreView

__all__ = [
    "OPTIMISED_OUT",
    "UNAVAILABLE",
    "USER_CACHE",
    "Activation",
    "Body",
    "Branch",
    "CallTrace",
    "Called",
    "Coverage",
    "Debuggee",
    "Executed",
    "Frame",
    "Guest",
    "GuestException",
    "GuestInstance",
    "GuestModule",
    "GuestTrap",
    "Imports",
    "ModuleCache",
    "OptimisedOut",
    "Progress",
    "Returned",
    "Source",
    "Statistics",
    "StoreView",
    "Unavailable",
    "Variable",
    "debug_wasm",
    "load_module",
    "make_engine",
    "open_debuggee",
    "process_census",
    "run_debuggee",
]
