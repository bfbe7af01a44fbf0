#!/usr/bin/env bash
# Tries what `make dist` left in build/dist as those would who download it: checksums, the binary, man pages and completions of the tar
# archive, and the Debian package in a scratch root with a systemd of its own. Needs root.
#
# As root on Debian and its relatives it installs missing programs with apt-get. Elsewhere it changes nothing and prints what to install.
#
# Usage: scripts/dist/try.sh
set -euo pipefail
cd "$(dirname "$0")/../.."

say() { echo "try.sh: $*" >&2; }
fail() { say "$*"; exit 1; }
[ -e build/dist/SHA256SUMS ] || fail "there is nothing in build/dist: make dist"
PATH=$PATH:/usr/sbin:/sbin

packages=()
while read -r program package; do
  command -v "$program" >/dev/null || packages+=("$package")
done <<'PROGRAMS'
man man-db
zsh zsh
fish fish
debootstrap debootstrap
systemd-nspawn systemd-container
PROGRAMS
if [ ${#packages[@]} -gt 0 ]; then
  if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
    say "installing ${packages[*]}"
    apt-get update -qq >&2
    DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends -qq "${packages[@]}" >&2
  else
    fail "missing here; in Debian's package names: ${packages[*]}"
  fi
fi
[ "$(id -u)" -eq 0 ] || fail "the scratch root of the Debian package needs root"

(cd build/dist && sha256sum --quiet --check SHA256SUMS) || fail "a file is not what SHA256SUMS says"
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n1)
architecture=$(dpkg --print-architecture)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
name=pointsman-$version-linux-$architecture
tar --extract --gzip --directory "$scratch" --file "build/dist/$name.tar.gz"
"$scratch/$name/pointsman" --version
scripts/dist/try-manual.sh "$scratch/$name"
scripts/dist/try-deb.sh "build/dist/pointsman_${version}_$architecture.deb"
