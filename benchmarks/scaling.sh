#!/bin/sh
# Runs every case of benchmark.scaling three times, in mixed order, and draws the least time against batch, response length,
# width, N and M, each axis a logarithm.
#
#   benchmarks/scaling.sh [PICTURE.svg]      (docs/scaling.svg)
#
# Needs a release build, and gnuplot. Nothing else may run meanwhile.
set -eu
cd "$(dirname "$0")/.."
picture=${1:-docs/scaling.svg}
program=${VBON_BUILD:-build/release}/benchmarks/benchmark.scaling
for needed in gnuplot "$program"; do
  command -v "$needed" >/dev/null || {
    echo "$needed is not there; examples/setup/install_packages.sh installs, cmake --preset release && cmake --build --preset release builds" >&2
    exit 1
  }
done
folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT
"$program" --benchmark_format=csv --benchmark_repetitions=3 \
  --benchmark_enable_random_interleaving=true 2>/dev/null >"$folder/all.csv"
# name/SIZE/real_time,iterations,milliseconds,... of every repetition: one file for each name, with the least by size
sed -n 's|^"\{0,1\}\([a-z_]*\)/\([0-9]*\)/real_time"\{0,1\},[0-9]*,\([0-9.e+-]*\),.*|\1 \2 \3|p' "$folder/all.csv" |
  sort -k1,1 -k2,2n -k3,3g | awk '$1 " " $2 != last { last = $1 " " $2; print }' >"$folder/least"
while read -r name size time; do echo "$size $time" >>"$folder/$name"; done <"$folder/least"
picture=$(realpath "$picture")
cd "$folder"  # the picture names the files that it was drawn from
gnuplot <<END
set encoding utf8
set terminal svg size 900,560 font 'sans-serif,12' background '#ffffff'
set output '$picture'
set multiplot layout 2,3
set logscale xy
set grid
set format y '%g'
set format x '10^{%T}'
set key off
set ylabel 'ms'
set style data linespoints
set pointsize 0.5
set title 'sampling 24 tokens' ; set xlabel 'responses drawn together' ; plot 'sampling_by_batch' lc rgb '#3b6ea5'
set title 'forward and backward, 16 responses' ; set xlabel 'tokens of a response' ; plot 'training_by_tokens' lc rgb '#3b6ea5'
set title 'the same, 32 tokens' ; set xlabel 'width' ; plot 'training_by_width' lc rgb '#3b6ea5'
set yrange [0.001:10]
set title 'log π_{bon} of 4096 responses' ; set xlabel 'N' ; plot 'log_prob_by_n' lc rgb '#b5533c'
set title 'F of 4096 rewards' ; set xlabel 'M' ; set yrange [*:*] ; plot 'cdf_by_m' lc rgb '#b5533c'
unset multiplot
END
cat least
