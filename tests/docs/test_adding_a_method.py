"""docs/adding_a_method.md, followed to the letter on a copy of the project."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.imports import ROOT

PAGE = ROOT / "docs" / "adding_a_method.md"
COPIED = ("gift_core", "stages", "tests", "presets", "data/mini", "dvc.yaml", "pyproject.toml")
METHOD, TERM, TASK = "gift_relations", "distill_relations", "letters"
BLOCK = re.compile(
    r"^(?P<how>New file|In) `(?P<file>[^`]+)`(?:, (?P<where>above|below) `(?P<line>[^`]+)`)?[^`\n]*\n\n"
    r"```\w+\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
STAGES = """
import sys
from stages.__main__ import app
for command in sys.argv[1:]:
    assert not app(command.split(), standalone_mode=False), command
"""


class Copy:
    """The project in a folder of its own, and the commands run there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.followed: list[str] = []
        for name in COPIED:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy2(ROOT / name, folder / name)
        shutil.copy2(ROOT / "presets" / "mini.yaml", folder / "params.yaml")

    def run(self, *arguments: str, expect: int = 0) -> str:
        """Runs Python with `arguments`; returns what it printed."""
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env=os.environ | {"PYTHONPATH": str(self.folder)},
            capture_output=True,
            text=True,
        )
        printed = done.stdout + done.stderr
        assert done.returncode == expect, f"{arguments} -> {done.returncode}\n{printed[-6000:]}"
        return printed

    def change(self, file: str, edit: Callable[[str], str]) -> None:
        path = self.folder / file
        path.write_text(edit(path.read_text(encoding="utf-8")), encoding="utf-8")

    def follow(self, page: str) -> None:
        """Does what the page says with each of its blocks, and notes their files."""
        for block in BLOCK.finditer(page):
            if block["how"] == "New file":
                (self.folder / block["file"]).write_text(block["code"], encoding="utf-8")
            elif block["where"]:
                self.change(block["file"], partial(inserted, block=block))
            else:
                self.change(block["file"], partial(changed, block=block))
            self.followed.append(block["file"])


def inserted(text: str, *, block: re.Match[str]) -> str:
    """The text with the block above or below the one line that begins as the page says."""
    lines = text.splitlines(keepends=True)
    found = [number for number, line in enumerate(lines) if line.strip().startswith(block["line"])]
    assert len(found) == 1, f"{block['file']} has {len(found)} lines that begin with {block['line']}"
    at = found[0] + (block["where"] == "below")
    return "".join([*lines[:at], block["code"], *lines[at:]])


def changed(text: str, *, block: re.Match[str]) -> str:
    """The YAML with the block's keys in place of its own."""
    return yaml.safe_dump(merged(yaml.safe_load(text), yaml.safe_load(block["code"])), sort_keys=False)


def merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    nested = {key: merged(old[key], value) for key, value in new.items() if isinstance(old.get(key), dict)}
    return old | new | nested


def cut(text: str) -> str:
    """params.yaml with few images, few steps, and the methods that run."""
    params = yaml.safe_load(text)
    params["methods"] = {name: params["methods"][name] for name in params["run"]["methods"]}
    params["tasks"][TASK] |= {"train_images": 40, "test_images": 35}
    params["training"] |= {"iterations": 4, "warmup_iterations": 1, "batch_size": 8, "replay_batch_size": 8}
    params["prompts"] |= {"images_per_task": 12}
    params["generator"] |= {"steps": 2}
    return yaml.safe_dump(params, sort_keys=False)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    """A copy in which the page has been followed."""
    copy = Copy(tmp_path_factory.mktemp("adding") / "gift")
    copy.follow(PAGE.read_text(encoding="utf-8"))
    return copy


def test_a_term_and_an_anchor_are_one_file_one_row_and_one_test_each(copy: Copy) -> None:
    assert copy.followed == [
        "gift_core/objectives/relational.py",
        "gift_core/objectives/table.py",  # the options
        "gift_core/objectives/table.py",  # the entry
        "tests/objectives/test_relational.py",
        "gift_core/anchors/sensitivity.py",
        "gift_core/anchors/table.py",
        "gift_core/anchors/table.py",
        "tests/anchors/test_sensitivity.py",
        "params.yaml",
    ]


def test_no_block_of_code_on_the_page_is_left_out(copy: Copy) -> None:
    fences = re.findall(r"^```\w+$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(fences) == len(copy.followed)


def test_the_new_files_pass_the_linter(copy: Copy) -> None:
    new = [file for file in copy.followed if file.endswith(".py") and not (ROOT / file).exists()]
    copy.run("-m", "ruff", "check", *new)
    copy.run("-m", "ruff", "format", "--check", *new)


def test_the_tests_on_the_page_pass_and_the_architecture_holds(copy: Copy) -> None:
    new = ["tests/objectives/test_relational.py", "tests/anchors/test_sensitivity.py"]
    copy.run("-m", "pytest", *new, "tests/test_architecture.py", "tests/test_methods.py")


def test_a_mistyped_name_of_the_new_term_is_met_with_the_right_one_in_the_words_of_the_page(copy: Copy) -> None:
    mistyped = TERM.removesuffix("s")
    params = (copy.folder / "params.yaml").read_text(encoding="utf-8")
    (copy.folder / "mistyped.yaml").write_text(params.replace(f"{TERM}:", f"{mistyped}:"), encoding="utf-8")
    printed = copy.run("-m", "stages", "finetune", METHOD, TASK, "--params", "mistyped.yaml", expect=1)
    expected = f"methods.{METHOD}.losses.{mistyped}: unknown loss. Did you mean '{TERM}'?"
    assert expected in " ".join(printed.split())
    assert expected in PAGE.read_text(encoding="utf-8")


def test_the_new_method_learns_with_the_new_term_and_the_new_anchor(copy: Copy) -> None:
    copy.change("params.yaml", cut)
    made = [
        "import_model",
        "write_vocabulary",
        *(f"{stage} {TASK}" for stage in ("ingest", "write_prompts", "synthesize")),
    ]
    copy.run("-c", STAGES, *made, f"teach {METHOD} {TASK}", f"finetune {METHOD} {TASK}")
    log = copy.folder / "data" / "5_models" / METHOD / TASK / "losses.jsonl"
    rows = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    assert list(rows[0])[2:] == ["task", TERM, "align", "anchor", "total"]
    assert len(rows) == 4
    assert all(rows[-1][name] > 0 for name in (TERM, "anchor"))


def test_the_copy_ran_its_own_code(copy: Copy) -> None:
    printed = copy.run("-c", "import gift_core, stages; print(gift_core.__file__, stages.__file__)")
    assert printed.split() == [str(copy.folder / name / "__init__.py") for name in ("gift_core", "stages")]
