"""Compares the chart's objects with those of the kustomize folders."""

import copy
import re

import kubeadm
import render


def plain(original):
    """An object without the parts that may differ: labels beyond the selector's, generated names, tags, hashes."""
    found = copy.deepcopy(original)
    metadata = found["metadata"]
    metadata.pop("labels", None)
    metadata["name"] = re.sub(r"^pointsman-[a-z0-9]{10}$", "pointsman", metadata["name"])
    if found["kind"] == "DaemonSet":
        template = found["spec"]["template"]
        template["metadata"].pop("annotations", None)
        for volume in template["spec"]["volumes"]:
            volume["configMap"]["name"] = re.sub(r"-[a-z0-9]{10}$", "", volume["configMap"]["name"])
        for container in template["spec"]["containers"] + template["spec"]["initContainers"]:
            container["image"] = re.sub(r":[^:/]*$", "", container["image"])
    for key, text in found.get("data", {}).items():
        [found["data"][key]] = render.parse(text)
    return found


def check(what, left, right):
    left, right = ({render.name(found): found for found in map(plain, side)} for side in (left, right))
    problems = [f"{what}: only one has {name}" for name in sorted(left.keys() ^ right.keys())]
    for name in sorted(left.keys() & right.keys()):
        problems += [f"{what}: {name} differs at {path}" for path in kubeadm.differences(left[name], right[name])]
    return problems
