"""The page in a real browser: nothing wider than the window, nothing loaded, no complaint, readable contrast."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gift_core.layout import Layout
from gift_core.report import build_report
from tests.report.browser import Page, chromium, open_browser
from tests.report.run_folder import MATRICES, write_run

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(chromium() is None, reason="no chromium or google-chrome on the PATH"),
]
MANY_TASKS = (
    "letters",
    "textures",
    "zodiac",
    "digits",
    "greek",
    "arrows",
    "faces",
    "cyrillic",
    "pieces",
    "colours",
    "braille",
)
MANY_METHODS = ("finetune", "gift", "l2", "gift_cd", "gift_cd_ita", *(f"another_method_{i}" for i in range(7)))
# WCAG's contrast of every piece of text against what lies under it; the texts below its limit of 4.5
CONTRAST = """(() => {
  const canvas = Object.assign(document.createElement("canvas"), {width: 1, height: 1});
  const brush = canvas.getContext("2d", {willReadFrequently: true});
  const over = (colours) => { brush.clearRect(0, 0, 1, 1);
    for (const c of colours) { brush.fillStyle = c; brush.fillRect(0, 0, 1, 1); }
    return [...brush.getImageData(0, 0, 1, 1).data].slice(0, 3); };
  const linear = (v) => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
  const light = (rgb) => { const [r, g, b] = rgb.map((v) => linear(v / 255));
    return .2126 * r + .7152 * g + .0722 * b; };
  const bad = new Set();
  for (const e of document.querySelectorAll("body *")) {
    if (!e.getClientRects().length || ![...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim())) continue;
    const style = getComputedStyle(e), under = [];
    for (let p = e; p; p = p.parentElement) under.unshift(getComputedStyle(p).backgroundColor);
    const ink = e instanceof SVGElement ? style.fill : style.color;
    const [a, b] = [light(over(under)), light(over([...under, ink]))].sort((x, y) => y - x);
    if ((a + .05) / (b + .05) < 4.5) bad.add(`${e.tagName}.${e.getAttribute("class")} ${e.textContent.slice(0, 30)}`);
  }
  return [...bad];
})()"""
TOO_WIDE = """[...document.querySelectorAll("body *")].filter((e) => {
  const box = e.getBoundingClientRect();
  return box.width && box.right > innerWidth + 1 && !e.closest(".scroll");
}).map((e) => `${e.tagName}.${e.getAttribute("class")} ${e.textContent.trim().slice(0, 30)}`)"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Page]:
    with open_browser() as page:
        yield page


@pytest.fixture(scope="module", params=["small", "large"])
def report(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of 3 tasks and 2 methods, and the one of 11 tasks and 12 methods."""
    root = tmp_path_factory.mktemp(request.param)
    if request.param == "small":
        config = write_run(root)
    else:
        matrix = [[(37 * row + 11 * column) % 100 for column in range(11)] for row in range(12)]
        config = write_run(root, tasks=MANY_TASKS, matrices=dict.fromkeys(MANY_METHODS, matrix))
    build_report(Layout(root), config, root / "reports")
    return root / "reports" / "index.html"


@pytest.mark.parametrize("width", [390, 768, 1280])
def test_nothing_is_wider_than_the_window(browser: Page, report: Path, width: int) -> None:
    browser.open(report, width=width)
    assert browser.evaluate("document.documentElement.scrollWidth") == width
    assert browser.evaluate(TOO_WIDE) == []


def test_opening_loads_nothing_else_and_brings_no_complaint(browser: Page, report: Path) -> None:
    browser.open(report, width=1280)
    assert [url for url in browser.requests() if not url.startswith("data:")] == [report.resolve().as_uri()]
    assert browser.complaints() == []
    assert browser.evaluate("[...document.images].every((image) => image.complete && image.naturalWidth > 0)")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_all_text_has_the_contrast_that_wcag_asks_for(browser: Page, report: Path, dark: bool) -> None:
    browser.open(report, width=1280, dark=dark)
    assert browser.evaluate(CONTRAST) == []


def test_the_page_follows_the_system_into_the_dark(browser: Page, report: Path) -> None:
    backgrounds = []
    for dark in (False, True):
        browser.open(report, width=1280, dark=dark)
        backgrounds.append(browser.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert backgrounds == ["rgb(252, 252, 251)", "rgb(19, 21, 25)"]


def test_a_legend_button_brings_one_method_forward_and_back(browser: Page, report: Path) -> None:
    browser.open(report, width=1280)
    dimmed = 'document.querySelectorAll("#forgetting .series.dim").length'
    click = "document.querySelector('.legend button[data-method=gift]').click()"
    charts = browser.evaluate('document.querySelectorAll("#forgetting figure svg").length')
    methods = len(MATRICES) if charts == 4 else len(MANY_METHODS)
    browser.evaluate(click)
    assert browser.evaluate(dimmed) == charts * (methods - 1)
    browser.evaluate(click)
    assert browser.evaluate(dimmed) == 0


def test_the_pointer_over_a_chart_shows_the_values(browser: Page, report: Path) -> None:
    browser.open(report, width=1280, height=2400)
    box = "document.querySelector('.overview .hover').getBoundingClientRect()"
    x, y = browser.evaluate(f"[{box}.x + {box}.width / 2, {box}.y + {box}.height / 2]")
    browser.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
    assert "Before training" in browser.evaluate("document.querySelector('#tip').textContent")
    assert browser.evaluate("!document.querySelector('#tip').hidden")


def test_scrolling_regions_and_buttons_can_be_reached_by_keyboard(browser: Page, report: Path) -> None:
    browser.open(report, width=390)
    unreachable = (
        '[...document.querySelectorAll(".scroll, .legend button, summary, a")].filter((e) => e.tabIndex < 0).length'
    )
    assert browser.evaluate(unreachable) == 0
