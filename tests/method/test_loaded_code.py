"""Losses and consolidations of one's own, from a file of the project: loaded, tried on small inputs, and refused."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from gift_core.config.loading import parse_part
from gift_core.config.method_options import MethodConfig
from gift_core.errors import UserError
from gift_core.method.loaded_code import require_working
from gift_core.method.methods import build_method
from tests.imports import ROOT

RELATIONS = {"relations": {"file": "my_losses.py", "weight": 20.0, "margin": 0.1}}
SENSITIVITY = {"kind": "Sensitivity", "file": "my_losses.py", "weight": 0.5}
SYNTHETIC: dict[str, Any] = {"images": "synthetic", "teacher": "previous"}
TASK = {"images": "task", "teacher": "previous", "texts": {"kind": "classes"}}


def row(
    losses: dict[str, Any], consolidation: dict[str, Any] | None = None, replay: dict[str, Any] = SYNTHETIC
) -> MethodConfig:
    slots = {"losses": losses, "consolidation": consolidation or {"kind": "none"}, "replay": replay}
    return parse_part(MethodConfig, {"learning_rate": 1e-4, **slots}, name="params.yaml", key="methods.own")


def in_file(folder: Path, text: str, name: str, replay: dict[str, Any] = SYNTHETIC) -> MethodConfig:
    """A row with the loss `name` of the file own.py, which has this text."""
    (folder / f"own_{folder.name}.py").write_text(text, encoding="utf-8")
    return row({name: {"file": f"own_{folder.name}.py", "weight": 1.0}}, replay=replay)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copy2(ROOT / "examples" / "my_losses.py", tmp_path)
    return tmp_path


def test_the_example_works_and_gets_its_weight_and_its_options(folder: Path) -> None:
    method = row({"align": {"weight": 0.25, "label_smoothing": 0.2}, **RELATIONS}, SENSITIVITY)
    require_working("methods.own", method, folder)
    built = build_method(method, root=folder)
    assert [(name, loss.weight) for name, loss in built.losses.items()] == [("align", 0.25), ("relations", 20.0)]
    # Cosines of the images: 0.6 instead of 0, beyond the margin by 0.5, in two of four entries. The texts agree.
    axes, tilted = torch.eye(2), torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    value = built.losses["relations"].function(tilted, axes, axes, axes)
    assert value.item() == pytest.approx(2 * 0.5**2 / 4, abs=1e-6)


def test_the_consolidation_of_the_example_by_hand(folder: Path) -> None:
    parameters = {"a": torch.nn.Parameter(torch.zeros(2)), "b": torch.nn.Parameter(torch.zeros(1, 1))}
    consolidation = build_method(row({}, SENSITIVITY, {"images": "none"}), root=folder).build_consolidation(parameters)
    consolidation.observe({"a": torch.tensor([1.0, -3.0]), "b": None})
    consolidation.observe({"a": torch.tensor([-1.0, -3.0]), "b": torch.tensor([[4.0]])})
    with torch.no_grad():
        for parameter in parameters.values():
            parameter += 0.1
    # F = (0.5, 1.5) and (0 + 1) / 2: opposite signs do not cancel. The penalty is 0.5 * (0.5 + 1.5 + 0.5) * 0.1^2.
    assert consolidation.pull(parameters).item() == pytest.approx(0.0125, rel=1e-5)
    torch.testing.assert_close(parameters["a"].grad, torch.tensor([0.05, 0.15]))
    torch.testing.assert_close(parameters["b"].grad, torch.tensor([[0.05]]))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def loss(student_image_MD):\n    return student_image_MD @ student_image_MD.T", r"returns a tensor \[4, 4\]"),
        ("\ndef loss(student_image_MD, teacher_image_MD):\n    teacher_image_MD *= 2\n"
         "    return student_image_MD.sum()", r":2: loss: it changes teacher_image_MD"),
        ("def loss(student_image_MD):\n    return student_image_MD.detach().sum()", "no gradient to the student's"),
        ("def loss(teacher_image_MD):\n    return teacher_image_MD.sum()", "no feature of the student"),
        ("def loss(student_image_MD):\n    return (student_image_MD * 0).sum().log()", "it is -inf"),
        ("def loss(student_image_MD, teacher_image_MD):\n"
         "    return (student_image_MD - teacher_image_MD).square().sum().sqrt()", "At first the student is its"),
        ("def loss(student_image_MD, teacher_text_MD):\n\n    return (student_image_MD @ teacher_text_MD).sum()",
         r":3: loss: RuntimeError: mat1 and mat2"),
        ("import not_there\ndef loss(student_image_MD):\n    return 0", r":1: loss: ModuleNotFoundError"),
    ],
)  # fmt: skip
def test_a_loss_that_cannot_train_is_refused_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UserError, match=rf"^own_{tmp_path.name}\.py.*{said}"):
        require_working("methods.own", in_file(tmp_path, text, "loss"), tmp_path)


def test_where_replay_has_no_pairs_texts_are_another_number(tmp_path: Path) -> None:
    text = "def loss(student_image_MD, student_text_MD):\n    return (student_image_MD * student_text_MD).sum()"
    require_working("methods.own", in_file(tmp_path, text, "loss"), tmp_path)
    with pytest.raises(UserError, match="must match the size"):
        require_working("methods.own", in_file(tmp_path, text, "loss", TASK), tmp_path)


def test_a_consolidation_that_forgets_what_a_snapshot_should_have_is_refused(tmp_path: Path) -> None:
    name = f"counts_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(
        "import torch\nclass Counts:\n    def __init__(self, parameters):\n        self.count = 0\n"
        "    def observe(self, gradients):\n        self.count += 1\n"
        "    def pull(self, parameters):\n        return torch.tensor(float(self.count))\n"
        "    def state(self):\n        return []\n",
        encoding="utf-8",
    )
    method = row({}, {"kind": "Counts", "file": f"{name}.py"}, {"images": "none"})
    with pytest.raises(UserError, match=rf"^{name}\.py:2: Counts: .* penalty is 2, and 0 where it was resumed"):
        require_working("methods.own", method, tmp_path)


def test_a_file_named_like_a_module_that_python_has_is_refused(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("def loss(student_image_MD):\n    return 0\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"^torch\.py: another module has the name torch\. Rename the file"):
        require_working("methods.own", row({"loss": {"file": "torch.py", "weight": 1.0}}), tmp_path)


def test_a_loss_may_not_have_the_name_of_a_column_of_the_log(tmp_path: Path) -> None:
    text = "def total(student_image_MD):\n    return student_image_MD.sum()"
    with pytest.raises(UserError, match="has a column of this name"):
        require_working("methods.own", in_file(tmp_path, text, "total"), tmp_path)
