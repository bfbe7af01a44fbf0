#!/usr/bin/env bash
# Builds the documentation as a book of HTML pages in build/book/html, and checks its links. docs/SUMMARY.md is the table of contents.
#
# If mdbook is not on the PATH, it is built into build/tools first. After that this needs no network, and neither does the book.
#
# Usage: scripts/book.sh             needs python3
#        scripts/book.sh --tool      only builds mdbook, if it is not there
set -euo pipefail
cd "$(dirname "$0")/.."

export PYTHONDONTWRITEBYTECODE=1

# Without its web server it has far fewer dependencies.
mdbook=$(scripts/cargo-tool.sh mdbook =0.5.4 --no-default-features --features search)
[ "${1:-}" != --tool ] || exit 0

rm -rf build/book
python3 scripts/book/stage.py build/book/source
"$mdbook" build 2>&1 | tee build/book/log >&2
if grep -q WARN build/book/log; then
  echo "book.sh: a page has a mistake, see above" >&2
  exit 1
fi
# What the pages carry that is not ours.
cp scripts/book/NOTICE build/book/html/NOTICE.txt
python3 scripts/book/check.py build/book/html
