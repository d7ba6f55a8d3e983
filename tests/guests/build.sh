#!/usr/bin/env bash
# Compiles the tests' guests from C.  Debian: apt-get install clang-22 lld-22 wasi-libc libclang-rt-22-dev-wasm32
#
#   build.sh          everything, beside the sources
#   build.sh FOLDER   everything, into another folder
#
# At -O2: the shapes that optimised code has.  DWARF is dropped (the C library's would be most of a file), the
# name section stays.  Paths are mapped away, so that builds are the same everywhere.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
mkdir -p "${1:-$here}"
out=$(cd "${1:-$here}" && pwd)
cd "$here"

common=(-std=c17 -Wall -Wextra -Werror -O2 -fno-optimize-sibling-calls -ffile-prefix-map="$here"=.
    --no-wasm-opt -Wl,--strip-debug)

freestanding() { # NAME: exports only, no imports
    "${CLANG:-clang-22}" --target=wasm32-unknown-unknown "${common[@]}" -ffreestanding -nostdlib -Wl,--no-entry \
        -Wl,--export-if-defined={input,digest,composite,product,numbers,comparisons,program} \
        -o "$out/$1.wasm" "$1.c"
}

wasi() { # NAME [FLAG...]: with the C library
    local name=$1
    shift
    "${CLANG:-clang-22}" --target=wasm32-wasi -Wno-deprecated --sysroot=/usr "${common[@]}" "$@" \
        -o "$out/$name.wasm" "$name.c"
}

for name in fib sieve matmul sha256 qsort; do
    freestanding "$name"
done
wasi format -mexec-model=reactor -Wl,--export-if-defined=text
wasi hello
wasi echo

# The demo's guest with other constants: every number that the demo prints is another.
"$here/../../trio_wasmdbg/guests/build.sh" demo "$out/demo_variant.wasm" -DSEED=11 -DITEMS=5
chmod 644 "$out"/*.wasm
