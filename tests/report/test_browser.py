"""The pages in a real browser: they fit the window, load nothing, raise no errors, and have enough contrast."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from gift_core.config.experiment import Config
from gift_core.config.presets import load_preset
from gift_core.layout import Layout
from gift_core.report.comparison.compare import write_comparison
from gift_core.report.comparison.runs_by_seed import read_runs
from tests.imports import ROOT
from tests.report import run_folder as runs
from tests.report.browser import CHROMIUM, MISSING, evaluate
from tests.report.run_folder import Matrix

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM, reason=MISSING),
]
TASKS = tuple(f"a_long_name_of_a_task_with_many_characters_{position}" for position in range(11))
METHODS = (*load_preset(ROOT / "presets" / "mini_compare.yaml").run.methods, "a_method_with_a_long_name")
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

# all pairs of elements of a group whose boxes overlap, by more than a tolerance in CSS pixels
COLLIDING = """((groups, tolerance) => groups.flatMap((elements) => {
  const boxes = [...elements].filter((e) => e.getClientRects().length)
    .map((e) => [e.textContent.trim(), e.getBoundingClientRect()]);
  return boxes.flatMap(([name, a], index) => boxes.slice(index + 1).filter(([_, b]) =>
    Math.min(a.right, b.right) - Math.max(a.left, b.left) > tolerance &&
    Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > tolerance).map(([other]) => `${name} / ${other}`));
}))"""
TEXTS = '[...document.querySelectorAll("svg[role=img]")].map((chart) => chart.querySelectorAll("text"))'
LAYOUT = f"""(() => {{
  const found = () => [document.documentElement.scrollWidth, {TOO_WIDE}, {COLLIDING}({TEXTS}, .5)];
  const folded = found();
  document.querySelectorAll("details").forEach((e) => {{ e.open = true; }});
  return {{folded, unfolded: found(), contrast: {CONTRAST}, errors,
    loaded: performance.getEntriesByType("resource").map((e) => e.name).filter((name) => !name.startsWith("data:")),
    background: getComputedStyle(document.body).backgroundColor,
    reachable: [...document.querySelectorAll(".scroll, .legend button, summary, a")].every((e) => e.tabIndex >= 0)}};
}})()"""
USE = """(() => {
  const dimmed = () => document.querySelectorAll("#forgetting .series.dim").length;
  const button = document.querySelector(".legend button[data-method=gift]"), counts = [dimmed()];
  for (let n = 0; n < 2; n++) { button.click(); counts.push(dimmed()); }
  document.querySelector(".overview .hover").dispatchEvent(new PointerEvent("pointermove", {bubbles: true}));
  return [counts, document.querySelector("#tip").textContent, document.querySelector("#tip").hidden];
})()"""


def matrices_of(seed: int) -> dict[str, Matrix]:
    """Of every method on 11 tasks. Half are close together, the others have accuracies of all sizes.

    Among their lines are some that end at the same, the lowest and the highest value.
    """
    noise = np.random.default_rng(seed)
    matrices: dict[str, Matrix] = {}
    for number, method in enumerate(METHODS):
        learned = noise.uniform(0, 100, (11, 11)) if number % 2 else 55 + number + noise.normal(0, 0.5, (11, 11))
        learned[-1, :3] = (0, 100, 50)
        matrices[method] = [[60.0] * 11, *learned.round(1).tolist()]
    return {**matrices, "zero_shot": [[60.0] * 11] * 12}


@pytest.fixture(scope="module")
def pages(whole: tuple[Path, Config], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Reports of a small run with pictures and of a large one with long names, and the comparison of two seeds."""
    root = tmp_path_factory.mktemp("runs")
    probes = {name: [row[:2] for row in rows] for name, rows in matrices_of(42).items()}
    large = runs.write_run(root / "large", tasks=TASKS, matrices=matrices_of(42), probes=probes)
    folders = {"large": runs.build(root / "large", large), "comparison": root / "comparison"}
    shutil.copytree(whole[0], root / "small")  # only this run has tars and predictions
    folders["small"] = runs.build(root / "small", whole[1])
    runs.write_params(root / "43", TASKS, METHODS, probes=runs.PROBE_NAMES, seed=43)  # what a comparison reads of a run
    for method, matrix in matrices_of(43).items():
        runs.write_accuracies(Layout(root / "43"), method, TASKS, matrix, probes=probes[method])
    write_comparison(read_runs([root / name for name in ("large", "43")]), folders["comparison"])
    return {name: folder / "index.html" for name, folder in folders.items()}


@pytest.mark.parametrize(
    ("width", "dark", "background"), [(390, False, "rgb(252, 252, 251)"), (1280, True, "rgb(19, 21, 25)")]
)
@pytest.mark.parametrize("name", ["small", "large", "comparison"])
def test_a_page_fits_the_window_has_contrast_no_texts_that_overlap_and_loads_nothing(
    pages: dict[str, Path], name: str, width: int, dark: bool, background: str
) -> None:
    found = evaluate(pages[name], LAYOUT, width=width, dark=dark)
    assert found == {
        "folded": [width, [], []], "unfolded": [width, [], []], "contrast": [], "errors": [], "loaded": [],
        "background": background, "reachable": True,
    }  # fmt: skip


@pytest.mark.parametrize(("name", "columns"), [("small", 5), ("large", 6)])
def test_on_a_phone_the_result_table_shows_every_column(pages: dict[str, Path], name: str, columns: int) -> None:
    table = 'document.querySelector("#result .scroll")'
    script = f"""(() => {{ const table = {table}, cells = [...table.querySelectorAll("tbody tr:first-child td")];
      return [table.scrollWidth - table.clientWidth, cells.length, {COLLIDING}([cells], .5)]; }})()"""
    assert evaluate(pages[name], script, width=420) == [0, columns, []]


@pytest.mark.parametrize("name", ["small", "large", "comparison"])
def test_a_printed_page_fits_a4_and_shows_the_pairs_of_each_step(pages: dict[str, Path], name: str) -> None:
    """The style of paper, on the screen: A4 without the margins is 687 px wide, Letter 710 px."""
    printed, text = pages[name].with_name("printed.html"), pages[name].read_text(encoding="utf-8")
    printed.write_text(text.replace("@media screen", "@media tty").replace("@media print", "@media screen"))
    shown = '[...document.querySelectorAll(".sheet li")].every((e) => e.getClientRects().length)'
    too_wide = TOO_WIDE.replace('!e.closest(".scroll")', "true")
    assert evaluate(printed, f"[{too_wide}, {shown}]", width=687) == [[], True]


def test_a_legend_button_highlights_a_method_and_back_and_hovering_shows_the_values(pages: dict[str, Path]) -> None:
    (before, selected, after), tip, is_hidden = evaluate(pages["small"], USE)
    assert (before, selected > 0, after) == (0, True, 0)
    assert "Before training" in tip and not is_hidden
