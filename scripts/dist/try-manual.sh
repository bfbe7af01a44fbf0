#!/usr/bin/env bash
# Tries the man pages with man, and the completions in bash, zsh and fish as a user gets them: typed, with a tab.
#
# Usage: scripts/dist/try-manual.sh FOLDER     with man/ and completions/, as the example `manual` writes them and as the tar archive of
#                                              `make dist` holds them. Needs man, bash, zsh and fish
set -euo pipefail
cd "$(dirname "$0")/../.."

fail() { echo "try-manual.sh: $*" >&2; exit 1; }
[ $# -eq 1 ] || fail "give a folder with man/ and completions/"
folder=$(realpath "$1")
for tool in man bash zsh fish; do
  command -v $tool >/dev/null || fail "$tool is missing; on Debian: apt-get install man-db bash zsh fish"
done
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n1)

# Every page renders without a warning. The main one has the version, and names the pages of all subcommands.
export MANPAGER=cat MANWIDTH=100 LC_ALL=C.UTF-8
show() { man --warnings --local-file "$1" 2>"$scratch/warnings" | sed 's/.\x08//g' >"$scratch/shown"; }
pages=("$folder"/man/*.8)
for page in "${pages[@]}"; do
  show "$page" || fail "man cannot show $page: $(cat "$scratch/warnings")"
  [ ! -s "$scratch/warnings" ] || fail "$page: $(cat "$scratch/warnings")"
  for section in NAME SYNOPSIS DESCRIPTION OPTIONS; do
    grep -q "^$section" "$scratch/shown" || fail "$page has no section $section"
  done
done
show "$folder/man/pointsman.8"
for text in --take-over --nodeport-addresses "$version"; do
  grep -qF -e "$text" "$scratch/shown" || fail "pointsman.8 lacks $text"
done
for page in "$folder"/man/pointsman-*.8; do
  grep -qF "$(basename "$page" .8)(8)" "$scratch/shown" || fail "pointsman.8 does not name $(basename "$page")"
done

# What is typed before the tab, and what a shell must make of the last word.
cases=("pointsman doct|doctor" "pointsman --take-o|--take-over" "pointsman doctor --conf|--config" "pointsman get --outp|--output")

# Each of these prints what a shell offers for a line, one word in a line.
offers_of_bash() {
  timeout 30 bash --norc -c '
    . "$1"
    COMP_LINE=$2 COMP_POINT=${#2}
    read -ra COMP_WORDS <<<"$2"
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
    function=$(complete -p pointsman | sed "s/.*-F \([^ ]*\).*/\1/")
    "$function" pointsman "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
    printf "%s\n" "${COMPREPLY[@]}"' bash "$folder/completions/pointsman.bash" "$1"
}

# zsh completes only at a terminal, so it gets one. The completed line is then run, and prints its words.
offers_of_zsh() {
  timeout 30 zsh -f -c '
    zmodload zsh/zpty
    zpty shell zsh -f -i
    zpty -w shell "fpath=($1 \$fpath); autoload -Uz compinit; compinit -u -D; pointsman() { print -r -- go\"\"t:\$@: }; print rea\"\"dy"
    zpty -r -m shell seen "*ready*"
    zpty -w -n shell "$2"$'\''\t\r'\''
    zpty -r -m shell seen "*got:*:*"
    print -r -- "$seen"
    zpty -d shell' zsh "$folder/completions" "$1" | sed -n 's/.*got:\(.*\):.*/\1/p' | tr ' ' '\n'
}

offers_of_fish() {
  timeout 30 fish --no-config -c 'source $argv[1]; complete --do-complete $argv[2]' "$folder/completions/pointsman.fish" "$1" | cut -f1
}

for shell in bash zsh fish; do
  for case in "${cases[@]}"; do
    line=${case%|*} expected=${case#*|}
    offers=$(offers_of_$shell "$line") || fail "$shell cannot complete '$line'"
    grep -qx -e "$expected" <<<"$offers" || fail "$shell offers for '$line' not $expected, but: ${offers//$'\n'/ }"
  done
done
echo "tried: ${#pages[@]} man pages, ${#cases[@]} completions each in bash, zsh and fish"
