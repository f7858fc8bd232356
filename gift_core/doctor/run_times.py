"""The run times of earlier runs in .gift/timings, where what they made shows that the settings were the same."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from gift_core.artifacts.model_folder import PROVENANCE
from gift_core.config.experiment import Config
from gift_core.doctor.finding import Project
from gift_core.doctor.stage_work import StageWork
from gift_core.layout import Layout
from gift_core.untrusted import read_json_file


def measured_factors(
    project: Project, stages: Iterable[StageWork], estimate: Callable[[StageWork], float]
) -> dict[tuple[str, str], float]:
    """Returns {(stage type, method): run times / estimates} of the stages that ran here with the present settings."""
    config, layout = project.config, Layout(project.root)
    model = _json(layout.pretrained() / PROVENANCE)
    if (model.get("name"), model.get("pretrained")) != (config.model.name, config.model.pretrained):
        return {}
    sums: dict[tuple[str, str], tuple[float, float]] = {}
    for work in stages:
        name = "-".join(part for part in (work.method, work.task) if part)
        seconds = _json(layout.timings() / work.stage / f"{name}.json").get("seconds")
        if work.made and isinstance(seconds, int | float) and ran_as_set(config, layout, work):
            key = (work.stage, work.method)
            measured, estimated = sums.get(key, (0.0, 0.0))
            sums[key] = measured + seconds, estimated + estimate(work)
    return {key: measured / estimated for key, (measured, estimated) in sums.items()}


def ran_as_set(config: Config, layout: Layout, work: StageWork) -> bool:
    """Returns whether the output of a stage, or of the training beside it, was made with the settings of `config`."""
    if work.stage == "ingest":
        return True
    if work.stage == "synthesize":
        manifest = _json(layout.shards(work.task) / "manifest.json")
        wanted = config.generator.model_dump(mode="json")
        made = manifest.get("generator", {})
        return manifest.get("images") == config.prompts.images_per_task and _agree(made, wanted)
    made = _json(layout.model(work.method, work.task) / PROVENANCE)
    return (
        made.get("precision") == config.model.precision
        and made.get("settings") == config.methods[work.method].model_dump(mode="json", exclude_none=True)
        and _agree(made.get("training", {}), config.training.model_dump(mode="json"))
    )


def _agree(made: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether there are values, and each is as wanted."""
    return bool(made) and all(wanted.get(key) == value for key, value in made.items())


def _json(file: Path) -> dict[str, Any]:
    """The object in a JSON file, empty if there is none."""
    try:
        content = read_json_file(file)
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
