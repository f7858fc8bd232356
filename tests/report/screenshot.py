"""python -m tests.report.screenshot reports/index.html picture.png: saves the page, or one element of it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.report.browser import chromium, open_browser


def main() -> None:
    """Parses the command line and saves the screenshot."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--width", type=int, default=1280, help="width of the window in CSS pixels")
    parser.add_argument("--dark", action="store_true")
    parser.add_argument("--selector", default="html", help='CSS selector of the element, such as "#forgetting figure"')
    parser.add_argument("--margin", type=int, default=0)
    parser.add_argument("--scale", type=float, default=1.0, help="image pixels per CSS pixel")
    arguments = parser.parse_args()
    if chromium() is None:
        sys.exit("There is no chromium or google-chrome on the PATH.")
    with open_browser() as page:
        page.open(arguments.page, width=arguments.width, dark=arguments.dark)
        page.screenshot(arguments.picture, arguments.selector, margin=arguments.margin, scale=arguments.scale)


if __name__ == "__main__":
    main()
