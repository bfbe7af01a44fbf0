"""Writes the tables of docs/kernels.md from the results of scripts/kernels.sh. What did not run this time keeps its results,
which are in results.json beside this file, each with the commit that ran.

Usage: table.py FOLDER COMMIT     the folder has a folder for each kernel that ran; the commit is as scripts/commit.sh prints it
       table.py failed            only prints which tests failed: lines with a kernel, a suite and a test
"""

import json
import sys
from pathlib import Path

PAGE = Path("docs/kernels.md")
KEPT = Path(__file__).with_name("results.json")
BEGIN, END = "<!-- kernels: written by make kernels -->\n", "<!-- end of kernels -->\n"
SUITES = {
    "scenarios": "scenarios, netlink",
    "kernel": "tests/kernel",
    "takeover": "tests/takeover",
    "scenarios-nft": "scenarios, nft",
}


def read(file):
    """The results of one machine: what it said of itself, of abilities and of suites."""
    found = {"abilities": {}, "suites": {}, "failed": {}, "again": {}, "passed": {}}
    for line in file.read_text(errors="replace").splitlines():
        if not line.startswith("@"):
            continue
        name, _, value = line[1:].rstrip("\r").partition("\t")
        kind, _, rest = name.partition(" ")
        if kind == "ability":
            found["abilities"][rest] = value
        elif kind == "suite":
            found["suites"][rest] = value
        elif kind in ("failed", "again", "passed"):
            found[kind].setdefault(rest, []).append(value)
        else:
            found[name] = value
    return found


def cell(result, suite):
    """What became of a suite: how many passed, how many of these only when they were alone, and the commit that ran."""
    value = result["suites"].get(suite)
    if value is None:
        return "–"
    code, total, _ = value.split(", ")
    numbers = total.replace("rows ", "").split()
    if len(numbers) != 2:
        text = f"broken off ({code})"
    elif total.startswith("rows"):
        first, failed = map(int, numbers)
        text = f"{first} of {first} rows" if failed == 0 else f"{first - failed} of {first} rows"
    else:
        first, failed = map(int, numbers)
        again = len(result["again"].get(suite, []))
        text = f"{first + again} of {first + failed}" + (f" ({again} at the second try)" if again else "")
    return f"{text}, {result['commits'][suite]}"


def short(commit):
    """The beginning of a commit, with a plus where files differed from it."""
    return commit.split()[0][:7] + ("+" if commit.endswith("changed") else "")


def tables(results):
    """The generated part of the page."""
    # "6.1.0-50-cloud-amd64" is Debian's name of an interface; the version is "6.1.176-1".
    for result in results.values():
        result["short"] = (result.get("version") or result["kernel"]).split("-")[0].split("~")[0].split("+")[0]
    order = sorted(results.values(), key=lambda result: [int(part) for part in result["short"].split(".")])
    lines = ["| Kernel | From | Self-test chooses | " + " | ".join(SUITES.values()) + " |", "|---" * (3 + len(SUITES)) + "|"]
    for result in order:
        cells = [result["short"], f"Debian {result['release']}", result["start"]]
        lines.append("| " + " | ".join(cells + [cell(result, suite) for suite in SUITES]) + " |")
    names = sorted({name for result in order for name in result["abilities"]})
    lines += ["", "| Kernel | " + " | ".join(names) + " |", "|---" * (1 + len(names)) + "|"]
    for result in order:
        lines.append("| " + " | ".join([result["short"]] + [result["abilities"].get(name, "–") for name in names]) + " |")
    failed = [(result["short"], suite, name) for result in order for suite, names in result["failed"].items() for name in names]
    lines += [""] + ([f"- {kernel}, {suite}: `{name}` failed" for kernel, suite, name in failed] or ["No test failed."])
    return "\n".join(lines) + "\n"


def settle(result):
    """Tests that failed at first and passed when they alone ran again are no failures any more."""
    for suite, names in result.pop("passed").items():
        failed = result["failed"].get(suite, [])
        result["again"].setdefault(suite, []).extend(name for name in names if name in failed)
        result["failed"][suite] = [name for name in failed if name not in names]


def main():
    """Reads the results in a folder, and writes the page and the results that are kept."""
    results = json.loads(KEPT.read_text())
    if sys.argv[1] == "failed":
        for result in results.values():
            for suite, names in result["failed"].items():
                for name in names:
                    print(result["kernel"], suite, name)
        return
    build, commit = Path(sys.argv[1]), short(sys.argv[2])
    for file in build.glob("*/result"):
        found = read(file)
        if "end" in found:
            ran_at = commit if found.get("build") == "release" else f"{commit} ({found.get('build')} build)"
            found["commits"] = {suite: ran_at for suite in found["suites"]}
            before = results.get(file.parent.name, {})
            # Suites that did not run this time keep their results, if the kernel is the same.
            if before.get("kernel") == found["kernel"]:
                ran = set(found["suites"])
                for kind in ("suites", "commits", "failed", "again"):
                    found[kind] |= {suite: value for suite, value in before[kind].items() if suite not in ran}
            # What was repeated may have run at another commit than the rest of its suite.
            for suite in found["passed"]:
                if not found["commits"][suite].endswith(ran_at):
                    found["commits"][suite] += f", repeated at {ran_at}"
            settle(found)
            results[file.parent.name] = found | {"release": file.parent.name}
    KEPT.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
    text = PAGE.read_text()
    before, rest = text.split(BEGIN)
    PAGE.write_text(before + BEGIN + tables(results) + END + rest.split(END)[1])
    print(f"{PAGE}: {len(results)} kernels")


if __name__ == "__main__":
    main()
