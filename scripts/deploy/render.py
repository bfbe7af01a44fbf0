"""Objects: read from files, rendered by kubectl's kustomize and by helm."""

import subprocess
from pathlib import Path

import yaml

CHART = "deploy/chart/pointsman"


class Loader(yaml.SafeLoader):
    """YAML without duplicate keys, of which PyYAML would silently take the last."""

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"duplicate key {key!r}", node.start_mark)
        return super().construct_mapping(node, deep)


def parse(text):
    """The documents of a YAML stream, without empty ones."""
    return [document for document in yaml.load_all(text, Loader) if document is not None]


def load(path):
    return parse(Path(path).read_text())


def run(*command):
    """What a command prints; an error of ours when it fails."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"check-deploy: {' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


def kustomizations():
    """Every folder that is a kustomization."""
    return sorted(str(path.parent) for path in Path("deploy").rglob("kustomization.yaml"))


def kustomize(path):
    return parse(run("kubectl", "kustomize", path))


def helm(*sets, namespace="kube-system"):
    """The chart's objects with some values, in the form of --set."""
    options = [option for value in sets for option in ("--set", value)]
    return parse(run("helm", "template", "pointsman", CHART, "--namespace", namespace, *options))


def manifests():
    """Files that hold whole objects: what the renderings are made of, and the examples."""
    folders = ["deploy/base", "deploy/kubeadm", "deploy/monitoring", "examples"]
    files = (path for folder in folders for path in Path(folder).glob("*.yaml"))
    return sorted(str(path) for path in files if path.name not in ("kustomization.yaml", "patch.yaml", "alerts-test.yaml"))


def name(found):
    """An object's kind and name."""
    return f"{found['kind']} {found['metadata']['name']}"


def only(kind, among):
    """The one object of a kind."""
    [found] = [found for found in among if found["kind"] == kind]
    return found
