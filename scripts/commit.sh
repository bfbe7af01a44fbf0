#!/usr/bin/env bash
# Prints the commit of the sources and its date, as `pointsman --version` shows them: "0123456789ab of 2026-01-31", with "changed" where
# files differ from the commit. With --epoch it prints the date alone, in seconds: the time stamp of every file in an artefact.
set -euo pipefail
cd "$(dirname "$0")/.."

commit=$(git rev-parse --short=12 HEAD 2>/dev/null) || commit=
if [ "${1:-}" = --epoch ]; then
  [ -z "${SOURCE_DATE_EPOCH:-}" ] || { echo "$SOURCE_DATE_EPOCH"; exit; }
  [ -n "$commit" ] && git log -1 --format=%ct || echo 0
elif [ -z "$commit" ]; then
  echo unknown
else
  date=$(TZ=UTC git log -1 --format=%cd --date=format-local:%F)
  changed=$(git status --porcelain --untracked-files=no)
  echo "$commit of $date${changed:+, changed}"
fi
