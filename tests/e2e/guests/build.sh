#!/usr/bin/env bash
# Compiles the guests of the LLDB tests, with DWARF.  Debian: apt-get install clang-22 lld-22; PyPI: ziglang
# Paths in the debug information are mapped to /guests, so that builds are the same everywhere.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
common=(--target=wasm32-unknown-unknown -Wall -Wextra -g -gdwarf-5 -ffreestanding -nostdlib --no-wasm-opt
    -Wl,--no-entry -ffile-prefix-map="$PWD"=/guests)
"${CLANG:-clang-22}" -std=c17 -O0 "${common[@]}" -o basket.wasm basket.c
"${CLANG:-clang-22}" -std=c17 -O2 "${common[@]}" -o basket_o2.wasm basket.c
"${CLANG:-clang-22}" -x c++ -std=c++20 -O0 -fno-exceptions -fno-rtti "${common[@]}" -o shapes.wasm shapes.cc

# Zig has no way to map paths; it is given the folder under the same name instead.  (Needs the rights for that.)
mkdir -p /guests
cp counts.zig /guests
(cd /guests && "${PYTHON:-python3}" -m ziglang build-exe -target wasm32-freestanding -ODebug -fno-entry --export=run \
    -fno-compiler-rt -fno-ubsan-rt -femit-bin=counts.wasm --cache-dir cache --global-cache-dir cache counts.zig)
cp /guests/counts.wasm .
rm -r /guests
chmod 644 ./*.wasm
