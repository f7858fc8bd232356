"""Helpers take units of a stage's work, with real Ray and real processes: the result is that of the stage alone.

That another helper replaces a lost one, and that helpers make room for stages, is in
tests/execution/test_run_with_helpers.py.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil
import pytest

from gift_core.work.spread import OFFER, Offer
from tests.execution.ray_for_tests import ray_offer
from tests.stages.toy_pipeline import WAIT_SECONDS, ended, wait

pytestmark = pytest.mark.end_to_end
UNITS = 8


@pytest.fixture(scope="module")
def offer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with ray_offer(tmp_path_factory.mktemp("project") / "waiting") as variables:
        yield variables


class ToyStage:
    """A stage of toy_units in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for inner in ("out", "stage", "helpers"):
            (folder / inner).mkdir()

    def start(self, offer: Mapping[str, str], units: int = UNITS) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.work.toy_units", str(self.folder), str(units)],
            env=os.environ | {"OMP_NUM_THREADS": "3"} | dict(offer),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def require_whole(self) -> None:
        """Each unit is written once, with the stage's threads and in its folder, and nothing half-written is left."""
        texts = {file.name: file.read_text() for file in (self.folder / "out").iterdir()}
        assert texts == {f"{unit}.txt": f"unit {unit} with 3 threads in {Path.cwd()}" for unit in range(UNITS)}

    def hold(self, *who: str) -> None:
        """Makes the stage or its helpers wait in the middle of a unit."""
        for each in who:
            (self.folder / f"hold-{each}").touch()

    def release(self, *who: str) -> None:
        for each in who:
            (self.folder / f"hold-{each}").unlink()

    def written(self) -> list[str]:
        """The files of units so far."""
        return sorted(file.name for file in (self.folder / "out").glob("*.txt"))

    @property
    def helped(self) -> int:
        """The number of helpers that have begun a unit."""
        return len(list((self.folder / "helpers").iterdir()))

    def helpers(self) -> list[psutil.Process]:
        """The processes that have computed units beside the stage and that still run."""
        numbers = [int(file.name) for file in (self.folder / "helpers").iterdir()]
        found = [psutil.Process(number) for number in numbers if psutil.pid_exists(number)]
        return [process for process in found if process.status() != psutil.STATUS_ZOMBIE]


@pytest.fixture
def stage(tmp_path: Path) -> ToyStage:
    return ToyStage(tmp_path)


def limited(offer: Mapping[str, str], count: int) -> dict[str, str]:
    return {**offer, OFFER: json.dumps(json.loads(offer[OFFER]) | {"count": count})}


def test_a_stage_that_waits_for_a_lost_helper_computes_its_unit(stage: ToyStage, offer: Mapping[str, str]) -> None:
    stage.hold("stage", "helpers")
    run = stage.start(limited(offer, 1))
    wait(stage.helpers, "a helper in unit 1")
    stage.release("stage")
    others = [f"{unit}.txt" for unit in range(UNITS) if unit != 1]
    wait(lambda: stage.written() == others, "the other units")
    with pytest.raises(subprocess.TimeoutExpired):
        run.wait(1)
    (helper,) = stage.helpers()
    helper.kill()
    assert "a helper was lost" in ended(run)
    stage.require_whole()


def test_a_user_error_of_a_unit_in_a_helper_ends_the_stage_with_it(stage: ToyStage, offer: Mapping[str, str]) -> None:
    stage.hold("stage")
    (stage.folder / "fail-1").touch()  # the stage itself waits in unit 0
    run = stage.start(limited(offer, 1))
    wait(lambda: stage.helped, "a helper in a unit")
    stage.release("stage")
    assert "error: unit 1 is wrong" in ended(run, expect=1)
    wait(lambda: not stage.helpers(), "the end of the helpers")


def test_without_an_answer_of_ray_the_stage_works_alone(stage: ToyStage) -> None:
    printed = ended(stage.start(Offer("127.0.0.1:1", 2, 0, "x").variables))
    assert "helpers computed 0" in printed
    stage.require_whole()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_a_stage_that_is_stopped_ends_with_its_helpers(
    stage: ToyStage, offer: Mapping[str, str], number: signal.Signals
) -> None:
    stage.hold("stage", "helpers")
    run = stage.start(limited(offer, 2))
    wait(lambda: len(stage.helpers()) == 2, "two helpers")
    run.send_signal(number)
    run.communicate(timeout=WAIT_SECONDS)
    assert run.returncode != 0
    wait(lambda: not stage.helpers(), "the end of the helpers")
