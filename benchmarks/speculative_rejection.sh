#!/bin/sh
# Speculative rejection against best-of-N on the same prompts: tokens spent, and the difference of the mean reward
# with its 95% interval over prompts (same prompts, paired).
#
#   benchmarks/speculative_rejection.sh RUN [FOLDER]
#
# RUN is the folder of a finished main job (its reward, and the first PROMPTS=64 of its held-out prompts); responses
# have TOKENS=48 tokens at most. Answers are kept in FOLDER: the same command goes on where it stopped.
set -eu
[ $# -ge 1 ] || { sed -n '2,8s/^# \{0,1\}//p' "$0"; exit 1; }
run=$1
out=${2:-speculative-rejection}
vbon=${VBON:-build/release/examples/vbon}
tokens=${TOKENS:-48} prompts=${PROMPTS:-64}
mkdir -p "$out"
head -n "$prompts" "$run/held_out.jsonl" > "$out/prompts.jsonl"
decode() { # name, decoder
  [ -s "$out/$1.jsonl" ] && [ "$(wc -l < "$out/$1.jsonl")" -eq "$(wc -l < "$out/prompts.jsonl")" ] && return
  "$vbon" decode --decoder "$2" --reward "encoder_head:$run/reward" --prompts "$out/prompts.jsonl" \
    --max-new-tokens "$tokens" --json --out "$out/$1.jsonl"
}
number() { # file, key: one number per line; a quote inside a text is escaped, so the pattern cannot match there
  grep -o '"'"$2"'":-\{0,1\}[0-9][0-9.eE+-]*' "$1" | cut -d: -f2
}
printf '%4s  %10s  %12s  %12s  %8s  %s\n' N checkpoint 'tokens, BoN' 'tokens, SR' ratio 'mean reward, SR - BoN [95%]'
for n in 8 32; do
  decode "bon$n" "best_of_n:n=$n"
  for checkpoint in 8 16; do
    decode "sr$n-$checkpoint" "speculative_rejection:n=$n,alpha=0.5,checkpoint=$checkpoint"
    bon=$out/bon$n.jsonl sr=$out/sr$n-$checkpoint.jsonl
    for key in reward tokens; do
      for file in "$bon" "$sr"; do number "$file" $key > "$file.$key"; done
    done
    paste "$bon.tokens" "$sr.tokens" "$bon.reward" "$sr.reward" | awk -v n="$n" -v c="$checkpoint" '
      { a += $1; b += $2; d = $4 - $3; s += d; q += d * d }
      END { m = s / NR; e = 1.96 * sqrt((q / NR - m * m) / (NR - 1))
        printf "%4d  %10d  %12d  %12d  %8.3f  %.3f [%.3f, %.3f], %d prompts\n", n, c, a, b, b / a, m, m - e, m + e, NR }'
    rm -f "$bon".reward "$bon".tokens "$sr".reward "$sr".tokens
  done
done
