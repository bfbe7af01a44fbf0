#!/usr/bin/env bash
# Builds the release binary so that it depends on nothing but the commit, Cargo.lock, the compiler and the C library, and prints its path.
#
# Paths of this machine are mapped away, and `pointsman --version` names the commit. Without git, or for a commit made elsewhere, set
# POINTSMAN_COMMIT yourself. CARGO names another cargo.
#
# Usage: binary=$(scripts/release.sh)
set -euo pipefail
cd "$(dirname "$0")/.."

export POINTSMAN_COMMIT=${POINTSMAN_COMMIT:-$(scripts/commit.sh)}
cargo_home=${CARGO_HOME:-$HOME/.cargo}
export RUSTFLAGS="${RUSTFLAGS:-} --remap-path-prefix=$PWD=/pointsman --remap-path-prefix=$cargo_home=/cargo"
"${CARGO:-cargo}" build --release --locked --bin pointsman >&2
echo "${CARGO_TARGET_DIR:-$PWD/target}/release/pointsman"
