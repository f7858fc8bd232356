"""`gift run` on a Ray cluster: two nodes that are processes of this machine."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from gift_core.execution.machine_facts import differences, local_facts
from gift_core.execution.pool import is_passed
from tests.stages.toy_pipeline import ToyPipeline, ended, wait

pytestmark = pytest.mark.end_to_end
MEMORY = 100_000_000
TEXTS = {"a.txt": "a()", "b.txt": "b()", "c.txt": "c(a(),b())"}


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "object_store_memory": MEMORY, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=node)
    cluster.add_node(num_cpus=1, object_store_memory=MEMORY)
    yield cluster
    cluster.shutdown()


def stages_below(node: Any) -> list[str]:
    raylets = [info.process.pid for infos in node.all_processes.values() for info in infos]
    lines = [process.cmdline() for pid in raylets for process in psutil.Process(pid).children(recursive=True)]
    return [line[2] for line in lines if line[1:2] == ["stage.py"]]


def test_a_run_goes_on_when_a_node_is_lost_and_writes_the_same_bytes(cluster: Any, tmp_path: Path) -> None:
    toy = ToyPipeline(tmp_path / "toy", {"a": [], "b": [], "c": ["a", "b"]})
    toy.hold("a", "b")
    run = toy.start("--address", cluster.address)
    toy.wait_for("a", "b")
    second = next(iter(cluster.worker_nodes))
    (lost,) = stages_below(second)
    cluster.remove_node(second, allow_graceful=False)
    (kept,) = {"a", "b"} - {lost}
    toy.release(kept)
    wait(lambda: toy.runs.count(lost) == 2, f"the second attempt of {lost}")
    toy.release(lost)
    printed = ended(run)
    assert f"{lost}: its worker was lost" in printed and "attempt 2 of 3" in printed
    assert toy.texts() == TEXTS
    assert sorted(toy.runs) == sorted(["a", "b", "c", lost])
    assert "Running stage" not in toy.repro()
    assert len(cluster.list_all_nodes()) == 1  # the cluster is not ours to stop


def test_each_difference_between_machines_is_named(tmp_path: Path) -> None:
    here = local_facts()
    assert {"gift_core", "Python", "torch", "dvc", "ray"} <= set(here)
    assert differences(here, tmp_path) == [
        f"it has no {tmp_path}: the project must lie on a file system that all machines share"
    ]
    (token := tmp_path / "token").touch()
    assert differences(here, token) == []
    (line,) = differences(here | {"torch": "1.0"}, token)
    assert line == f"torch is {here['torch']} there and 1.0 here"


def test_each_stage_sees_its_own_gpu_alone_and_one_without_need_sees_none(cluster: Any, tmp_path: Path) -> None:
    cluster.add_node(num_cpus=3, num_gpus=2, object_store_memory=MEMORY)  # Ray believes what it is told
    toy = ToyPipeline(tmp_path / "toy", {"finetune": [], "evaluate": [], "report": []})
    text = (toy.folder / "stage.py").read_text()
    (toy.folder / "stage.py").write_text(f"import os\nprint('sees', os.environ['CUDA_VISIBLE_DEVICES'])\n{text}")
    toy.hold("finetune", "evaluate")
    run = toy.start("--address", cluster.address)
    toy.wait_for("finetune", "evaluate")
    toy.release("finetune", "evaluate")
    assert "3 stages, 3 workers, 2 GPUs" in ended(run)
    logs = toy.folder / ".gift" / "logs"
    seen = {name: (logs / f"{name}.log").read_text().splitlines()[0] for name in ("finetune", "evaluate", "report")}
    assert {seen["finetune"], seen["evaluate"]} == {"sees 0", "sees 1"}
    assert seen["report"] == "sees "


def test_no_secret_goes_to_other_machines() -> None:
    names = ["PATH", "PYTHONPATH", "GIFT_QUIET", "HF_HOME", "OMP_NUM_THREADS", "HF_TOKEN", "WANDB_API_KEY", "HOME"]
    assert [name for name in names if is_passed(name)] == names[:5]
