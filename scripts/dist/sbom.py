"""Writes a bill of materials in CycloneDX 1.5: the crates in the binary and, for an image, Debian's packages beside it.

Usage: sbom.py BINARY VERSION COMMIT EPOCH [PACKAGES]      PACKAGES: a file with lines "name version"
"""

import datetime
import hashlib
import json
import sys
import uuid
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "image"))
import crates


def reference(crate):
    """The package URL of a crate, which is also its reference in the file."""
    return f"pkg:cargo/{crate['name']}@{crate['version']}"


def component(crate, checksum):
    """A crate as a component."""
    found = {"type": "library", "bom-ref": reference(crate), "purl": reference(crate), "name": crate["name"], "version": crate["version"]}
    if crate["license"]:
        found["licenses"] = [{"expression": crate["license"].replace("/", " OR ")}]
    if crate["description"]:
        found["description"] = " ".join(crate["description"].split())
    if checksum:
        found["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    if crate["repository"]:
        found["externalReferences"] = [{"type": "vcs", "url": crate["repository"]}]
    return found


def debian(line):
    """A package of Debian as a component."""
    name, version = line.split()
    purl = f"pkg:deb/debian/{name}@{version.replace('+', '%2B').replace(':', '%3A')}"
    return {"type": "library", "bom-ref": purl, "purl": purl, "name": name, "version": version}


def main():
    """Prints the bill of materials."""
    binary, version, commit, epoch = sys.argv[1:5]
    found = crates.metadata()
    by_id, edges = crates.graph(found)
    checksums, root = crates.checksums(), found["resolve"]["root"]
    packages = [debian(line) for line in Path(sys.argv[5]).read_text().splitlines()] if len(sys.argv) > 5 else []
    digest = hashlib.sha256(Path(binary).read_bytes()).hexdigest()
    shipped = sorted((by_id[id] for id in edges if id != root), key=lambda crate: (crate["name"], crate["version"]))
    dependencies = [
        {"ref": reference(by_id[id]), "dependsOn": sorted(reference(by_id[used]) for used in uses)} for id, uses in edges.items()
    ]
    content = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        # The same binary and packages give the same number.
        "serialNumber": uuid.uuid5(uuid.NAMESPACE_URL, digest + json.dumps(packages)).urn,
        "version": 1,
        "metadata": {
            "timestamp": datetime.datetime.fromtimestamp(int(epoch), datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": {
                "type": "application",
                "bom-ref": reference(by_id[root]),
                "purl": reference(by_id[root]),
                "name": "pointsman",
                "version": version,
                "licenses": [{"expression": "Apache-2.0"}],
                "hashes": [{"alg": "SHA-256", "content": digest}],
                "properties": [{"name": "pointsman:commit", "value": commit}],
            },
        },
        "components": [component(crate, checksums[crate["name"], crate["version"]]) for crate in shipped] + packages,
        "dependencies": sorted(dependencies, key=lambda entry: entry["ref"]),
    }
    print(json.dumps(content, indent=1))


if __name__ == "__main__":
    main()
