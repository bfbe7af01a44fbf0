"""Writes the licence texts of every crate in the binary, each text once.

A crate without a text of its own gets that of Apache-2.0, if that is its licence.
"""

import collections
import re
import sys
from pathlib import Path

import crates

PATTERN = re.compile(r"^(licen[cs]e|copying|notice|copyright|unlicense)", re.IGNORECASE)


def texts(crate):
    """The licence texts in a crate's folder."""
    folder = Path(crate["manifest_path"]).parent
    files = [file for file in sorted(folder.iterdir()) if PATTERN.match(file.name) and file.is_file()]
    return [file.read_text(errors="replace").strip() + "\n" for file in files]


def standard(crate):
    """The text for a crate without one of its own, whose licence is the same as ours."""
    if "Apache-2.0" not in (crate["license"] or ""):
        raise SystemExit(f"licences: {crate['name']} has no licence text, and its licence is {crate['license']}")
    return [Path("LICENSE").read_text().strip() + "\n"]


def main():
    """Prints everything."""
    by_text = collections.defaultdict(list)
    without = []
    for crate in crates.shipped():
        own = texts(crate)
        if not own:
            without.append(crate["name"])
        for text in own or standard(crate):
            by_text[text].append(f"{crate['name']} {crate['version']} ({crate['license']})")
    for text, users in sorted(by_text.items(), key=lambda item: item[1]):
        print("=" * 100, *users, "", text, sep="\n")
    print(f"licences: {len(by_text)} texts; {len(without)} crates have none of their own: {' '.join(without)}", file=sys.stderr)


if __name__ == "__main__":
    main()
