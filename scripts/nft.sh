#!/usr/bin/env bash
# Prints the path of an nft of version 1.1.3 or newer.
#
# It uses the system's nft if that is new enough. Otherwise, on Debian 12, it fetches the packages of the next Debian release from
# the package archive that apt already uses, checks them against that archive's signed index, and unpacks them into build/nft.
# It changes nothing on the system.
#
# Usage: scripts/nft.sh            prints a path and exits 0; on failure prints the reason to stderr and exits 1
set -euo pipefail

floor=1.1.3
suite=trixie
root=$(cd "$(dirname "$0")/.." && pwd)
target=$root/build/nft
packages=(nftables libnftables1 libnftnl11 libmnl0 libjansson4 libgmp10 libedit2 libbsd0 libmd0 libtinfo6 libxtables12 libc6)

fail() { echo "nft.sh: $*" >&2; exit 1; }

version_of() { "$1" --version 2>/dev/null | sed -n 's/^nftables v\([0-9.]*\).*/\1/p'; }

new_enough() {
  local version
  version=$(version_of "$1")
  [ -n "$version" ] && [ "$(printf '%s\n' "$floor" "$version" | sort -V | head -n1)" = "$floor" ]
}

for candidate in "${NFT:-}" "$(command -v nft || true)" /usr/sbin/nft "$target/nft"; do
  if [ -n "$candidate" ] && [ -x "$candidate" ] && new_enough "$candidate"; then
    echo "$candidate"
    exit 0
  fi
done

command -v apt-get >/dev/null || fail "no nft >= $floor found and no apt to fetch one: install nftables $floor or newer, or set NFT=/path/to/nft"
architecture=$(dpkg --print-architecture)
archive=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Component: main' 2>/dev/null |
  grep -v security | head -n1 || true)
[ -n "$archive" ] || fail "apt knows no package archive to take nft >= $floor from"
archive=${archive%/}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fetch() { curl --fail --silent --show-error --location --retry 3 --max-time 300 --output "$2" "$1"; }

echo "nft.sh: unpacking nft from Debian $suite into build/nft" >&2
index=dists/$suite/main/binary-$architecture/Packages.xz
fetch "$archive/dists/$suite/InRelease" "$work/InRelease" || fail "cannot read the index of $suite"
if command -v gpgv >/dev/null; then
  gpgv --quiet --keyring /usr/share/keyrings/debian-archive-keyring.gpg "$work/InRelease" 2>"$work/gpgv" ||
    fail "the index of $suite is not signed by Debian: $(cat "$work/gpgv")"
fi
fetch "$archive/$index" "$work/Packages.xz" || fail "cannot read the package list of $suite"
expected=$(awk -v path="main/binary-$architecture/Packages.xz" '/^SHA256:/ {on=1; next} /^[^ ]/ {on=0} on && $3 == path {print $1; exit}' "$work/InRelease")
echo "$expected  $work/Packages.xz" | sha256sum --check --quiet || fail "the package list of $suite does not match its index"
xz --decompress "$work/Packages.xz"

rm -rf "$target.new"
mkdir -p "$target.new/root"
for package in "${packages[@]}"; do
  # Debian 13 added t64 to some names for 64-bit time: accept either name.
  read -r path sha256 < <(awk -v name="$package" '
    BEGIN {RS=""; FS="\n"}
    {found=0; path=""; sum=""
     for (i=1; i<=NF; i++) {
       if ($i == "Package: " name || $i == "Package: " name "t64") found=1
       if ($i ~ /^Filename: /) path=substr($i, 11)
       if ($i ~ /^SHA256: /) sum=substr($i, 9)}
     if (found) {print path, sum; exit}}' "$work/Packages") || fail "$suite has no package $package"
  fetch "$archive/$path" "$work/package.deb" || fail "cannot fetch $package"
  echo "$sha256  $work/package.deb" | sha256sum --check --quiet || fail "$package does not match its checksum"
  dpkg -x "$work/package.deb" "$target.new/root"
done

libraries=$(dirname "$(find "$target.new/root" -name 'libnftables.so.1' | head -n1)")
loader=$(find "$target.new/root" -name 'ld-linux*.so.*' | head -n1)
[ -n "$libraries" ] && [ -n "$loader" ] || fail "the packages of $suite lack libnftables or the dynamic loader"
cat >"$target.new/nft" <<EOF
#!/bin/sh
exec '$target${loader#"$target.new"}' --library-path '$target${libraries#"$target.new"}' '$target/root/usr/sbin/nft' "\$@"
EOF
chmod +x "$target.new/nft"
rm -rf "$target"
mv "$target.new" "$target"
new_enough "$target/nft" || fail "the unpacked nft does not run, or is older than $floor"
echo "$target/nft"
