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

from tests import preloaded
from tests.clone import new_project, small
from tests.docs.snippets import Block, blocks_of
from tests.imports import ROOT

PAGE = ROOT / "docs" / "adding_a_method.md"
METHOD, LOSS, TASK = "gift_relations", "distill_relations", "letters"
BLOCK = re.compile(
    r"^In `(?P<file>[^`]+)`, "
    r"(?:(?P<where>above|below|in place of) (?P<tick>``?) ?(?P<line>[^\n]+?) ?(?P=tick))?[^`\n]*\n\n"
    r"```\w+\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


# What the last test does not run, and why.
NOT_RUN = {
    "make format lint": "mypy takes a minute; ruff is run above",
    "python -m pytest tests/test_losses.py tests/test_consolidation.py tests/test_methods.py "
    "tests/config/test_method_options.py tests/test_architecture.py tests/docs/test_methods_page.py": "run above",
}


def shell_blocks() -> list[Block]:
    return [block for block in blocks_of(ROOT, "docs/adding_a_method.md") if block.language == "sh"]


class Copy:
    """The project in a folder of its own, and the commands run there."""

    def __init__(self, folder: Path) -> None:
        self.folder = new_project(folder).folder
        self.followed: list[str] = []
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
            self.change(block["file"], partial(inserted if block["where"] else changed, block=block))
            self.followed.append(block["file"])


def inserted(text: str, *, block: re.Match[str]) -> str:
    """The text with the block above, below or in place of the one line that begins as the page says."""
    lines = text.splitlines(keepends=True)
    found = [number for number, line in enumerate(lines) if line.strip().startswith(block["line"])]
    assert len(found) == 1, f"{block['file']} has {len(found)} lines that begin with {block['line']}"
    start = found[0] + (block["where"] == "below")
    end = start + (block["where"] == "in place of")
    return "".join([*lines[:start], block["code"], *lines[end:]])


def changed(text: str, *, block: re.Match[str]) -> str:
    """The YAML with the block's keys in place of its own."""
    return yaml.safe_dump(merged(yaml.safe_load(text), yaml.safe_load(block["code"])), sort_keys=False)


def merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    nested = {key: merged(old[key], value) for key, value in new.items() if isinstance(old.get(key), dict)}
    return old | new | nested


def cut(text: str) -> str:
    """params.yaml with one task, few images, few iterations, and the methods that run."""
    params = yaml.safe_load(text)
    methods = {name: params["methods"][name] for name in params["run"]["methods"]}
    return yaml.safe_dump(small(params, TASK) | {"methods": methods}, sort_keys=False)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    """A copy in which the page has been followed."""
    copy = Copy(tmp_path_factory.mktemp("adding") / "gift")
    copy.follow(PAGE.read_text(encoding="utf-8"))
    return copy


def test_no_block_of_the_page_is_left_out_and_the_copy_runs_its_own_code(copy: Copy) -> None:
    fences = re.findall(r"^```(\w+)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(fences) == len(copy.followed) + len(shell_blocks())
    assert {"gift_core/losses.py", "gift_core/consolidation.py", "docs/methods.md"} <= set(copy.followed)
    assert set(NOT_RUN) <= {line for block in shell_blocks() for line in block.commands}
    printed = copy.run("-c", "import gift_core, stages; print(gift_core.__file__, stages.__file__)")
    assert printed.split() == [str(copy.folder / name / "__init__.py") for name in ("gift_core", "stages")]


def test_the_changed_files_pass_the_linter(copy: Copy) -> None:
    changed = sorted({file for file in copy.followed if file.endswith(".py")})
    copy.run("-m", "ruff", "check", *changed)
    copy.run("-m", "ruff", "format", "--check", *changed)


def test_the_tests_that_the_page_names_pass(copy: Copy) -> None:
    (command,) = [line for block in shell_blocks() for line in block.commands if "pytest" in line]
    copy.run(*command.split()[1:])


def test_a_mistyped_name_of_the_new_loss_is_reported_as_the_page_says(copy: Copy) -> None:
    mistyped = LOSS.removesuffix("s")
    params = (copy.folder / "params.yaml").read_text(encoding="utf-8")
    (copy.folder / "mistyped.yaml").write_text(params.replace(f"{LOSS}:", f"{mistyped}:"), encoding="utf-8")
    printed = copy.run("-m", "stages", "check", "--params", "mistyped.yaml", expect=1)
    expected = f"methods.{METHOD}.losses.{mistyped}: unknown loss. Did you mean '{LOSS}'?"
    assert expected in " ".join(printed.split())
    assert expected in PAGE.read_text(encoding="utf-8")


def test_the_commands_of_the_page_run_the_new_method(copy: Copy) -> None:
    copy.change("params.yaml", cut)
    tools, socket = copy.folder / ".venv" / "bin", copy.folder.parent / "socket"
    preloaded.install(tools, socket)
    for name in (".installed", ".installed-dev"):  # so that make installs nothing into the environment of the tests
        (tools.parent / name).touch()
    environment = os.environ | {"PATH": f"{tools}:{Path(sys.executable).parent}:{os.environ['PATH']}"}
    lines = [line for block in shell_blocks() for line in block.commands if line not in NOT_RUN]
    with preloaded.serving(socket, code=copy.folder, environment=dict(environment)):
        for line in lines:
            command = ["bash", "-c", line]
            done = subprocess.run(command, cwd=copy.folder, env=environment, capture_output=True, text=True)
            assert done.returncode == 0, f"{line}\n{(done.stdout + done.stderr)[-5000:]}"
            if line.startswith("dvc repro &&"):
                assert re.search(rf"{METHOD} .*\d", done.stdout) and f"finetune@{METHOD}-step0" in done.stdout
    log = copy.folder / "data" / "5_models" / METHOD / TASK / "losses.jsonl"
    rows = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    assert list(rows[0])[2:] == ["task", LOSS, "align", "consolidation", "total"]
    assert len(rows) == 4 and all(rows[-1][name] > 0 for name in (LOSS, "consolidation"))
