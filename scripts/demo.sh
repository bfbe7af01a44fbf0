#!/usr/bin/env bash
# Builds the proxy and runs the demo on examples/: it prints the plan, and as root it programs a scratch node and sends requests.
#
# Usage: scripts/demo.sh [cargo build options, such as --release]
# Exits 0 if every Service answers as its manifests promise, or if it ran without root and only printed the plan.
set -euo pipefail

cd "$(dirname "$0")/.."

# Without root the demo needs no nft, so this script fetches none. (`make demo` does, with what else the tests need.)
if [ "$(id -u)" -eq 0 ]; then
  command -v ip >/dev/null || { echo "demo.sh: the demo needs ip (package iproute2)" >&2; exit 1; }
  NFT=$(scripts/nft.sh)
  export NFT
fi

cargo build --bin pointsman --example demo "$@"
exec cargo run --quiet --example demo "$@"
