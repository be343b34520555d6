#!/bin/sh
# What including the library costs: seconds of processor time to compile a file that holds nothing else, one that calls
# the law of best-of-N for arrays, and one of a target whose header is precompiled (CMake's target_precompile_headers). The
# least of five; other programs should be idle meanwhile. Beside it what memory g++ took, which is the same in every run.
# What makes the difference: benchmarks/include_graph.py.
#
#   benchmarks/include_cost.sh      (CXX=clang++-16 for another compiler)
set -eu
cd "$(dirname "$0")/.."
compiler=${CXX:-g++}
eigen=${EIGEN:-/usr/include/eigen3}  # the folder that holds Eigen/Core
folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT
file=$folder/file.cpp

compile() {
  # shellcheck disable=SC2086  # CXX may hold options
  $compiler -std=c++20 -O2 -march=native -I include -isystem "$eigen" "$@"
}

# Reads a program, prints a row.
row() {
  cat >"$file"
  compile -c "$file" -o "$folder/file.o" || {
    echo "'$compiler' does not compile $1; CXX names another compiler, EIGEN the folder that holds Eigen/Core" >&2
    exit 1
  }
  memory=$(compile -fsyntax-only -ftime-report "$file" 2>&1 |
    sed -n 's/^ TOTAL .* \([0-9]*\)M$/\1/p')
  for _ in 1 2 3 4 5; do
    (
      compile -c "$file" -o "$folder/file.o"
      times
    ) >"$folder/times"
    # The second line is the children's: 0m1.234s 0m0.056s
    sed -n '2{s/[ms]/ /g;p;}' "$folder/times"
  done | awk -v what="$1" -v memory="${memory:--}" '{ s = 60 * ($1 + $3) + $2 + $4; if (NR == 1 || s < least) least = s }
    END { printf "| %s | %.2f | %s |\n", what, least, memory }'
}

echo '| file | seconds | MB |'
echo '|---|---|---|'
row 'Eigen/Core and xsimd alone' <<END
#include <Eigen/Core>
#include <xsimd/xsimd.hpp>
END
row 'vbon/bon.hpp' <<END
#include "vbon/bon.hpp"
END
row 'the same, and a call of log_prob for arrays and of an estimator' <<END
#include "vbon/bon.hpp"

void law(std::span<const double> sorted, std::span<const double> reward, std::span<double> log_ref, std::span<double> out) {
  std::vector<double> log_cdf(reward.size());
  for (std::size_t i = 0; i < reward.size(); ++i) log_cdf[i] = vbon::bon::estimate_cdf(sorted, reward[i]).log_cdf;
  vbon::bon::log_prob(log_ref, log_cdf, log_ref, 64, out);
}
END
row 'vbon/objective.hpp' <<END
#include "vbon/objective.hpp"
END
row 'vbon/vbon.hpp' <<END
#include "vbon/vbon.hpp"
END
mkdir "$folder/precompiled"
echo '#include "vbon/vbon.hpp"' >"$folder/precompiled/all.hpp"
compile -x c++-header "$folder/precompiled/all.hpp" -o "$folder/precompiled/all.hpp.gch"
row 'vbon/vbon.hpp, precompiled' <<END
#include "$folder/precompiled/all.hpp"
END
