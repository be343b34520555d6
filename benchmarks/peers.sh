#!/bin/sh
# vbon and its peers on the same machine: installs PyTorch, transformers, TRL and llama.cpp's Python binding into a folder
# of their own ($VBON_PEERS, default $XDG_CACHE_HOME/vbon-peers or ~/.cache/vbon-peers) and runs peers.py, which says what
# it measures. The release build must be there ($VBON_BUILD, default build/release).
#
#   benchmarks/peers.sh [options of peers.py]
set -eu
cd "$(dirname "$0")/.."
build=${VBON_BUILD:-build/release}
[ -x "$build/benchmarks/benchmark.model" ] || {
  echo "$build/benchmarks/benchmark.model is not there; cmake --preset release && cmake --build --preset release" >&2
  exit 1
}
peers=${VBON_PEERS:-${XDG_CACHE_HOME:-$HOME/.cache}/vbon-peers}
[ -x "$peers/bin/python" ] || python3 -m venv "$peers"
# What is there already is neither fetched nor changed.
"$peers/bin/pip" install --quiet numpy torch transformers gguf trl datasets accelerate
# Wheels of llama.cpp leave AVX-512 out; compiled here, once, it has what this processor has.
if [ ! -e "$peers/llama.cpp.compiled" ]; then
  "$peers/bin/pip" install --quiet --force-reinstall --no-deps --no-cache-dir --no-binary llama-cpp-python llama-cpp-python
  "$peers/bin/pip" install --quiet llama-cpp-python  # what it needs
  touch "$peers/llama.cpp.compiled"
fi
VBON_CACHE=$(sh examples/setup/fetch_data.sh)
export VBON_CACHE
exec "$peers/bin/python" benchmarks/peers.py "$build" "$@"
