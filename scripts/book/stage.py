"""Copies the pages that docs/SUMMARY.md lists, and the files that they link to, into one folder for mdbook.

The folder has the tree of the repository, so links stay as they are. Only a README.md becomes an index.md, as mdbook would name its page
without changing the links to it.

Usage: stage.py FOLDER
"""

import os
import re
import shutil
import sys
from pathlib import Path

SUMMARY = Path("docs/SUMMARY.md")
LINK = re.compile(r"(\]\()([^)\s]+)(\))")


def links(text):
    """The targets of links to files of the repository, without their anchors."""
    targets = (match.group(2).partition("#")[0] for match in LINK.finditer(text))
    return [target for target in targets if target and "://" not in target and not target.startswith("mailto:")]


def renamed(text):
    """The text with links to index.md instead of README.md."""
    return LINK.sub(lambda match: match.group(1) + re.sub(r"(^|/)README\.md", r"\1index.md", match.group(2)) + match.group(3), text)


def resolve(page, target):
    """A target of a page's link, as a path in the repository."""
    path = Path(os.path.normpath(page.parent / target))
    if not path.is_file():
        sys.exit(f"stage.py: {page} links to {target}, which is no file")
    return path


def main():
    """Copies pages and files."""
    folder = Path(sys.argv[1])
    summary = SUMMARY.read_text()
    pages = [resolve(SUMMARY, target) for target in links(summary)]
    files = set()
    for page in pages:
        text = page.read_text()
        files.update(resolve(page, target) for target in links(text))
        place = folder / (page.with_name("index.md") if page.name == "README.md" else page)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(renamed(text))
    for file in files.difference(pages):
        if file.suffix == ".md":
            sys.exit(f"stage.py: {file} is linked to, but {SUMMARY} does not list it")
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, folder / file)
    moved = LINK.sub(lambda match: match.group(1) + str(resolve(SUMMARY, match.group(2))) + match.group(3), summary)
    (folder / "SUMMARY.md").write_text(renamed(moved))


if __name__ == "__main__":
    main()
