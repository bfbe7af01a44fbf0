"""Runs the commands of README's section "Install" as far as they go without a cluster: what they would send must be right."""

import re
import subprocess
import tempfile
from pathlib import Path

import render

README = Path("README.md")
KIND = Path("docs/install/kind.md")


def commands(page):
    """The commands of a page's first block for a shell that installs, with continued lines joined."""
    block = next(block for block in re.findall(r"```sh\n(.*?)```", page.read_text(), re.S) if "image-archive" in block)
    lines = block.replace("\\\n", " ").splitlines()
    return [re.sub(r" +", " ", line) for line in lines if line and not line.startswith("#")]


def command(found, start):
    """The one command that begins so."""
    [only] = [line for line in found if line.startswith(start)]
    return only


def check():
    """What is wrong with the commands."""
    found, problems = commands(README), []
    version = re.search(r'^version = "(.*)"', Path("Cargo.toml").read_text(), re.M)[1]
    image = f"pointsman:{version}"
    archives = {Path(word).name for line in found for word in line.split() if word.endswith(".tar")}
    if archives != {f"pointsman-{version}-amd64.tar"}:
        problems.append(f"{README} names the archives {archives}, which scripts/image.sh does not write")

    # kubeadm: the patch as the pipeline makes it, merged by kubectl, which contacts no server.
    [before] = render.load("deploy/kubeadm/daemonset.yaml")
    with tempfile.TemporaryDirectory() as folder:
        patch = f"{folder}/patch.yaml"
        subprocess.run(command(found, "sed ").replace(">patch.yaml", f">{patch}"), shell=True, check=True)
        words = command(found, "kubectl ").replace("patch.yaml", patch).split()
        words[words.index("daemonset"):words.index("daemonset") + 2] = ["--local", "--filename", "deploy/kubeadm/daemonset.yaml"]
        [after] = render.parse(render.run(*words, "--output", "yaml"))
    images = [daemonset["spec"]["template"]["spec"]["containers"][0]["image"] for daemonset in (before, after)]
    if images[0] == images[1] or images[1] != image:
        problems.append(f"{README}: the patch makes the image {images[1]}, not {image}")

    # kind: what helm would install.
    install = command(found, "helm ")
    objects = render.parse(render.run(*install.replace("helm install", "helm template", 1).split()))
    [pods] = [found["spec"]["template"]["spec"] for found in objects if found["kind"] == "DaemonSet"]
    used = {container["image"] for container in pods["containers"] + pods["initContainers"]}
    if used != {image}:
        problems.append(f"{README}: helm install uses the images {used}, not {image}")
    settings = dict(setting.split("=") for setting in re.findall(r"--set (\S+)", install))
    text = str(objects)
    problems += [f"{README}: helm install loses {name}" for name, value in settings.items() if value not in text]

    # The page about kind has the same commands, and the cluster that they are for.
    missing = [line for line in found if line.startswith(("kind ", "helm ")) and line not in commands(KIND)]
    problems += [f"{KIND} lacks the command of {README}: {line}" for line in missing]
    [cluster] = render.parse(re.search(r"```yaml\n(# cluster.yaml.*?)```", KIND.read_text(), re.S)[1])
    if cluster["networking"]["kubeProxyMode"] != "none":
        problems.append(f"{KIND}: the cluster has a kube-proxy of its own")
    return problems
