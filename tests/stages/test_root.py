"""`--root X`: raw data are looked for in X, also from another working directory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gift_core.artifacts.prompt_files import read_prompts
from gift_core.artifacts.task import read_task
from tests.datasets.folders import birds
from tests.stages.experiment import Experiment, tiny


@pytest.fixture
def experiment(tmp_path: Path, mini_params: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Experiment:
    """A project in another folder than the working directory, which has other data at the same paths."""
    params = tiny(mini_params, tasks=["birds"])
    params["tasks"]["birds"] = {
        "source": "folder", "path": "data/0_raw/birds", "templates": ["a {}."], "test_fraction": 0.5,
        "on_bad_image": "refuse",
    }  # fmt: skip
    words, captions = "data/0_raw/prompts/words.txt", "data/0_raw/prompts/captions.csv"
    params["prompts"] |= {"base_vocabulary": words, "strategy": "captions", "captions": captions}
    for name, word in (("project", "wren"), ("elsewhere", "heron")):
        folder = birds(tmp_path / name / "data" / "0_raw")
        for split in ("train", "test"):
            (folder / split / "wren").rename(folder / split / word)
        (tmp_path / name / words).parent.mkdir()
        (tmp_path / name / words).write_text(f"{word}\n")
        (tmp_path / name / captions).write_text(f"class_name,caption\n{word},a {word} in the rain\n")
    monkeypatch.chdir(tmp_path / "elsewhere")
    return Experiment(tmp_path / "project", params)


def test_data_captions_and_vocabulary_are_those_of_the_root(experiment: Experiment) -> None:
    for command in ("write_vocabulary", "ingest birds", "write_prompts birds"):
        experiment.succeed(*command.split())
    assert read_task(experiment.layout.task("birds")).class_names == ("great tit", "wren")
    assert set(read_prompts(experiment.layout.prompts("birds")).prompt) == {"a wren in the rain"}


def test_ingest_says_which_class_names_changed(experiment: Experiment) -> None:
    for _ in range(2):
        assert "changed" not in experiment.succeed("ingest", "birds")
    for split in ("train", "test"):
        folder = experiment.folder / "data/0_raw/birds" / split
        (folder / "great_tit").rename(folder / "great-tit")
    expected = "ingest@birds: class names changed since the last ingest: 'great tit' is now 'great-tit'. To keep"
    assert expected in experiment.succeed("ingest", "birds")
