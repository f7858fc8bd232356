"""Where artifacts lie."""

from __future__ import annotations

import os
from pathlib import Path

from gift_core.layout import Layout

LAYOUT = Layout(Path("root"))


def test_every_artifact_has_its_location() -> None:
    locations = {
        LAYOUT.raw("birds"): "data/0_raw/birds",
        LAYOUT.task("digits"): "data/1_tasks/digits",
        LAYOUT.prompts("digits"): "data/2_prompts/digits.parquet",
        LAYOUT.vocabulary("digits"): "data/2_prompts/vocabularies/digits.json",
        LAYOUT.shards("digits"): "data/3_shards/digits",
        LAYOUT.teacher("gift", "digits"): "data/4_teachers/gift/digits",
        LAYOUT.model("gift", "digits"): "data/5_models/gift/digits",
        LAYOUT.accuracy("gift", "digits"): "data/6_accuracy/gift/digits.parquet",
        LAYOUT.predictions("gift", "digits"): "data/6_predictions/gift/digits.parquet",
        LAYOUT.reports(): "reports",
        LAYOUT.work("synthesize", "digits"): ".gift/synthesize/digits",
        LAYOUT.taken_back("gift", "digits"): ".gift/taken_back/gift/digits.parquet",
        LAYOUT.taken_back_predictions("gift", "digits"): ".gift/taken_back/gift/digits.predictions.parquet",
        LAYOUT.timings(): ".gift/timings",
        LAYOUT.written("data/1_tasks/digits"): ".gift/written/data/1_tasks/digits.json",
    }
    assert {path.as_posix() for path in locations} == {f"root/{location}" for location in locations.values()}


def test_before_the_first_task_come_the_files_of_the_pretrained_model() -> None:
    def normal(path: Path) -> Path:
        return Path(os.path.normpath(path))

    assert normal(LAYOUT.model("gift", "../pretrained")) == LAYOUT.pretrained()
    assert normal(LAYOUT.accuracy("gift", "../pretrained")) == LAYOUT.pretrained_accuracy()
    assert normal(LAYOUT.vocabulary("../pretrained")) == LAYOUT.base_vocabulary()
