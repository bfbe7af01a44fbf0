#!/usr/bin/env bash
# Renders deploy/ and checks that the result grants what the documentation says, and no more.
#
# Usage: scripts/check-deploy.sh     Needs kubectl; without it, fails where CI=true and skips elsewhere.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! command -v kubectl >/dev/null; then
  echo "check-deploy.sh: kubectl is not installed, deploy/ is not checked" >&2
  [ "${CI:-}" = true ] && exit 1
  exit 0
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
rendered=$work/rendered.yaml
kubectl kustomize deploy >"$rendered"
failures=0

# A value in the objects of one kind, read through kubectl's own types. `annotate --local` talks to no server.
value() {
  kubectl annotate --local --filename "$rendered" check=yes --output "jsonpath={.kind}{'\t'}$2{'\n'}" |
    sed -n "s/^$1\t//p"
}

expect() {
  local kind=$1 path=$2 expected=$3 found
  found=$(value "$kind" "$path")
  if [ "$found" != "$expected" ]; then
    echo "check-deploy.sh: $kind $path: expected '$expected', found '$found'" >&2
    failures=$((failures + 1))
  fi
}

pod=.spec.template.spec
container=$pod.containers[0]

for kind in ServiceAccount ClusterRole ClusterRoleBinding DaemonSet; do
  expect "$kind" "{.metadata.name}" pointsman
done

# What a node's pod may do.
expect DaemonSet "{$pod.containers[*].name}{$pod.initContainers}{$pod.volumes}" pointsman
expect DaemonSet "{$container.securityContext.capabilities.drop[*]}" ALL
expect DaemonSet "{$container.securityContext.capabilities.add[*]}" NET_ADMIN
expect DaemonSet "{$container.securityContext.privileged}" false
expect DaemonSet "{$container.securityContext.allowPrivilegeEscalation}" false
expect DaemonSet "{$container.securityContext.readOnlyRootFilesystem}" true
expect DaemonSet "{$container.securityContext.seccompProfile.type}" RuntimeDefault
expect DaemonSet "{$pod.hostNetwork}{$pod.hostPID}{$pod.hostIPC}" true

# Where it runs, and as whom.
expect DaemonSet "{$pod.serviceAccountName}" pointsman
expect DaemonSet "{$pod.priorityClassName}" system-node-critical
expect DaemonSet "{$pod.tolerations[*].operator}{$pod.tolerations[*].key}{$pod.tolerations[*].effect}" Exists
expect DaemonSet "{$pod.nodeSelector.kubernetes\.io/os}" linux
expect DaemonSet "{$container.livenessProbe.httpGet.path}:{$container.livenessProbe.httpGet.port}" /livez:10256
expect DaemonSet "{$container.readinessProbe.httpGet.path}:{$container.readinessProbe.httpGet.port}" /healthz:10256
expect DaemonSet "{$container.envFrom[0].configMapRef.optional}" true
expect DaemonSet "{$container.env[?(@.name=='KUBERNETES_SERVICE_HOST')].name}" ""
expect DaemonSet "{.spec.selector.matchLabels}" "$(value DaemonSet "{.spec.template.metadata.labels}")"

# What it may ask the API server: to read four kinds and to create Events, nothing else.
expect ClusterRole "{.rules[*].resources[*]}" "services endpointslices servicecidrs nodes events"
expect ClusterRole "{.rules[*].apiGroups[*]}" " discovery.k8s.io networking.k8s.io  events.k8s.io"
expect ClusterRole "{.rules[*].verbs[*]}" "list watch list watch list watch get list watch create"
expect ClusterRoleBinding "{.roleRef.kind} {.roleRef.name} {.subjects[*].kind} {.subjects[*].namespace}/{.subjects[*].name}" \
  "ClusterRole pointsman ServiceAccount kube-system/pointsman"

[ "$failures" -eq 0 ] || exit 1
echo "deploy/ renders, and grants what it should"
