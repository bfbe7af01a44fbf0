#!/usr/bin/env bash
# Runs the test suites that send packets in emulated machines with kernels of several Debian releases, and writes the table of
# docs/kernels.md. qemu emulates the processor (no KVM), so this works in a container and takes a while: about ten minutes for each kernel.
#
# A machine has a kernel package's own kernel and modules, nft and the other programs of one Debian release, the release binary and the test
# programs. It has no disk and no network. Packages come from Debian's archive, checked by apt (scripts/debian.sh).
#
# KERNELS   releases, as in the list below: "bookworm trixie"          (all)
# SUITES    of "scenarios kernel takeover scenarios-nft"               (all)
# AGAIN     1: runs only the tests of these suites that failed before, on the kernels where they failed
# BINARY    a release binary that was built before
# LIMIT     seconds for a suite                                        (1500)
#
# Usage: scripts/kernels.sh        as root is not needed; needs qemu-system-x86_64, cpio and python3
set -euo pipefail
cd "$(dirname "$0")/.."

userland=trixie
programs=(busybox-static dash nftables iptables ipvsadm ipset iproute2 kmod util-linux coreutils ca-certificates)
kernels=${KERNELS:-bullseye bookworm trixie forky trixie-backports}
# Of the kernel's modules only these folders are taken.
modules=(net lib crypto arch drivers/net/veth.ko drivers/net/dummy.ko)

fail() { echo "kernels.sh: $*" >&2; exit 1; }
for tool in qemu-system-x86_64 cpio python3 dpkg-deb xz strip; do
  command -v $tool >/dev/null || fail "$tool is missing; on Debian: apt-get install qemu-system-x86 cpio python3 xz-utils binutils"
done
build=$PWD/build/kernels
mkdir -p "$build"
pack() { (cd "$1" && find . -print0 | sort -z | cpio --null --create --format newc --quiet) | gzip -1; }

# The programs of the machine.
userland_archive() {
  local root=$build/userland debs
  debs=$(scripts/debian.sh $userland build/debian/packages "${programs[@]}")
  rm -rf "$root"
  mkdir -p "$root"/{proc,sys,dev,run,tmp,root,etc/ssl/certs,usr/local/bin}
  while read -r deb; do dpkg-deb --extract "$deb" "$root"; done <<<"$debs"
  # Debian's own certificates, as its hook would have put them there.
  cat "$root"/usr/share/ca-certificates/mozilla/*.crt >"$root/etc/ssl/certs/ca-certificates.crt"
  rm -rf "$root"/usr/share "$root"/usr/include "$root"/var
  for folder in bin sbin lib lib64; do [ -e "$root/$folder" ] || ln -s "usr/$folder" "$root/$folder"; done
  ln -sf dash "$root/usr/bin/sh"
  install scripts/kernels/init "$root/init"
  pack "$root" >"$build/userland.gz"
}

# The binary, the test programs, and the files that they read, at the paths that they were compiled with.
suites_archive() {
  local root=$build/suites binary program
  rm -rf "$root"
  mkdir -p "$root/suites" "$root$PWD/scripts"
  binary=${BINARY:-$(scripts/release.sh)}
  "${CARGO:-cargo}" test --locked --no-run --message-format json --test kernel --test scenarios --test takeover >"$build/messages"
  python3 - "$build/messages" >"$build/programs" <<'PYTHON'
import json, sys
for line in open(sys.argv[1]):
    message = json.loads(line)
    if message.get("executable"):
        print(message["target"]["name"], message["executable"])
PYTHON
  while read -r name program; do
    if [ "$name" = pointsman ]; then
      install -D "$binary" "$root$program"
      echo "BINARY=$program" >"$root/suites/settings"
    else
      strip -o "$root/suites/$name" "$program"
    fi
  done <"$build/programs"
  printf 'CRATE=%s SUITES="%s" LIMIT=%s\n' "$PWD" "${SUITES:-scenarios kernel takeover scenarios-nft}" "${LIMIT:-1500}" >>"$root/suites/settings"
  # Lines with a kernel, a suite and a test.
  [ -z "${AGAIN:-}" ] || python3 scripts/kernels/table.py failed >"$root/suites/again"
  cp -r examples docs tests src Cargo.toml "$root$PWD/"
  printf '#!/bin/sh\necho /usr/sbin/nft\n' >"$root$PWD/scripts/nft.sh"
  chmod +x "$root$PWD/scripts/nft.sh"
  cp scripts/kernels/run.sh "$root/suites/"
  cp -r scripts/kernels/abilities "$root/suites/"
  pack "$root" >"$build/suites.gz"
}

# The kernel and modules of a release: $build/RELEASE/{vmlinuz,modules.gz}. Newer packages are split in two.
kernel() {
  local release=$1 folder=$build/$1 root deb version path
  rm -rf "$folder"
  mkdir -p "$folder/unpacked" "$folder/root/usr/lib/modules"
  for kind in image binary modules; do
    deb=$(scripts/debian.sh "$release" build/debian/packages --only "linux-$kind-[0-9].*[0-9]-cloud-amd64" 2>/dev/null) || continue
    dpkg-deb --extract "$deb" "$folder/unpacked"
  done
  path=$(find "$folder/unpacked" -type d -path '*/lib/modules/*' -prune | head -n1)
  [ -n "$path" ] || fail "$release has no kernel"
  version=$(basename "$path")
  root=$folder/root/usr/lib/modules/$version
  for module in "${modules[@]}"; do
    for found in "$path/kernel/$module" "$path/kernel/$module.xz"; do
      [ ! -e "$found" ] || { mkdir -p "$(dirname "$root/kernel/$module")" && cp -r "$found" "$root/kernel/$(dirname "$module")/"; }
    done
  done
  rm -rf "$root"/kernel/net/{wireless,bluetooth,mac80211,ceph,9p,rxrpc}
  find "$root" -name '*.ko.xz' -exec xz --decompress {} +
  cp "$path"/modules.builtin* "$path"/modules.order "$root/" 2>/dev/null || true
  find "$folder/unpacked" -name 'vmlinuz*' -exec cp {} "$folder/vmlinuz" \;
  pack "$folder/root" >"$folder/modules.gz"
  rm -rf "$folder/unpacked" "$folder/root"
}

# Starts the machine and waits for its end.
run() {
  local folder=$build/$1
  cat "$build/userland.gz" "$folder/modules.gz" "$build/suites.gz" >"$folder/initramfs"
  timeout 7200 qemu-system-x86_64 -accel tcg,thread=multi -cpu max -smp 2 -m 3072 -no-reboot -display none -monitor none -net none \
    -kernel "$folder/vmlinuz" -initrd "$folder/initramfs" -append "console=ttyS0 rdinit=/init panic=-1 quiet" \
    -serial "file:$folder/console" -serial "file:$folder/result" </dev/null || true
  grep -q '^@end' "$folder/result" || echo "kernels.sh: the machine with the kernel of $1 did not come to its end: $folder/console" >&2
  rm -f "$folder/initramfs"
}

commit=$(scripts/commit.sh)
userland_archive
suites_archive
rm -f "$build"/*/result
for release in $kernels; do
  echo "kernels.sh: $release ($((SECONDS / 60)) min)" >&2
  kernel "$release"
  run "$release"
  grep '^@' "$build/$release/result" >&2 || true
  # After each kernel, so that a run that is broken off keeps what it has.
  python3 scripts/kernels/table.py "$build" "$commit" >&2
done
