#!/usr/bin/env bash
# Runs all tests, and says at the end how many of them were skipped and why: cargo counts these as passed.
set -uo pipefail
cd "$(dirname "$0")/.."

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
skipped=$folder/skipped output=$folder/output
touch "$skipped"

POINTSMAN_SKIPPED_LIST=$skipped cargo test --locked "$@" 2>&1 | tee "$output"
status=${PIPESTATUS[0]}

# A test may be skipped in part, for several reasons: it counts once.
count=$(cut -f 1 "$skipped" | sort -u | wc -l)
awk -v skipped="$count" '
  /^test result:/ { passed += $4; failed += $6; ignored += $8 }
  END { printf "\ntotal: %d passed, %d failed, %d skipped, %d ignored\n", passed - skipped, failed, skipped, ignored }
' "$output"
if [ "$count" -gt 0 ]; then
  echo "skipped, because:"
  cut -f 2- "$skipped" | sort | uniq -c | sort -rn
fi
exit "$status"
