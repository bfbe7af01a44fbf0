#!/usr/bin/env bash
# Builds the proxy and shows it at work on examples/: the plan, and as root a scratch node that really answers.
#
# Usage: scripts/demo.sh [cargo build options, such as --release]
# Exits 0 when every Service answers as its manifests promise, or when there is no root and only the plan was shown.
set -euo pipefail

cd "$(dirname "$0")/.."

# Without root no nft is needed, and none is fetched.
if [ "$(id -u)" -eq 0 ]; then
  command -v ip >/dev/null || { echo "demo.sh: the demo needs ip (package iproute2)" >&2; exit 1; }
  NFT=$(scripts/nft.sh)
  export NFT
fi

cargo build --quiet --bin pointsman --example demo "$@"
exec cargo run --quiet --example demo "$@"
