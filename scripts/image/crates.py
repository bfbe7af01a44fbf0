"""The crates in the release binary, from cargo's own metadata."""

import json
import subprocess
import tomllib
from pathlib import Path


def metadata():
    """What cargo knows of the workspace, for the platform that it builds for."""
    rustc = subprocess.run(["rustc", "-vV"], check=True, capture_output=True, text=True).stdout
    host = next(line.split(": ")[1] for line in rustc.splitlines() if line.startswith("host: "))
    command = ["cargo", "metadata", "--format-version", "1", "--locked", "--filter-platform", host]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def graph(found):
    """The crates that end up in the binary, by id: those reached by normal dependencies, without build scripts and macros."""
    by_id = {package["id"]: package for package in found["packages"]}
    macros = {id for id, package in by_id.items() if any("proc-macro" in target["kind"] for target in package["targets"])}
    nodes = {node["id"]: node for node in found["resolve"]["nodes"]}
    edges, waiting = {}, [found["resolve"]["root"]]
    while waiting:
        id = waiting.pop()
        if id in edges:
            continue
        used = nodes[id]["deps"]
        edges[id] = sorted(
            dep["pkg"] for dep in used if dep["pkg"] not in macros and any(kind["kind"] is None for kind in dep["dep_kinds"])
        )
        waiting.extend(edges[id])
    return by_id, edges


def shipped():
    """The crates in the binary, without Pointsman itself, by name and version."""
    found = metadata()
    by_id, edges = graph(found)
    crates = [by_id[id] for id in edges if id != found["resolve"]["root"]]
    return sorted(crates, key=lambda crate: (crate["name"], crate["version"]))


def checksums():
    """The checksums in Cargo.lock, by name and version."""
    lock = tomllib.loads(Path("Cargo.lock").read_text())
    return {(package["name"], package["version"]): package.get("checksum") for package in lock["package"]}
