"""Reads objects from files, and renders them with kubectl's kustomize and with helm."""

import subprocess
from pathlib import Path

import yaml

CHART = "deploy/chart/pointsman"


class Loader(yaml.SafeLoader):
    """A YAML loader that refuses duplicate keys. PyYAML would silently use the last."""

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
    """Runs a command and returns its output. Exits with its errors if it fails."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"check-deploy: {' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


def kustomizations():
    """All kustomization folders."""
    return sorted(str(path.parent) for path in Path("deploy").rglob("kustomization.yaml"))


def kustomize(path):
    return parse(run("kubectl", "kustomize", path))


def helm(*sets, namespace="kube-system"):
    """The chart's objects with some values, in the form of --set."""
    options = [option for value in sets for option in ("--set", value)]
    return parse(run("helm", "template", "pointsman", CHART, "--namespace", namespace, *options))


def manifests():
    """Files with whole objects: the sources of the renderings, and the examples."""
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
