"""The table of a paper over seeds, from accuracies of any source: its numbers, its marks, and its LaTeX."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest
from scipy import stats

from tests.report import run_folder
from tests.stages.experiment import gift

TASKS = ("letters", "tex_tures")
# Last of the second task by seed, in percent. The others of a method are the same.
SEEDS = {"ours": [80, 82, 84], "close": [79, 83, 81], "far": [60, 62, 64], "50% & more": [50, 50, 50]}


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """Every accuracy of a method with a seed is one number, so its Transfer, Avg and Last are that number, too."""
    found = [
        {"method": method, "seed": seed, "step": step, "trained_task": TASKS[step], "eval_task": task, "top1": of / 100}
        for method, by_seed in SEEDS.items()
        for seed, of in enumerate(by_seed)
        for step in (0, 1)
        for task in TASKS
    ]
    pd.DataFrame(found).to_csv(tmp_path / "rows.csv", index=False)
    return tmp_path / "rows.csv"


def body_of(latex: str) -> list[list[str]]:
    """The cells of the table, row by row, with the checks that a compiler makes: braces, columns, commands."""
    assert latex.startswith("% \\usepackage{booktabs}\n\\begin{table*}\n") and latex.endswith("\\end{table*}\n")
    unescaped = re.sub(r"\\[{}%&$#_]", "", latex)
    assert unescaped.count("{") == unescaped.count("}") and unescaped.count("$") % 2 == 0
    assert re.search(r"[&%#_^~]", re.sub(r"\\label\{.*?\}| & |^%.*$|table\*", "", unescaped, flags=re.M)) is None
    commands = {*re.findall(r"\\([A-Za-z]+)", latex)}
    assert commands <= {
        "usepackage", "begin", "end", "centering", "footnotesize", "scriptsize", "setlength", "tabcolsep", "caption",
        "label", "toprule", "midrule", "bottomrule", "textbf", "underline", "textsuperscript", "pm", "approx", "dagger",
    }  # fmt: skip
    assert [latex.count(f"\\{rule}rule\n") for rule in ("top", "mid", "bottom")] == [1, 3, 1]
    columns = re.search(r"\\begin\{tabular\}\{([lr]+)\}", latex)
    table = [line.removesuffix(" \\\\").split(" & ") for line in latex.splitlines() if line.endswith(" \\\\")]
    assert columns is not None and {len(cells) for cells in table} == {len(columns[1])}
    return [[cell.strip() for cell in cells] for cells in table]


def test_best_second_and_noise_are_marked_by_column_with_names_that_latex_can_read(rows: Path) -> None:
    found = gift("metrics", rows, "--format", "latex")
    head, *table = body_of(found.stdout)
    assert head == ["", "", "letters", "tex\\_tures", "mean"]
    assert [cells[0] for cells in table] == ["Transfer", "", "", "", "Avg", "", "", "", "Last", "", "", ""]
    assert [cells[1] for cells in table[:4]] == ["ours", "close", "far", "50\\% \\& more"]
    ours, close, far = (cells[2:] for cells in table[8:11])
    assert ours == ["\\textbf{82.0}{\\scriptsize $\\pm$2.0}"] * 3
    # 1, -1 and 3 points behind: the interval contains 0. 20 points behind with each seed: it does not.
    assert close == ["\\underline{81.0}{\\scriptsize $\\pm$2.0}\\textsuperscript{$\\approx$}"] * 3
    assert far == ["62.0{\\scriptsize $\\pm$2.0}"] * 3
    assert table[0][2] == "--"  # the first task has no Transfer
    assert "Accuracy in percent, mean $\\pm$ standard deviation over 3 seeds." in found.stdout


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs LaTeX (pdflatex) with booktabs")
def test_it_compiles(rows: Path, tmp_path: Path) -> None:
    table = gift("metrics", rows, "--format", "latex").stdout
    text = f"\\documentclass{{article}}\n\\usepackage{{booktabs}}\n\\begin{{document}}\n{table}\\end{{document}}\n"
    (tmp_path / "paper.tex").write_text(text, encoding="utf-8")
    command = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "paper.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]


def test_csv_and_json_have_intervals_and_paired_differences_by_task_and_in_all(rows: Path) -> None:
    table = [*csv.DictReader(io.StringIO(gift("metrics", rows, "--format", "csv").stdout))]
    by_key = {(row["metric"], row["method"], row["task"]): row for row in table}
    row = by_key["last", "close", "tex_tures"]
    low, high = stats.t.interval(0.95, 2, loc=81, scale=2 / 3**0.5)
    paired = stats.t.interval(0.95, 2, loc=-1, scale=stats.sem([-1, 1, -3]))
    expected = {"mean": 81, "deviation": 2, "low": low, "high": high, "seeds": 3, "difference_mean": -1}
    expected |= {"difference_low": paired[0], "difference_high": paired[1]}
    assert {name: float(row[name]) for name in expected} == pytest.approx(expected, abs=1e-3)
    assert (row["mark"], row["against"]) == ("second noise", "ours")
    assert (by_key["forgetting", "ours", "mean"]["mean"], by_key["own", "ours", "mean"]["mean"]) == ("0.0", "82.0")
    record = json.loads(gift("metrics", rows, "--json").stdout)
    assert (record["seeds"], record["against"]) == ([0, 1, 2], "ours")
    far = record["methods"]["far"]
    assert far["by_task"]["letters"]["difference"]["last"] == far["difference"]["last"] == {
        "mean": -20.0, "interval_95": [-20.0, -20.0], "seeds": 3, "exceeds_noise": True,
    }  # fmt: skip
    assert "transfer" not in far["by_task"]["letters"]["figures"]


def test_one_seed_has_a_table_without_deviations_and_without_a_word_on_noise(rows: Path) -> None:
    one = pd.read_csv(rows).query("seed == 0").drop(columns="seed")
    one.to_csv(rows, index=False)
    assert "| Last | ours | **80.0** | **80.0** | **80.0** |\n" in gift("metrics", rows, "--format", "markdown").stdout
    assert "one seed, so no difference" in gift("metrics", rows, "--format", "markdown").stdout
    assert [*json.loads(gift("metrics", rows, "--json").stdout)["ours"]] == ["transfer", "avg", "last", "forgetting"]


def test_the_table_of_finished_runs_has_published_rows_without_a_rank(tmp_path: Path) -> None:
    roots = [tmp_path / str(seed) for seed in (42, 43)]
    for root in roots:
        run_folder.write_mtil(root)
        params = (root / "params.yaml").read_text(encoding="utf-8")
        (root / "params.yaml").write_text(params.replace("seed: 42", f"seed: {root.name}"), encoding="utf-8")
    command = ("compare", *roots, "--out", tmp_path / "out", "--format")
    found = gift(*command, "latex")
    _, *table = body_of(found.stdout)
    assert f"The comparison: {tmp_path / 'out' / 'index.html'}" in found.stderr.replace("\n", "")
    names = [cells[1] for cells in table[:-1] if cells[1].startswith(("GIFT", "FARA"))]
    dagger = "\\textsuperscript{$\\dagger$}"
    assert names[:3] == ["GIFT", f"GIFT{dagger}", f"FARA (best plain CLIP){dagger}"]
    published = next(cells for cells in table if cells[1] == f"GIFT{dagger}")
    assert (published[0], published[-1]) == ("", "69.3") and "textbf" not in "".join(published)
    zscl = [cells for cells in table if cells[1] == f"ZSCL{dagger}"]
    assert zscl[2][2] == "40.6" and "--" not in zscl[2]  # Last by task, as published
    assert "published, not measured here, and without a rank (Wu et al., CVPR 2025" in found.stdout
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert "Published: MTIL order I, not measured here" in page and "GIFT †" in page
    (roots[0] / "data/1_tasks/t3/task.json").unlink()
    found = gift(*command, "markdown")
    assert "†" not in found.stdout
    assert "order I are not shown: task.json is not on this machine (t3)" in " ".join(found.stderr.split())
