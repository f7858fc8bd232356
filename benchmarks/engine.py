"""What `gift run` costs: a stage's overhead beside `dvc repro`, the speed-up on several workers, the time of a plan.

    python -m benchmarks.engine                       # writes engine.md; an hour
    python -m benchmarks.engine --stages 24 --seconds 1 --workers 1 2 4 --out /tmp   # small
    python -m benchmarks.engine --only shard_pool     # one part: the units of one stage on several workers; 3 minutes

The stages sleep, so that workers do not compete for the processor and the bound is known: no number of workers is
faster than the longest path, or than the whole work divided by the workers. All ratios are within one run of a part.
Each part is written to engine.json and the page as soon as it is measured. Parts that are not measured again stay.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import yaml

from benchmarks import shard_pool
from gift_core.execution.pool import open_pool
from gift_core.execution.schedule import longest_path, waves
from stages.dvc_pipeline import open_pipeline
from stages.run_loop import RunLog, RunLoop

ROOT = Path(__file__).resolve().parents[1]
CHAINS = 25  # as many methods learn one task after another
SHORT, LONG = 5, 25  # chains of stages that do nothing; their difference leaves out the start of Python, DVC and Ray
PLANNED = {"methods": 23, "tasks": 11, "seeds": 3}
Graph = Mapping[str, Sequence[str]]


def main() -> None:
    """Measures the parts, and writes the page after each of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stages", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=10.0, help="mean time of a stage")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    parser.add_argument("--repeats", type=int, default=3, help="of the overhead and the plan")
    parser.add_argument(
        "--only", choices=["overhead", "plan", "speed_up", "shard_pool"], help="measure this part alone"
    )
    parser.add_argument("--out", type=Path, default=Path(".gift/benchmarks"))
    choices = parser.parse_args()
    out = choices.out.absolute()
    out.mkdir(parents=True, exist_ok=True)
    os.environ |= {"GIFT_QUIET": "1", "DVC_NO_ANALYTICS": "1", "PYTHONPATH": str(ROOT)}
    parts: dict[str, Callable[[], str]] = {
        "overhead": lambda: overhead([chain_seconds() for _ in range(choices.repeats)]),
        "plan": lambda: plan([plan_seconds() for _ in range(choices.repeats)]),
        "speed_up": lambda: speed_up(sleeping_graph(choices.stages, choices.seconds), choices.workers),
        "shard_pool": lambda: shard_pool.table(choices.workers),
    }
    for name in [choices.only] if choices.only else parts:
        load = os.getloadavg()[0]
        write_part(out, name, f"{parts[name]()}\n{circumstances(name, load)}", list(parts))
    print((out / "engine.md").read_text(encoding="utf-8"))


def write_part(out: Path, name: str, text: str, order: Sequence[str]) -> None:
    """Replaces a part in engine.json, and writes all parts to engine.md in this order."""
    record = out / "engine.json"
    known = json.loads(record.read_text(encoding="utf-8")) if record.exists() else {}
    parts = {each: text if each == name else known[each] for each in order if each == name or each in known}
    record.write_text(json.dumps(parts, indent=1), encoding="utf-8")
    (out / "engine.md").write_text("\n".join(["# The cost of `gift run`\n", *parts.values()]), encoding="utf-8")


@contextmanager
def project(graph: Graph, command: Mapping[str, str]) -> Iterator[Path]:
    """Changes into a new DVC project, in which each stage of the graph runs its command and writes a file."""
    stages = {
        name: {
            "cmd": f"{command[name]} && echo {name} > out/{name}",
            "deps": ["params.yaml", *(f"out/{each}" for each in inputs)],
            "outs": [f"out/{name}"],
        }
        for name, inputs in graph.items()
    }
    with new_project({"stages": stages}, {}) as folder:
        yield folder


@contextmanager
def new_project(pipeline: Mapping[str, object], values: Mapping[str, object]) -> Iterator[Path]:
    """Changes into a new DVC project with our params.yaml, and with `values` in the file values.yaml."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "out").mkdir()
        (folder / "dvc.yaml").write_text(yaml.safe_dump(pipeline))
        (folder / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
        (folder / "values.yaml").write_text(yaml.safe_dump(dict(values)))
        subprocess.run(["dvc", "init", "--no-scm", "--quiet"], cwd=folder, check=True)
        os.chdir(folder)
        try:
            yield folder
        finally:
            os.chdir(before)


def timed(command: Sequence[str]) -> float:
    """Returns the seconds of a command that has to succeed."""
    started = time.monotonic()
    subprocess.run(command, check=True, capture_output=True)
    return time.monotonic() - started


def chain_seconds() -> tuple[float, float]:
    """Returns the seconds of a stage that does nothing, with `dvc repro` and with `gift run`, in a chain."""
    found: list[list[float]] = []
    for length in (SHORT, LONG):
        graph = {f"s{number}": [f"s{number - 1}"] if number else [] for number in range(length)}
        commands = dict.fromkeys(graph, "true")
        with project(graph, commands):
            found.append([timed(["dvc", "repro"])])
        with project(graph, commands):
            found[-1].append(timed([sys.executable, "-m", "stages", "run", "--workers", "1"]))
    (short_repro, short_run), (long_repro, long_run) = found
    return (long_repro - short_repro) / (LONG - SHORT), (long_run - short_run) / (LONG - SHORT)


def overhead(measured: Sequence[tuple[float, float]]) -> str:
    """Returns a sentence about the overhead of a stage."""
    repro, run = (statistics.median(each) for each in zip(*measured, strict=True))
    ratio = statistics.median(run / repro for repro, run in measured)
    return (
        f"A stage that does nothing takes {repro:.2f} s with `dvc repro` and {run:.2f} s with `gift run --workers 1`: "
        f"**{ratio:.2f} times as long** (chains of {SHORT} and {LONG} stages, median of {len(measured)}).\n"
    )


def plan_seconds() -> tuple[int, float]:
    """Returns the number of stages of a large experiment, and the seconds of `gift run --dry`."""
    path = "${item.seed}-${item.method}"
    step = {"before": f"out/{path}-${{item.step.after}}", "now": f"{path}-${{item.step.task}}"}
    inputs = {
        "teach": [step["before"]],
        "finetune": [step["before"], f"out/teach-{step['now']}"],
        "evaluate": [f"out/{step['now']}"],
    }
    outputs = {
        "teach": f"out/teach-{step['now']}",
        "finetune": f"out/{step['now']}",
        "evaluate": f"out/e-{step['now']}",
    }
    matrix = {"method": "${bench.methods}", "seed": "${bench.seeds}", "step": "${bench.steps}"}
    stages = {
        name: {"matrix": matrix, "cmd": "true", "deps": inputs[name], "outs": [outputs[name]], "params": ["seed"]}
        for name in inputs
    }
    bench = {
        "methods": [f"m{number}" for number in range(PLANNED["methods"])],
        "seeds": list(range(PLANNED["seeds"])),
        "steps": [{"task": f"t{number}", "after": f"t{number - 1}"} for number in range(PLANNED["tasks"])],
    }
    with new_project({"vars": ["values.yaml"], "stages": stages}, {"bench": bench}) as folder:
        for method in bench["methods"]:
            for seed in bench["seeds"]:
                (folder / "out" / f"{seed}-{method}-t-1").touch()
        return 3 * PLANNED["methods"] * PLANNED["tasks"] * PLANNED["seeds"], timed(
            [sys.executable, "-m", "stages", "run", "--dry"]
        )


def plan(measured: Sequence[tuple[int, float]]) -> str:
    """Returns a sentence about the time of a plan."""
    seconds = statistics.median(seconds for _, seconds in measured)
    sizes = " x ".join(f"{count} {name}" for name, count in PLANNED.items())
    return f"`gift run --dry` plans {measured[0][0]:,} stages ({sizes} x 3) in **{seconds:.1f} s**.\n"


def sleeping_graph(stages: int, mean_seconds: float) -> tuple[Graph, dict[str, float]]:
    """Returns chains of stages, and how long each one sleeps: the mean, more or less a half."""
    rng = random.Random(0)
    graph = {f"s{number}": [f"s{number - CHAINS}"] if number >= CHAINS else [] for number in range(stages)}
    return graph, {name: mean_seconds * rng.uniform(0.5, 1.5) for name in graph}


def loop_seconds(graph: Graph, seconds: Mapping[str, float], workers: int) -> float:
    """Returns the time from the first stage to the last one."""
    commands = {name: f"sleep {time:.3f}" for name, time in seconds.items()}
    with (
        project(graph, commands),
        open_pipeline(Path(), []) as pipeline,
        open_pool(address=None, workers=workers, gpus_per_stage=1, use_gpus=False) as pool,
    ):
        log, logs = RunLog(len(graph)), Path("logs").absolute()
        loop = RunLoop(pipeline, pool, log, logs, dict(os.environ), dict(seconds))
        started = time.monotonic()
        loop.run(threading.Event())
        assert not loop.failed, loop.failed
        return time.monotonic() - started


def speed_up(sleeping: tuple[Graph, dict[str, float]], workers: Sequence[int]) -> str:
    """Returns the table of the speed-up."""
    graph, seconds = sleeping
    work, longest = sum(seconds.values()), longest_path(graph, set(graph), seconds)[1]
    lines = [
        f"{len(graph)} stages that sleep {work / len(graph):.1f} s each on average, {work:,.0f} s together, in "
        f"{len(waves(graph, set(graph)))} waves. The longest path takes {longest:.0f} s. The bound is this path, or\n"
        "the whole work divided by the workers if that is more. The start of Ray (5 s) is not in it.\n",
        "| workers | time, s | bound, s | bound / time | speed-up |",
        "|---|---|---|---|---|",
    ]
    for number in workers:
        measured, bound = loop_seconds(graph, seconds, number), max(longest, work / number)
        row = f"| {number} | {measured:,.0f} | {bound:,.0f} | **{bound / measured:.2f}** | {work / measured:.1f} |"
        print(row, flush=True)
        lines.append(row)
    return "\n".join(lines) + "\n"


def circumstances(part: str, load: float) -> str:
    """Returns a line with the command, date and machine of a part."""
    versions = ", ".join(f"{name} {version(name)}" for name in ("dvc", "ray"))
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, {versions}"
    command = f"python -m benchmarks.engine --only {part}"
    return f"(`{command}`, {datetime.date.today()}, {machine}, load {load:.1f} at the start.)\n"


if __name__ == "__main__":
    main()
