"""How long a stage takes from the start of its process to its first work: `python benchmarks/startup.py`.

First work is the first batch, pair, image or test set: all imports are done, and the model and the data are loaded. A
stage without a model is timed to its end. Each command runs several times in turn, in a copy of this project, which
must have been run (`make repro`), without the fork server that `make repro` uses. The rows "import ..." are
processes that only do that. Writes benchmarks/startup.md.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
import torch

from gift_core.config.loading import load_config

FIRST_WORK = {  # the phase of stages/<stage>.py in which it begins
    "synthesize": "generating images",
    "teach": "encoding with the teacher",
    "finetune": "training",
    "evaluate": "evaluating",
}
# Prints the time and ends the process where the stage begins its work.
STOP_AT = """
import os, sys, time
from stages import stage
def set_phase(self, name, value):
    object.__setattr__(self, name, value)
    if name == "phase" and value == {phase!r}:
        print("reached", time.time(), flush=True)
        os._exit(0)
stage.Stage.__setattr__ = set_phase
from stages.app import main
main()
"""
IMPORTS = ("torch", "torch, open_clip", "torch, open_clip, diffusers")
COPIED = ("data", "params.yaml", "dvc.yaml", "dvc.lock")


def main() -> None:
    """Measures, prints and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/startup.md"))
    choices = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder)
        for name in COPIED:
            (shutil.copytree if Path(name).is_dir() else shutil.copy)(name, project / name)
        rows = [
            {"process": name, "seconds": seconds(name, project)} for _ in range(choices.rounds) for name in commands()
        ]
    table = pd.DataFrame(rows).groupby("process", sort=False)["seconds"].agg(["median", "min", "max"]).round(2)
    page = f"{heading(load, choices.rounds)}\n{table.to_markdown()}\n"
    choices.out.write_text(page, encoding="utf-8")
    print(page)


def commands() -> dict[str, list[str]]:
    """Returns {row of the table: command line}. Stages run the last step of the first method that replays images."""
    config = load_config(Path("params.yaml"))
    method = next(name for name in config.run.methods if config.methods[name].replay.images != "none")
    task = config.sequence[-1].task
    found = {f"import {modules}": [sys.executable, "-c", f"import {modules}"] for modules in IMPORTS}
    found["gift --help"] = [sys.executable, "-m", "stages", "--help"]
    for stage in ("check", "write_vocabulary", "write_prompts"):
        found[stage] = [sys.executable, "-m", "stages", stage, *([task] if stage == "write_prompts" else [])]
    for stage, phase in FIRST_WORK.items():
        names = [task] if stage == "synthesize" else [method, task]
        found[stage] = [sys.executable, "-c", STOP_AT.format(phase=phase), stage, *names]
    return found


def seconds(name: str, project: Path) -> float:
    """Returns the time from the start of the process to its first work, or to its end where it has none."""
    environment = os.environ | {"PYTHONPATH": str(Path.cwd()), "OMP_NUM_THREADS": "1"}
    shutil.rmtree(project / ".gift", ignore_errors=True)
    task = load_config(project / "params.yaml").sequence[-1].task
    if name == "synthesize":
        shutil.rmtree(project / "data" / "3_shards" / task, ignore_errors=True)
    started = time.time()
    done = subprocess.run(commands()[name], cwd=project, env=environment, capture_output=True, text=True, check=True)
    ended = time.time()
    reached = [float(line.split()[1]) for line in done.stdout.splitlines() if line.startswith("reached ")]
    if name in FIRST_WORK and not reached:
        raise SystemExit(f"{name} did not reach {FIRST_WORK[name]!r}:\n{done.stdout}{done.stderr}")
    return (reached[0] if reached else ended) - started


def heading(load: float, rounds: int) -> str:
    """Says what was measured, where."""
    where = f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}, load {load:.1f} before"
    return f"""# From the start of a process to its first work: `python benchmarks/startup.py`

Seconds over {rounds} rounds, without the fork server. {where}.
"""


if __name__ == "__main__":
    main()
