"""Writes the tables of docs/kernels.md from the results of scripts/kernels.sh. What did not run this time keeps its results,
which are in kernels.json in the folder of the build."""

import json
import sys
from pathlib import Path

PAGE = Path("docs/kernels.md")
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
    """What became of a suite: how many passed, and how many of these only when they were alone."""
    value = result["suites"].get(suite)
    if value is None:
        return "–"
    code, total, _ = value.split(", ")
    numbers = total.replace("rows ", "").split()
    if len(numbers) != 2:
        return f"broken off ({code})"
    first, failed = map(int, numbers)
    again = len(result["again"].get(suite, []))
    if total.startswith("rows"):
        return f"{first} of {first} rows" if failed == 0 else f"{first - failed} of {first} rows"
    text = f"{first + again} of {first + failed}"
    return text + (f" ({again} at the second try)" if again else "")


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
    """Reads the results in a folder, and writes the page and kernels.json beside them. With "failed" it only prints which tests failed."""
    build = Path(sys.argv[1])
    kept = build / "kernels.json"
    results = json.loads(kept.read_text()) if kept.exists() else {}
    if sys.argv[2:] == ["failed"]:
        for result in results.values():
            for suite, names in result["failed"].items():
                for name in names:
                    print(result["kernel"], suite, name)
        return
    for file in build.glob("*/result"):
        found = read(file)
        if "end" in found:
            before = results.get(file.parent.name, {})
            # Suites that did not run this time keep their results, if the kernel is the same.
            if before.get("kernel") == found["kernel"]:
                ran = set(found["suites"])
                for kind in ("suites", "failed", "again"):
                    kept_suites = {suite: value for suite, value in before[kind].items() if suite not in ran}
                    found[kind] |= kept_suites
            settle(found)
            results[file.parent.name] = found | {"release": file.parent.name}
    kept.write_text(json.dumps(results, indent=1, sort_keys=True))
    text = PAGE.read_text()
    before, rest = text.split(BEGIN)
    PAGE.write_text(before + BEGIN + tables(results) + END + rest.split(END)[1])
    print(f"{PAGE}: {len(results)} kernels")


if __name__ == "__main__":
    main()
