"""What params.yaml says of a loss or a consolidation of one's own, against the text of its file, which does not run."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from gift_core.config.loading import parse_config
from gift_core.config.own_code import example_of, new_code, require_own_code, setting_of
from gift_core.config.presets import complete_text
from gift_core.errors import UserError
from tests.imports import ROOT

RELATIONS = {"file": "my_losses.py", "weight": 20.0}
UNPAIRED = {"images": "task", "teacher": "previous", "texts": {"kind": "classes"}}
MORE = """
raise RuntimeError("it runs")
def unknown(student_img_MD): ...
def of_all(student_image_MD, vocabulary_text_PD, *, count: int = 1, rate=0.5, other: dict | None = None): ...
def star(*features): ...
class Fisher:
    def __init__(self, parameters, *, fisher, weight): ...
"""


def problem(folder: Path, **slots: Any) -> str:
    """What is said of the row of gift with these slots; "" if it fits the file."""
    params = yaml.safe_load(complete_text(ROOT / "presets" / "mini_quick.yaml"))
    row = {"learning_rate": 1e-4, "replay": {"images": "synthetic", "teacher": "previous"}}
    params["methods"]["own"] = row | {"losses": {}, "consolidation": {"kind": "none"}} | slots
    params["run"] = params["run"] | {"methods": ["own"]}
    try:
        require_own_code(parse_config(yaml.safe_dump(params), "params.yaml"), folder)
    except UserError as error:
        return str(error)
    return ""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copy2(ROOT / "examples" / "my_losses.py", tmp_path)
    (tmp_path / "more.py").write_text(MORE, encoding="utf-8")
    (tmp_path / "broken.py").write_text("def loss(:\n", encoding="utf-8")
    return tmp_path


def test_what_fits_the_file_is_accepted_and_the_file_does_not_run(folder: Path) -> None:
    assert problem(folder, losses={"relations": RELATIONS | {"margin": 0}}) == ""
    assert problem(folder, losses={"of_all": {"file": "more.py", "weight": 1, "count": 2, "other": {"a": 1}}}) == ""
    sensitivity = {"kind": "Sensitivity", "file": "my_losses.py", "weight": 0.1}
    assert problem(folder, losses={"relations": RELATIONS}, consolidation=sensitivity) == ""


@pytest.mark.parametrize(
    ("losses", "said"),
    [
        ({"relatons": RELATIONS}, "my_losses.py has no function 'relatons'. Did you mean 'relations'?"),
        ({"distil": {"weight": 1.0}}, "methods.own.losses.distil: unknown loss. Did you mean 'distill'?"),
        ({"relations": RELATIONS | {"file": "my_los.py"}}, "my_los.py: no such file. Beside it: my_losses.py"),
        ({"relations": RELATIONS | {"file": "../more.py"}}, "'../more.py' is not a Python file of the project."),
        ({"relations": RELATIONS | {"file": "data/more.py"}}, "data/more.py is in data/, which has no code that runs."),
        ({"relations": RELATIONS | {"margn": 1.0}}, "losses.relations.margn: unknown option. Did you mean 'margin'?"),
        ({"relations": RELATIONS | {"margin": "1"}}, "losses.relations.margin: should be a valid number, it is '1'."),
        ({"relations": {"file": "my_losses.py"}}, "methods.own.losses.relations.weight: missing."),
        ({"of_all": {"file": "more.py", "weight": 1, "count": 0.5}}, "losses.of_all.count: should be a valid integer"),
        ({"of_all": {"file": "more.py", "weight": 1, "rate": True}}, "losses.of_all.rate: should be a valid number"),
        ({"unknown": {"file": "more.py", "weight": 1}}, "more.py:3: unknown: unknown parameter 'student_img_MD'."),
        ({"star": {"file": "more.py", "weight": 1}}, "more.py:5: star: takes * or **"),
        ({"loss": {"file": "broken.py", "weight": 1}}, "broken.py:1: invalid syntax."),
    ],
)  # fmt: skip
def test_a_loss_that_does_not_fit_is_refused_with_the_place(folder: Path, losses: dict[str, Any], said: str) -> None:
    assert said in problem(folder, losses=losses)


def test_a_feature_that_the_replay_does_not_have_is_refused(folder: Path) -> None:
    said = problem(folder, losses={"of_all": {"file": "more.py", "weight": 1}}, replay=UNPAIRED)
    assert "more.py:4: of_all: takes vocabulary_text_PD, which replay.images: task does not have" in said


def test_a_consolidation_is_a_class_and_gets_fisher_only_where_it_is_estimated(folder: Path) -> None:
    own, losses = {"file": "more.py", "weight": 0.1}, {"relations": RELATIONS}
    said = problem(folder, losses=losses, consolidation=own | {"kind": "Fischer"})
    assert "has no class 'Fischer'. Did you mean 'Fisher'?" in said
    said = problem(folder, losses=losses, consolidation=own | {"kind": "Fisher"})
    assert "more.py:6: Fisher: takes fisher, which is not estimated." in said
    replay = {"images": "synthetic", "teacher": "previous", "fisher": {"estimator": "batch", "accumulate": False}}
    assert problem(folder, losses=losses, consolidation=own | {"kind": "Fisher"}, replay=replay) == ""


def test_a_new_file_has_the_example_under_the_names_that_were_asked_for(tmp_path: Path) -> None:
    loss = new_code("--loss", "mine.py:near", is_loss=True)
    pull = new_code("--consolidation", "mine.py:Pull", is_loss=False)
    assert setting_of(loss, is_example=True) == "losses.near={file: mine.py, weight: 1.0}"
    assert setting_of(pull, is_example=True) == "consolidation={kind: Pull, file: mine.py, weight: 0.1}"
    both, alone = example_of([loss, pull]), example_of([loss])
    assert "\ndef near(" in both and "\nclass Pull:" in both and "\nclass" not in alone
    (tmp_path / "mine.py").write_text(both, encoding="utf-8")
    consolidation = {"kind": "Pull", "file": "mine.py", "weight": 0.1}
    assert problem(tmp_path, losses={"near": RELATIONS | {"file": "mine.py"}}, consolidation=consolidation) == ""
    with pytest.raises(UserError, match=r"^--loss mine: should be a Python file of the project and a name in it"):
        new_code("--loss", "mine", is_loss=True)
