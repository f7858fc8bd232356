"""The pages in a real browser: they fit the window, load nothing, raise no errors, and have enough contrast."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pytest
import yaml

from gift_core.config.experiment import Config
from gift_core.layout import Layout
from gift_core.report.build import build_report
from gift_core.report.comparison.compare import compare_runs
from tests.report.browser import Page, chromium, open_browser
from tests.report.run_folder import (
    MATRICES,
    ROOT,
    Matrix,
    write_accuracies,
    write_mtil,
    write_params,
    write_pictures,
    write_run,
    write_seen_run,
    write_task_json,
)

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
    "colors",
    "braille",
)
MANY_METHODS = tuple(yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))["methods"])
CONTINUED = len(MANY_METHODS) - 2  # without zero_shot and individual, which have no curve
SEEDS = (42, 43, 44)
MAIN = 2  # of many methods, only the best and its baseline are colored
# all texts whose WCAG contrast with their background is below 4.5
CONTRAST = """(() => {
  const canvas = Object.assign(document.createElement("canvas"), {width: 1, height: 1});
  const brush = canvas.getContext("2d", {willReadFrequently: true});
  const over = (colors) => { brush.clearRect(0, 0, 1, 1);
    for (const c of colors) { brush.fillStyle = c; brush.fillRect(0, 0, 1, 1); }
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

# all pairs of texts in one chart whose boxes overlap, by more than half a pixel
OVERLAPPING = """[...document.querySelectorAll("svg[role=img]:not(.scatter)")].flatMap((chart) => {
  const texts = [...chart.querySelectorAll("text")].filter((e) => e.getClientRects().length)
    .map((e) => ({text: e.textContent, box: e.getBoundingClientRect()}));
  const overlap = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > .5
    && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > .5;
  return texts.flatMap((a, index) => texts.slice(index + 1).filter((b) => overlap(a.box, b.box))
    .map((b) => `${chart.getAttribute("aria-label").slice(0, 40)}: ${a.text} / ${b.text}`));
})"""
AXES = """[...document.querySelectorAll("svg[role=img]:not(.scatter)")].map((chart) =>
  [...chart.querySelectorAll("text.title")].map((e) => e.textContent))"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Page]:
    with open_browser() as page:
        yield page


def large_matrices(seed: int = 42) -> dict[str, Matrix]:
    """Every method of params.yaml on 11 tasks; accuracies differ a little between seeds."""
    noise = np.random.default_rng(seed)
    matrices: dict[str, Matrix] = {}
    for index, method in enumerate(MANY_METHODS):
        kept = np.linspace(55, 85, len(MANY_METHODS))[index] + noise.normal(0, 0.5, (12, 11))
        matrices[method] = np.vstack([np.full((1, 11), 60.0), kept[1:]]).tolist()
    return {**matrices, "zero_shot": [[60.0] * 11] * 12}


def write_large_seed(root: Path, seed: int) -> None:
    """What a comparison reads of a large run."""
    write_params(root, MANY_TASKS, MANY_METHODS, seed=seed)
    for method, matrix in large_matrices(seed).items():
        write_accuracies(Layout(root), method, MANY_TASKS, matrix)


def write_named_run(root: Path, tasks: tuple[str, ...], methods: tuple[str, ...]) -> Config:
    """Accuracies of all sizes, among them lines that end at the same, the lowest and the highest value."""
    noise, count = np.random.default_rng(0), len(tasks)
    matrices: dict[str, Matrix] = {}
    for method in methods:
        learned = noise.uniform(0, 100, (count, count)).round(1)
        learned[-1, :3] = (0, 100, 50)  # of every method
        matrices[method] = np.vstack([np.full((1, count), 60.0), learned]).tolist()
    return write_run(root, tasks=tasks, matrices=matrices)


def write_long_seen_run(root: Path) -> Config:
    """A class-incremental run of 50 steps with two classes each, and every method that has a single model."""
    steps = np.arange(50)
    seen = {
        method: (95 - 50 * (steps / 50) ** (0.4 + 0.1 * index)).tolist()
        for index, method in enumerate(("finetune", "lwf", "icarl", "zscl", "gift", "gift_vocabulary"))
    }
    tasks = tuple(f"cifar100_{step:02d}" for step in steps)
    config = write_seen_run(root, tasks=tasks, zero_shot=(88 - 0.4 * steps).tolist(), seen=seen)
    for task in tasks:
        write_task_json(Layout(root), task, classes=2)
    return config


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Reports of a small run, of a large run, of MTIL with a zero-shot difference, and of a long class-incremental run.

    Also the comparison of three seeds of the large run.
    """
    names = ("mtil", "seen", "small", "42", "43", "44")
    mtil, seen, small, *seeds = (tmp_path_factory.mktemp(name) for name in names)
    configs = [write_run(small), write_run(seeds[0], tasks=MANY_TASKS, matrices=large_matrices())]
    configs += [write_mtil(mtil, apart={"eurosat": -12.0, "dtd": 2.0}), write_long_seen_run(seen)]
    for root, config in zip((small, seeds[0], mtil, seen), configs, strict=True):
        build_report(Layout(root), config, root / "reports")
    for root, seed in zip(seeds[1:], SEEDS[1:], strict=True):
        write_large_seed(root, seed)
    write_pictures(Layout(small), configs[0])  # the other pages are those of clones without tars and predictions
    build_report(Layout(small), configs[0], small / "reports")
    compare_runs(seeds, seeds[0] / "comparison")
    folders = {"small": small / "reports", "large": seeds[0] / "reports", "comparison": seeds[0] / "comparison"}
    folders |= {"mtil": mtil / "reports", "seen": seen / "reports"}
    return {name: folder / "index.html" for name, folder in folders.items()}


@pytest.fixture(scope="module")
def named_pages(pages: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Also reports of few and of many tasks, with short and with long names of tasks and methods."""
    long = tuple(f"a_long_name_of_a_task_with_many_characters_{position}" for position in range(11))
    short, longer = ("finetune", "gift"), ("finetune", "a_method_with_a_long_name", "gift")
    runs = {"four": (MANY_TASKS[:4], short), "eleven": (MANY_TASKS, short), "four long": (long[:4], longer),
            "eleven long": (long, longer)}  # fmt: skip
    found = {name: pages[name] for name in ("large", "seen", "comparison")}
    for name, (tasks, methods) in runs.items():
        root = tmp_path_factory.mktemp(name.replace(" ", "_"))
        build_report(Layout(root), write_named_run(root, tasks, methods), root / "reports")
        found[name] = root / "reports" / "index.html"
    return found


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("name", ["four", "eleven", "four long", "eleven long", "large", "seen"])
def test_texts_in_a_chart_do_not_overlap(browser: Page, named_pages: dict[str, Path], name: str, width: int) -> None:
    browser.open(named_pages[name], width=width)
    assert browser.evaluate(OVERLAPPING) == []
    assert browser.evaluate("document.documentElement.scrollWidth") == width
    assert browser.evaluate(TOO_WIDE) == []


@pytest.mark.parametrize("name", ["four", "seen"])
def test_both_axes_of_every_chart_have_a_label(browser: Page, named_pages: dict[str, Path], name: str) -> None:
    browser.open(named_pages[name], width=390)
    axes = browser.evaluate(AXES)
    assert len(axes) > 4
    assert all(len(titles) == 2 and all(titles) for titles in axes)
    assert ["task", "weighted KL divergence"] in axes


@pytest.fixture(params=["small", "large", "comparison", "mtil", "seen"])
def page(request: pytest.FixtureRequest, pages: dict[str, Path]) -> Path:
    return pages[request.param]


@pytest.fixture(params=["small", "large"])
def report(request: pytest.FixtureRequest, pages: dict[str, Path]) -> Path:
    return pages[request.param]


@pytest.mark.parametrize("width", [390, 768, 1280])
def test_nothing_is_wider_than_the_window(browser: Page, page: Path, width: int) -> None:
    browser.open(page, width=width)
    assert browser.evaluate("document.documentElement.scrollWidth") == width
    assert browser.evaluate(TOO_WIDE) == []


def test_a_page_loads_nothing_else_and_raises_no_errors(browser: Page, page: Path) -> None:
    browser.open(page, width=1280)
    assert [url for url in browser.requests() if not url.startswith("data:")] == [page.resolve().as_uri()]
    assert browser.errors() == []
    assert browser.evaluate("[...document.images].every((image) => image.complete && image.naturalWidth > 0)")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_all_text_has_the_contrast_required_by_wcag(browser: Page, page: Path, dark: bool) -> None:
    browser.open(page, width=1280, dark=dark)
    assert browser.evaluate(CONTRAST) == []


def test_the_page_follows_the_color_scheme_of_the_system(browser: Page, page: Path) -> None:
    backgrounds = []
    for dark in (False, True):
        browser.open(page, width=1280, dark=dark)
        backgrounds.append(browser.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert backgrounds == ["rgb(252, 252, 251)", "rgb(19, 21, 25)"]


def test_a_legend_button_highlights_a_method_and_back(browser: Page, report: Path) -> None:
    browser.open(report, width=1280)
    dimmed = 'document.querySelectorAll("#forgetting .series.dim").length'
    click = "document.querySelector('.legend button[data-method=gift]').click()"
    charts = browser.evaluate('document.querySelectorAll("#forgetting figure svg").length')
    browser.evaluate(click)
    others = len(MATRICES) - 1 if charts == 4 else CONTINUED - MAIN - 1
    assert browser.evaluate(dimmed) == charts * others
    browser.evaluate(click)
    assert browser.evaluate(dimmed) == 0


def test_selected_quiet_methods_get_different_colors(browser: Page, pages: dict[str, Path]) -> None:
    browser.open(pages["large"], width=1280)
    stroke = "getComputedStyle(document.querySelector('.overview .series[data-method={}] path')).stroke"
    quiet = browser.evaluate(stroke.format("l2"))
    for method in ("l2", "lwf"):
        browser.evaluate(f"document.querySelector('.legend button[data-method={method}]').click()")
    hues = {browser.evaluate(stroke.format(method)) for method in ("l2", "lwf", "finetune")}
    assert len(hues) == 3 and quiet not in hues


def test_labels_in_the_scatter_charts_do_not_overlap(browser: Page, pages: dict[str, Path]) -> None:
    browser.open(pages["comparison"], width=1280)
    boxes = """[...document.querySelectorAll(".scatter")].map((chart) => [...chart.querySelectorAll(".mark text")]
        .map((name) => name.getBoundingClientRect()).map((b) => [b.left, b.right, b.top, b.bottom]))"""
    charts = browser.evaluate(boxes)
    assert sum(map(len, charts)) == len(MANY_METHODS) - 1  # all but individual, whose Transfer means nothing
    for names in charts:
        for (left, right, top, bottom), (other_left, other_right, other_top, other_bottom) in combinations(names, 2):
            apart = right <= other_left or other_right <= left or bottom <= other_top + 2 or other_bottom <= top + 2
            assert apart


def test_hovering_over_a_chart_shows_the_values(browser: Page, report: Path) -> None:
    browser.open(report, width=1280)
    browser.scroll_to(".overview .hover")
    box = "document.querySelector('.overview .hover').getBoundingClientRect()"
    x, y = browser.evaluate(f"[{box}.x + {box}.width / 2, {box}.y + {box}.height / 2]")
    browser.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
    assert "Before training" in browser.evaluate("document.querySelector('#tip').textContent")
    assert browser.evaluate("!document.querySelector('#tip').hidden")


def test_scrolling_regions_and_buttons_are_reachable_by_keyboard(browser: Page, page: Path) -> None:
    browser.open(page, width=390)
    unreachable = (
        '[...document.querySelectorAll(".scroll, .legend button, summary, a")].filter((e) => e.tabIndex < 0).length'
    )
    assert browser.evaluate(unreachable) == 0


def test_folded_tables_fit_when_they_are_opened(browser: Page, pages: dict[str, Path]) -> None:
    for name in ("mtil", "seen"):
        browser.open(pages[name], width=390)
        browser.evaluate("document.querySelectorAll('details').forEach((e) => { e.open = true; })")
        assert browser.evaluate("document.documentElement.scrollWidth") == 390
        assert browser.evaluate(TOO_WIDE) == []
        assert browser.evaluate(CONTRAST) == []


# words of headings and captions that are broken over two lines
BROKEN_WORDS = """[...document.querySelectorAll("h3, .name, .kept span, .compared b, .confusions li, table *")]
  .flatMap((e) => [...e.childNodes].filter((n) => n.nodeType === 3 && n.data.trim()))
  .flatMap((text) => [...text.data.matchAll(/\\S+/g)].filter((word) => {
    const range = document.createRange();
    range.setStart(text, word.index);
    range.setEnd(text, word.index + word[0].length);
    return new Set([...range.getClientRects()].map((box) => box.top)).size > 1;
  }).map((word) => word[0]))"""
PAPER = {"letter": (8.5, 11.0), "A4": (8.27, 11.69)}  # inches


@pytest.mark.parametrize("size", PAPER)
@pytest.mark.parametrize(("name", "most"), [("small", 6), ("large", 12), ("comparison", 6), ("mtil", 6), ("seen", 6)])
def test_a_page_prints_on_few_sheets(browser: Page, pages: dict[str, Path], name: str, most: int, size: str) -> None:
    browser.open(pages[name], width=1280)
    width, height = PAPER[size]
    printed = browser.call("Page.printToPDF", paperWidth=width, paperHeight=height)["data"]
    assert 1 < len(re.findall(rb"/Type\s*/Page\b", base64.b64decode(printed))) <= most


@pytest.mark.parametrize("name", ["small", "large", "comparison", "mtil"])
def test_on_paper_nothing_is_cut_off_and_no_word_is_broken(browser: Page, pages: dict[str, Path], name: str) -> None:
    browser.open(pages[name], width=690)  # letter and A4 without margins, in CSS pixels
    browser.call("Emulation.setEmulatedMedia", media="print")
    assert browser.evaluate("document.documentElement.scrollWidth") == 690
    assert browser.evaluate(TOO_WIDE) == []
    assert browser.evaluate(BROKEN_WORDS) == []


@pytest.mark.parametrize("width", [390, 1280])
def test_captions_below_pictures_do_not_overlap(browser: Page, pages: dict[str, Path], width: int) -> None:
    browser.open(pages["small"], width=width)
    browser.evaluate("document.querySelectorAll('details').forEach((e) => { e.open = true; })")
    lists = browser.evaluate("""[...document.querySelectorAll(".classes, .kept, .compared, .sheet")].map((list) =>
        [...list.querySelectorAll("li")].map((e) => e.getBoundingClientRect())
        .map((b) => [b.left, b.right, b.top, b.bottom]))""")
    assert len(lists) == 3 + 2 + 2 + (1 + 2 + 3)
    for boxes in lists:
        for (left, right, top, bottom), (other_left, other_right, other_top, other_bottom) in combinations(boxes, 2):
            assert right <= other_left or other_right <= left or bottom <= other_top or other_bottom <= top
    spilled = browser.evaluate("""[...document.querySelectorAll(".classes li, .kept li, .compared li, .sheet li")]
        .filter((e) => e.scrollWidth > e.clientWidth + 1).length""")
    assert spilled == 0
    sizes = browser.evaluate("[...document.images].map((e) => e.getBoundingClientRect().width)")
    assert min(sizes) > 36 and max(sizes) < 130


def test_tick_labels_of_fifty_steps_do_not_overlap(browser: Page, pages: dict[str, Path]) -> None:
    for width in (390, 1280):
        browser.open(pages["seen"], width=width)
        boxes = """[...document.querySelectorAll("#seen svg[role=img], #losses svg[role=img]")].map((chart) =>
            [...chart.querySelectorAll(".tick.x")].filter((e) => /^[0-9]+$/.test(e.textContent))
            .map((e) => e.getBoundingClientRect()).map((b) => [b.left, b.right]))"""
        charts = browser.evaluate(boxes)
        assert len(charts) > 1
        for ticks in charts:
            assert len(ticks) > 5
            assert all(right < left for (_, right), (left, _) in pairwise(ticks))
