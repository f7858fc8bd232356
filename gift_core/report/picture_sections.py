"""The pictures of the report: everything that is read for them beyond the RunRecord."""

from __future__ import annotations

from dataclasses import dataclass

from gift_core.layout import Layout
from gift_core.report.kept_images import PredictionPictures, read_prediction_pictures
from gift_core.report.replay_sources import SourceTable, read_source_table
from gift_core.report.run_record import RunRecord
from gift_core.report.task_images import TaskPictures, read_task_pictures


@dataclass(frozen=True)
class Pictures:
    """What the sections with pictures show. `sources` is None if no method replays synthetic pairs."""

    tasks: TaskPictures
    predictions: PredictionPictures
    sources: SourceTable | None


def read_pictures(layout: Layout, record: RunRecord) -> Pictures:
    """The pictures of a run. What is not on this machine is named in the result.

    ContractError if tars, prompts or predictions are damaged or belong to another run.
    """
    replays_pairs = bool(record.sheets)
    return Pictures(
        tasks=read_task_pictures(layout, record.tasks, replays_pairs=replays_pairs),
        predictions=read_prediction_pictures(layout, record),
        sources=read_source_table(layout, record.tasks) if replays_pairs else None,
    )
