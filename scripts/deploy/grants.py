"""Checks the permissions of a node's pod, on the node and on the API server: no more than the documentation says."""

import render


def check(base):
    daemonset, role, binding = (render.only(kind, base) for kind in ("DaemonSet", "ClusterRole", "ClusterRoleBinding"))
    pod = daemonset["spec"]["template"]["spec"]
    [container], [init] = pod["containers"], pod["initContainers"]
    expected = [
        # Permissions on the node.
        ("securityContext", container["securityContext"], {
            "runAsUser": 0,
            "runAsGroup": 0,
            "privileged": False,
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        }),
        ("namespaces", {key for key in pod if key.startswith("host")}, {"hostNetwork"}),
        ("hostNetwork", pod["hostNetwork"], True),
        # Only the init container, which runs once before the proxy, has full root.
        ("init", init["securityContext"], {"runAsUser": 0, "runAsGroup": 0, "privileged": True, "readOnlyRootFilesystem": True}),
        ("init's options", init["args"], ["--init-only", *container["args"]]),
        ("init's image", init["image"], container["image"]),
        ("volumes", [sorted(volume) for volume in pod["volumes"]], [["configMap", "name"]]),
        # Scheduling and identity.
        ("serviceAccountName", pod["serviceAccountName"], "pointsman"),
        ("priorityClassName", pod["priorityClassName"], "system-node-critical"),
        ("tolerations", pod["tolerations"], [{"operator": "Exists"}]),
        ("nodeSelector", pod["nodeSelector"], {"kubernetes.io/os": "linux"}),
        ("startupProbe", container["startupProbe"]["httpGet"], {"path": "/livez", "port": 10256}),
        ("livenessProbe", container["livenessProbe"]["httpGet"], {"path": "/livez", "port": 10256}),
        ("readinessProbe", container["readinessProbe"]["httpGet"], {"path": "/healthz", "port": 10256}),
        ("envFrom", container["envFrom"], [{"configMapRef": {"name": "pointsman-api-server", "optional": True}}]),
        ("env", [variable["name"] for variable in container["env"]], ["NODE_NAME", "MALLOC_TRIM_THRESHOLD_"]),
        ("selector", daemonset["spec"]["selector"]["matchLabels"], daemonset["spec"]["template"]["metadata"]["labels"]),
        # Permissions on the API server.
        ("rules", role["rules"], [
            {"apiGroups": [""], "resources": ["services"], "verbs": ["list", "watch"]},
            {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
            {"apiGroups": ["networking.k8s.io"], "resources": ["servicecidrs"], "verbs": ["list", "watch"]},
            {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list", "watch"]},
            {"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create"]},
        ]),
        ("roleRef", binding["roleRef"]["name"], role["metadata"]["name"]),
        ("subjects", binding["subjects"], [{"kind": "ServiceAccount", "name": "pointsman", "namespace": "kube-system"}]),
    ]
    return [f"deploy/base: {what}: expected {right!r}, found {found!r}" for what, found, right in expected if found != right]
