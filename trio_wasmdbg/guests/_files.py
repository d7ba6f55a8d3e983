"""Reading the bundled guests out of the package, also out of a zip file."""

from __future__ import annotations

from importlib.resources import files
from importlib.resources.abc import Traversable


def guest_names() -> tuple[str, ...]:
    """Names of the bundled guests, in alphabetical order."""
    names = (file.name for file in _folder().iterdir() if file.name.endswith(".wasm"))
    return tuple(sorted(name.removesuffix(".wasm") for name in names))


def guest_bytes(name: str) -> bytes:
    """The compiled module of the guest called *name*.

    :raises LookupError: no guest has that name; the message lists those there are.
    """
    return _file(name, ".wasm").read_bytes()


def guest_source(name: str) -> str:
    """The C source of the guest called *name*.

    :raises LookupError: no guest has that name; the message lists those there are.
    """
    return _file(name, ".c").read_text("utf-8")


def build_script() -> str:
    """The shell script that compiled the guests; its head says how to compile a variant."""
    return _folder().joinpath("build.sh").read_text("utf-8")


def _folder() -> Traversable:
    return files("trio_wasmdbg.guests")


def _file(name: str, suffix: str) -> Traversable:
    # Looked up rather than joined: a name is never a path.
    if name not in guest_names():
        raise LookupError(f"no bundled guest {name!r}; there are {', '.join(guest_names())}")
    return _folder().joinpath(name + suffix)
