"""Comparison of runs with different seeds: statistics, refused runs, and the page. HTML of others in both pages."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from itertools import product
from pathlib import Path

import pandas as pd
import pytest
import yaml

from gift_core.errors import UserError
from gift_core.layout import Layout
from gift_core.report.comparison.compare import write_comparison
from gift_core.report.comparison.runs_by_seed import read_runs
from tests.clone import content
from tests.config.test_loading import set_at
from tests.report import run_folder as runs
from tests.stages.experiment import gift

SHIFTS = {42: 0.0, 43: -1.0, 44: 1.0}  # percentage points added after training, by seed


def shifted(matrix: runs.Matrix, points: float) -> runs.Matrix:
    return [matrix[0], *[[value + points for value in row] for row in matrix[1:]]]


FINETUNE, GIFT = runs.MATRICES["finetune"], runs.MATRICES["gift"]
GIFT_L2 = shifted(GIFT, -0.5)
ALL: dict[str, runs.Matrix] = {**runs.MATRICES, "gift_cd": FINETUNE, "gift_l2": GIFT_L2, "joint": GIFT}


def write_seeds(root: Path, *seeds: int, methods: Mapping[str, runs.Matrix] = runs.MATRICES) -> list[Path]:
    """Accuracies shift with the seed, except those of gift_l2."""
    for seed in seeds:
        matrices = {name: shifted(matrix, SHIFTS[seed] * (name != "gift_l2")) for name, matrix in methods.items()}
        runs.write_run(root / str(seed), matrices=matrices, seed=seed)
    return [root / str(seed) for seed in seeds]


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three runs of which no more than the seeds matters, and in the first one their comparison."""
    roots = write_seeds(tmp_path_factory.mktemp("seeds"), 44, 42, 43, methods=ALL)
    for key, value in (("experiment", "another"), ("run.device", "cpu"), ("generator.seed", 7)):
        change(roots[0], key, value)
    write_comparison(read_runs(roots), roots[0] / "comparison")
    return roots


def change(root: Path, key: str, value: object) -> None:
    """Sets a dotted key of params.yaml."""
    params = yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8"))
    set_at(params, key, value)
    (root / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")


def test_the_files_have_scores_and_paired_differences_and_the_page_each_seed_as_a_dot(roots: list[Path]) -> None:
    out = roots[0] / "comparison"
    values = pd.read_csv(out / "comparison.csv")
    assert list(values["seed"].unique()) == [42, 43, 44]
    row = values[(values.seed == 42) & (values.method == "gift")].iloc[0].to_dict()
    metrics = {name: pytest.approx(value, abs=0.005) for name, value in runs.METRICS["gift"].items()}
    assert row == {"seed": 42, "method": "gift", **metrics, "own": pytest.approx(248 / 3)}
    comparison = json.loads((out / "comparison.json").read_text(encoding="utf-8"))
    assert (comparison["seeds"], comparison["against"], comparison["missing"]) == ([42, 43, 44], "gift", [])
    gift, finetune = comparison["methods"]["gift"], comparison["methods"]["finetune"]
    interval = [77.5159, 82.4841]  # 80 +- 4.3027 / sqrt(3)
    assert gift["figures"]["last"] == {"mean": 80.0, "interval_95": interval, "seeds": 3, "deviation": 1.0}
    assert gift["by_task"]["zodiac"]["figures"]["transfer"]["mean"] == 48.0  # of 50 and 46, shifted by a mean of 0
    assert gift["difference"] == {}
    # both shift equally with the seed, so the paired difference has no noise
    expected = {"mean": -20.0, "interval_95": [-20.0, -20.0], "exceeds_noise": True, "seeds": 3}
    assert finetune["difference"]["last"] == expected
    assert comparison["methods"]["gift_l2"]["difference"]["last"]["exceeds_noise"] is False
    page = (out / "index.html").read_text(encoding="utf-8")
    assert "Over 3 seeds, GIFT has 80.0 ± 1.0% mean accuracy after 3 tasks of the miniature benchmark." in page
    named = "“Fine-tuning” and “GIFT, CD only”"
    assert f"Of 3 other methods, {named} differ from it in Last by more than the noise." in page
    differences = page[page.index('class="seeds differences"') :]
    cell = '<td class="{}"><span class="figure">{}</span><span class="interval">{}</span>'
    assert cell.format("worse", "−20.0", "−20.0 to −20.0") in differences
    assert cell.format("noise", "≈ −0.5", "−3.0 to +2.0") in differences
    assert "GIFT\nseed 42\t80.00\nseed 43\t79.00\nseed 44\t81.00" in page
    assert [each.count("<circle") for each in re.findall(r'<svg class="strip".*?</svg>', page, re.S)] == [3] * 6 * 5
    axes = re.findall(r'<svg class="strip axis".*?</svg>', page, re.S)
    texts = [re.findall(r"<text.*?>(.*?)</text>", axis) for axis in axes]
    assert [low.lstrip("−") for low, _, _ in texts] == [high.lstrip("+") for _, _, high in texts]
    assert len(texts) == 5 and ["−1.0", "mean", "+1.0"] in texts


def test_any_order_gives_the_same_bytes_and_one_seed_has_no_spread(roots: list[Path], tmp_path: Path) -> None:
    said = gift("compare", *roots[::-1], "--out", tmp_path / "again").stdout
    assert "80.0±1.0" in said and "One seed" not in said
    assert content(tmp_path / "again") == content(roots[0] / "comparison")
    assert "One seed: there is no spread" in gift("compare", roots[0], "--out", tmp_path / "one").stdout
    page = (tmp_path / "one" / "index.html").read_text(encoding="utf-8")
    assert "There is no spread" in page and "±" not in page[page.index("<main") :]
    assert "±" not in (tmp_path / "one" / "figures" / "matrix_gift.svg").read_text(encoding="utf-8")
    finetune = json.loads((tmp_path / "one" / "comparison.json").read_text(encoding="utf-8"))["methods"]["finetune"]
    assert finetune["difference"]["last"] == {"mean": -20.0, "interval_95": None, "seeds": 1}


def test_a_missing_seed_is_an_error_unless_allowed(tmp_path: Path) -> None:
    folders = write_seeds(tmp_path, 42, 43, 44, methods=ALL)
    Layout(folders[1]).accuracy("gift_cd", runs.TASKS[-1]).unlink()
    with pytest.raises(UserError, match=r"not finished: gift_cd \(seed 43\)\. .*--allow-missing"):
        read_runs(folders)
    comparison = read_runs(folders, allow_missing=True)
    write_comparison(comparison, tmp_path / "out")
    assert (comparison.missing, len(comparison.scores["gift_cd"]["last"])) == (((43, "gift_cd"),), 2)
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert "Missing: GIFT, CD only (seed 43)" in page and "2 of 3 seeds" in page
    rows = yaml.safe_load((folders[1] / "params.yaml").read_text(encoding="utf-8"))["methods"]
    change(folders[1], "methods", {"gift": rows["gift"]})  # between two runs that differ in a method it does not have
    change(folders[1], "run.methods", ["gift"])
    change(folders[2], "methods.gift_l2.learning_rate", 0.5)
    with pytest.raises(UserError, match=r"42 and .*44 are not one experiment: methods\.gift_l2\.learning_rate is "):
        read_runs(folders, allow_missing=True)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("tasks.letters.test_images", 7, r"letters\.test_images is .* and 7 in the second\. Only the seeds may differ"),
        ("seed", 42, "have the same seed, 42"),
        ("pre-trained model", "f" * 64, "started from different pre-trained models"),
        ("finished", False, r"43/data/6_accuracy has no finished method"),
    ],
)
def test_runs_that_cannot_be_compared_are_refused(tmp_path: Path, key: str, value: object, message: str) -> None:
    folders = write_seeds(tmp_path, 42, 43)
    if key == "pre-trained model":
        for method, task in product(runs.MATRICES, runs.TASKS):
            runs.change_accuracies(folders[1], method, task, **{"model:pretrained": str(value)})
    elif key == "finished":
        for method in runs.MATRICES:
            Layout(folders[1]).accuracy(method, runs.TASKS[0]).unlink()
    else:
        change(folders[1], key, value)
    with pytest.raises(UserError, match=message):
        read_runs(folders)


EVIL = "</script></style><script>alert(1)</script><img src=x onerror=alert(1)>\"'`{{7*7}}&lt;"
ESCAPED = "&lt;script&gt;alert(1)&lt;"


def text_of(folder: Path) -> str:
    """The page, of which no script and no attribute was written by the text."""
    html = (folder / "index.html").read_text(encoding="utf-8")
    assert "<script>alert" not in html and "<img src=x" not in html
    assert not re.search(r"""(?<!\\)"'`""", html), "a quotation mark that ends an attribute"
    return html


def test_html_is_text_in_the_report_and_in_the_comparison(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "PROMPTS", (EVIL, EVIL))
    config = runs.write_run(tmp_path, changes={"experiment": EVIL.replace("/", "")})  # a name with / is refused
    for file in (tmp_path / "data" / "1_tasks").glob("*/task.json"):
        texts = {"class_names": [f"{EVIL} {number}" for number in range(10)], "templates": [f"{EVIL} {{}}"]}
        texts |= {"notes": [EVIL], "skipped": [[EVIL, EVIL]], "source": EVIL}
        file.write_text(json.dumps(json.loads(file.read_text()) | texts))
    runs.write_pictures(Layout(tmp_path), config)
    assert text_of(runs.build(tmp_path, config)).count(ESCAPED) >= 3
    write_comparison(read_runs([tmp_path]), tmp_path / "out")
    assert ESCAPED in text_of(tmp_path / "out")
