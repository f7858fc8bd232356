"""A path that does not exist says so and names what is beside it, in every command that takes one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.stages.experiment import invoke

MODELS = "data/5_models/gift"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder: two models that are empty folders, pictures, a finished run without results, a table."""
    for folder in (f"{MODELS}/garments", f"{MODELS}/birds", "pictures", "runs/seed_1", "data/1_tasks/owls"):
        (tmp_path / folder).mkdir(parents=True)
    for file in ("pictures/a.png", "rows.csv", "data/1_tasks/owls/task.json", "weights.safetensors", "names.txt"):
        (tmp_path / file).touch()
    (tmp_path / "names.txt").write_text("owl\nwren\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


GARMENT = f"{MODELS}/garment: no such folder. Beside it: garments, birds."


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (f"predict {MODELS}/garment pictures --classes names.txt", GARMENT),
        (f"merge {MODELS}/birds {MODELS}/garment --alpha 0.5 --out out", GARMENT),
        (f"predict {MODELS}/birds picture/a.png --classes names.txt", "picture/a.png: no such file or folder. "
         "This folder has no picture, it has pictures, "),
        (f"predict {MODELS}/birds pictures --classes owl", "--classes owl: neither a file nor an ingested task. "
         "Did you mean 'owls'? Ingested tasks: owls."),
        ("show --root rows.csv", "--root rows.csv: it is a file, expected a folder. Name the folder of a project."),
        ("compare runs/seed_2", "gift compare: runs/seed_2: no such folder. Beside it: seed_1."),
        ("check --params presets/mini.yaml", "presets/mini.yaml: no such file. This folder has no presets, "),
    ],
)  # fmt: skip
def test_the_nearest_names_are_shown_and_no_catalogue(words: str, expected: str, project: Path) -> None:
    result = invoke(*words.split())
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("error: ")
    assert expected in result.stderr
    assert "ViT" not in result.stderr
