#!/usr/bin/env bash
# Changes the program in one place at a time and runs tests, to find changes that no test notices.
#
# Usage: scripts/mutants.sh [options of cargo-mutants]
#
#   scripts/mutants.sh --file 'src/diff/**'             a folder
#   scripts/mutants.sh --shard 0/20                     one of twenty parts of everything
#   scripts/mutants.sh --list                           only names the changes
#
# TESTS="engine:: state::" names the tests that are run at first; all fast ones by default.
#
# Every change first meets the fast tests of the library. Those that survive meet all of the library's tests and the properties, but for a
# shard. The result is in build/mutants/mutants.out: missed.txt has the survivors. .cargo/mutants.toml says what is left out.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
out=$root/build/mutants
cd "$root"

mutants=$(scripts/cargo-tool.sh cargo-mutants 27.1.0)

# What decides, and what carries decisions out.
folders=()
case " $*" in
  *" -f"* | *" --file"* | *" --in-diff"*) ;;
  *) for folder in engine state diff apply netlink watch conntrack; do
    folders+=(--file "src/$folder.rs" --file "src/$folder/**")
  done ;;
esac
set -- "${folders[@]}" "$@"

for option in "$@"; do
  case $option in --list | --list-files | --help | --version) exec "$mutants" mutants "$@" ;; esac
done

# Left out at first: tests of other folders, and those that take longest and say least about one line.
slow=()
for name in cli:: config:: doctor:: host:: localhost:: metrics:: observe:: takeover:: \
  diff::plan::cost long_lists_are_split aliases_cannot_multiply a_large_document_is_within \
  engine::tests::a_small_change engine::tests::a_change_ engine::tests::a_slice_is_not engine::tests::one_endpoint \
  engine::tests::a_huge_change nothing_is_assumed_after_a_failure a_share_is_never_zero many_files_count_in_path_order; do
  slow+=(--skip "$name")
done
read -ra names <<<"${TESTS:-}"
properties=(--cargo-arg=--test=laws --cargo-arg=--test=packets --cargo-arg=--test=affinity)

mkdir -p "$out/tmp"
export TMPDIR=$out/tmp CARGO_TARGET_DIR=$out/target CARGO_PROFILE_DEV_DEBUG=0 CARGO_PROFILE_TEST_DEBUG=0
run() {
  # 2: some survived. 3: some made a test endless, which is as good as noticed.
  local status=0
  "$mutants" mutants --output "$out" "$@" || status=$?
  [ "$status" -le 3 ] && [ "$status" -ne 1 ] || exit "$status"
}

echo "mutants.sh: the fast tests of the library" >&2
run --cargo-arg=--lib "$@" -- -- "${slow[@]}" "${names[@]}"
[ -s "$out/mutants.out/missed.txt" ] || exit 0
case " $*" in
  *" --shard"*)
    # --iterate would draw other changes: it leaves out what was noticed before it divides the rest.
    echo "mutants.sh: these survived the fast tests, and may be noticed by others:" >&2
    cat "$out/mutants.out/missed.txt"
    exit 2
    ;;
esac
cp -r "$out/mutants.out" "$out/mutants.fast"
echo "mutants.sh: $(wc -l <"$out/mutants.out/missed.txt") survived; all tests of the library and the properties on these" >&2
PROPTEST_CASES=${PROPTEST_CASES:-100} run --iterate --cargo-arg=--lib "${properties[@]}" "$@"
if [ -s "$out/mutants.out/missed.txt" ]; then
  echo "mutants.sh: these survived:" >&2
  cat "$out/mutants.out/missed.txt"
  exit 2
fi
