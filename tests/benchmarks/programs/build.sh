#!/usr/bin/env bash
# Compiles the benchmark's programs from C, at -O0 and -O2.  Debian: apt-get install clang-22 lld-22
#
#   build.sh [FOLDER]     into O0/ and O2/ there (default: here)
#
# Without a C library, debug information or imports; names stay.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
out=$(mkdir -p "${1:-$here}" && cd "${1:-$here}" && pwd)
cd "$here"
for level in O0 O2; do
    mkdir -p "$out/$level"
    for source in *.c; do
        extra=()
        [ "$source" != simd.c ] || extra=(-msimd128)
        "${CLANG:-clang-22}" --target=wasm32-unknown-unknown "-$level" -std=c17 -Wall -Wextra -Werror "${extra[@]}" \
            -ffreestanding -fno-builtin -nostdlib --no-wasm-opt -Wl,--no-entry -Wl,--strip-debug \
            -ffile-prefix-map="$here"=. -o "$out/$level/${source%.c}.wasm" "$source"
    done
done
