"""What all commands share: their help, the guides, --json, --quiet, and a quick start."""

from __future__ import annotations

import json
import logging
import os
import re
import shlex
import sys
from functools import partial
from pathlib import Path

import pytest

from gift_core.layout import guides
from stages.command_line import note
from stages.open_stage import open_stage
from stages.options import PARAMS
from stages.options import ROOT as HERE
from stages.stage import logged_to
from tests.clone import Clone
from tests.datasets.folders import flat_birds
from tests.docs.command_line import commands
from tests.imports import ROOT
from tests.stages.experiment import invoke

HEAVY = (
    "torch", "torchvision", "open_clip", "transformers", "diffusers", "pandas", "scipy", "matplotlib", "dvc", "pyarrow",
    "huggingface_hub",
)  # fmt: skip


EVERY = dict(commands())


gift = partial(invoke, prog_name="gift")


@pytest.fixture(autouse=True)
def here(mini_project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(mini_project)
    monkeypatch.setenv("GIFT_QUIET", "")  # put back after the test


@pytest.mark.parametrize("name", sorted(EVERY))
def test_a_command_has_an_example_that_it_accepts_and_a_help_for_every_option(name: str) -> None:
    text = gift(*name.split(), "-h").stdout
    assert f"Usage: gift {name}" in text and "docs/" not in text  # there is no such folder
    command = EVERY[name]
    paragraphs = command.help.split("\n\n")
    assert not any("\n" in text for text in paragraphs), "rich keeps a line break, at any width of the terminal"
    (example,) = [text for text in paragraphs if text.startswith("Example: gift ")]
    words = shlex.split(example.removeprefix("Example: gift "))
    assert words[: len(name.split())] == name.split()
    command.make_context(name, words[len(name.split()) :])
    for param in command.get_params(command.make_context(name, [], resilient_parsing=True)):
        assert param.help, param.name
        assert param.metavar is not None, f"{param.name} has no metavar"


@pytest.mark.parametrize(
    ("words", "keys"),
    [
        ("presets", {"name", "title", "tasks", "iterations", "methods", "needs", "active", "changed_lines"}),
        ("use mtil_order_1 --diff", {"preset", "written", "backup", "next", "difference"}),
        ("clean", {"works", "removed"}),
    ],
)
def test_with_json_stdout_is_one_document(words: str, keys: set[str], mini_project: Path) -> None:
    result = gift(*words.split(), "--json")
    document = json.loads(result.stdout)
    assert set(document[0] if isinstance(document, list) else document) >= keys


def test_quiet_leaves_out_progress_and_hints_and_keeps_results(mini_project: Path) -> None:
    assert gift("use", "mini_full").stdout.endswith("Next: dvc repro\n")
    assert gift("write_vocabulary").stdout.startswith("write_vocabulary: ")
    assert gift("--quiet", "write_vocabulary").output == ""
    assert os.environ["GIFT_QUIET"] == "1"
    assert gift("--quiet", "use", "mini").stdout.splitlines()[-1].endswith("How long it takes here: gift rehearse")
    wrong = gift("-q", "use", "mini_fool", "--json")
    assert (wrong.exit_code, wrong.stdout, wrong.stderr[:7]) == (1, "", "error: ")


def test_what_the_library_logs_is_printed_once_as_a_line_of_the_stage_or_beside_the_result_of_a_command(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    logger = logging.getLogger("gift_core.work.resumable")
    with logged_to(note):
        with open_stage("write_vocabulary", PARAMS, HERE) as stage:
            logger.info("continues at 1 of 2")
            stage.say("2 class names")
        logger.warning("is not used")
    assert caplog.messages == []
    logger.warning("printed by whoever calls the library")
    expected = "write_vocabulary: continues at 1 of 2\nwrite_vocabulary: 2 class names\n"
    assert capsys.readouterr() == (expected, "is not used\n")
    assert len(caplog.messages) == 1


def test_a_dry_run_writes_nothing_and_a_file_that_cannot_be_read_is_kept(mini_project: Path) -> None:
    (mini_project / "params.yaml").write_text("experiment: mine\n", encoding="utf-8")
    result = gift("use", "mtil_order_1", "--dry-run", "--diff")
    assert "-experiment: mine" in result.stdout and "nothing was written" in result.stdout
    assert sorted(path.name for path in mini_project.iterdir()) == ["params.yaml", "presets"]
    assert (mini_project / "params.yaml").read_text(encoding="utf-8") == "experiment: mine\n"
    (mini_project / "params.yaml").write_text("tasks: [")
    listed = gift("presets")
    assert (listed.exit_code, "params.yaml is missing, or it cannot be read." in listed.stdout) == (0, True)
    assert "kept as params.backup-1.yaml" in gift("use", "mini").stdout
    assert (mini_project / "params.backup-1.yaml").read_text(encoding="utf-8") == "tasks: ["


def test_quick_commands_import_nothing_slow(mini_project: Path) -> None:
    (mini_project / "reports").mkdir()
    summary = {**dict.fromkeys(("benchmark", "best_method")), "experiment": "mini", "note": "", "result": ["a result"]}
    summary |= {"protocol": "task_incremental", "miniature_model": True, "tasks": ["birds"]}
    names = ("transfer_percent", "avg_percent", "last_percent", "forgetting_points")
    summary |= {"methods": {"zero_shot": {**dict.fromkeys(names, 1.0), "by_task": {}}}}
    (mini_project / "reports" / "summary.json").write_text(json.dumps(summary))
    flat_birds(mini_project / "data/0_raw")
    (mini_project / "data/mini").symlink_to(ROOT / "data/mini")
    quick = ["--help", "--version", "check", "presets", "methods", "use mini_full", "add-method joint",
             "add-method lwf", "show --json", "clean", "data status dtd",
             "add-task birds --images data/0_raw/birds",
             "doctor --quick"]  # fmt: skip
    code = (
        "import sys\n"
        "from stages.app import app\n"
        f"for words in {quick!r}:\n"
        "    code = app(words.split(), standalone_mode=False)\n"
        "    assert not code, (words, code)\n"
        f"    found = [name for name in {HEAVY!r} if name in sys.modules]\n"
        "    assert not found, (words, found)\n"
    )
    Clone(mini_project).run(sys.executable, "-c", code, PYTHONPATH=str(ROOT))


def test_a_python_without_the_packages_is_named_with_the_command_that_activates_the_environment() -> None:
    said = Clone(ROOT).run(sys.executable, "-S", "-m", "stages", "check", expect=1)
    assert said.startswith(f"error: {sys.executable} has no module ") and "Traceback" not in said
    assert "source .venv/bin/activate" in said


def test_every_page_that_code_and_presets_name_is_a_guide() -> None:
    files = [file for folder in ("gift_core", "stages", "presets") for file in (ROOT / folder).rglob("*.*")]
    texts = [file.read_text(encoding="utf-8") for file in files if file.suffix in (".py", ".yaml", ".j2")]
    named = set(re.findall(r"docs/(\w+)\.md", "\n".join(texts)))
    assert {"memory", "models", "team"} <= named <= set(guides())
