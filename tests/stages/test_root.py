"""`--root X`: raw data are looked for in X, also from another working directory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from gift_core.artifacts.prompt_files import read_prompts
from gift_core.artifacts.task import read_task
from gift_core.layout import Layout
from stages.app import app
from tests.datasets.folders import birds


@pytest.fixture
def root(tmp_path: Path, mini_params: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project in another folder than the working directory, which has other data at the same paths."""
    row = {"source": "folder", "path": "data/0_raw/birds", "templates": ["a {}."], "test_fraction": 0.5,
           "on_bad_image": "refuse"}  # fmt: skip
    mini_params["tasks"] = {"birds": row}
    mini_params["sequence"] = [{"task": "birds", "after": "../pretrained", "learning_rate_factor": 1.0}]
    mini_params["prompts"] |= {
        "images_per_task": 6, "base_vocabulary": "data/0_raw/prompts/words.txt", "strategy": "captions",
        "captions": "data/0_raw/prompts/captions.csv",
    }  # fmt: skip
    mini_params["training"]["replay_batch_size"] = 4
    for name, word in (("project", "wren"), ("elsewhere", "heron")):
        raw = tmp_path / name / "data" / "0_raw"
        birds(raw)
        for split in ("train", "test"):
            (raw / "birds" / split / "wren").rename(raw / "birds" / split / word)
        (raw / "prompts").mkdir()
        (raw / "prompts" / "words.txt").write_text(f"{word}\n")
        (raw / "prompts" / "captions.csv").write_text(f"class_name,caption\n{word},a {word} in the rain\n")
    (tmp_path / "project" / "params.yaml").write_text(yaml.safe_dump(mini_params, sort_keys=False))
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path / "project"


def run(root: Path, *command: str) -> str:
    result = CliRunner().invoke(app, [*command, "--params", str(root / "params.yaml"), "--root", str(root)])
    assert result.exit_code == 0, result.output
    return result.output


def test_data_captions_and_vocabulary_are_those_of_the_root(root: Path) -> None:
    layout = Layout(root)
    run(root, "write_vocabulary")
    run(root, "ingest", "birds")
    run(root, "write_prompts", "birds")
    assert read_task(layout.task("birds")).class_names == ("great tit", "wren")
    assert set(read_prompts(layout.prompts("birds")).prompt) == {"a wren in the rain"}


def test_ingest_says_which_class_names_changed(root: Path) -> None:
    assert "changed" not in run(root, "ingest", "birds")
    assert "changed" not in run(root, "ingest", "birds")
    for split in ("train", "test"):
        folder = root / "data/0_raw/birds" / split
        (folder / "great_tit").rename(folder / "great-tit")
    said = run(root, "ingest", "birds")
    assert "ingest@birds: class names changed since the last ingest: 'great tit' is now 'great-tit'. To keep" in said
