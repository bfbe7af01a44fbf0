#!/usr/bin/env bash
# Tries the Debian package in a scratch root that systemd boots in namespaces of its own: it is installed, started, asked, upgraded, stopped,
# removed and purged, and leaves no file. Needs root, debootstrap and systemd-nspawn. The machine's own packages, processes, network and
# rules are not touched. The scratch root is made once, in build/debian/root.
#
# Usage: scripts/dist/try-deb.sh build/dist/pointsman_VERSION_ARCHITECTURE.deb
set -euo pipefail
cd "$(dirname "$0")/../.."

fail() { echo "try-deb.sh: $*" >&2; exit 1; }
[ $# -eq 1 ] || fail "give a Debian package"
package=$(realpath "$1")
release=trixie
root=$PWD/build/debian/root
for tool in debootstrap systemd-nspawn; do
  command -v $tool >/dev/null || fail "$tool is missing; on Debian: apt-get install debootstrap systemd-container"
done
archive=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Component: main' | grep '/debian/$' | head -n1)
if [ ! -e "$root/made" ]; then
  rm -rf "$root"
  debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,nftables,man-db,bash-completion $release "$root" "$archive" >&2
  touch "$root/made"
fi
# A trial that failed may have left the package there, so each has a copy.
copy=$(mktemp -d "$root.XXXXXX")
trap 'rm -rf "$copy"' EXIT
cp -a "$root/." "$copy/"
cp "$package" "$copy/root/pointsman.deb"
cp -r examples "$copy/root/"
cat >"$copy/root/try.sh" <<'TRY'
#!/bin/bash
# Ends at the first check that fails.
trap 'systemctl poweroff' EXIT
exec >/root/result 2>&1
set -eux
is() { [ "$(systemctl is-active pointsman)" = "$1" ]; }
pid() { systemctl show --property MainPID --value pointsman; }
has_rules() { nft list table ip pointsman >/dev/null 2>&1; }
# Seconds pass between a start and the first commit.
wait_for() { for _ in $(seq 50); do if "$@"; then return; fi; sleep 0.2; done; false; }
# Every file and folder, without those that dpkg, systemd and the trial itself write.
files() {
  find / -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /run -o -path /tmp -o -path /root -o -path /var/lib/dpkg -o -path /var/log \
    -o -path /var/lib/systemd -o -path /var/cache/man -o -path /var/tmp \) -prune -o -print | sort
}
files >/root/before

: installed
dpkg -i /root/pointsman.deb
pointsman --version
man -P cat pointsman | grep -q take-over
man -P cat pointsman-doctor | grep -q NAME
bash -ic '. /usr/share/bash-completion/completions/pointsman; complete -p pointsman'

: without a kubeconfig it does not start, and nothing fails
systemctl start pointsman
is inactive
systemctl is-failed pointsman && exit 1

: started
touch /etc/pointsman/kubeconfig
mkdir -p /etc/systemd/system/pointsman.service.d
# The only change: objects from files, because there is no API server here.
cat >/etc/systemd/system/pointsman.service.d/try.conf <<'UNIT'
[Service]
ExecStart=
ExecStart=/usr/bin/pointsman --manifests /root/examples --watch --hostname-override=node-a
ProtectHome=no
UNIT
systemctl daemon-reload
systemctl enable --now pointsman
wait_for has_rules
is active
grep -q 'CapEff:.*0000000000001000' "/proc/$(pid)/status"
nft list map ip pointsman endpoints | grep -q 10.128

: asked
wait_for pointsman status
pointsman status | grep SYNCED
pointsman get services
pointsman get services | grep -q shop
pointsman get frontends -o json | grep -q 10.96
pointsman doctor || [ $? = 1 ]

: an upgrade restarts it, and the rules stay
before=$(pid)
dpkg -i /root/pointsman.deb
has_rules
wait_for pointsman status
is active
[ "$before" != "$(pid)" ]

: stopped, the rules stay until they are asked to go
systemctl stop pointsman
is inactive
has_rules
# No kube-proxy answers here, which is said.
if pointsman --cleanup=own; then exit 1; fi
has_rules
pointsman --cleanup=own --force
[ -z "$(nft list ruleset | grep pointsman)" ]

: removed while it runs
systemctl start pointsman
wait_for has_rules
dpkg -r pointsman
is inactive
[ ! -e /usr/bin/pointsman ]
[ -z "$(grep -sx pointsman /proc/[0-9]*/comm)" ]
has_rules

: purged
dpkg -P pointsman
[ ! -e /etc/pointsman/config.conf ]
# The kubeconfig is the operator's, and so is the change of the unit.
[ -e /etc/pointsman/kubeconfig ]
rm -r /etc/pointsman /etc/systemd/system/pointsman.service.d
files >/root/after
diff /root/before /root/after
echo passed
TRY
chmod +x "$copy/root/try.sh"
printf '[Unit]\nAfter=basic.target\n[Service]\nExecStart=/root/try.sh\n' >"$copy/etc/systemd/system/try.service"
mkdir -p "$copy/etc/systemd/system/multi-user.target.wants"
ln -sf /etc/systemd/system/try.service "$copy/etc/systemd/system/multi-user.target.wants/try.service"
timeout 300 systemd-nspawn --quiet --register=no --keep-unit --private-network --boot --directory "$copy" >"$root/../boot" 2>&1 || true
[ -e "$copy/root/result" ] || fail "the scratch root did not boot: build/debian/boot"
cp "$copy/root/result" "$root/../try-deb"
if ! grep -qx passed "$copy/root/result"; then
  tail -n 20 "$copy/root/result" >&2
  fail "a check failed, see above; build/debian/try-deb has all of it"
fi
echo "tried: $(basename "$package") installed, started, asked, upgraded, stopped, removed and purged"
