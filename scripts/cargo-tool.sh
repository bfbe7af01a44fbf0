#!/usr/bin/env bash
# Prints the path of a cargo tool. If it is not there, it is built into build/tools first.
#
# Usage: scripts/cargo-tool.sh NAME VERSION [options of cargo install]
#
# One on the PATH is taken whatever its version, unless VERSION starts with "=".
set -euo pipefail

name=$1 version=${2#=} exact=
[ "$version" = "$2" ] || exact=yes
shift 2
root=$(cd "$(dirname "$0")/.." && pwd)
tools=$root/build/tools

fits() { [ -z "$exact" ] || [[ " $("$1" --version) " =~ [\ v]"$version"\  ]]; }

if tool=$(command -v "$name") && fits "$tool"; then
  echo "$tool"
  exit
fi
tool=$tools/bin/$name
# Two at a time would remove each other's target folder.
mkdir -p "$tools"
exec 9>"$tools/$name.lock"
flock 9
if [ ! -x "$tool" ] || ! fits "$tool"; then
  echo "$(basename "$0"): building $name $version into build/tools (some minutes, once)" >&2
  # A separate target folder keeps the tool's objects out of the project's.
  CARGO_TARGET_DIR=$tools/target-$name \
    "${CARGO:-cargo}" install --quiet --locked --root "$tools" --version "$version" "$@" "$name" >&2
  rm -rf "$tools/target-$name"
fi
echo "$tool"
