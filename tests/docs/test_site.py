"""The site of `make docs`: it builds strictly, loads nothing from other hosts, and looks like on a code host."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType

import pytest
from markdown_it import MarkdownIt

from tests.imports import ROOT
from tests.report.browser import Page, chromium, open_browser

pytest.importorskip("mkdocstrings", reason="needs the extra docs")
pytestmark = pytest.mark.end_to_end
LOADS = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}
BLOCKS = ("table", "tr", "li", "pre", "h2", "h3", "img")


class Loads(HTMLParser):
    """Collects what a page loads by itself, unlike the targets of its links."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag in LOADS and values.get("rel") not in ("canonical", "prev", "next"):
            self.found.append(values.get(LOADS[tag]) or "")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site. `mkdocs build --strict` fails for a broken link or anchor, and for a page that is not in nav."""
    folder = tmp_path_factory.mktemp("site")
    # Without --quiet, which hides the warnings that --strict counts.
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def hooks() -> ModuleType:
    """docs/site.py."""
    spec = importlib.util.spec_from_file_location("site_hooks", ROOT / "docs" / "site.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def server(site: Path) -> Iterator[str]:
    """The address of a web server with the site."""
    handler = partial(SimpleHTTPRequestHandler, directory=str(site))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{serving.server_port}"
        serving.shutdown()


def article(site: Path, page: str) -> str:
    """The HTML of a page's text, by its path in the repository."""
    file = site / re.sub(r"(README)?\.md$", lambda found: "index.html" if found[1] else ".html", page)
    (found,) = re.findall(r"<article.*?</article>", file.read_text(encoding="utf-8"), re.DOTALL)
    return str(found)


def test_no_page_loads_anything_from_another_host(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    loads = {load for page in pages for load in Loads(page.read_text(encoding="utf-8")).found}
    assert len(pages) > 80
    assert any("stylesheets" in load for load in loads)
    assert [load for load in loads if re.match(r"\w+:|//", load)] == []
    styles = "".join(file.read_text(encoding="utf-8") for file in site.rglob("*.css"))
    assert re.findall(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//", styles) == []


def test_the_site_has_the_tables_lists_and_code_of_a_code_host(site: Path, hooks: ModuleType) -> None:
    reader = MarkdownIt("commonmark").enable("table")
    for page in hooks.pages():
        text = re.sub(r"\A---\n.*?\n---\n", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.DOTALL)
        pages = (reader.render(text), article(site, page))
        expected, shown = ([len(re.findall(f"<{tag}[ />]", html)) for tag in BLOCKS] for html in pages)
        assert shown == expected, f"{page}: {BLOCKS}. Is a blank line missing?"


def test_a_link_to_a_file_that_is_no_page_shows_the_file(site: Path, hooks: ModuleType) -> None:
    linked = hooks.linked_files()
    assert "gift_core/untrusted.py" in linked
    for name in linked:
        assert (site / f"{name}.txt").read_bytes() == (ROOT / name).read_bytes()


def test_the_reference_has_every_public_module_of_gift_core(site: Path) -> None:
    modules = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in (ROOT / "gift_core").rglob("*.py")
    } - {"gift_core"}
    text = "".join(page.read_text(encoding="utf-8") for page in (site / "reference").glob("*.html"))
    assert [name for name in sorted(modules) if f'id="{name}"' not in text] == []


@pytest.mark.browser
@pytest.mark.skipif(chromium() is None, reason="needs Chromium")
def test_search_finds_a_tensor_and_a_narrow_page_does_not_scroll_sideways(server: str) -> None:
    with open_browser() as page:
        page.call("Emulation.setDeviceMetricsOverride", width=390, height=800, deviceScaleFactor=1, mobile=True)
        for name in ("index.html", "docs/data_sets.html", "reference/losses.html"):
            page.call("Page.navigate", url=f"{server}/{name}")
            wait_for(page, f"location.href == {json.dumps(f'{server}/{name}')} && document.readyState == 'complete'")
            assert page.evaluate("document.documentElement.scrollWidth") <= 390, name
        box = "document.querySelector('.md-search__input')"
        page.evaluate(f"document.querySelector('#__search').click(); {box}.focus()")
        page.call("Input.insertText", text="image_BD")
        links = "[...document.querySelectorAll('.md-search-result__link')]"
        wait_for(page, f"{links}.some((link) => link.href.includes('losses.html'))")
        assert page.errors() == []
        assert [url for url in page.requests() if not url.startswith((server, "data:"))] == []


def wait_for(page: Page, condition: str) -> None:
    deadline = time.monotonic() + 40
    while not page.evaluate(condition):
        assert time.monotonic() < deadline, condition
        time.sleep(0.1)
