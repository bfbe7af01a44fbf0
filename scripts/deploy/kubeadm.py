"""Checks that deploy/kubeadm/patch.yaml changes only the image and the command of kubeadm's DaemonSet."""

import render

FOLDER = "deploy/kubeadm"


def differences(left, right, path=""):
    """The paths at which two values differ."""
    if isinstance(left, dict) and isinstance(right, dict):
        keys = sorted(left.keys() | right.keys())
        return [found for key in keys for found in differences(left.get(key), right.get(key), f"{path}.{key}")]
    lists = isinstance(left, list) and isinstance(right, list) and len(left) == len(right)
    # A list of strings, such as a command, is one value.
    if lists and not all(isinstance(item, str) for item in left):
        pairs = enumerate(zip(left, right))
        return [found for n, (one, other) in pairs for found in differences(one, other, f"{path}[{n}]")]
    return [] if left == right else [path]


def check():
    [before] = render.load(f"{FOLDER}/daemonset.yaml")
    # As docs/install/kubeadm.md describes: kubectl's own merge. --local contacts no server.
    [after] = render.parse(render.run(
        "kubectl", "patch", "--local", "--filename", f"{FOLDER}/daemonset.yaml",
        "--patch-file", f"{FOLDER}/patch.yaml", "--output", "yaml",
    ))
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
