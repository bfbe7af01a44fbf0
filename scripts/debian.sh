#!/usr/bin/env bash
# Downloads packages of any Debian release, without touching the system's own list of packages.
#
# apt does it, with a state of its own in build/debian/RELEASE: it checks the archive's signature and the packages' hashes. The archive is
# the one that the system's apt uses. A name may be a metapackage's, of which the package it depends on is wanted: NAME:depends=PREFIX.
#
# Usage: scripts/debian.sh RELEASE FOLDER PACKAGE...    puts PACKAGE_VERSION_ARCHITECTURE.deb into FOLDER, and prints their paths
set -euo pipefail

fail() { echo "debian.sh: $*" >&2; exit 1; }
[ $# -ge 3 ] || fail "give a release, a folder and packages"
release=$1 folder=$2
shift 2
root=$(cd "$(dirname "$0")/.." && pwd)
state=$root/build/debian/$release

command -v apt-get >/dev/null || fail "apt-get is missing: this needs Debian or one of its relatives"
archive=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Component: main' 2>/dev/null |
  grep '/debian/$' | head -n1 || true)
[ -n "$archive" ] || fail "apt knows no archive of Debian's packages"

mkdir -p "$state"/{lists/partial,cache/archives/partial,parts,preferences} "$folder"
folder=$(cd "$folder" && pwd)
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $archive $release main" >"$state/sources.list"
: >"$state/status"
options=(
  -o "Dir::State=$state" -o "Dir::State::lists=$state/lists" -o "Dir::State::status=$state/status" -o "Dir::Cache=$state/cache"
  -o "Dir::Etc::SourceList=$state/sources.list" -o "Dir::Etc::SourceParts=$state/parts" -o "Dir::Etc::PreferencesParts=$state/preferences"
  # The release of a finished one may have expired.
  -o "Acquire::Check-Valid-Until=false" -o "APT::Sandbox::User=root" -o "Acquire::Languages=none"
)
# One update an hour is enough.
if [ -z "$(find "$state/updated" -mmin -60 2>/dev/null)" ]; then
  apt-get "${options[@]}" update -qq >&2 || fail "cannot read the index of $release"
  touch "$state/updated"
fi


uris() { apt-get "${options[@]}" "$@" --print-uris -qq | tr -d "'" ; }
if [ "$1" = --only ]; then
  # The newest version among the packages whose name fits.
  name=$(apt-cache "${options[@]}" search --names-only "^$2\$" | awk '{print $1}' | sort -V | tail -n1)
  [ -n "$name" ] || fail "$release has no package $2"
  wanted=$(uris download "$name")
else
  wanted=$(uris install --yes --no-install-recommends "$@") || fail "$release lacks one of: $*"
fi
[ -n "$wanted" ] || fail "$release has nothing for: $*"

while read -r uri file _; do
  if [ ! -s "$folder/$file" ]; then
    name=${file%%_*}
    version=${file#*_} version=${version%_*}
    (cd "$folder" && apt-get "${options[@]}" download -qq "$name=${version//%3a/:}" >&2) || fail "cannot download $name of $release"
  fi
  echo "$folder/$file"
done <<<"$wanted"
