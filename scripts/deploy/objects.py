"""Checks objects against strict schemas: an unknown field is an error. kubectl without a server would accept it."""

import copy
import json
from pathlib import Path

import jsonschema
import kubernetes_validate
import referencing

import render

# Objects must be valid in the oldest and in the newest of these versions of the Kubernetes API.
VERSIONS = ["1.32", "1.37"]
# Kinds that the oldest version lacks: they are checked in the newest version only.
LATER = {"ServiceCIDR"}
SCHEMAS = Path("scripts/deploy/schemas")
VALUES = Path(render.CHART, "values.schema.json")


def schema_errors(found, schema):
    """The errors that one of our own schemas finds."""
    shared = referencing.Resource.from_contents(json.loads((SCHEMAS / "metadata.json").read_text()))
    registry = referencing.Registry().with_resource("metadata.json", shared)
    validator = jsonschema.Draft7Validator(schema, registry=registry)
    return [f"{'.'.join(map(str, error.path))}: {error.message}" for error in validator.iter_errors(found)]


def configuration_schema():
    """The schema of a KubeProxyConfiguration: that of the chart's value `config`, with apiVersion and kind."""
    values = json.loads(VALUES.read_text())
    schema = {**values["properties"]["config"], "definitions": values["definitions"]}
    envelope = {
        "apiVersion": {"const": "kubeproxy.config.k8s.io/v1alpha1"},
        "kind": {"const": "KubeProxyConfiguration"},
    }
    schema["properties"] = {**schema["properties"], **envelope}
    schema["required"] = list(envelope)
    return schema


def errors(found):
    """The errors of one object."""
    group = found.get("apiVersion", "").split("/")[0]
    if group == "monitoring.coreos.com":
        return schema_errors(found, json.loads((SCHEMAS / f"{found['kind'].lower()}.json").read_text()))
    wrong = []
    for version in VERSIONS[-1:] if found.get("kind") in LATER else VERSIONS:
        try:
            kubernetes_validate.validate(found, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            wrong.append(f"{'.'.join(map(str, error.path))}: {error.message} (Kubernetes {version})")
        except kubernetes_validate.SchemaNotFoundError as error:
            wrong.append(error.message)
    if found.get("kind") == "ConfigMap":
        for text in (text for key, text in found["data"].items() if key == "config.conf"):
            [configuration] = render.parse(text)
            wrong += schema_errors(configuration, configuration_schema())
    return wrong


def check(where, among):
    """The errors of several objects."""
    return [f"{where}: {render.name(found)}: {error}" for found in among for error in errors(found)]


def check_pages():
    """The errors of objects and configurations in the YAML blocks of the documentation."""
    problems = []
    for page in [*Path("docs").rglob("*.md"), *Path("deploy").rglob("*.md")]:
        for block in page.read_text().split("```yaml\n")[1:]:
            for found in (found for found in render.parse(block.split("```")[0]) if isinstance(found, dict)):
                group = found.get("apiVersion", "").split("/")[0]
                if "metadata" in found and ("." not in group or group.endswith((".k8s.io", "monitoring.coreos.com"))):
                    problems += check(page, [found])
                if found.get("kind") == "KubeProxyConfiguration":
                    problems += [f"{page}: {error}" for error in schema_errors(found, configuration_schema())]
    return problems


def notices_a_misspelt_field(base):
    """Checks the schemas themselves: they must refuse each of these misspelt fields."""
    daemonset, configuration = render.only("DaemonSet", base), render.only("ConfigMap", base)
    rule, monitor = (render.load(f"deploy/monitoring/{name}.yaml")[0] for name in ("prometheusrule", "podmonitor"))
    misspelt = [
        (daemonset, ["spec", "template", "spec", "hostNetwerk"]),
        (daemonset, ["spec", "template", "spec", "containers", 0, "livenessProbe", "httpGet", "pth"]),
        (daemonset, ["spec", "template", "metadata", "lables"]),
        (render.only("ClusterRole", base), ["rules", 0, "verb"]),
        (rule, ["spec", "groups", 0, "rules", 0, "four"]),
        (monitor, ["spec", "podMetricsEndpoints", 0, "intervall"]),
    ]
    problems = []
    for original, path in misspelt:
        found = copy.deepcopy(original)
        inner = found
        for step in path[:-1]:
            inner = inner[step]
        inner[path[-1]] = "x"
        if not errors(found):
            problems.append(f"the schemas accept {render.name(original)} {'.'.join(map(str, path))}")
    found = copy.deepcopy(configuration)
    found["data"]["config.conf"] += "clusterCIRD: 10.0.0.0/8\n"
    if not errors(found):
        problems.append("the schemas accept a misspelt field of config.conf")
    return problems
