#!/usr/bin/env bash
# Runs the benchmarks and writes the tables and plots of docs/performance.md. Needs root; takes about 15 minutes.
#
# Usage: scripts/bench.sh [sizes for the scale benchmark, such as 1000 10000 50000 200000 5000x50]
set -euo pipefail
cd "$(dirname "$0")/.."

[ "$(id -u)" -eq 0 ] || { echo "bench.sh: network namespaces need root" >&2; exit 1; }
command -v ip >/dev/null || { echo "bench.sh: ip is missing (package iproute2)" >&2; exit 1; }
NFT=$(scripts/nft.sh)
export NFT

# Compile first, so that no compiler runs during a measurement.
cargo bench --locked --no-run --bench scale --bench commit --bench dataplane --bench core --bench wire --bench fairness --bench drift
cargo bench --locked --bench scale -- --docs "$@"
cargo bench --locked --bench commit -- --docs
cargo bench --locked --bench dataplane -- --docs
cargo bench --locked --bench wire -- --docs
cargo bench --locked --bench fairness -- --docs
cargo bench --locked --bench drift -- --docs
cargo bench --locked --bench core
