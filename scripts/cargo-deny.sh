#!/usr/bin/env bash
# Runs cargo-deny with these arguments. If it is not on the PATH, it is built into build/tools first.
#
# Usage: scripts/cargo-deny.sh check bans licenses sources
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"

deny=$(scripts/cargo-tool.sh cargo-deny 0.20.2)
exec "$deny" "$@"
