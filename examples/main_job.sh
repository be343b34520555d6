#!/bin/sh
# The main job, from nothing: installs what is missing, fetches the models and the text, builds the vbon program
# and aligns SmolLM2-135M so that one sample reads like the best of N under a sentiment reward.
#
# usage: sh examples/main_job.sh [options of `vbon align`, as in --n 8 --seed 2]
#
# An adapter of rank 16 is trained, in two thirds of the time that all weights take and with about the same efficiency
# (docs/benchmarks.md); `--lora-rank 0 --warm-learning-rate 2e-5 --warm-steps 40 --learning-rate 1e-5 --steps 16` trains
# them all.
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
VBON_CACHE=$cache build/release/examples/vbon align --out "$run" \
  --lora-rank 16 --warm-learning-rate 2.2e-4 --warm-steps 31 --learning-rate 5e-5 --steps 4 --evaluation-references 8 "$@"
lap 'the job itself, from loading the model to the report'
printf -- '-- report: %s\n' "$run/report.html"
