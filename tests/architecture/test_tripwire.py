"""The day Wasmtime's C API learns guest debugging, this file says so.

Decision 0001 (twin code) rests on its absence.  When a test here fails: read the new functions,
then reopen ``docs/decisions/0001-twin-code.md``; don't just extend the lists.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import wasmtime

KNOWN = {
    # DWARF for native debuggers, and Cranelift's own checks: neither debugs a guest.
    "wasmtime_config_debug_info_set",
    "wasmtime_config_cranelift_debug_verifier_set",
}
TELLTALE = ("debug", "breakpoint", "single_step", "watchpoint")


def telltales(names: set[str]) -> set[str]:
    return {name for name in names if any(word in name.lower() for word in TELLTALE)}


def exported_functions() -> set[str]:
    """Names that the shared library inside the wasmtime wheel exports."""
    if not sys.platform.startswith("linux"):
        pytest.skip("reads the library as an ELF file, which it is on Linux only")
    from elftools.elf.elffile import ELFFile
    from elftools.elf.sections import SymbolTableSection

    (library,) = Path(wasmtime.__file__).parent.rglob("_libwasmtime.so")
    with library.open("rb") as stream:
        table = ELFFile(stream).get_section_by_name(".dynsym")
        assert isinstance(table, SymbolTableSection)
        return {symbol.name for symbol in table.iter_symbols() if symbol["st_shndx"] != "SHN_UNDEF"}


def test_the_library_has_no_guest_debugging() -> None:
    names = exported_functions()

    assert len(names) > 700, "the symbol table was not read"
    assert telltales(names) == KNOWN


def test_the_python_bindings_declare_no_guest_debugging() -> None:
    import wasmtime._bindings as bindings

    names = {name for name in vars(bindings) if name.startswith("wasm")}

    assert "wasmtime_func_call_async" in names
    assert telltales(names) == KNOWN


def test_the_config_has_no_switch_for_it() -> None:
    assert telltales(set(dir(wasmtime.Config))) == {"debug_info", "cranelift_debug_verifier"}
