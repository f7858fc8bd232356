"""How long a stage takes from the start of its process to its first work: `make bench-startup`, after `make repro`.

First work is the first batch, pair, image or test set: all imports are done, and the model and the data are loaded. A
stage without a model is timed to its end. The commands take turns, in a copy of this project, with and without the fork
server that `make repro` and `gift run` use. The rows "import ..." are processes that only do that.
"""

from __future__ import annotations

import argparse
import json
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
from stages.fork_server import serving

FIRST_WORK = {  # the phase of stages/<stage>.py in which it begins
    "synthesize": "generating images",
    "teach": "encoding with the teacher",
    "finetune": "training",
    "evaluate": "evaluating",
}
# A package beside the project that runs `gift`, but prints the time and ends where the stage begins its work.
TIMED = {
    "__init__": "",
    "interruption": "started_as = 0\n",
    "__main__": """
import sys
from stages.fork_server import run_in_server
from .app import main
code = run_in_server("timed")
main() if code is None else sys.exit(code)
""",
    "app": """
import os, time

def main():
    from stages import app, stage

    def set_phase(self, name, value):
        object.__setattr__(self, name, value)
        if (name, value) == ("phase", os.environ["GIFT_FIRST_WORK"]):
            print("reached", time.time(), flush=True)
            os._exit(0)

    stage.Stage.__setattr__ = set_phase
    app.main()
""",
}
IMPORTS = ("torch", "torch, open_clip", "torch, open_clip, diffusers")
COPIED = ("data", "params.yaml", "dvc.yaml", "dvc.lock")
HEADING = """# From the start of a process to its first work

Median. `make bench-startup` explains the rows: benchmarks/startup.py.
"""
PLAIN, SERVED = "s", "s, with the fork server"


def main() -> None:
    """Measures the commands in turns, and writes startup.json and startup.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path(".gift/benchmarks"))
    choices = parser.parse_args()
    choices.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder)
        for name in COPIED:
            (shutil.copytree if Path(name).is_dir() else shutil.copy)(name, project / name)
        rows = measured(project, choices.rounds)
    table = pd.DataFrame(rows).pivot_table(
        index="process", columns="server", values="seconds", aggfunc=["median", "max"], sort=False
    )
    where = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}"
    write(table, f"{where}, {choices.rounds} rounds", choices.out)


def measured(project: Path, rounds: int) -> list[dict[str, str | float]]:
    """Returns a row for each command, with and without a server, and each round."""
    for name, text in TIMED.items():
        (project / "timed").mkdir(exist_ok=True)
        (project / "timed" / f"{name}.py").write_text(text, encoding="utf-8")
    plain = os.environ | {"PYTHONPATH": str(Path.cwd()), "OMP_NUM_THREADS": "1"}
    rows: list[dict[str, str | float]] = []
    with serving(plain) as served:
        seconds("write_vocabulary", project, served)  # the server loads the libraries beside its first stage
        for _ in range(rounds):
            for name in commands(project):
                rows.append({"process": name, "server": PLAIN, "seconds": seconds(name, project, plain)})
                if served != plain and not name.startswith(("import", "gift")):
                    rows.append({"process": name, "server": SERVED, "seconds": seconds(name, project, served)})
    return rows


def commands(project: Path) -> dict[str, list[str]]:
    """Returns {row of the table: command line}. Stages run the last step of the first method that replays images."""
    config = load_config(project / "params.yaml")
    method = next(name for name in config.run.methods if config.methods[name].replay.images != "none")
    task = config.sequence[-1].task
    arguments = {name: [method, task] for name in FIRST_WORK} | {"write_prompts": [task], "synthesize": [task]}
    found = {f"import {modules}": [sys.executable, "-c", f"import {modules}"] for modules in IMPORTS}
    found["gift --help"] = [sys.executable, "-m", "stages", "--help"]
    for stage in ("check", "write_vocabulary", "write_prompts", *FIRST_WORK):
        found[stage] = [sys.executable, "-m", "timed", stage, *arguments.get(stage, [])]
    return found


def seconds(name: str, project: Path, environment: dict[str, str]) -> float:
    """Returns the time from the start of the process to its first work, or to its end where it has none."""
    shutil.rmtree(project / ".gift", ignore_errors=True)
    shards = project / "data" / "3_shards" / load_config(project / "params.yaml").sequence[-1].task
    aside = project / "shards"
    if name == "synthesize":
        shards.rename(aside)  # without it there is nothing to generate
    environment = environment | {"GIFT_FIRST_WORK": FIRST_WORK.get(name, "")}
    started = time.time()
    done = subprocess.run(commands(project)[name], cwd=project, env=environment, capture_output=True, text=True)
    ended = time.time()
    if name == "synthesize":
        shutil.rmtree(shards, ignore_errors=True)
        aside.rename(shards)
    reached = [float(line.split()[1]) for line in done.stdout.splitlines() if line.startswith("reached ")]
    if done.returncode or (name in FIRST_WORK and not reached):
        raise SystemExit(f"{name} did not reach {FIRST_WORK.get(name, 'its end')!r}:\n{done.stdout}{done.stderr}")
    return (reached[0] if reached else ended) - started


def write(table: pd.DataFrame, where: str, out: Path) -> None:
    """Writes startup.json and startup.md. `table`: a row for each process, columns (median or max, server)."""
    found = {
        process: {
            f"{server}, {kind}": round(float(row[kind, server]), 2) for kind, server in table if row[kind, server] > 0
        }
        for process, row in table.iterrows()
    }
    (out / "startup.json").write_text(json.dumps({"where": where, "seconds": found}, indent=1) + "\n", encoding="utf-8")
    shown = table["median"].round(2).astype(object).where(table["median"].notna(), "")
    page = f"{HEADING}\n{where}.\n\n{shown.to_markdown()}\n"
    (out / "startup.md").write_text(page, encoding="utf-8")
    print(page)


if __name__ == "__main__":
    main()
