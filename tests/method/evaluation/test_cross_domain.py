"""Cross-domain (X-TAIL): all models on all tasks, among the classes of all; a name that two tasks have is one class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from gift_core.artifacts.predictions import write_predictions
from gift_core.clip.model import save_clip
from gift_core.computation import in_turn
from gift_core.method import classifier
from gift_core.method.evaluation import evaluate_cross_domain
from gift_core.work.units import KeptUnits
from stages.evaluate import SUMMARIES
from tests.clip.tiny import tiny_clip
from tests.made import made_task
from tests.method.evaluation.sequence import TASKS, inputs_of, owner, require_agreement, slow_answers

Folders = dict[str, Path]


@pytest.mark.parametrize("templates", [("a {}.",), ("a {} in a garden.", "the {}")])
def test_every_cell_is_that_of_plain_loops(
    models: Folders, tasks: Folders, templates: tuple[str, ...], tmp_path: Path
) -> None:
    made_task(tasks["letters"], (0, 1, 0, 1, 1), ("lotus", "frog"))
    made_task(tasks["faces"], (0, 1, 1, 0, 0, 1, 0), (" Lotus", "rose"), templates, first=7)
    made, folders = evaluate_cross_domain(inputs_of(models, tasks, 2)), list(tasks.values())
    assert len(made.rows) == len(made.rows[["step", "eval_task"]].drop_duplicates()) == 4 * 3
    shared = 0
    for row in made.rows.itertuples():
        own_step = TASKS.index(row.eval_task)
        phase = "past" if own_step < row.step else "current" if own_step == row.step else "future"
        assert row.phase == ("pretrained" if row.step == -1 else phase)
        slow = slow_answers(models[row.trained_task], folders, tasks[row.eval_task])
        slow = [(label.strip().lower(), nearest.strip().lower()) for label, nearest in slow]
        own = made.predictions[(made.predictions.step == row.step) & (made.predictions.task == row.eval_task)]
        assert list(zip(*(own[name].str.strip().str.lower() for name in ("label", "predicted")), strict=True)) == slow
        assert (row.top1, row.n) == (pytest.approx(sum(a == b for a, b in slow) / len(slow)), len(slow))
        shared += sum(predicted == "lotus" for _, predicted in slow)
        spelling = {"letters": "lotus", "faces": " Lotus"}.get(row.eval_task)  # that of the image's own task
        assert not spelling or {each for each in own.predicted if "lotus" in each.lower()} <= {spelling}
    assert shared
    newest = made.rows[made.rows.step == 2].set_index("eval_task").top1
    said = f"{newest['faces']:.1%} on faces, {newest.mean():.1%} on the 3 tasks so far"
    assert SUMMARIES["cross_domain"](made.rows) == f"{said}, each image among the classes of all of them"
    path = tmp_path / "gift" / "faces.parquet"
    write_predictions(path, made.predictions, made.metadata)
    require_agreement(path, made.rows)


def test_kept_features_give_the_same_rows_and_only_what_is_new_is_encoded(
    models: Folders, tasks: Folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded, encode = list[str](), classifier.encode_test_set

    def counted(clips: Any, test_set: Any) -> Any:
        encoded.append(test_set.task.name)
        return encode(clips, test_set)

    monkeypatch.setattr(classifier, "encode_test_set", counted)
    kept, counts = tmp_path / "kept", []
    kept.mkdir()

    def require_same_as_alone(step: int) -> None:
        run = KeptUnits(tmp_path, lambda line: None, kept)
        found = evaluate_cross_domain(inputs_of(models, tasks, step), run)
        counts.append(len(encoded))
        alone = evaluate_cross_domain(inputs_of(models, tasks, step), in_turn)
        pd.testing.assert_frame_equal(found.rows, alone.rows, check_exact=True)
        pd.testing.assert_frame_equal(found.predictions, alone.predictions)
        encoded.clear()

    for step in range(3):
        require_same_as_alone(step)
    assert counts == [2, 4, 6]  # the new model on all tasks, the former ones on the new task
    names = {file.name for file in kept.iterdir()}
    assert len(names) == 4 * 3
    save_clip(tiny_clip(seed=9), models["digits"], owner("digits"))  # trained again
    (damaged := min(kept.iterdir())).write_bytes(b"no features")
    require_same_as_alone(2)
    assert counts[-1] in (3, 4)  # what is damaged may be of the former model
    assert len({file.name for file in kept.iterdir()} - names - {f"{damaged.name}.not_used"}) == 3
    assert len(TASKS) * 4 == len(list(kept.glob("*.safetensors")))
