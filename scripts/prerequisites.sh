#!/usr/bin/env bash
# Checks that the build, the tests and the demo have what they need, and prints the path of a suitable nft.
#
# As root on Debian and its relatives it installs missing packages with apt-get. Elsewhere it changes nothing and prints what to
# install. Without root, the kernel tests and the live part of the demo are skipped, so packages that only they need are reported
# but not required, unless POINTSMAN_REQUIRE_KERNEL=1.
#
# Usage: nft=$(scripts/prerequisites.sh)     prints only the path, or an empty line, to stdout
set -euo pipefail
cd "$(dirname "$0")/.."

say() { echo "prerequisites.sh: $*" >&2; }
fail() { say "$*"; exit 1; }
missing() { ! command -v "$1" >/dev/null; }

# Some users lack the sbin folders in their PATH.
PATH=$PATH:/usr/sbin:/sbin

root=false
[ "$(id -u)" -eq 0 ] && root=true
kernel=optional
if $root || [ "${POINTSMAN_REQUIRE_KERNEL:-}" = 1 ]; then kernel=required; fi

# cc compiles the C parts of ring, the cryptography of the TLS library. scripts/nft.sh needs curl and xz.
build=() tests=()
missing cc && build+=(gcc libc6-dev)
missing ip && tests+=(iproute2)
# The take-over tests make kube-proxy's rules with both variants of iptables.
missing iptables-legacy && tests+=(iptables)
missing ipset && tests+=(ipset)
missing curl && tests+=(curl)
missing xz && tests+=(xz-utils)
# CI counts instructions with valgrind.
[ "${CI:-}" = true ] && missing valgrind && tests+=(valgrind)
# CI starts the container image with a runtime of its own, and reads the archives.
[ "${CI:-}" = true ] && missing containerd && tests+=(containerd)
[ "${CI:-}" = true ] && missing runc && tests+=(runc)
[ "${CI:-}" = true ] && missing skopeo && tests+=(skopeo)
packages=("${build[@]}" "${tests[@]}")

if [ ${#packages[@]} -gt 0 ]; then
  if $root && ! missing apt-get; then
    say "installing ${packages[*]}"
    # All output goes to stderr, because stdout is for the path.
    apt-get update -qq >&2
    DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends -qq "${packages[@]}" >&2
  else
    say "missing here; in Debian's package names: ${packages[*]}"
    say "on Debian and its relatives: sudo apt-get install ${packages[*]}"
    [ ${#build[@]} -eq 0 ] || fail "the build needs a C compiler"
    [ $kernel = optional ] || fail "the kernel tests need these packages"
  fi
fi

missing cargo && fail "cargo is missing: install Rust 1.89 or newer, with rustup or from your distribution"

if nft=$(scripts/nft.sh); then
  echo "$nft"
elif [ $kernel = optional ]; then
  say "no nft 1.1.3 or newer: tests that need nft are skipped"
  echo
else
  fail "no nft 1.1.3 or newer (see above)"
fi
