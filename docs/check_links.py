"""Check the links between the pages of the built documentation.

    python docs/check_links.py [folder of the HTML, by default docs/_build/html]

Every file that a page links to or shows has to exist, and every anchor in it. Sphinx
checks its own references only, not links in HTML, in the templates, or in what the
gallery writes. Links to other sites are left alone: no network is used.
"""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """The links of a page, and the anchors in it."""

    def __init__(self, path):
        super().__init__()
        self.links, self.anchors = [], set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        """Collect what a tag links to, and its name."""
        for name, value in attrs:
            if name in ("href", "src") and value:
                self.links.append(value)
            elif name == "id" or (name == "name" and tag == "a"):
                self.anchors.add(value)


def broken_links(root):
    """Yield (page, link) of each link that leads nowhere."""
    # what the theme has in _static are templates
    paths = [path for path in root.rglob("*.html") if "_static" not in path.parts]
    pages = {path: Page(path) for path in sorted(paths)}
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)) if parts.path else path
            target = (target / "index.html" if target.is_dir() else target).resolve()
            anchor = unquote(parts.fragment)
            anchors = pages[target].anchors if target in pages else {anchor}
            if not target.exists() or (anchor and anchor not in anchors):
                yield path.relative_to(root), link


def main():
    """Print the broken links, and exit with 1 if there are any."""
    default = Path(__file__).parent / "_build" / "html"
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else default
    root = root.resolve()
    if not (root / "index.html").exists():
        sys.exit(f"{root} has no index.html: build the documentation first.")
    broken = sorted(set(broken_links(root)))
    for page, link in broken:
        print(f"{page}: {link}")
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
