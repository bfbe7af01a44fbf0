#!/usr/bin/env bash
# Builds the image archives without a container engine: the release binary, and files of Debian's packages that are listed with reasons.
#
#   build/image/pointsman-VERSION-ARCHITECTURE.tar              netlink only: no nft, no shell
#   build/image/pointsman-VERSION-takeover-ARCHITECTURE.tar     with nft, iptables-legacy, ipvsadm and a shell
#
# Beside each archive, .contents.txt lists its files and .packages.txt Debian's packages. The same commit, compiler and packages give the
# same digests. `ctr images import`, `kind load image-archive`, `podman load`, `docker load` and `skopeo copy` read the archives.
#
# BINARY   a release binary that was built before
# IMAGE names the image (docker.io/library/pointsman, which Kubernetes and kind call just "pointsman").
#
# Usage: scripts/image.sh
set -euo pipefail
cd "$(dirname "$0")/.."

missing() { ! command -v "$1" >/dev/null; }
for tool in python3 dpkg-deb readelf tar; do
  missing $tool && { echo "image.sh: $tool is missing; this needs Debian or one of its relatives, with python3 and binutils" >&2; exit 1; }
done

binary=${BINARY:-$(scripts/release.sh)}
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n1)
architecture=$(dpkg --print-architecture)
output=build/image
mkdir -p $output
export PYTHONDONTWRITEBYTECODE=1
python3 scripts/image/licences.py >$output/licences.txt

for variant in default takeover; do
  packages=$(cd scripts/image && python3 -c "import packages; print(*packages.PACKAGES['$variant'])")
  release=$(cd scripts/image && python3 -c "import packages; print(packages.RELEASE)")
  # shellcheck disable=SC2086 # a list of words
  scripts/debian.sh "$release" build/debian/packages $packages >$output/debs-$variant.txt
  rm -rf $output/root-$variant
  mkdir -p $output/root-$variant
  while read -r deb; do dpkg-deb --extract "$deb" $output/root-$variant; done <$output/debs-$variant.txt
  suffix=
  [ $variant = default ] || suffix=-$variant
  python3 scripts/image/build.py --variant $variant --binary "$binary" --root $output/root-$variant --debs $output/debs-$variant.txt \
    --licences $output/licences.txt --version "$version" --commit "$(scripts/commit.sh)" --epoch "$(scripts/commit.sh --epoch)" \
    --reference "${IMAGE:-docker.io/library/pointsman}:$version$suffix" --output "$output/pointsman-$version$suffix-$architecture.tar"
done
