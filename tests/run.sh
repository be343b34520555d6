#!/bin/sh
# Installs what is missing, fetches models and data, builds everything and runs every test but the slow ones
# (those train a real model for minutes: ctest --preset slow).
#
# usage: sh tests/run.sh [ctest arguments, as in -L fast]
#
# Spec vectors and fixtures are read from $VBON_VECTORS and $VBON_FIXTURES, by default ../shared/spec/vectors and
# ../shared/fixtures beside the checkout. Where they are absent, the tests that need them are skipped by name;
# VBON_REQUIRE_DATA=1 makes that a failure.
set -eu
cd "$(dirname "$0")/.."
start=$(date +%s)
lap() {
  now=$(date +%s)
  printf -- '-- %s: %d s\n' "$1" $((now - start))
  start=$now
}

sh examples/setup/install_packages.sh
lap 'packages'
sh examples/setup/fetch_data.sh >/dev/null
lap 'models and data'
cmake --preset release
cmake --build --preset release -j "$(nproc)" --target all vbon_headers_alone
lap 'configure, build, each header alone'
ctest --preset release "$@"
