# Runs in an emulated kernel. Each line that begins with @ is for scripts/kernels/table.py: a name, a tab, a value.
# /suites/settings has CRATE and BINARY: the paths that the test programs were compiled with.
. /suites/settings
export POINTSMAN_BINARY=$BINARY NFT=/usr/sbin/nft POINTSMAN_REQUIRE_KERNEL=1 RUST_BACKTRACE=0
cd "$CRATE" || exit
# Some tests open a thousand connections. The kernel's own limit is 1,024 files.
ulimit -n 65536

say() { printf '@%s\t%s\n' "$1" "$2"; }
say kernel "$(uname -r)"
say version "$(uname -v | sed -n 's/.*Debian \([^ ]*\).*/\1/p')"
say build "$("$BINARY" --version | sed -n 's/.*, \([a-z]*\) build.*/\1/p')"
say nft "$(nft --version | sed 's/^nftables v\([0-9.]*\).*/\1/')"

# What Pointsman does by itself: over netlink, if that passes the self-test.
ip netns add start
started=$(ip netns exec start "$BINARY" --manifests examples --hostname-override node-a --once 2>&1)
echo "$started"
say start "$(echo "$started" | sed -n 's/.*backend="\([^"]*\)".*/\1/p' | head -n1)"

# Abilities of the kernel: a name, and commands for nft.
ability() {
  ip netns add ability
  if ip netns exec ability nft -f /suites/abilities/"$1" 2>/tmp/error && sh -c "$2"; then say "ability $1" yes; else say "ability $1" no; fi
  head -n1 /tmp/error
  ip netns delete ability
}
for file in /suites/abilities/*; do
  ability "${file##*/}" "$(sed -n 's/^# check: //p' "$file")"
done

# Where the kernel has IPVS, the take-over from it must be tried.
if ip netns exec start ipvsadm -L -n >/dev/null 2>&1; then export POINTSMAN_REQUIRE_IPVS=1; fi
ip netns delete start

for suite in $SUITES; do
  backend=netlink program=${suite%-nft}
  [ "$program" = "$suite" ] || backend=nft
  if [ -e /suites/again ]; then
    for name in $(sed -n "s/^$(uname -r) $suite //p" /suites/again); do
      if POINTSMAN_TEST_BACKEND=$backend timeout 300 "/suites/$program" --exact "$name" >/tmp/again 2>&1; then say "passed $suite" "$name"; else
        say "failed $suite" "$name"
        cat /tmp/again
      fi
    done
    continue
  fi
  echo "== $suite"
  begun=$(date +%s)
  POINTSMAN_TEST_BACKEND=$backend timeout "$LIMIT" "/suites/$program" >/tmp/output 2>&1
  code=$?
  # A test that a busy emulated machine was too slow for is tried once more, by itself.
  failed=$(sed -n 's/^    \([a-z_]*::[a-z_:0-9]*\)$/\1/p' /tmp/output | sort -u)
  grep -v '\.\.\. ok$' /tmp/output
  for name in $failed; do
    if POINTSMAN_TEST_BACKEND=$backend timeout 300 "/suites/$program" --exact "$name" >/tmp/again 2>&1; then say "again $suite" "$name"; else
      say "failed $suite" "$name"
      cat /tmp/again
    fi
  done
  total=$(sed -n 's/^test result: .* \([0-9]*\) passed; \([0-9]*\) failed.*/\1 \2/p; s/^scenarios: \([0-9]*\) rows ran,.* \([0-9]*\) failed;.*/rows \1 \2/p' /tmp/output)
  say "suite $suite" "exit $code, $total, $(($(date +%s) - begun)) s"
done
say end yes
