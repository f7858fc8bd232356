"""Which stages a real `dvc repro` runs after a change of the finished small pipeline, and after its undoing.

The tests of this file run in order, on one clone: what one has run, another takes from the cache. Each runs alone, too.
An appended task: tests/docs/test_your_own_task.py.
"""

from __future__ import annotations

import pytest

from gift_core.artifacts.accuracy import read_accuracy
from gift_core.artifacts.model_folder import model_hash
from gift_core.layout import Layout
from tests.clone import PROBE, TASKS, Clone
from tests.end_to_end.test_versions import of

pytestmark = pytest.mark.end_to_end


def test_a_changed_loss_weight_runs_only_that_method_and_undoing_it_runs_nothing(clone: Clone) -> None:
    params = clone.params
    params["methods"]["gift"]["losses"]["align"]["weight"] = 0.5
    clone.write_params(params)
    expected = of("finetune", "gift") | of("evaluate", "gift") | {"check", "report"}
    assert set(clone.repro()) == expected | {"teach@gift-step1"}  # the teacher of step 0 is the pre-trained model
    clone.undo()
    params = clone.params
    del params["methods"]["gift_vocabulary"]  # a row that does not run
    clone.write_params(params)
    assert clone.repro() == ["check"]
    clone.undo()
    assert clone.repro() == ["check"]


def test_another_release_trains_nothing_and_its_folder_is_what_was_tested(clone: Clone) -> None:
    layout, before = Layout(clone.folder), clone.report()
    trained = model_hash(layout.model("gift", TASKS[1]))
    assert model_hash(layout.released("gift", TASKS[1])) == trained
    for alpha in (0.7, 0.5):
        params = clone.params
        params["methods"]["gift"]["release"] = {"kind": "interpolate", "alpha": alpha}
        clone.write_params(params)
        assert set(clone.repro()) == of("evaluate", "gift") | {"check", "report"}
        released = model_hash(layout.released("gift", TASKS[1]))
        _, tested = read_accuracy(layout.accuracy("gift", TASKS[1]))
        assert tested[f"model:{TASKS[1]}"] == released != trained == model_hash(layout.model("gift", TASKS[1]))
    clone.undo()
    assert clone.repro() == ["check"] and clone.report() == before


def test_a_label_runs_the_report_alone(clone: Clone) -> None:
    before = clone.report()
    params = clone.params
    params["methods"]["gift"]["label"] = "My GIFT"
    clone.write_params(params)
    assert clone.repro() == ["check", "report"]
    assert "My GIFT has " in (clone.folder / "reports" / "index.html").read_text(encoding="utf-8")
    clone.undo()
    assert clone.repro() == ["check"] and clone.report() == before


def test_a_new_probe_runs_no_training(clone: Clone) -> None:
    params = clone.params
    params["tasks"]["zodiac"] = dict(params["tasks"][PROBE])
    params["evaluation"]["probes"].append("zodiac")
    clone.write_params(params)
    expected = {"check", "ingest@zodiac", "probe@zodiac", "report"}
    assert set(clone.repro()) == expected | of("evaluate", "gift", "finetune")
    kept = {method: row["probes"] for method, row in clone.metrics().items()}
    assert {name: list(row["by_task"]) for name, row in kept.items()} == {key: [PROBE, "zodiac"] for key in kept}
    assert kept["zero_shot"]["change"] == 0.0
    clone.undo()
    assert clone.repro() == ["check"]
    assert (clone.folder / ".gift" / "retired" / "probes" / "zodiac.parquet").is_file()


def test_an_added_method_is_a_name_in_one_list_and_runs_only_its_own_stages(clone: Clone) -> None:
    before = clone.report()
    params = clone.params
    params["run"]["methods"] += ["icarl"]
    clone.write_params(params)
    expected = of("teach", "icarl") | of("finetune", "icarl") | of("evaluate", "icarl")
    assert set(clone.repro()) == expected | {"check", "report"}
    assert set(clone.metrics()) == {"zero_shot", "finetune", "gift", "icarl"}
    # going back with git leaves the accuracies of the method behind, and its file in data/code: check removes both
    clone.run("git", "checkout", "--quiet", "-b", "icarl")
    clone.run("git", "commit", "--quiet", "--all", "--message", "another method")
    clone.run("git", "checkout", "--quiet", "-")
    assert clone.repro() == ["check"] and clone.report() == before
    assert clone.run("git", "status", "--porcelain") == ""
    # and the method comes back from the cache
    clone.run("git", "checkout", "--quiet", "icarl")
    assert clone.repro() == ["check"]
    assert set(clone.metrics()) == {"zero_shot", "finetune", "gift", "icarl"}
    assert clone.run("git", "status", "--porcelain") == ""
    clone.run("git", "checkout", "--quiet", "-")
    assert clone.repro() == ["check"]
