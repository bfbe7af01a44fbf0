#!/usr/bin/env bash
# Runs cargo-deny with these arguments. If it is not on the PATH, it is built into build/tools first.
#
# Usage: scripts/cargo-deny.sh check bans licenses sources
set -euo pipefail

version=0.20.2
root=$(cd "$(dirname "$0")/.." && pwd)
tools=$root/build/tools
cd "$root"

deny=$(command -v cargo-deny || true)
if [ -z "$deny" ]; then
  deny=$tools/bin/cargo-deny
  if [ ! -x "$deny" ]; then
    echo "cargo-deny.sh: building cargo-deny $version into build/tools (some minutes, once)" >&2
    # A separate target folder keeps the tool's objects out of the project's.
    CARGO_TARGET_DIR=$tools/target cargo install --quiet --locked --root "$tools" --version "$version" cargo-deny >&2
    rm -rf "$tools/target"
  fi
fi
exec "$deny" "$@"
