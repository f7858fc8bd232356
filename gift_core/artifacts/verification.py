"""Reads every artifact of the active experiment whole: its content, and the hashes that it notes of itself.

What an artifact was made from is in dvc.lock, which `dvc status` compares.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

from gift_core.artifacts.accuracy import read_accuracy, read_probe
from gift_core.artifacts.model_folder import model_hash
from gift_core.artifacts.predictions import read_predictions
from gift_core.artifacts.prompt_files import read_prompts, read_vocabulary
from gift_core.artifacts.report_json import read_metrics
from gift_core.artifacts.shards import iterate_pairs
from gift_core.artifacts.task import SPLITS, index_task
from gift_core.artifacts.teacher_files import require_unchanged
from gift_core.config.experiment import Config
from gift_core.layout import Layout

Check = Callable[[Path], object]


def artifacts_of(layout: Layout, config: Config) -> Iterator[tuple[Path, Check]]:
    """Yields (artifact, its check, which raises ContractError where it is broken), in the order of the stages."""
    yield layout.pretrained(), model_hash
    yield layout.pretrained_accuracy(), read_accuracy
    for name in config.tasks:
        yield layout.task(name), lambda folder: [index_task(folder, split) for split in SPLITS]
    yield from ((layout.probe(name), read_probe) for name in config.evaluation.probes)
    yield layout.base_vocabulary(), read_vocabulary
    for step in config.sequence:
        yield layout.prompts(step.task), read_prompts
        yield layout.vocabulary(step.task), read_vocabulary
        yield layout.shards(step.task), lambda folder: deque(iterate_pairs(folder), maxlen=0)
    for method in config.run.methods:
        for task in (step.task for step in config.sequence):
            yield layout.teacher(method, task), require_unchanged
            yield layout.model(method, task), model_hash
            yield layout.released(method, task), model_hash
            yield layout.accuracy(method, task), read_accuracy
            yield layout.predictions(method, task), read_predictions
    if config.run.methods:
        yield layout.reports() / "metrics.json", read_metrics
