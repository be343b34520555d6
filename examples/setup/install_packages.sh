#!/bin/sh
# Installs what building and running vbon needs, on Debian or a system with apt-get. As root, or with sudo.
# Does nothing, and needs no network, when all of it is there.
set -eu

packages='
g++ cmake ninja-build ccache
libeigen3-dev libxsimd-dev librandom123-dev nlohmann-json3-dev libpcre2-dev libutf8proc-dev libxxhash-dev
libcli11-dev catch2 libbenchmark-dev
gnuplot-nox qemu-user python3-pip python3-venv ca-certificates'

# shellcheck disable=SC2086  # a list of words
set -- $packages
if ! command -v apt-get >/dev/null; then
  printf 'install_packages: this is no Debian; needed are, under their Debian names: %s\n' "$*" >&2
  exit 0
fi
installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }
missing=
for package; do
  installed "$package" || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" = 0 ]; then
  sudo=
elif command -v sudo >/dev/null; then
  sudo=sudo
else
  printf 'install_packages: run this as root, or install sudo; missing:%s\n' "$missing" >&2
  exit 1
fi
printf 'install_packages: installing%s\n' "$missing" >&2
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
# shellcheck disable=SC2086
if ! { $sudo apt-get update -q && $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $missing; } >"$log" 2>&1; then
  tail -n 20 "$log" >&2
  printf 'install_packages: apt-get failed; its output is in %s\n' "$log" >&2
  exit 1
fi
rm -f "$log"
