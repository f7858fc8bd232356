"""Command lines: every option with absurd values, outputs that would overwrite something, terminals without UTF-8."""
# ruff: noqa: E501 - in a table, a case is a line

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

import gift_core.interop.importing  # noqa: F401  (torch is loaded before memory is measured)
from gift_core.errors import GiftError
from stages.app import app
from tests.clone import content
from tests.hostile.campaign import SIZES, Case, Choice, run_cases
from tests.report.run_folder import write_run

ROOT = Path(__file__).resolve().parents[2]
RUNNER = CliRunner()
NUMBERS = ["0", "-1", "nan", "inf", "-inf", "1e30", "1e300", "1e-320", "9" * 400, "010", "1_000", "0x10", "", " ", "one", "1;2", "\u0661"]  # fmt: skip
WORDS = ["", " ", ".", "..", "../..", "/nowhere", "/dev/null", "-", "--", "a b", "a; touch pwned", "$(touch pwned)", "*", "{a,b}", "[a",
         "a\nb", "a\x1b[31m", "\u202e", "\U0001f600", "e\u0301", "%s", "{}", "{0}", "CON", "hf-hub:", "local-dir:", "local-file:x",
         "s3://bucket/x", "~", "gift", "letters", "mini", "x" * 200]  # fmt: skip


@dataclass(frozen=True)
class World:
    """A finished run, an unfinished project, images and a model, all in one folder."""

    folder: Path

    @property
    def words(self) -> list[str]:
        names = ("run", "images", "a_file", "a_link", "model", "project")
        return [*WORDS, *(str(self.folder / name) for name in names)]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("world")
    write_run(folder / "run")
    for label in ("wren", "tree"):
        (folder / "project" / "data" / "0_raw" / "birds" / label).mkdir(parents=True)
        for number in range(4):
            Image.new("RGB", (8, 8), (number, 0, 0)).save(folder / "project/data/0_raw/birds" / label / f"{number}.png")
    shutil.copytree(ROOT / "presets", folder / "project" / "presets")
    shutil.copy(ROOT / "presets" / "mini.yaml", folder / "project" / "params.yaml")
    shutil.copytree(ROOT / "data" / "mini" / "clip", folder / "model")
    (folder / "images").symlink_to(folder / "project" / "data" / "0_raw" / "birds")
    (folder / "a_file").write_text("not what you expect")
    (folder / "names").write_text("tree\nwren\n")
    (folder / "a_link").symlink_to(folder / "nothing")
    return World(folder)


def cases(world: World) -> Iterator[Case]:
    project, run, model = (str(world.folder / name) for name in ("project", "run", "model"))
    params, birds = f"{project}/params.yaml", f"{project}/data/0_raw/birds"
    adding = ["add-task", "birds", "--images", birds, "--params", params, "--root", project, "--dry-run"]
    with_words: list[list[str]] = [
        ["presets", "--root", "@"], ["use", "@", "--root", project, "--dry-run"], ["use", "mini_full", "--root", "@", "--dry-run"],
        ["show", "--root", "@"], ["metrics", "@"], ["compare", "@", "--out", f"{run}/out"],
        ["compare", run, "--out", f"{run}/out", "--against", "@"], ["data", "status", "@", "--params", params, "--root", project],
        ["data", "verify", "@", "--params", params, "--root", project], ["check", "--params", "@"],
        ["finetune", "@", "letters", "--params", params, "--root", project], ["teach", "gift", "@", "--params", params, "--root", project],
        ["evaluate", "gift", "letters", "--params", params, "--root", "@"], ["merge", "@", model, "--alpha", "0.5", "--out", f"{project}/m"],
        ["export", model, "--to", "@", "--out", f"{project}/e"], ["export", "@", "--to", "onnx", "--out", f"{model}/e"],
        ["add-task", "@", *adding[2:]], [*adding, "--template", "@"], [*adding, "--on-bad-image", "@"], [*adding, "--class-names", "@"],
        [*adding, "--table", "@"], [*adding, "--webdataset", "@"], ["add-task", "b", "--images", "@", *adding[4:]],
        ["doctor", "--quick", "--root", "@"], ["@"], ["doctor", "--@"],
    ]  # fmt: skip
    with_numbers = [
        [*adding, "--test-fraction", "@"], [*adding, "--shots", "@"], [*adding, "--learning-rate-factor", "@"],
        ["merge", model, model, "--alpha", "@", "--out", f"{model}/m"],
        ["finetune", "gift", "letters", "--params", params, "--root", project, "--learning-rate-factor", "@"],
    ]  # fmt: skip
    by_name = ["predict", model, f"{project}/data/0_raw/birds", "--classes", f"{world.folder}/names"]
    never_accepted = [
        ["show", "--times", "--root", "@"], ["presets", "--root", "@"], ["verify", "--params", params, "--root", "@"],
        [*by_name[:3], "--classes", "@"], [*by_name, "--templates", "@"], [*by_name, "--pretrained", "@"], [*by_name, "--device", "@"],
        ["hub", "push", "model", model, "--to", "me/x", "--out", f"{project}/h", "--license", "@"],
        ["hub", "push", "model", model, "--to", "me/x", "--out", f"{project}/h", "--revision", "@"],
    ]  # fmt: skip
    for command in never_accepted:
        for value in ("/nowhere", "/dev/null", "a\nb", str(world.folder / "a_file"), str(world.folder / "a_link")):
            words = [word.replace("@", value) for word in command]
            yield Case(" ".join(words), functools.partial(_refused, words))
    for commands, values in ((with_words, world.words), (with_numbers, NUMBERS)):
        for command in commands:
            for value in values:
                words = [word.replace("@", value) for word in command]
                yield Case(" ".join(words), functools.partial(_invoke, words))


def _invoke(words: Sequence[str]) -> str:
    """Raises the message of a command that refused; what is wrong with the way it ended, else."""
    result = RUNNER.invoke(app, list(words))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    if "Traceback" in result.output:
        return result.output
    if result.exit_code == 0 or "fail" in result.output or "missing" in result.output:
        return ""  # the doctor and `data status` answer with what they found
    raise GiftError(result.output)


def _refused(words: Sequence[str]) -> str:
    """As _invoke, for a command that is never right."""
    return _invoke(words) or "accepted, although it is wrong"


def message_fault(message: str) -> str:
    return "" if re.search(r"(?i)(error|usage|try )", message) else f"no message: {message!r}"


@pytest.mark.parametrize("choose", SIZES)
def test_command_lines_end_well(choose: Choice, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_cases(choose(list(cases(world))), message_fault=message_fault) == []
    assert list(tmp_path.iterdir()) == []


OUTPUTS = {
    "a file": ("a_file", "already exists, and is a file"), "below a file": ("a_file/x/y", "is a file. Name a folder that is not below a file"),
    "a link to nothing": ("a_link", "already exists, and is a link"), "a folder of the user": ("project", "already exists, and has other files"),
    "a link to a folder": ("images", "already exists, and is a link"),
}  # fmt: skip


@pytest.mark.parametrize("output", OUTPUTS)
def test_an_output_that_would_touch_something_is_refused(world: World, output: str) -> None:
    name, expected = OUTPUTS[output]
    before = content(world.folder)
    result = RUNNER.invoke(app, ["compare", str(world.folder / "run"), "--out", str(world.folder / name)])
    assert result.exit_code == 1
    assert expected in " ".join(result.output.split())
    assert content(world.folder) == before


@pytest.mark.parametrize(
    "words", [["merge", "model", "model", "--alpha", "0.5"], ["export", "model", "--to", "safetensors"]]
)
def test_an_output_inside_an_input_or_of_the_user_is_refused(
    world: World, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(world.folder)
    for out, expected in (("model/../model/new", "is in model, which is read"), ("project", "has other files")):
        before = content(world.folder)
        assert expected in " ".join(RUNNER.invoke(app, [*words, "--out", out]).output.split())
        assert content(world.folder) == before


def test_compare_onto_the_run_itself_is_refused_and_onto_its_own_result_is_not(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(shutil.copytree(world.folder / "run", tmp_path / "run"))
    before = content(tmp_path)
    assert RUNNER.invoke(app, ["compare", ".", "--out", "."]).exit_code == 1
    assert content(tmp_path) == before
    for _ in range(2):
        assert RUNNER.invoke(app, ["compare", ".", "--out", "out"]).exit_code == 0


def test_a_terminal_without_utf8_prints_everything(tmp_path: Path) -> None:
    rows = "method,step,trained_task,eval_task,top1\ngift,-1,pretrained,\u9ce5 \U0001f426,0.5\ngift,0,\u9ce5 \U0001f426,\u9ce5 \U0001f426,0.7\n"
    (tmp_path / "rows.csv").write_text(rows, encoding="utf-8")
    inherited = {key: value for key, value in os.environ.items() if key not in ("PYTHONUTF8", "LANG", "LC_ALL")}
    environment = inherited | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "-m", "stages", "metrics", "--per-task", str(tmp_path / "rows.csv")]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    assert b"0.7" in done.stdout or b"70.0" in done.stdout
    refused = subprocess.run([*command[:3], "use", "\u9ce5"], cwd=ROOT, env=environment, capture_output=True)
    assert refused.returncode == 1 and b"unknown name" in refused.stderr and b"Traceback" not in refused.stderr
