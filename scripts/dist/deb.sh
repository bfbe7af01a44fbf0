#!/usr/bin/env bash
# Builds the Debian package. Every time stamp in it is the commit's, so that the same commit gives the same package.
#
# Usage: scripts/dist/deb.sh BINARY VERSION ARCHITECTURE EPOCH MANUAL OUTPUT
set -euo pipefail
cd "$(dirname "$0")/../.."

binary=$1 version=$2 architecture=$3 epoch=$4 manual=$5 output=$6
root=build/dist-work/deb
rm -rf $root
doc=$root/usr/share/doc/pointsman

install -D -m 755 "$binary" $root/usr/bin/pointsman
install -D -m 644 deploy/debian/pointsman.service $root/usr/lib/systemd/system/pointsman.service
install -D -m 644 deploy/debian/config.conf $root/etc/pointsman/config.conf
install -D -m 644 deploy/debian/pointsman.default $root/etc/default/pointsman
for page in "$manual"/man/*.8; do install -D -m 644 "$page" "$root/usr/share/man/man8/$(basename "$page")"; done
install -D -m 644 "$manual/completions/pointsman.bash" $root/usr/share/bash-completion/completions/pointsman
install -D -m 644 "$manual/completions/_pointsman" $root/usr/share/zsh/vendor-completions/_pointsman
install -D -m 644 "$manual/completions/pointsman.fish" $root/usr/share/fish/vendor_completions.d/pointsman.fish
mkdir -p $doc
{
  echo "Pointsman is under the Apache License, version 2.0, whose text is in /usr/share/common-licenses/Apache-2.0."
  echo
  echo "licences.txt.gz has the licences of the crates that are compiled into it."
} >$doc/copyright
cp build/image/licences.txt $doc/licences.txt
cp CHANGELOG.md $doc/changelog
cp SECURITY.md README.md $doc/
cp -r docs $doc/docs
find $root/usr/share/man $doc/licences.txt $doc/changelog -type f -exec gzip --best --no-name {} +
find $root -type d -exec chmod 755 {} +
find $doc -type f -exec chmod 644 {} +

mkdir -p $root/DEBIAN
glibc=$(cd scripts/image && python3 -c "import elf; print('.'.join(map(str, elf.glibc_version('$(realpath "$binary")'))))")
size=$(du --summarize --apparent-size --block-size=1024 $root | cut -f1)
sed "s/@VERSION@/$version/; s/@ARCHITECTURE@/$architecture/; s/@SIZE@/$size/; s/@GLIBC@/$glibc/" deploy/debian/control >$root/DEBIAN/control
printf '/etc/pointsman/config.conf\n/etc/default/pointsman\n' >$root/DEBIAN/conffiles
install -m 755 deploy/debian/{postinst,prerm,postrm} $root/DEBIAN/
(cd $root && find usr etc -type f -print0 | sort -z | xargs -0 md5sum) >build/dist-work/md5sums
mv build/dist-work/md5sums $root/DEBIAN/md5sums

SOURCE_DATE_EPOCH=$epoch dpkg-deb --root-owner-group -Zxz --build $root "$output/pointsman_${version}_$architecture.deb" >&2
