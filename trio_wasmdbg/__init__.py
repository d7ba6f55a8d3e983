"""trio_wasmdbg: put a WebAssembly guest under a debugger, inside a trio application.

General layout, bottom up (``tests/architecture`` holds every folder to it):

* ``errors``, ``addresses``: what everything may import;
* ``wasm``, ``instrument``, ``symbols``, ``engine``: pure; formats and decisions, no waiting;
* ``capi``: the only folder that knows ctypes and wasmtime's private bindings; no trio in it;
* ``debuggee``: a guest under control, in a nursery;
* ``servers``, ``testing``, ``cli``: the faces;
* ``guests``: small bundled programs, compiled from C.
"""

from __future__ import annotations

from trio_wasmdbg._version import __version__

__all__ = ["__version__"]
