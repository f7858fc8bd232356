"""docs/adding_a_method.md, followed to the letter on a copy of the project."""

from __future__ import annotations

import json
import re
import shutil
from typing import Any

import pytest
import yaml

from tests.clone import Clone, new_project, small, stages_in
from tests.docs.snippets import blocks_of, install_gift
from tests.imports import ROOT

PAGE = ROOT / "docs" / "adding_a_method.md"
BLOCKS = blocks_of(ROOT, "docs/adding_a_method.md")
METHOD, LOSS, TASK = "gift_relations", "distill_relations", "letters"
BLOCK = re.compile(
    r"^In `(?P<file>[^`]+)`, "
    r"(?:(?P<where>above|below|in place of) (?P<tick>``?) ?(?P<line>[^\n]+?) ?(?P=tick))?[^`\n]*\n\n"
    r"```\w+\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


# What the last test does not run, and why.
NOT_RUN = {
    "make format lint versions": "mypy takes a minute; ruff is run above",
    "python -m pytest tests/method/test_losses.py tests/method/test_consolidation.py tests/method/test_methods.py "
    "tests/test_architecture.py": "run above",
}


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


def changed(text: str, *, block: re.Match[str]) -> str:
    """The YAML with the block's keys in place of its own."""
    return yaml.safe_dump(merged(yaml.safe_load(text), yaml.safe_load(block["code"])), sort_keys=False)


def merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    nested = {key: merged(old[key], value) for key, value in new.items() if isinstance(old.get(key), dict)}
    return old | new | nested


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Clone, list[str]]:
    """A copy of the project, which runs its own code, in which the page was followed. Also the files of its blocks."""
    copy = new_project(tmp_path_factory.mktemp("adding") / "gift")
    copy.environment["PYTHONPATH"] = str(copy.folder)
    shutil.copy2(ROOT / "presets" / "mini.yaml", copy.folder / "params.yaml")
    files = []
    for block in BLOCK.finditer(PAGE.read_text(encoding="utf-8")):
        file = copy.folder / block["file"]
        edit = inserted if block["where"] else changed
        file.write_text(edit(file.read_text(encoding="utf-8"), block=block), encoding="utf-8")
        files.append(block["file"])
    return copy, files


def test_no_block_is_left_out_and_the_changed_files_pass_the_linter_and_the_tests_that_the_page_names(
    followed: tuple[Clone, list[str]],
) -> None:
    copy, files = followed
    fences = re.findall(r"^```(\w+)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(fences) == len(files) + len([block for block in BLOCKS if block.language == "sh"])
    assert {"gift_core/method/losses.py", "gift_core/method/consolidation.py", "docs/methods.md"} <= set(files)
    assert set(NOT_RUN) <= set(commands())
    printed = copy.run("python", "-c", "import gift_core, stages; print(gift_core.__file__, stages.__file__)")
    assert printed.split() == [str(copy.folder / name / "__init__.py") for name in ("gift_core", "stages")]
    code = sorted({file for file in files if file.endswith(".py")})
    copy.run("python", "-m", "ruff", "check", *code)
    copy.run("python", "-m", "ruff", "format", "--check", *code)
    (tests,) = [line for line in commands() if "pytest" in line]
    copy.run(*tests.split())


def test_a_mistyped_name_of_the_new_loss_is_reported_as_the_page_says(followed: tuple[Clone, list[str]]) -> None:
    copy, mistyped = followed[0], LOSS.removesuffix("s")
    params = (copy.folder / "params.yaml").read_text(encoding="utf-8")
    (copy.folder / "mistyped.yaml").write_text(params.replace(f"{LOSS}:", f"{mistyped}:"), encoding="utf-8")
    printed = copy.run("python", "-m", "stages", "check", "--params", "mistyped.yaml", expect=1)
    expected = f"methods.{METHOD}.losses.{mistyped}: unknown loss. Did you mean '{LOSS}'?"
    assert expected in " ".join(printed.split()) and expected in PAGE.read_text(encoding="utf-8")


def test_the_commands_of_the_page_run_the_new_method(followed: tuple[Clone, list[str]]) -> None:
    copy, params = followed[0], followed[0].params
    methods = {name: params["methods"][name] for name in params["run"]["methods"]}
    copy.write_params(small(params, TASK) | {"methods": methods})
    install_gift(copy)
    for line in (line for line in commands() if line not in NOT_RUN):
        printed = copy.run("bash", "-c", line)
        if line.startswith("dvc repro &&"):
            assert re.search(rf"{METHOD} .*\d", printed) and f"finetune@{METHOD}-step0" in printed
    again = copy.run("bash", "-c", line)
    seeds = [f"finetune@{method}-step0" for method in ("gift", METHOD)] * 2  # of two seeds: the first has run before
    assert sorted(name for name in stages_in(printed) if name.startswith("finetune@")) == sorted(seeds)
    assert "over seeds 42, 43, 44" in printed and not {"import_model", "write_vocabulary"} & {*stages_in(printed)}
    assert stages_in(again) == [] and again.partition("\nThe")[0] == printed.partition("\nThe")[0]
    other = yaml.safe_load((copy.folder / ".gift" / "seeds" / "44" / "params.yaml").read_text(encoding="utf-8"))
    assert (other.pop("seed"), other["generator"].pop("seed")) == (44, 44)
    own = copy.params
    assert (own.pop("seed"), own["generator"].pop("seed")) == (42, 0) and other == own
    log = copy.folder / "data" / "5_models" / METHOD / TASK / "losses.jsonl"
    rows = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    assert list(rows[0])[2:] == ["task", LOSS, "align", "consolidation", "total"]
    assert len(rows) == 4 and all(rows[-1][name] > 0 for name in (LOSS, "consolidation"))
