"""The pages in a real browser: they fit the window, load nothing, raise no errors, and have enough contrast."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from gift_core.config.experiment import Config
from gift_core.config.presets import load_preset
from gift_core.layout import Layout
from gift_core.report.comparison.compare import compare_runs
from tests.report import run_folder as runs
from tests.report.browser import Page, chromium, open_browser
from tests.report.run_folder import MATRICES, ROOT, Matrix

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(chromium() is None, reason="no chromium or google-chrome on the PATH"),
]
TASKS = (
    "letters", "textures", "zodiac", "digits", "greek", "arrows", "faces", "cyrillic", "pieces", "colors", "braille",
)  # fmt: skip
LONG = tuple(f"a_long_name_of_a_task_with_many_characters_{position}" for position in range(11))
METHODS = load_preset(ROOT / "presets" / "mini_compare.yaml").run.methods
CONTINUED = len(METHODS) - 2  # without zero_shot and individual, which have no curve
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

AXES = """[...document.querySelectorAll("svg[role=img]:not(.scatter)")].map((chart) =>
  [...chart.querySelectorAll("text.title")].map((e) => e.textContent))"""
# all pairs of elements of a group whose boxes overlap, by more than a tolerance in CSS pixels
COLLIDING = """((groups, tolerance) => groups.flatMap((elements) => {
  const boxes = [...elements].filter((e) => e.getClientRects().length)
    .map((e) => [e.textContent.trim(), e.getBoundingClientRect()]);
  return boxes.flatMap(([name, a], index) => boxes.slice(index + 1).filter(([_, b]) =>
    Math.min(a.right, b.right) - Math.max(a.left, b.left) > tolerance &&
    Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > tolerance).map(([other]) => `${name} / ${other}`));
}))"""
TEXTS = '[...document.querySelectorAll("svg[role=img]:not(.scatter)")].map((chart) => chart.querySelectorAll("text"))'
CLICK = "document.querySelector('.legend button[data-method={}]').click()"
UNFOLD = "document.querySelectorAll('details').forEach((e) => { e.open = true; })"
PAGES = ("small", "large", "comparison", "mtil", "seen", "long")


@pytest.fixture(scope="module")
def browser() -> Iterator[Page]:
    with open_browser() as page:
        yield page


def large_matrices(seed: int) -> dict[str, Matrix]:
    """Every method of params.yaml on 11 tasks; accuracies differ a little between seeds."""
    noise = np.random.default_rng(seed)
    matrices: dict[str, Matrix] = {}
    for method, percent in zip(METHODS, np.linspace(55, 85, len(METHODS)), strict=True):
        matrices[method] = [[60.0] * 11, *(percent + noise.normal(0, 0.5, (11, 11))).tolist()]
    return {**matrices, "zero_shot": [[60.0] * 11] * 12}


def large_probes(seed: int) -> dict[str, Matrix]:
    """Of every method on the two probes, below and above the pre-trained model."""
    return {name: [row[:2] for row in rows] for name, rows in large_matrices(seed).items()}


def long_matrices() -> dict[str, Matrix]:
    """Accuracies of all sizes, among them lines that end at the same, the lowest and the highest value."""
    noise = np.random.default_rng(0)
    matrices: dict[str, Matrix] = {}
    for method in ("finetune", "a_method_with_a_long_name", "gift"):
        learned = noise.uniform(0, 100, (11, 11)).round(1)
        learned[-1, :3] = (0, 100, 50)  # of every method
        matrices[method] = [[60.0] * 11, *learned.tolist()]
    return matrices


@pytest.fixture(scope="module")
def pages(whole: tuple[Path, Config], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Reports of a small run with pictures, of a large run, of MTIL with a zero-shot difference, of a class-incremental
    run with 50 steps, and of long names. Also the comparison of two seeds of the large run."""
    root = tmp_path_factory.mktemp("runs")
    steps = np.arange(50)
    single = ("finetune", "lwf", "gift")  # methods with one model
    seen = {name: (95 - 50 * (steps / 50) ** (0.4 + 0.1 * at)).tolist() for at, name in enumerate(single)}
    probes = {name: [[70.0, 60.0]] * 51 for name in single}
    names, zero_shot = tuple(f"cifar100_{step:02d}" for step in steps), (88 - 0.4 * steps).tolist()
    configs = {  # only the small run has tars and predictions
        "large": runs.write_run(root / "large", tasks=TASKS, matrices=large_matrices(42), probes=large_probes(42)),
        "mtil": runs.write_mtil(root / "mtil", apart={"eurosat": -12.0, "dtd": 2.0}),
        "seen": runs.write_seen_run(root / "seen", tasks=names, zero_shot=zero_shot, seen=seen, probes=probes),
        "long": runs.write_run(root / "long", tasks=LONG, matrices=long_matrices()),
    }
    for name in names:
        runs.write_task_json(Layout(root / "seen"), name, classes=2)
    folders = {name: runs.build(root / name, config) for name, config in configs.items()}
    shutil.copytree(whole[0], root / "small")
    folders["small"] = runs.build(root / "small", whole[1])
    runs.write_params(root / "43", TASKS, METHODS, probes=runs.PROBE_NAMES, seed=43)  # what a comparison reads of a run
    for method, matrix in large_matrices(43).items():
        runs.write_accuracies(Layout(root / "43"), method, TASKS, matrix, probes=large_probes(43)[method])
    folders["comparison"] = root / "comparison"
    compare_runs([root / name for name in ("large", "43")], folders["comparison"])
    return {name: folder / "index.html" for name, folder in folders.items()}


@pytest.fixture(params=PAGES)
def page(request: pytest.FixtureRequest, pages: dict[str, Path]) -> Path:
    return pages[request.param]


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_wider_than_the_window_and_no_texts_of_a_chart_overlap(
    browser: Page, page: Path, width: int
) -> None:
    browser.open(page, width=width)
    axes = browser.evaluate(AXES)
    if page.parent.name == "reports":  # the strips of a comparison have no titles
        assert axes and all(len(titles) == 2 and all(titles) for titles in axes)
    for unfold in ("", UNFOLD):  # then with all folded tables
        browser.evaluate(unfold)
        assert browser.evaluate("document.documentElement.scrollWidth") == width
        assert browser.evaluate(TOO_WIDE) == []
        assert browser.evaluate(f"{COLLIDING}({TEXTS}, .5)") == []


@pytest.mark.parametrize("width", [688, 710])  # of A4 and Letter between the margins of print.css
def test_on_paper_nothing_is_cut_and_the_pairs_of_all_steps_are_shown(browser: Page, page: Path, width: int) -> None:
    browser.open(page, width=width)
    browser.call("Emulation.setEmulatedMedia", media="print")
    assert browser.evaluate(TOO_WIDE) == []
    assert browser.evaluate("[...document.querySelectorAll('.sheets img')].every((e) => e.checkVisibility())")


def test_a_page_loads_nothing_else_and_raises_no_errors(browser: Page, page: Path) -> None:
    browser.open(page, width=1280)
    assert [url for url in browser.requests() if not url.startswith("data:")] == [page.resolve().as_uri()]
    assert browser.errors() == []
    assert browser.evaluate("[...document.images].every((image) => image.complete && image.naturalWidth > 0)")
    reachable = '[...document.querySelectorAll(".scroll, .legend button, summary, a")].every((e) => e.tabIndex >= 0)'
    assert browser.evaluate(reachable)  # by keyboard


@pytest.mark.parametrize(("dark", "background"), [(False, "rgb(252, 252, 251)"), (True, "rgb(19, 21, 25)")])
def test_text_has_the_contrast_required_by_wcag_in_the_color_scheme_of_the_system(
    browser: Page, page: Path, dark: bool, background: str
) -> None:
    browser.open(page, width=1280, dark=dark)
    assert browser.evaluate("getComputedStyle(document.body).backgroundColor") == background
    browser.evaluate(UNFOLD)
    assert browser.evaluate(CONTRAST) == []


@pytest.mark.parametrize("name", ["small", "large"])
def test_a_legend_button_highlights_a_method_and_back_and_hovering_shows_the_values(
    browser: Page, pages: dict[str, Path], name: str
) -> None:
    browser.open(pages[name], width=1280)
    dimmed = 'document.querySelectorAll("#forgetting .series.dim").length'
    charts = browser.evaluate('document.querySelectorAll("#forgetting figure svg").length')
    others = len(MATRICES) - 1 if charts == 4 else CONTINUED - MAIN - 1
    for expected in (charts * others, 0):
        browser.evaluate(CLICK.format("gift"))
        assert browser.evaluate(dimmed) == expected
    browser.scroll_to(".overview .hover")
    box = "document.querySelector('.overview .hover').getBoundingClientRect()"
    x, y = browser.evaluate(f"[{box}.x + {box}.width / 2, {box}.y + {box}.height / 2]")
    browser.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
    assert "Before training" in browser.evaluate("document.querySelector('#tip').textContent")
    assert browser.evaluate("!document.querySelector('#tip').hidden")
