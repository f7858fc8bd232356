"""A stage that is run by hand refuses what the pipeline did not write: valid artifacts, edited or exchanged."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from gift_core.artifacts.accuracy import read_accuracy, write_accuracy
from gift_core.artifacts.prompt_files import read_prompts, write_prompts
from gift_core.errors import UserError
from gift_core.layout import Layout
from stages.stage import open_stage
from tests.clone import TASKS, Clone, copy_of
from tests.stages.experiment import invoke

pytestmark = pytest.mark.end_to_end
FIRST, SECOND = TASKS
Mutation = Callable[[Layout], object]


@pytest.fixture(scope="module")
def finished(first_result: Path, tmp_path_factory: pytest.TempPathFactory) -> Clone:
    return copy_of(first_result / "gift", tmp_path_factory.mktemp("recorded") / "gift")


@pytest.fixture
def layout(finished: Clone, tmp_path: Path) -> Iterator[Layout]:
    """The locations in it. After the test, its artifacts are as before."""
    data = finished.folder / "data"
    shutil.copytree(data, tmp_path / "data", symlinks=True)
    yield Layout(finished.folder)
    shutil.rmtree(data)
    shutil.copytree(tmp_path / "data", data, symlinks=True)


def run(layout: Layout, command: str) -> Result:
    return invoke(*command.split(), "--params", layout.root / "params.yaml", "--root", layout.root)


def edited(path: Path, change: Callable[[Any], object]) -> None:
    """Changes the content of a JSON file. Its time stays."""
    status, content = path.stat(), json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False), encoding="utf-8")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def replaced(path: Path, old: str, new: str) -> None:
    """Replaces the first occurrence of a text in a file. Size and time stay."""
    status, text = path.stat(), path.read_text(encoding="utf-8")
    assert old in text and len(old) == len(new)
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def swap(one: Path, other: Path) -> None:
    aside = one.with_name("aside")
    one.rename(aside)
    other.rename(one)
    aside.rename(other)


def other_prompt(layout: Layout) -> None:
    prompts = read_prompts(layout.prompts(SECOND))
    prompts.loc[0, "prompt"] = "a photo of a Z."
    write_prompts(layout.prompts(SECOND), prompts)


def other_accuracies(layout: Layout) -> None:
    rows, metadata = read_accuracy(layout.accuracy("gift", SECOND))
    write_accuracy(layout.accuracy("gift", SECOND), rows.assign(top1=1 - rows.top1), metadata)


def one_loss(layout: Layout) -> None:
    path = layout.model("gift", FIRST) / "losses.jsonl"
    first, *others = path.read_text().splitlines()
    row = json.loads(first)
    path.write_text("\n".join([json.dumps(row | {"learning_rate": row["learning_rate"] / 2}), *others, ""]))


def first_class(name: str) -> Callable[[Any], object]:
    return lambda task: task["class_names"].__setitem__(0, name)


def mean(model: Path) -> None:
    edited(model / "open_clip_config.json", lambda config: config["preprocess_cfg"].update(mean=[0.1, 0.2, 0.3]))


# What is changed, and the stages that would use it.
MUTATIONS: dict[str, tuple[Mutation, tuple[str, ...]]] = {
    "a tar of two tasks": (
        lambda at: swap(at.shards(FIRST) / "00000.tar", at.shards(SECOND) / "00000.tar"), ("report",)),
    "a prompt": (other_prompt, (f"synthesize {SECOND}",)),
    "a class of the vocabulary": (
        lambda at: edited(at.vocabulary(FIRST), lambda all: all[-1].update(class_name="Zz")),
        (f"write_prompts {SECOND}", f"teach gift {SECOND}")),
    "a class of the task": (
        lambda at: edited(at.task(SECOND) / "task.json", first_class("Zz")),
        (f"finetune gift {SECOND}", f"evaluate gift {SECOND}", f"write_prompts {SECOND}", "report")),
    "a template of an earlier task, of the same size": (
        lambda at: replaced(at.task(FIRST) / "task.json", "a ", "a\u00a0"), (f"evaluate gift {SECOND}",)),
    "the mean of a model": (
        lambda at: mean(at.model("gift", FIRST)),
        (f"evaluate gift {FIRST}", f"teach gift {SECOND}", f"finetune gift {SECOND}")),
    "a token": (
        lambda at: replaced(at.model("gift", FIRST) / "tokenizer.json", '"a"', '"\u00e9"'[:3]),
        (f"finetune gift {SECOND}",)),
    "a loss": (one_loss, (f"evaluate gift {FIRST}", "report")),
    "accuracies": (other_accuracies, ("report",)),
}  # fmt: skip


@pytest.mark.parametrize("what", MUTATIONS)
def test_a_stage_refuses_what_the_pipeline_did_not_write(layout: Layout, what: str) -> None:
    mutate, commands = MUTATIONS[what]
    mutate(layout)
    for command in commands:
        result = run(layout, command)
        said = " ".join(result.output.split())
        assert result.exit_code == 1, command
        assert "the pipeline wrote another file" in said or "its sha256 should be" in said, f"{command}: {said}"


def test_without_the_notes_of_this_machine_dvc_lock_and_the_cache_decide(layout: Layout) -> None:
    shutil.move(layout.root / ".gift" / "written", layout.root / "notes")
    lock, text = layout.root / "dvc.lock", (layout.root / "dvc.lock").read_text(encoding="utf-8")
    gone = layout.vocabulary(FIRST).relative_to(layout.root).as_posix()  # of a step before a task was removed
    lock.write_text(
        f"{text}  write_prompts@9:\n    cmd: gone\n    outs:\n    - path: {gone}\n      md5: {'0' * 32}\n",
        encoding="utf-8",
    )
    assert run(layout, f"write_prompts {SECOND}").exit_code == 0
    lock.write_text(text, encoding="utf-8")
    edited(layout.task(SECOND) / "task.json", first_class("Zz"))
    assert "task.json: the pipeline wrote another file" in run(layout, f"write_prompts {SECOND}").output
    shutil.move(layout.root / ".dvc" / "cache" / "files", layout.root / "files")
    shutil.move(layout.root / "notes", layout.root / ".gift" / "written")  # may be older than dvc.lock
    assert run(layout, f"write_prompts {SECOND}").exit_code == 0
    shutil.move(layout.root / "files", layout.root / ".dvc" / "cache" / "files")


def test_what_a_stage_wrote_itself_is_used_before_dvc_records_it(layout: Layout) -> None:
    params = layout.root / "params.yaml"
    text = params.read_text(encoding="utf-8")
    params.write_text(text.replace("images_per_task: 16", "images_per_task: 8"), encoding="utf-8")
    assert run(layout, f"write_prompts {SECOND}").exit_code == 0
    assert run(layout, f"synthesize {SECOND}").exit_code == 0
    params.write_text(text, encoding="utf-8")


def test_under_dvc_a_stage_refuses_other_code_than_that_of_check_and_settings_that_change_meanwhile(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    params, text = layout.root / "params.yaml", (layout.root / "params.yaml").read_text(encoding="utf-8")
    monkeypatch.setenv("DVC_STAGE", "finetune@gift-step1")
    changed = text.replace("temperature: 2.0", "temperature: 2.5")
    for now, message in ((changed, "methods.gift changed while finetune"), (f"{text}[", "edited while finetune ran")):
        stage = open_stage("finetune", params, layout.root, method="gift", task=SECOND)
        with pytest.raises(UserError, match=message), stage:
            params.write_text(now, encoding="utf-8")
        params.write_text(text, encoding="utf-8")
    code = layout.root / "data/code/finetune/gift.json"
    edited(code, lambda state: state.setdefault("edited", {}).update({"a.py: distill": ""}))
    with (
        pytest.raises(UserError, match=r"after `check` ran \(a.py: distill\)"),
        open_stage("finetune", params, layout.root, method="gift", task=SECOND),
    ):
        pass
