"""Open the built pages in a browser, and fail where something is cut off.

    python -m sphinx -b html docs docs/_build/html
    python docs/check_pages.py [docs/_build/html] [--browser chromium] [--shots DIR]

Each page is opened at the widths of a desktop and of a telephone, in light and in dark
mode, without a network. It fails where the page is wider than the window, where text, a
formula or a table is cut off in place of scrolling, and where a picture does not load.
It needs the package playwright and a Chromium.
"""

import argparse
import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

WIDTHS = (1280, 390)
# What is wrong with a page, as a list of messages. Boxes that scroll are not cut off.
FAULTS = """() => {
  const faults = [], page = document.documentElement;
  if (page.scrollWidth > page.clientWidth)
    faults.push(`the page is ${page.scrollWidth} wide in ${page.clientWidth} pixels`);
  for (const box of document.querySelectorAll('pre, .math, mjx-container, table')) {
    const style = getComputedStyle(box), wide = box.scrollWidth > box.clientWidth + 1;
    const inline = style.display === 'inline' || style.display === 'table-cell';
    if (wide && !inline && style.overflowX === 'hidden')
      faults.push(`cut off: ${box.tagName} ${box.textContent.trim().slice(0, 60)}`);
  }
  // the article itself scrolls where a block in it is too wide, and text is cut off
  const scrolls = box => {
    for (let up = box; !up.matches('.bd-article'); up = up.parentElement)
      if (/auto|scroll/.test(getComputedStyle(up).overflowX)) return true;
    return false;
  };
  for (const box of document.querySelectorAll('.bd-article :is(p, dt, dd, li, h1, h2)'))
    if (box.getBoundingClientRect().right > page.clientWidth + 1 && !scrolls(box))
      faults.push(`cut off: ${box.tagName} ${box.innerText.trim().split('\\n')[0]}`);
  for (const image of document.images)
    if (image.complete && !image.naturalWidth && image.getClientRects().length)
      faults.push(`no picture: ${image.src}`);
  return faults;
}"""


def check(page, path, shots):
    """Return the faults of one page at one width and in one mode."""
    page.goto(path.resolve().as_uri(), wait_until="load")
    if page.query_selector(".math"):
        page.wait_for_selector("mjx-container", state="attached")
    if shots:
        width = page.viewport_size["width"]
        page.screenshot(path=shots / f"{path.stem}-{width}.png", full_page=True)
    return page.evaluate(FAULTS)


def main(argv=None):
    """Check all pages; return 1 if there are faults."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    built = Path(__file__).parent / "_build" / "html"
    parser.add_argument("folder", nargs="?", type=Path, default=built)
    parser.add_argument("--browser", default=shutil.which("chromium"), metavar="PATH")
    parser.add_argument("--shots", type=Path, metavar="DIR", help="keep pictures here")
    args = parser.parse_args(argv)
    if args.shots:
        args.shots.mkdir(parents=True, exist_ok=True)
    paths = sorted(args.folder.rglob("*.html"))
    paths = [path for path in paths if "_static" not in path.parts]
    n_faults = 0
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=args.browser)
        for width in WIDTHS:
            for mode in ("light", "dark"):
                page = browser.new_page(
                    viewport={"width": width, "height": 900}, color_scheme=mode
                )
                for path in paths:
                    shots = args.shots if mode == "light" else None
                    for fault in check(page, path, shots):
                        n_faults += 1
                        name = path.relative_to(args.folder)
                        print(f"{name} at {width} pixels, {mode}: {fault}")
                page.close()
        browser.close()
    print(f"{len(paths)} pages, {n_faults} faults")
    return int(n_faults > 0)


if __name__ == "__main__":
    sys.exit(main())
