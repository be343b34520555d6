#!/bin/sh
# The main job, from nothing: installs what is missing, fetches the models and the text, builds the vbon program
# and aligns SmolLM2-135M so that one sample reads like the best of N under a sentiment reward.
#
# usage: sh examples/main_job.sh [options of `vbon align`, as in --n 8 --seed 2]
#
# The run lies in runs/main_job, or where $VBON_RUN says; the command again resumes an unfinished run.
set -eu
cd "$(dirname "$0")/.."
run=${VBON_RUN:-$PWD/runs/main_job}
start=$(date +%s)
lap() {
  now=$(date +%s)
  printf -- '-- %s: %d s\n' "$1" $((now - start))
  start=$now
}

sh examples/setup/install_packages.sh
lap 'packages'
cache=$(sh examples/setup/fetch_data.sh)
lap 'models and data'
cmake --preset release >/dev/null
cmake --build --preset release -j "$(nproc)" --target vbon_program
lap 'configure and build'
VBON_CACHE=$cache build/release/examples/vbon align --out "$run" "$@"
lap 'the job itself, from loading the model to the report'
printf -- '-- report: %s\n' "$run/report.html"
