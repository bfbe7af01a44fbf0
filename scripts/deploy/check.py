"""Checks deploy/: called by scripts/check-deploy.sh, from the top of the repository, with the tools on the PATH."""

import sys

import alike
import grants
import kubeadm
import monitoring
import objects
import readme
import render
import values


def report(*problems):
    """Prints the problems, and ends if there are any."""
    for problem in problems:
        print(f"check-deploy: {problem}", file=sys.stderr)
    if problems:
        sys.exit(1)


def main():
    rendered = {
        **{f"kustomize {path}": render.kustomize(path) for path in render.kustomizations()},
        **{f"helm {name}": render.helm(*sets) for name, sets in values.RENDERED.items()},
    }
    base, chart = rendered["kustomize deploy/base"], rendered["helm defaults"]
    report(
        *objects.notices_a_misspelt_field(base),
        *(problem for name, found in rendered.items() for problem in objects.check(name, found)),
        *(problem for path in render.manifests() for problem in objects.check(path, render.load(path))),
        *objects.check_pages(),
    )
    # The checks above guarantee that the fields exist.
    report(
        *grants.check(base),
        *kubeadm.check(),
        *readme.check(),
        *values.check(),
        *alike.check("the base and the chart", base, chart),
        *alike.check(
            "deploy/monitoring and the chart",
            rendered["kustomize deploy/monitoring"],
            [found for found in rendered["helm everything"] if render.name(found) not in map(render.name, chart)],
        ),
        *monitoring.check(rendered["kustomize deploy/monitoring"]),
    )
    count = sum(map(len, rendered.values()))
    print(f"deploy/: {count} objects in {len(rendered)} renderings are valid, with the expected permissions")


main()
