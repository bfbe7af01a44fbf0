#!/usr/bin/env bash
# Tries the Debian package in a scratch root that systemd boots in namespaces of its own: it is installed, started, used, upgraded, removed
# and purged. Needs root, debootstrap and systemd-nspawn; the machine itself is not touched.
#
# Usage: scripts/dist/try-deb.sh build/dist/pointsman_VERSION_ARCHITECTURE.deb
set -euo pipefail
cd "$(dirname "$0")/../.."

package=$(realpath "$1")
release=trixie
root=$PWD/build/debian/root
for tool in debootstrap systemd-nspawn; do
  command -v $tool >/dev/null || { echo "try-deb.sh: $tool is missing; on Debian: apt-get install debootstrap systemd-container" >&2; exit 1; }
done
archive=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Component: main' | grep '/debian/$' | head -n1)
if [ ! -e "$root/made" ]; then
  rm -rf "$root"
  debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,nftables,man-db,bash-completion $release "$root" "$archive" >&2
  touch "$root/made"
fi
rm -rf "$root/etc/pointsman" "$root/root/result"
cp "$package" "$root/root/pointsman.deb"
rm -rf "$root/root/examples" && cp -r examples "$root/root/"
cat >"$root/root/try.sh" <<'TRY'
#!/bin/bash
# Ends at the first check that fails.
trap 'systemctl poweroff' EXIT
exec >/root/result 2>&1
set -eux
is() { [ "$(systemctl "is-$1" pointsman)" = "$2" ]; }
dpkg -i /root/pointsman.deb
pointsman --version
man -P cat pointsman | grep -q take-over
bash -ic '. /usr/share/bash-completion/completions/pointsman; complete -p pointsman'
# Without a kubeconfig it does not start, and nothing fails.
systemctl start pointsman
is active inactive
touch /etc/pointsman/kubeconfig
mkdir -p /etc/systemd/system/pointsman.service.d
printf '[Service]\nExecStart=\nExecStart=/usr/bin/pointsman --manifests /root/examples --watch --hostname-override=node-a\n' \
  >/etc/systemd/system/pointsman.service.d/try.conf
printf 'ProtectHome=no\n' >>/etc/systemd/system/pointsman.service.d/try.conf
systemctl daemon-reload
systemctl enable --now pointsman
sleep 3
is active active
grep -q 'CapEff:.*0000000000001000' "/proc/$(systemctl show --property MainPID --value pointsman)/status"
nft list map ip pointsman endpoints | grep -q 10.128
# An upgrade restarts it.
before=$(systemctl show --property MainPID --value pointsman)
dpkg -i /root/pointsman.deb
sleep 2
is active active
[ "$before" != "$(systemctl show --property MainPID --value pointsman)" ]
# The rules outlive it until they are asked to go.
dpkg -r pointsman
is active inactive || true
[ ! -e /usr/bin/pointsman ]
nft list table ip pointsman >/dev/null
dpkg -P pointsman
[ ! -e /etc/pointsman/config.conf ] && [ -e /etc/pointsman/kubeconfig ]
echo passed
TRY
chmod +x "$root/root/try.sh"
printf '[Unit]\nAfter=basic.target\n[Service]\nExecStart=/root/try.sh\n' >"$root/etc/systemd/system/try.service"
mkdir -p "$root/etc/systemd/system/multi-user.target.wants"
ln -sf /etc/systemd/system/try.service "$root/etc/systemd/system/multi-user.target.wants/try.service"
timeout 180 systemd-nspawn --quiet --register=no --keep-unit --private-network --boot --directory "$root" >"$root/../boot" 2>&1 || true
tail -n 3 "$root/root/result"
grep -q "^passed$" "$root/root/result"
