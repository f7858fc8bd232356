"""docs/adding_a_method.md, followed to the letter on a copy of the project."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from tests.clone import Clone, new_project, small, stages_in
from tests.docs.snippets import blocks_of, install_gift
from tests.imports import ROOT

PAGE = ROOT / "docs" / "adding_a_method.md"
BLOCKS = blocks_of(ROOT, "docs/adding_a_method.md")
METHOD, LOSS, REPLAY, TASK = "gift_relations", "relations", "gift_distinct", "letters"
BLOCK = re.compile(
    r"^In `(?P<file>[^`]+)`, "
    r"(?:(?P<where>above|below|in place of) (?P<tick>``?) ?(?P<line>[^\n]+?) ?(?P=tick))?[^`\n]*\n\n"
    r"```\w+\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


def commands() -> list[str]:
    return [line for block in BLOCKS if block.language == "sh" for line in block.commands]


def inserted(text: str, *, block: re.Match[str]) -> str:
    """The text with the block above, below or in place of the one line that begins as the page says."""
    lines = text.splitlines(keepends=True)
    found = [number for number, line in enumerate(lines) if line.strip().startswith(block["line"])]
    assert len(found) == 1, f"{block['file']} has {len(found)} lines that begin with {block['line']}"
    start = found[0] + (block["where"] == "below")
    end = start + (block["where"] == "in place of")
    return "".join([*lines[:start], block["code"], *lines[end:]])


@pytest.fixture
def copy(tmp_path: Path) -> Clone:
    """A copy of the project with a small experiment, which runs its own code."""
    copy = new_project(tmp_path / "gift")
    copy.environment["PYTHONPATH"] = str(copy.folder)
    shutil.copy2(ROOT / "presets" / "mini.yaml", copy.folder / "params.yaml")
    params = small(copy.params, TASK)
    copy.write_params(params | {"run": params["run"] | {"methods": ["gift"]}})
    install_gift(copy)
    return copy


def test_every_block_is_run_or_is_an_example_that_another_test_knows() -> None:
    text = PAGE.read_text(encoding="utf-8")
    edits = [found["code"] for found in BLOCK.finditer(text)]
    python = [block.code for block in BLOCKS if block.language == "python" and block.code not in edits]
    assert len(edits) == 5 and len(python) == 1 and text.count("```yaml") == 1
    called: dict[str, Any] = {}
    exec(python[0], called)
    axes, tilted = torch.eye(2), torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    assert called[LOSS](tilted, axes, margin=0.1).item() == pytest.approx(2 * 0.5**2 / 4)


def test_the_commands_of_the_page_run_a_method_of_ones_own_and_a_replay(copy: Clone) -> None:
    before = copy.params
    add, doctor, repro, compare, add_replay, again = commands()
    copy.run("bash", "-c", add)
    shown = yaml.safe_load(re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[0])
    row = copy.params["methods"][METHOD]
    assert shown["methods"][METHOD] == row | {"learning_rate": shown["methods"][METHOD]["learning_rate"]}
    assert "my_losses.py: relations, my_losses.py: Sensitivity work" in " ".join(copy.run("bash", "-c", doctor).split())
    printed = copy.run("bash", "-c", repro)
    assert re.search(rf"{METHOD} .*\d", printed) and f"finetune@{METHOD}-step0" in stages_in(printed)
    rows = losses_of(copy, METHOD)
    assert list(rows[0])[2:] == ["task", "align", LOSS, "consolidation", "total"]
    assert all(rows[-1][name] > 0 for name in (LOSS, "consolidation"))
    printed = copy.run("bash", "-c", compare)
    seeds = [f"finetune@{method}-step0" for method in ("gift", METHOD)] * 2  # of two seeds: the first has run before
    assert sorted(name for name in stages_in(printed) if name.startswith("finetune@")) == sorted(seeds)
    assert stages_in(copy.run("bash", "-c", compare)) == []
    for block in BLOCK.finditer(PAGE.read_text(encoding="utf-8")):
        file = copy.folder / block["file"]
        file.write_text(inserted(file.read_text(encoding="utf-8"), block=block), encoding="utf-8")
    copy.run("python", "-m", "ruff", "check", "gift_core")
    copy.run("python", "-m", "ruff", "format", "--check", "gift_core")
    copy.run("bash", "-c", add_replay)
    assert f"finetune@{REPLAY}-step0" in stages_in(copy.run("bash", "-c", again))
    assert len(losses_of(copy, REPLAY)) == len(rows) and before["methods"].items() <= copy.params["methods"].items()


def losses_of(copy: Clone, method: str) -> list[dict[str, float]]:
    log = copy.folder / "data" / "5_models" / method / TASK / "losses.jsonl"
    return [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]


def test_only_the_methods_that_name_a_file_run_again_after_an_edit_of_its_code(copy: Clone) -> None:
    copy.run("bash", "-c", commands()[0])
    copy.edit("my_losses.py", "import torch\n", "import torch\n\nimport parts\n")
    (copy.folder / "parts.py").write_text("FACTOR = 1\n", encoding="utf-8")
    copy.repro()
    deps = yaml.safe_load((copy.folder / "dvc.yaml").read_text(encoding="utf-8"))["stages"]["check"]["deps"]
    assert deps[-2:] == ["my_losses.py", "parts.py"]
    assert copy.repro() == ["check"] and copy.repro() == []  # dvc.yaml has these dependencies now
    copy.edit("my_losses.py", "import parts", "import parts  # a comment")
    assert copy.repro() == ["check"]
    copy.edit("parts.py", "FACTOR = 1", "FACTOR = 2")
    assert f"finetune@{METHOD}-step0 would run:" in (said := copy.run("bash", "-c", "gift why")) and "parts.py" in said
    ran = copy.repro()
    assert f"finetune@{METHOD}-step0" in ran and not [name for name in ran if name.startswith("finetune@gift-")]
    provenance = copy.folder / "data" / "5_models" / METHOD / TASK / "provenance.json"
    assert [*json.loads(provenance.read_text(encoding="utf-8"))["own_code"]] == ["my_losses.py", "parts.py"]
    copy.edit("my_losses.py", "def relations(", "def relation(")
    assert "my_losses.py has no function 'relations'. Did you mean 'relation'?" in copy.run("dvc", "repro", expect=255)
