"""Checks that alerts and dashboard are valid PromQL, over metrics and labels in docs/metrics.md."""

import json
import re
import shutil
import tempfile
from pathlib import Path

import yaml

import render

# Labels that the scrape adds.
ADDED = {"job", "node", "namespace", "pod", "instance", "le"}
SUFFIXES = r"_(bucket|sum|count)$"


def documented():
    """The labels of every metric, from the table of docs/metrics.md."""
    rows = re.findall(r"^\| `(\w+)` \| [^|]* \| ([^|]*) \|", Path("docs/metrics.md").read_text(), re.MULTILINE)
    return {metric: {label.strip() for label in labels.split(",")} - {""} for metric, labels in rows}


def unknown(where, expression, metrics):
    """Metrics and labels of an expression that docs/metrics.md does not have."""
    problems = []
    for metric, matchers in re.findall(r"\b((?:kubeproxy|pointsman)_\w+)(?:\{([^}]*)\})?", expression):
        labels = metrics.get(metric, metrics.get(re.sub(SUFFIXES, "", metric)))
        if labels is None:
            problems.append(f"{where}: docs/metrics.md has no {metric}")
            continue
        used = set(re.findall(r"(\w+)\s*[=!]~?\s*\"", matchers))
        problems += [f"{where}: {metric} has no label {label}" for label in sorted(used - labels - ADDED)]
    return problems


def scrape(monitor):
    """A PodMonitor's relabelings in Prometheus' own spelling."""

    def spelled(found):
        return {re.sub("[A-Z]", lambda letter: f"_{letter[0].lower()}", key): value for key, value in found.items()}

    [endpoint] = monitor["spec"]["podMetricsEndpoints"]
    return {"job_name": "pointsman", "relabel_configs": [spelled(found) for found in endpoint["relabelings"]]}


def check(rendered):
    metrics = documented()
    rule = render.only("PrometheusRule", rendered)
    dashboard = json.loads(render.only("ConfigMap", rendered)["data"]["pointsman.json"])
    rules = [rule for group in rule["spec"]["groups"] for rule in group["rules"]]
    panels = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    queries = [(panel["title"], target["expr"]) for panel in panels for target in panel["targets"]]
    expressions = [*((rule["alert"], rule["expr"]) for rule in rules), *queries]
    problems = [problem for where, expression in expressions for problem in unknown(where, expression, metrics)]

    # In the tests, every alert fires at least once and stays quiet at least once.
    [tests] = render.load("deploy/monitoring/alerts-test.yaml")
    cases = [case for test in tests["tests"] for case in test["alert_rule_test"]]
    for alert in (rule["alert"] for rule in rules):
        seen = {bool(case["exp_alerts"]) for case in cases if case["alertname"] == alert}
        if seen != {True, False}:
            problems.append(f"deploy/monitoring/alerts-test.yaml: {alert} must fire in one test and not in another")

    with tempfile.TemporaryDirectory() as work:
        Path(work, "alerts.yaml").write_text(yaml.safe_dump(rule["spec"]))
        shutil.copy("deploy/monitoring/alerts-test.yaml", work)
        # Replace Grafana's variables, so that promtool can parse the queries.
        filled = [expr.replace("$__rate_interval", "5m").replace("$node", ".*") for _, expr in queries]
        records = [{"record": f"panel:{n}", "expr": expr} for n, expr in enumerate(filled)]
        Path(work, "dashboard.yaml").write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": records}]}))
        configuration = {"scrape_configs": [scrape(render.only("PodMonitor", rendered))]}
        Path(work, "prometheus.yaml").write_text(yaml.safe_dump(configuration))
        render.run("promtool", "check", "config", f"{work}/prometheus.yaml")
        render.run("promtool", "check", "rules", f"{work}/alerts.yaml", f"{work}/dashboard.yaml")
        render.run("promtool", "test", "rules", f"{work}/alerts-test.yaml")
    return problems
