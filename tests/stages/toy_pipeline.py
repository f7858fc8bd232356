"""A DVC project whose stages write a text each: quick, and interrupted and written as real stages are."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil
import yaml

from tests.clone import Clone
from tests.imports import ROOT, first_params

WAIT_SECONDS = 300
STAGE = """
import sys
import time
from pathlib import Path

from gift_core.work.publishing import write_atomically
from stages.dvc.interruption import interruptible

name, *inputs = sys.argv[1:]
with interruptible():
    with open("runs", "a") as runs:
        runs.write(name + "\\n")
    if Path("fails", name).exists():
        sys.exit("error: the reason of " + name)
    text = name + "(" + ",".join(Path("out", each + ".txt").read_text() for each in inputs) + ")"
    with write_atomically(Path("out", name + ".txt")) as unfinished:
        unfinished.write_text(text[:1])
        while Path("hold", name).exists():
            time.sleep(0.02)
        unfinished.write_text(text)
    print("wrote", text)
"""

DIAMOND = {"first": [], "left": ["first"], "right": ["first"], "last": ["left", "right"]}


class ToyPipeline:
    """The project in `folder`: for each stage of `graph` the stages whose texts it reads."""

    def __init__(self, folder: Path, graph: Mapping[str, Sequence[str]] = DIAMOND) -> None:
        self.folder, self.clone = folder, Clone(folder)
        self.environment = self.clone.environment
        self.environment["PYTHONPATH"] = str(ROOT)
        stages = {
            name: {
                "cmd": f"python stage.py {' '.join([name, *inputs])}",
                "deps": ["stage.py", *(f"out/{each}.txt" for each in inputs)],
                "outs": [f"out/{name}.txt"],
            }
            for name, inputs in graph.items()
        }
        folder.mkdir()
        for inner in ("out", "hold", "fails"):
            (folder / inner).mkdir()
        (folder / "stage.py").write_text(STAGE)
        (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
        (folder / "params.yaml").write_text(first_params(), encoding="utf-8")
        self.clone.run("dvc", "init", "--no-scm", "--quiet")

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "stages", "run", *arguments], cwd=self.folder, env=self.environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip

    def run(self, *arguments: str, expect: int = 0) -> str:
        return ended(self.start("--workers", "2", *arguments), expect=expect)

    def repro(self, *arguments: str, expect: int = 0) -> str:
        return self.clone.run("dvc", "repro", *arguments, expect=expect)

    def hold(self, *names: str) -> None:
        """Makes stages wait in the middle of their work."""
        for name in names:
            (self.folder / "hold" / name).touch()

    def release(self, *names: str) -> None:
        for name in names:
            (self.folder / "hold" / name).unlink()

    def fail(self, name: str) -> None:
        (self.folder / "fails" / name).touch()

    @property
    def runs(self) -> list[str]:
        """The stages that have started, oldest first, each as often as it started."""
        runs = self.folder / "runs"
        return runs.read_text().split() if runs.exists() else []

    def texts(self) -> dict[str, str]:
        """Returns {file: what is in it} of all outputs. Partial folders of killed stages are none."""
        return {file.name: file.read_text() for file in sorted((self.folder / "out").glob("[!.]*"))}

    @property
    def lock(self) -> bytes:
        return (self.folder / "dvc.lock").read_bytes()

    def wait_for(self, *names: str) -> None:
        """Waits until each of the stages has started once more than before the last call."""
        wait(lambda: set(names) <= set(self.runs), f"the start of {names}")


def ended(process: subprocess.Popen[str], *, expect: int = 0) -> str:
    printed, _ = process.communicate(timeout=WAIT_SECONDS)
    assert process.returncode == expect, f"{process.returncode}\n{printed}"
    return printed


def wait(condition: Callable[[], object], what: object = "it", *, seconds: float = WAIT_SECONDS) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        time.sleep(0.02)


def stage_process(run: subprocess.Popen[str], name: str) -> psutil.Process:
    """Returns the process of a stage that `gift run` has started."""
    for process in psutil.Process(run.pid).children(recursive=True):
        if process.name().startswith("python") and ["stage.py", name] == process.cmdline()[1:3]:
            return process
    raise AssertionError(f"no process of {name}")
