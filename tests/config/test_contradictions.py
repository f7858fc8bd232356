"""Settings of generator, prompts and tasks that their types allow and the pipeline cannot run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from gift_core.config.loading import load_config
from gift_core.config.tasks import MADE
from gift_core.errors import UserError

Params = dict[str, Any]
Write = Callable[[Params], Path]
FOLDER: Params = {
    "source": "folder", "path": "data/0_raw/birds", "templates": ["a photo of a {}."], "test_fraction": 0.2,
    "on_bad_image": "refuse",
}  # fmt: skip
TABLE = {**FOLDER, "source": "table", "table": "labels.csv", "image_column": "image", "label_column": "label"}
TARS = {**FOLDER, "source": "webdataset", "train": "train-{000..005}.tar", "label": "cls"}
UNSOUND: list[tuple[Params, str]] = [
    ({**FOLDER, "path": "/data/birds"}, "path: /data/birds is outside the project"),
    ({**FOLDER, "path": "data"}, "path: data overlaps with data/1_tasks, which the pipeline writes"),
    ({**FOLDER, "templates": ["a {}.", "a {}."]}, "templates: 'a {}.' is listed more than once."),
    ({**FOLDER, "class_names": "../names.txt"}, "class_names: ../names.txt is outside the task's path"),
    ({**TABLE, "table": "labels.xlsx"}, "table: labels.xlsx is not a supported table. Save it as one of .csv"),
    ({**TABLE, "split_column": "label"}, "split_column: 'label' is also the image_column or the label_column"),
    ({**TARS, "test": "a.tar::../b.tar"}, "test: '../b.tar' is outside the task's path"),
    ({**TARS, "label": ".cls"}, "label: .cls starts with a dot. Write cls."),
]
MEMORY = {"vae_slicing": True, "vae_tiling": False, "offload": "model", "attention": None}
FILTERS = {
    "scorer": {"name": "ViT-B-32", "pretrained": "openai"}, "min_clip_score": 0.2, "max_similarity": None,
    "max_redraws": 5,
}  # fmt: skip


@pytest.mark.parametrize(
    ("section", "changes", "expected"),
    [
        ("generator", {"negative_prompt": "blurry", "guidance": 1.0},
         "generator.negative_prompt: 'blurry' has no effect with guidance 1.0"),
        ("generator", {"scheduler": "DPMSolverSDEScheduler"},
         "generator.scheduler: the noise of DPMSolverSDEScheduler does not follow the images' seeds"),
        ("generator", {"memory": MEMORY},
         "generator.memory.offload: model moves parts to the CPU, but run.device is cpu already"),
        ("generator", {"filters": {**FILTERS, "min_clip_score": None}},
         "generator.filters: neither min_clip_score, max_similarity, aesthetic nor safety_checker is set"),
        ("generator", {"filters": {**FILTERS, "aesthetic": {"head": "head.pth", "min_score": 5.0}}},
         "generator.filters.aesthetic.head: head.pth is outside data/0_raw/generators/"),
        ("generator", {"negative_prompt": {"text": "blurry", "true_guidance": 1.0}},
         "generator.negative_prompt.true_guidance: should be more than 1"),
        ("prompts", {"strategy": "captions"},
         "prompts.captions: strategy captions needs a file. Write captions: data/0_raw/prompts/captions.csv."),
        ("prompts", {"captions": "data/0_raw/prompts/mine.csv"},
         "prompts.captions: data/0_raw/prompts/mine.csv has no effect with strategy class_template"),
        ("prompts", {"base_vocabulary": "lists/words.txt"}, "prompts.base_vocabulary: lists/words.txt is outside data"),
        *(("tasks", {"birds": row}, f"tasks.birds.{expected}") for row, expected in UNSOUND),
    ],
)  # fmt: skip
def test_the_error_for_a_contradiction_has_its_key(
    section: str, changes: Params, expected: str, mini_params: Params, write_params: Write
) -> None:
    mini_params["run"]["device"] = "cpu"
    mini_params[section] |= changes
    with pytest.raises(UserError) as caught:
        load_config(write_params(mini_params))
    assert f"params.yaml: {expected}" in str(caught.value)


def test_the_folders_that_the_pipeline_writes_are_those_of_dvc_yaml(project: Path) -> None:
    stages = yaml.safe_load((project / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    outs = [out for stage in stages.values() for out in stage.get("do", stage).get("outs", []) if isinstance(out, str)]
    assert outs
    assert [out for out in outs if not out.startswith(tuple(f"{made}/" for made in MADE))] == []
