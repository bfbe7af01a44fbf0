#!/usr/bin/env bash
# Renders and checks deploy/: every object against the schemas of the Kubernetes API, the pods' permissions, the chart against the
# kustomize base, and the metrics in alerts and dashboard against docs/metrics.md.
#
# Usage: scripts/check-deploy.sh     Fetches its tools (scripts/deploy/tools.sh). Without them it fails if CI=true, else it skips.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! tools=$(scripts/deploy/tools.sh); then
  echo "check-deploy.sh: skipped: the tools for deploy/ are missing" >&2
  [ "${CI:-}" = true ] && exit 1
  exit 0
fi
PATH=$tools/bin:$PATH PYTHONPATH=$tools/python PYTHONDONTWRITEBYTECODE=1 exec "$tools/bin/python" scripts/deploy/check.py
