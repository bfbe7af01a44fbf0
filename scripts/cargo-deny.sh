#!/usr/bin/env bash
# Runs cargo-deny with the arguments given; installs it into build/tools first when it is not on the PATH.
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
    # A target folder of its own: the project's is not made to hold another tool's objects.
    CARGO_TARGET_DIR=$tools/target cargo install --quiet --locked --root "$tools" --version "$version" cargo-deny >&2
    rm -rf "$tools/target"
  fi
fi
exec "$deny" "$@"
