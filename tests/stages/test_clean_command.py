"""gift clean: what interrupted stages left is shown and removed, what a running process owns stays."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from typer.testing import Result

from gift_core.layout import Layout
from gift_core.work.folder import work_folder
from tests.stages.experiment import invoke
from tests.work.test_kept_work import owned


def clean(root: Path, *options: str, answer: str = "") -> Result:
    return invoke("clean", "--root", root, *options, input=answer)


def interrupted(root: Path, stage: str, name: str) -> Path:
    folder = Layout(root).work(stage, name)
    with suppress(RuntimeError), work_folder(folder, {"seed": 1}) as work:
        (work / "training.safetensors").write_bytes(bytes(2_000_000))
        raise RuntimeError("interrupted")
    return folder


def test_work_is_shown_and_a_no_keeps_it_and_a_yes_removes_it_and_nothing_else(tmp_path: Path) -> None:
    folders = [interrupted(tmp_path, "finetune", "gift-birds"), interrupted(tmp_path, "synthesize", "birds")]
    others = [interrupted(tmp_path, name, "birds") for name in ("timings", "compare")]
    output = clean(tmp_path, answer="n\n").output
    assert all(text in output for text in ("finetune@gift-birds", "2.0 MB", " 0 s ", "nothing was removed"))
    assert all(folder.exists() for folder in folders)
    assert "removed 4.0 MB" in clean(tmp_path, answer="y\n").output
    assert not any(folder.exists() for folder in folders)
    assert all(other.exists() for other in others)


def test_the_work_of_a_running_process_stays_and_its_owner_is_named(tmp_path: Path) -> None:
    gone, kept = interrupted(tmp_path, "finetune", "gift-birds"), Layout(tmp_path).work("teach", "gift-birds")
    with owned(kept) as process:
        result = clean(tmp_path, "--yes")
        assert result.exit_code == 1  # make clean must stop here
        assert f"process {process.pid} " in result.output
        assert "1 stages are running, so their work stays" in result.output
        assert kept.exists()
        assert not gone.exists()
    assert clean(tmp_path, "--yes").exit_code == 0
    assert not kept.exists()
