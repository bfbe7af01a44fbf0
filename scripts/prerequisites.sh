#!/usr/bin/env bash
# Makes sure that what the build, the tests and the demo need is there, and prints the path of a suitable nft.
#
# As root on Debian and its relatives, missing packages are installed with apt-get. Anywhere else nothing is touched: the script
# says what to install. Without root the kernel tests and the live part of the demo are skipped, so what only they need is then
# reported and not insisted on, unless POINTSMAN_REQUIRE_KERNEL=1.
#
# Usage: nft=$(scripts/prerequisites.sh)     nothing but the path (or an empty line) on stdout
set -euo pipefail
cd "$(dirname "$0")/.."

say() { echo "prerequisites.sh: $*" >&2; }
fail() { say "$*"; exit 1; }
missing() { ! command -v "$1" >/dev/null; }

# Programs in sbin are not on everybody's PATH.
PATH=$PATH:/usr/sbin:/sbin

root=false
[ "$(id -u)" -eq 0 ] && root=true
kernel=optional
if $root || [ "${POINTSMAN_REQUIRE_KERNEL:-}" = 1 ]; then kernel=required; fi

# The compiler is for the C parts of ring, the TLS library's cryptography. curl and xz are for scripts/nft.sh.
build=() tests=()
missing cc && build+=(gcc libc6-dev)
missing ip && tests+=(iproute2)
# kube-proxy's rules, for the tests of the take-over: both flavours of iptables.
missing iptables-legacy && tests+=(iptables)
missing ipset && tests+=(ipset)
missing curl && tests+=(curl)
missing xz && tests+=(xz-utils)
# CI counts instructions.
[ "${CI:-}" = true ] && missing valgrind && tests+=(valgrind)
packages=("${build[@]}" "${tests[@]}")

if [ ${#packages[@]} -gt 0 ]; then
  if $root && ! missing apt-get; then
    say "installing ${packages[*]}"
    # Everything goes to stderr: stdout is for the path.
    apt-get update -qq >&2
    DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends -qq "${packages[@]}" >&2
  else
    say "missing here; in Debian's package names: ${packages[*]}"
    say "on Debian and its relatives: sudo apt-get install ${packages[*]}"
    [ ${#build[@]} -eq 0 ] || fail "nothing can be built without a C compiler"
    [ $kernel = optional ] || fail "the kernel tests need these"
  fi
fi

missing cargo && fail "cargo is missing: install Rust 1.89 or newer, with rustup or from your distribution"

if nft=$(scripts/nft.sh); then
  echo "$nft"
elif [ $kernel = optional ]; then
  say "no nft 1.1.3 or newer: what needs one is skipped"
  echo
else
  fail "no nft 1.1.3 or newer (see above)"
fi
