"""The best method, its baseline, the headline and the colors."""

from __future__ import annotations

from pathlib import Path

from gift_core.layout import Layout
from gift_core.report.build import build_report
from gift_core.report.highlight import QUIET, headline, styles_of
from gift_core.report.page import render_page
from gift_core.report.run_record import read_run
from tests.report.run_folder import MATRICES, write_run


def test_a_single_task_has_dashes_for_transfer_and_forgetting(tmp_path: Path) -> None:
    config = write_run(tmp_path, tasks=("letters",), matrices={"finetune": [[40], [90]], "gift": [[40], [85]]})
    record = read_run(Layout(tmp_path), config)
    assert "".join(headline(record)) == (
        "After 1 task of the miniature benchmark, Fine-tuning has 90.0% mean accuracy and GIFT has 85.0% "
        "(zero-shot model: 40.0%)."
    )
    assert render_page(record).count("<td>–</td>") == 6


def test_without_a_baseline_the_headline_names_the_best_method_alone(tmp_path: Path) -> None:
    config = write_run(tmp_path, matrices={"finetune": MATRICES["finetune"]})
    assert (
        headline(read_run(Layout(tmp_path), config))[0]
        == "After 3 tasks of the miniature benchmark, Fine-tuning has 60.0% mean accuracy."
    )


def test_the_baseline_is_plain_fine_tuning_even_if_another_method_is_worse(tmp_path: Path) -> None:
    worse = [[40, 60, 50], [50, 50, 30], [40, 55, 20], [20, 35, 45]]
    config = write_run(tmp_path, matrices={**MATRICES, "l2": worse})
    assert "and plain fine-tuning has 60.0%" in headline(read_run(Layout(tmp_path), config))[0]


def test_a_run_of_the_zero_shot_model_alone_is_reported(tmp_path: Path) -> None:
    config = write_run(tmp_path, matrices={"zero_shot": [MATRICES["gift"][0]] * 4})
    build_report(Layout(tmp_path), config, tmp_path / "reports")
    page = (tmp_path / "reports" / "index.html").read_text(encoding="utf-8")
    assert "The zero-shot model has 50.0% mean accuracy on 3 tasks of the miniature benchmark." in page
    assert 'id="forgetting"' not in page


def test_of_many_methods_only_the_best_and_its_baseline_have_a_color(tmp_path: Path) -> None:
    many = {f"method_{number}": MATRICES["finetune"] for number in range(6)}
    config = write_run(tmp_path, matrices={**many, **MATRICES})
    record = read_run(Layout(tmp_path), config)
    colored = {method: style for method, style in styles_of(record).items() if style != QUIET}
    assert colored == {"finetune": "m0", "gift": "m1"}
    page = render_page(record)
    assert page.count("<details data-method=") == 8
    assert page.count(" open><summary>") == 2
