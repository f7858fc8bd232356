"""The cells that real DVC reads from dvc.yaml with each preset: what the methods share, and what is their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import yaml

from tests.imports import ROOT

SHARED = {"import_model": 1, "write_vocabulary": 1, "report": 1}


def cells(preset: str, folder: Path) -> list[str]:
    """Returns the names of all cells of the pipeline with this preset."""
    shutil.copy(ROOT / "dvc.yaml", folder)
    shutil.copy(ROOT / "presets" / f"{preset}.yaml", folder / "params.yaml")
    environment = os.environ | {"DVC_NO_ANALYTICS": "1"}
    for command in (["init", "--no-scm", "--quiet"], ["stage", "list", "--name-only"]):
        done = subprocess.run(
            [sys.executable, "-m", "dvc", *command], cwd=folder, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize("preset", sorted(path.stem for path in (ROOT / "presets").glob("*.yaml")))
def test_methods_share_all_but_teach_finetune_and_evaluate(preset: str, tmp_path: Path) -> None:
    params = yaml.safe_load((ROOT / "presets" / f"{preset}.yaml").read_text(encoding="utf-8"))
    steps, run = len(params["sequence"]), params["run"]
    found = Counter(name.split("@")[0] for name in cells(preset, tmp_path))
    synthetic, real, none = (len(run[f"replay_{kind}"]) for kind in ("synthetic", "real", "none"))
    own = {
        "teach": synthetic, "finetune": synthetic, "teach_real": real, "finetune_real": real, "finetune_plain": none,
        "evaluate": len(run["methods"]),
    }  # fmt: skip
    expected = Counter(SHARED | {"ingest": len(params["tasks"]), "write_prompts": steps, "synthesize": steps})
    expected += Counter({stage: methods * steps for stage, methods in own.items()})
    assert found == expected


def test_the_comparison_is_one_pipeline_of_all_methods(tmp_path: Path) -> None:
    params = yaml.safe_load((ROOT / "presets" / "mini_compare.yaml").read_text(encoding="utf-8"))
    assert params["run"]["methods"] == list(params["methods"])
    of_methods = [name for name in cells("mini_compare", tmp_path) if name.startswith("evaluate@")]
    assert len(of_methods) == 23 * len(params["sequence"])
