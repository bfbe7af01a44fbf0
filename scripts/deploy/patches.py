"""Patches change what they say and nothing else: kubeadm/ the image and the command, iptables-legacy/ a capability and a file."""

import yaml

import objects
import render

FOLDER = "deploy/kubeadm"


def differences(left, right, path=""):
    """The paths at which two values differ."""
    if isinstance(left, dict) and isinstance(right, dict):
        keys = sorted(left.keys() | right.keys())
        return [found for key in keys for found in differences(left.get(key), right.get(key), f"{path}.{key}")]
    if isinstance(left, list) and isinstance(right, list) and len(left) == len(right) and not all(isinstance(item, str) for item in left):
        pairs = enumerate(zip(left, right))
        return [found for n, (one, other) in pairs for found in differences(one, other, f"{path}[{n}]")]
    return [] if left == right else [path]


def patched(daemonset, patch):
    """The way that the pages describe, through kubectl's own merge; --local talks to no server."""
    text = yaml.safe_dump(daemonset)
    command = ("kubectl", "patch", "--local", "--filename", "-", "--patch-file", patch, "--output", "yaml")
    [found] = render.parse(render.run(*command, stdin=text))
    return found


def check(base):
    """Problems of both patches, of which one is for the base's DaemonSet."""
    return [*check_kubeadm(), *check_iptables_legacy(render.only("DaemonSet", base))]


def check_iptables_legacy(before):
    found = patched(before, "deploy/iptables-legacy/patch.yaml")
    pod, [container] = found["spec"]["template"]["spec"], found["spec"]["template"]["spec"]["containers"]
    pod_before = before["spec"]["template"]["spec"]
    more = [
        (len(pod["volumes"]), len(pod_before["volumes"]) + 1),
        (len(container["volumeMounts"]), len(pod_before["containers"][0]["volumeMounts"]) + 1),
        (container["securityContext"]["capabilities"], {"drop": ["ALL"], "add": ["NET_ADMIN", "NET_RAW"]}),
    ]
    spec = ".spec.template.spec"
    allowed = [f"{spec}.containers[0].securityContext.capabilities.add", f"{spec}.containers[0].volumeMounts", f"{spec}.volumes"]
    changed = differences(before, found)
    wrong = objects.errors(found) + [f"{found}, not {right}" for found, right in more if found != right]
    if changed != allowed:
        wrong.append(f"changes {changed}, not {allowed}")
    return [f"deploy/iptables-legacy: {problem}" for problem in wrong]


def check_kubeadm():
    [before] = render.load(f"{FOLDER}/daemonset.yaml")
    after = patched(before, f"{FOLDER}/patch.yaml")
    [rendered] = render.kustomize(FOLDER)
    container = ".spec.template.spec.containers[0]"
    allowed = [f"{container}.command", f"{container}.image"]
    problems = []
    for how, found in (("kubectl patch", after), ("kustomize", rendered)):
        changed = differences(before, found)
        if changed != allowed:
            problems.append(f"{FOLDER}: {how} changes {changed}, not {allowed}")
    commands = [found["spec"]["template"]["spec"]["containers"][0]["command"] for found in (before, after)]
    if commands[0][1:] != commands[1][1:]:
        problems.append(f"{FOLDER}: the options differ from kube-proxy's: {commands}")
    return problems
