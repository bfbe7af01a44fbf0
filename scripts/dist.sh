#!/usr/bin/env bash
# Builds everything that a release has, into build/dist:
#
#   the image archives (scripts/image.sh), a Debian package, a tar archive with the binary, man pages and completions, the Helm chart, a
#   manifest of the kubectl plugin for krew, the documentation as HTML (scripts/book.sh), bills of materials (CycloneDX), the licences of all
#   crates, and SHA256SUMS
#
# BINARY       a release binary that was built before
# DOWNLOADS    where the files will be downloaded from; it is written into the plugin's manifest
#
# Usage: scripts/dist.sh
set -euo pipefail
cd "$(dirname "$0")/.."

tools=$(scripts/deploy/tools.sh)
binary=${BINARY:-$(scripts/release.sh)}
export BINARY=$binary PYTHONDONTWRITEBYTECODE=1
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n1)
commit=$(scripts/commit.sh)
epoch=$(scripts/commit.sh --epoch)
architecture=$(dpkg --print-architecture)
downloads=${DOWNLOADS:-https://downloads.invalid/pointsman/v$version}
dist=build/dist
work=build/dist-work
rm -rf $dist $work
mkdir -p $dist $work
python() { python3 "scripts/dist/$1.py" "${@:2}"; }

echo "dist.sh: man pages and completions" >&2
"${CARGO:-cargo}" run --quiet --locked --example manual -- $work/manual

echo "dist.sh: images" >&2
scripts/image.sh >$work/images
cp build/image/*.tar $dist/
cp build/image/licences.txt "$dist/pointsman-$version-licences.txt"

echo "dist.sh: bills of materials" >&2
python sbom "$binary" "$version" "$commit" "$epoch" >"$dist/pointsman-$version-linux-$architecture.cdx.json"
for packages in build/image/*.packages.txt; do
  name=$(basename "$packages" .packages.txt)
  python sbom "$binary" "$version" "$commit" "$epoch" "$packages" >"$dist/$name.cdx.json"
done

echo "dist.sh: tar archive and plugin" >&2
name=pointsman-$version-linux-$architecture
mkdir -p "$work/$name"
cp -r LICENSE README.md CHANGELOG.md SECURITY.md docs examples "$work/$name/"
cp -r $work/manual/man $work/manual/completions "$work/$name/"
install -m 755 "$binary" "$work/$name/pointsman"
cp build/image/licences.txt "$work/$name/licences.txt"
python archive "$work/$name" "$name" "$epoch" "$dist/$name.tar.gz"
mkdir -p $work/plugin
cp "$binary" $work/plugin/kubectl-pointsman
cp LICENSE $work/plugin/
plugin=kubectl-pointsman-$version-linux-$architecture.tar.gz
python archive $work/plugin . "$epoch" "$dist/$plugin"
sum=$(sha256sum "$dist/$plugin" | cut -d' ' -f1)
sed "s|@VERSION@|$version|; s|@HOMEPAGE@|$downloads|; s|@ARCHITECTURE@|$architecture|; s|@URI@|$downloads/$plugin|; s|@SHA256@|$sum|; 1d" \
  deploy/krew/pointsman.yaml >"$dist/pointsman-krew.yaml"

echo "dist.sh: documentation" >&2
scripts/book.sh >&2
python archive build/book/html "pointsman-$version-docs" "$epoch" "$dist/pointsman-$version-docs.tar.gz"

echo "dist.sh: Helm chart" >&2
# Packed here and not by helm, whose archive has the time in it; the links to deploy/monitoring become files. helm must read it.
mkdir -p $work/chart
cp -rL deploy/chart/pointsman $work/chart/
rm -f $work/chart/pointsman/.helmignore
python archive $work/chart/pointsman pointsman "$epoch" "$dist/pointsman-$version-chart.tgz"
"$tools/bin/helm" lint --quiet "$dist/pointsman-$version-chart.tgz" >&2
"$tools/bin/helm" template pointsman "$dist/pointsman-$version-chart.tgz" --namespace kube-system >/dev/null

echo "dist.sh: Debian package" >&2
scripts/dist/deb.sh "$binary" "$version" "$architecture" "$epoch" $work/manual "$dist"

(cd $dist && sha256sum -- * >../SHA256SUMS && mv ../SHA256SUMS .)
cat $work/images
(cd $dist && ls -l | awk 'NR > 1 {printf "%12d  %s\n", $5, $9}')
