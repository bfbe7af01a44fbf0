"""Checks the chart: values that it must refuse, comments on all values, and its version."""

import re
import subprocess
from pathlib import Path

import render

# Values of the renderings that are checked, by name.
RENDERED = {
    "defaults": [],
    "everything": [
        "podMonitor.enabled=true", "prometheusRule.enabled=true", "dashboard.enabled=true",
        "config.metricsBindAddress=0.0.0.0:10249",
    ],
    # kubeadm writes every field, most of them empty.
    "kubeadm's configuration": [
        "config.healthzBindAddress=", "config.metricsBindAddress=", "config.mode=", "config.conntrack.maxPerCore=null",
        "config.conntrack.udpTimeout=0s", "config.nodePortAddresses=null", "config.logging.flushFrequency=0",
        "config.iptables.masqueradeBit=null", "config.ipvs.scheduler=", "config.winkernel.enableDSR=false",
    ],
    # The comma is escaped for --set.
    "dual stack": ["config.clusterCIDR=10.244.0.0/16\\,fd00:10:244::/56", "config.healthzBindAddress=[::]:10256"],
    "other values": [
        "init.enabled=false", "image.repository=registry.example.com/pointsman",
        f"image.digest=sha256:{'0' * 64}", "imagePullSecrets[0].name=registry",
        "apiServer.host=api.example.com", "config.clusterCIDR=10.244.0.0/16", "config.healthzBindAddress=[::]:10256",
        "config.conntrack.tcpCloseWaitTimeout=1h", "extraArgs[0]=--log-format=json", "podLabels.team=network",
        "podAnnotations.note=x", "podMonitor.enabled=true", "podMonitor.labels.release=prometheus",
        "config.metricsBindAddress=[::]:10333", "dashboard.enabled=true", "dashboard.annotations.folder=Network",
    ],
}

# Likely mistakes that must stop the installation.
REFUSED = [
    ["image.repositry=x"],
    ["config.clusterCIRD=10.0.0.0/8"],
    ["config.mode=nft"],
    ["config.healthzBindAddress=10256"],
    ["config.conntrack.tcpCloseWaitTimeout=5"],
    ["apiServer.host=https://api.example.com"],
    ["apiServer.port=70000"],
    ["updateStrategy.rollingUpdate.maxSurge=1"],
    # Prometheus cannot reach the loopback address.
    ["podMonitor.enabled=true"],
]


# Values whose fields belong to Kubernetes, so they need no comments.
NOT_OURS = {"resources", "nodeSelector", "tolerations", "updateStrategy"}


def undocumented():
    """Values without a comment above them."""
    found, outer, before = [], None, ""
    for line in Path(render.CHART, "values.yaml").read_text().splitlines():
        key = re.match(r"( *)(\w+):", line)
        if key and not key[1]:
            outer = key[2]
        if key and (not key[1] or len(key[1]) == 2 and outer not in NOT_OURS) and not before.lstrip().startswith("#"):
            found.append(f"{render.CHART}/values.yaml: a comment is missing above {outer}: {key[2]}")
        before = line
    return found


def check():
    problems = undocumented()
    render.run("helm", "lint", "--strict", render.CHART)
    for sets in REFUSED:
        options = [option for value in sets for option in ("--set", value)]
        if subprocess.run(["helm", "template", "p", render.CHART, *options], capture_output=True).returncode == 0:
            problems.append(f"{render.CHART} accepts {sets}")
    [chart] = render.load(f"{render.CHART}/Chart.yaml")
    version = re.search(r'^version = "(.*)"', Path("Cargo.toml").read_text(), re.MULTILINE).group(1)
    if chart["appVersion"] != version:
        problems.append(f"{render.CHART}: appVersion is {chart['appVersion']}, Cargo.toml has {version}")
    [monitor] = [found for found in render.helm(*RENDERED["other values"]) if found["kind"] == "PodMonitor"]
    if ":10333" not in str(monitor) or ":10249" in str(monitor):
        problems.append(f"{render.CHART}: the PodMonitor does not follow config.metricsBindAddress")
    return problems
