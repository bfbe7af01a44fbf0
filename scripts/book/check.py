"""Checks a folder of HTML pages: every link leads to a file and an anchor that are there, and no page loads anything from elsewhere.

Usage: check.py FOLDER
"""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """Anchors, links and loaded files of a page."""

    def __init__(self, text):
        super().__init__()
        self.anchors, self.links, self.loads = set(), [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        """Notes what an element is, links to or loads."""
        found = dict(attrs)
        self.anchors.update(value for name in ("id", "name") if (value := found.get(name)))
        if tag == "a" and found.get("href"):
            self.links.append(found["href"])
        elif tag in ("script", "img", "iframe", "source") and found.get("src"):
            self.loads.append(found["src"])
        elif tag == "link" and found.get("href"):
            self.loads.append(found["href"])


def main():
    """Prints what is wrong, and ends with 1 if something is."""
    folder = Path(sys.argv[1]).resolve()
    # The page for addresses that are not there is written for the root of a server.
    pages = {file: Page(file.read_text()) for file in sorted(folder.rglob("*.html")) if file.name != "404.html"}
    wrong, count = [], 0
    for file, page in pages.items():
        for target in page.links + page.loads:
            url = urlsplit(target)
            if url.scheme or url.netloc:
                if target in page.loads and url.scheme != "data":
                    wrong.append(f"{file.relative_to(folder)} loads {target} from elsewhere")
                continue
            count += 1
            path = (file.parent / unquote(url.path)).resolve() if url.path else file
            if not path.is_file():
                wrong.append(f"{file.relative_to(folder)} links to {target}: no such file")
            elif url.fragment and path in pages and unquote(url.fragment) not in pages[path].anchors:
                wrong.append(f"{file.relative_to(folder)} links to {target}: no such anchor")
    for line in wrong:
        print(f"check.py: {line}", file=sys.stderr)
    if wrong or not pages:
        sys.exit(1)
    print(f"{folder}: {len(pages)} pages, {count} links")


if __name__ == "__main__":
    main()
