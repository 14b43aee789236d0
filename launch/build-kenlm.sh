#!/usr/bin/env bash
# Build KenLM's lmplz and build_binary, which `puna data train-lm` needs: the Python package kenlm can only query.
#
#     launch/build-kenlm.sh DIRECTORY        then: export PATH=DIRECTORY:$PATH
#
# Needs pip, and of Debian or Ubuntu (about a minute on one core):
#     apt-get install cmake g++ libboost-program-options-dev libboost-system-dev libboost-thread-dev libboost-test-dev
set -euo pipefail

VERSION=0.3.0
SHA256=c4628bb9fb63c8a6f9240035b8b037385cfc404cb72e933cf48878291edac1e8

if [ $# -ne 1 ]; then
    echo "usage: $0 DIRECTORY" >&2
    exit 2
fi
mkdir -p "$1"
destination=$(cd "$1" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cd "$work"
"${PYTHON:-python3}" -m pip download --quiet --no-deps --no-binary kenlm "kenlm==$VERSION"
echo "$SHA256  kenlm-$VERSION.tar.gz" | sha256sum --check --quiet
tar --extract --file "kenlm-$VERSION.tar.gz"
cmake -S "kenlm-$VERSION" -B build -DCMAKE_BUILD_TYPE=Release -Wno-dev >cmake.log || { cat cmake.log >&2; exit 1; }
cmake --build build --parallel "${JOBS:-$(nproc)}" --target lmplz build_binary >make.log || { tail -n 50 make.log >&2; exit 1; }
# Renamed into place, so that a name is there only once the program behind it is whole.
for program in lmplz build_binary; do
    install -m 755 "build/bin/$program" "$destination/.$program.new"
    mv "$destination/.$program.new" "$destination/$program"
done
echo "lmplz and build_binary are in $destination"
