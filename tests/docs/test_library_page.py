"""docs/library.md: its examples run, its links and defaults hold."""

from __future__ import annotations

import dataclasses
import inspect
import re
import runpy
import sys

import pytest

import gift_core
from tests.conftest import PROJECT
from tests.stages.experiment import gift

PAGE = (PROJECT / "docs" / "library.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^    python (examples/\w+\.py)$", PAGE, re.MULTILINE)


def test_the_page_names_every_example() -> None:
    scripts = {f"examples/{path.name}" for path in (PROJECT / "examples").glob("*.py")}
    assert set(EXAMPLES) == scripts - {"examples/miniature.py", "examples/my_losses.py"}  # which others import
    shown = re.findall(r"^    python (\S+\.py)$", gift("docs", "library").output, re.MULTILINE)
    assert shown == [str(PROJECT / name) for name in EXAMPLES]  # from any folder


@pytest.fixture
def printed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """What the script of a test prints; the folder of a script is on Python's path."""
    monkeypatch.syspath_prepend(PROJECT / "examples")
    monkeypatch.setattr(sys, "argv", [request.param])
    runpy.run_path(str(PROJECT / "examples" / request.param), run_name="__main__")
    return capsys.readouterr().out


@pytest.mark.parametrize("printed", ["finetune_open_clip.py"], indirect=True)
def test_ten_lines_learn_the_task_and_forget_little(printed: str) -> None:
    before, after = map(float, re.findall(r"task loss ([\d.]+) -> ([\d.]+)", printed)[0])
    assert after < before - 0.5
    (known,) = re.findall(r"known before: ([\d.]+) % -> ([\d.]+) %", printed)
    assert float(known[1]) > float(known[0]) - 10


@pytest.mark.parametrize("printed", ["gift_in_one_page.py"], indirect=True)
def test_one_page_generates_pairs_and_learns_without_forgetting(printed: str) -> None:
    rows = re.findall(r"task ([\d.]+), distill [\d.]+, align [\d.]+, consolidation ([\d.]+)", printed)
    first, last = ([float(value) for value in row] for row in (rows[0], rows[-1]))
    assert last[0] < first[0] - 0.5
    assert first[1] == 0 and last[1] > 0
    (new,) = re.findall(r"new classes: ([\d.]+) % -> ([\d.]+) %", printed)
    (known,) = re.findall(r"known classes: ([\d.]+) % -> ([\d.]+) %", printed)
    assert float(new[1]) > float(new[0]) + 5
    assert float(known[1]) > float(known[0]) - 10


@pytest.mark.parametrize("printed", ["own_loss.py"], indirect=True)
def test_a_loss_of_ones_own_is_compared_in_a_table(printed: str) -> None:
    table = {row[0]: float(row[2]) for row in re.findall(r"^(\w+) +([\d.]+)% +([\d.]+)%$", printed, re.MULTILINE)}
    assert list(table) == ["finetune", "gift", "relations"]
    assert table["gift"] > table["finetune"]


def test_the_defaults_in_the_table_are_those_of_the_code_and_of_the_papers_preset() -> None:
    defaults = {name: each.default for name, each in inspect.signature(gift_core.finetune).parameters.items()}
    training = dataclasses.asdict(defaults["training"])
    assert (defaults["method"], defaults["iterations"], defaults["seed"]) == ("gift", 1000, 42)
    assert gift_core.method_row("gift")["learning_rate"] == 1e-5
    assert "| learning_rate | 1e-5 |" in PAGE and "| iterations, warm-up | 1,000, a tenth of them |" in PAGE
    shown = "| weight_decay, betas, label_smoothing | {weight_decay:g}, {betas}, {label_smoothing} |".format(**training)
    assert shown in PAGE
    assert f"| replay_batch_size | {training['replay_batch_size']} |" in PAGE
