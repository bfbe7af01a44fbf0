#!/usr/bin/env bash
# Prints the path of a cargo tool of this version. If it is not there, it is built into build/tools first.
#
# Usage: scripts/cargo-tool.sh NAME VERSION        takes one on the PATH, whatever its version
set -euo pipefail

name=$1 version=$2
root=$(cd "$(dirname "$0")/.." && pwd)
tools=$root/build/tools

if tool=$(command -v "$name"); then
  echo "$tool"
  exit
fi
# Two at a time would remove each other's target folder.
mkdir -p "$tools"
exec 9>"$tools/$name.lock"
flock 9
if [ ! -x "$tools/bin/$name" ]; then
  echo "$(basename "$0"): building $name $version into build/tools (some minutes, once)" >&2
  # A separate target folder keeps the tool's objects out of the project's.
  CARGO_TARGET_DIR=$tools/target cargo install --quiet --locked --root "$tools" --version "$version" "$name" >&2
  rm -rf "$tools/target"
fi
echo "$tools/bin/$name"
