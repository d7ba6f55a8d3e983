#!/usr/bin/env bash
# Compiles the bundled guests from C.  Debian: apt-get install clang-22 lld-22
#
#   build.sh                      every NAME.c beside this file, to NAME.wasm
#   build.sh NAME OUT [FLAG...]   one of them, to the file OUT, e.g.
#                                 build.sh demo /tmp/variant.wasm -DSEED=11
#
# -ffreestanding   no C library, and no calls of one that the compiler invents
# -O1              parameters and variables are WebAssembly locals
# -fno-optimize-sibling-calls   recursion stays recursion
# -g, -gdwarf-5    line tables and variables, for the layers that read them
# --no-wasm-opt    an old wasm-opt on PATH damages DWARF
# the prefix maps keep this machine's paths out of the file, so that builds are the same everywhere
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

compile() { # compile NAME OUT [FLAG...]
    local name=$1 out=$2
    shift 2
    case $out in /*) ;; *) out=$PWD/$out ;; esac
    (cd "$here" && "${CLANG:-clang-22}" --target=wasm32-unknown-unknown -std=c17 -ffreestanding -Wall -Wextra -Werror \
        -O1 -g -gdwarf-5 -fno-optimize-sibling-calls -ffile-prefix-map="$here"=. -fdebug-compilation-dir=. \
        -nostdlib --no-wasm-opt -Wl,--no-entry -Wl,--export-if-defined=basket -Wl,-z,stack-size=16384 \
        "$@" -o "$out" "$name.c")
    chmod 644 "$out"
}

if (($# == 0)); then
    for source in "$here"/*.c; do
        name=$(basename "$source" .c)
        compile "$name" "$here/$name.wasm"
    done
else
    compile "$@"
fi
