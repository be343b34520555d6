#!/bin/sh
# vbon and its peers on the same machine: installs PyTorch, transformers, TRL and llama.cpp's Python binding into a folder
# of their own ($VBON_PEERS, default $XDG_CACHE_HOME/vbon-peers or ~/.cache/vbon-peers) and runs peers.py, which says what
# it measures. The release build must be there.
#
#   benchmarks/peers.sh [options of peers.py]
set -eu
cd "$(dirname "$0")/.."
peers=${VBON_PEERS:-${XDG_CACHE_HOME:-$HOME/.cache}/vbon-peers}
[ -x "$peers/bin/python" ] || python3 -m venv "$peers"
# What is there already is neither fetched nor changed.
"$peers/bin/pip" install --quiet numpy torch transformers gguf trl datasets accelerate
# Wheels of llama.cpp leave AVX-512 out; compiled here it has what this processor has.
"$peers/bin/pip" install --quiet --no-binary llama-cpp-python llama-cpp-python
VBON_CACHE=$(sh examples/setup/fetch_data.sh)
export VBON_CACHE
exec "$peers/bin/python" benchmarks/peers.py build/release "$@"
