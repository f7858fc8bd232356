"""How a helper and its stage end. What is computed: tests/execution/test_run_with_helpers.py."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from gift_core.process_variables import OFFERS
from gift_core.work.spread import offers_of
from tests.stages.toy_pipeline import WAIT_SECONDS, ended, wait

pytestmark = pytest.mark.end_to_end
UNITS = 8


class ToyStage:
    """A stage of toy_units in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for inner in ("out", "stage", "helpers", "offers"):
            (folder / inner).mkdir()

    def _start(self, *command: str) -> subprocess.Popen[str]:
        variables = {"OMP_NUM_THREADS": "3", OFFERS: str(self.folder / "offers"), "DVC_STAGE": "units"}
        return subprocess.Popen(
            [sys.executable, "-m", *command],
            env=os.environ | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def start(self) -> subprocess.Popen[str]:
        return self._start("tests.work.toy_units", str(self.folder), str(UNITS))

    def help(self) -> subprocess.Popen[str]:
        """Starts a helper when there is an offer."""
        wait(lambda: [*offers_of(self.folder / "offers")], "an offer")
        ((stage, offer),) = offers_of(self.folder / "offers")
        assert stage == "units"
        return self._start("stages.dvc.helper", str(offer))

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


def test_a_stage_that_waits_for_a_lost_helper_computes_its_unit(stage: ToyStage) -> None:
    stage.hold("stage", "helpers")
    run = stage.start()
    helper = stage.help()
    wait(stage.helpers, "a helper in unit 1")
    stage.release("stage")
    others = [f"{unit}.txt" for unit in range(UNITS) if unit != 1]
    wait(lambda: stage.written() == others, "the other units")
    with pytest.raises(subprocess.TimeoutExpired):
        run.wait(1)
    helper.kill()
    assert "helpers computed 0" in ended(run)
    texts = {file.read_text() for file in (stage.folder / "out").iterdir()}
    assert texts == {f"unit {unit} with 3 threads in {Path.cwd()}" for unit in range(UNITS)}
    assert list((stage.folder / "offers").iterdir()) == []


def test_a_user_error_of_a_unit_ends_its_helper_and_then_the_stage(stage: ToyStage) -> None:
    stage.hold("stage")
    (stage.folder / "fail-1").touch()  # the stage itself waits in unit 0
    run = stage.start()
    assert "error: unit 1 is wrong" in ended(stage.help(), expect=1)
    stage.release("stage")
    assert "error: unit 1 is wrong" in ended(run, expect=1)
    assert list((stage.folder / "offers").iterdir()) == []


def test_a_stage_that_is_stopped_withdraws_its_offer_and_its_helper_ends(stage: ToyStage) -> None:
    stage.hold("stage", "helpers")
    run = stage.start()
    helper = stage.help()
    wait(stage.helpers, "a helper")
    run.send_signal(signal.SIGTERM)
    run.communicate(timeout=WAIT_SECONDS)
    assert run.returncode != 0
    stage.release("helpers")
    ended(helper)
    assert stage.written() == ["1.txt"]
