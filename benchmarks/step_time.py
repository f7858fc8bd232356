"""The time of a training iteration of every method, relative to plain fine-tuning.

    python -m benchmarks.step_time          # all methods that train, on presets/mini.yaml, B = M = 64
    python -m benchmarks.step_time --full   # and some of them on ViT-B/16 with random weights, B = M = 8
    python -m benchmarks.step_time --full --device cuda

Each round runs a few iterations of every method, so that other load on the machine affects all of them. Ratios are
relative to finetune in the same round. On a CPU, seconds are processor time on one thread. The training loop runs on
the second task of the sequence, with the replay and the Fisher diagonals that the stage teach wrote. Writes
benchmarks/step_time.csv and benchmarks/step_time.md.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import open_clip
import pandas as pd
import torch
import yaml
from safetensors.torch import save_file

from benchmarks.experiment import Run, choose_methods, read_experiment
from gift_core.artifacts.model_folder import PROVENANCE, write_provenance
from gift_core.clip.architectures import LOCAL
from gift_core.clip.model import Clip, load_folder
from gift_core.clip.trained import training_mode
from gift_core.config.experiment import TrainingConfig
from gift_core.errors import lookup
from gift_core.method.methods import Method, TrainingData, build_method, load_fisher, load_replay, load_training_data
from gift_core.method.replay.source import Replay
from gift_core.method.replay.teach import replay_of
from gift_core.method.training.loop import sampled, training_run
from gift_core.torch_devices import set_up_device
from stages.teach import teach

PRESET = Path("presets/mini.yaml")
TASKS = ("letters", "textures")
RATE = 1e-6  # small, the time does not depend on it
WHERE_THE_TIME_GOES = """\
Almost all of the extra time of gift is the forward and backward pass of the replay. Its images take as long as those
of the task. Its texts take more, with one per pair instead of about a dozen class prompts. lwf, icarl and zscl use the
text features of the teacher instead. In the miniature, adaptive consolidation takes 3 % of an iteration of gift (9 of
325 ms), AdamW 1 %, and sampling batches 2 %.
"""


@dataclass(frozen=True)
class Case:
    """A model, the methods to time, images and pairs per iteration, and the number of rounds and iterations."""

    model: str
    methods: Sequence[str]
    batch_size: int
    images: int
    rounds: int
    iterations: int


def cases(*, full: bool, only: Sequence[str] | None) -> list[Case]:
    """Returns the case of the miniature, with finetune and the methods `only`, and with `full` that of ViT-B/16."""
    rows = read_experiment(PRESET)["methods"]
    learning = [name for name, row in rows.items() if row.get("learns") != "nothing"]
    if only:
        learning = ["finetune", *(lookup({name: name for name in learning}, name, "--methods") for name in only)]
    learning.sort(key=lambda name: name != "finetune")
    mini = Case("local-dir:data/mini/clip", learning, batch_size=64, images=128, rounds=6, iterations=2)
    big = Case("ViT-B-16", ["finetune", "l2", "lwf", "zscl", "gift"], batch_size=8, images=32, rounds=2, iterations=1)
    return [mini, big] if full else [mini]


def main() -> None:
    """Measures, prints and writes the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, mps or auto")
    parser.add_argument("--methods", nargs="+", metavar="METHOD", help="of the miniature, besides finetune")
    parser.add_argument("--out", type=Path, default=Path(".gift/benchmarks"))
    choices = parser.parse_args()
    choices.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    load = os.getloadavg()[0]
    device = set_up_device(choices.device)
    tables = [measured(case, device) for case in cases(full=choices.full, only=choices.methods)]
    page = "\n".join([heading(load, device), *(section(table) for table in tables)])
    pd.concat(tables).to_csv(choices.out / "step_time.csv", index=False, float_format="%.3f")
    (choices.out / "step_time.md").write_text(page, encoding="utf-8")
    print(page)


def measured(case: Case, device: torch.device) -> pd.DataFrame:
    """Returns one row per method: the median seconds per iteration, and the ratio to finetune with its quartiles."""
    with tempfile.TemporaryDirectory() as folder:
        run = prepared(case, Path(folder))
        clip = load_folder(run.layout.pretrained(), device=device, precision="fp32")
        works = {method: work_of(run, clip, method) for method in case.methods}
        # all methods share one model, because the time does not depend on the values of the weights
        with training_mode(clip):  # within the folder's block: images are read when they are sampled
            seconds_RM = np.array(
                [[timed(work, clip, case.iterations) for work in works.values()] for _ in range(case.rounds)]
            )
    ratios_RM = seconds_RM / seconds_RM[:, :1]
    quarter, half, three_quarters = np.quantile(ratios_RM, [0.25, 0.5, 0.75], axis=0)
    columns = {"seconds": np.median(seconds_RM, axis=0), "ratio": half, "q1": quarter, "q3": three_quarters}
    return pd.DataFrame({"model": case.model, "batch": case.batch_size, "method": case.methods, **columns})


def prepared(case: Case, root: Path) -> Run:
    """Returns the experiment under `root` after the stage teach. The model after the first task is not trained."""
    experiment = read_experiment(PRESET)
    experiment["model"] |= {"name": case.model, "pretrained": random_weights(case, root)}
    experiment["sequence"] = experiment["sequence"][: len(TASKS)]
    experiment["generator"]["steps"] = 1  # the content of the images does not matter
    experiment["prompts"]["images_per_task"] = case.images
    experiment["training"] |= {"batch_size": case.batch_size, "replay_batch_size": case.batch_size}
    for task in TASKS:
        experiment["tasks"][task] |= {"train_images": case.images, "test_images": 30}
    choose_methods(experiment, {name: experiment["methods"][name] for name in case.methods})
    (root / "params.yaml").write_text(yaml.safe_dump(experiment, sort_keys=False), encoding="utf-8")
    run = Run(root)
    run.prepare()
    for method in case.methods:
        link_model(run, method)
        for task in TASKS:
            teach(method, task, params=run.params, root=root)
    return run


def link_model(run: Run, method: str) -> None:
    """Makes the pre-trained model the method's model after the first task."""
    folder = run.layout.model(method, TASKS[0])
    folder.mkdir(parents=True)
    for file in run.layout.pretrained().iterdir():
        if file.name != PROVENANCE:
            (folder / file.name).symlink_to(file)
    write_provenance(folder, {"method": method, "task": TASKS[0]})


def random_weights(case: Case, root: Path) -> str | None:
    """Returns a file of random weights for an architecture, and None for a model folder, which has its own."""
    if case.model.startswith(LOCAL):
        return None
    weights = open_clip.create_model(case.model).state_dict()
    save_file({name: value.contiguous() for name, value in weights.items()}, root / "random.safetensors")
    return str(root / "random.safetensors")


@dataclass(frozen=True)
class Work:
    """The inputs of the training loop for one method."""

    method: Method
    data: TrainingData
    replay: Replay | None
    training: TrainingConfig


def work_of(run: Run, clip: Clip, method: str) -> Work:
    """Returns the method's second step, as the stage finetune would load it."""
    row, training = run.config.methods[method], run.config.training
    replay = replay_of(run.config, run.layout, method, TASKS[-1])
    built = build_method(row, fisher=load_fisher(row, replay.source.teacher))
    return Work(
        method=built,
        data=load_training_data(row, clip, replay.source.tasks, training=training, names=("step time",)),
        replay=load_replay(built, clip, replay),
        training=training,
    )


def timed(work: Work, clip: Clip, iterations: int) -> float:
    """Returns the median seconds of `iterations`, after a first one in which the optimizer creates its state."""
    ends: list[float] = []
    clock = time.process_time if clip.device.type == "cpu" else time.perf_counter
    rates, prompts = [RATE] * (iterations + 1), work.data.batches.class_prompts
    with training_run(clip, prompts, method=work.method, training=work.training, rates=rates, seed=0) as run:
        for iteration in run.iterations(sampled(work.data.batches, work.replay, range(len(rates)))):
            run.add(iteration)  # a GPU's losses are read in their own iteration
            ends.append(clock())
    return float(np.median(np.diff(ends)))


def heading(load: float, device: torch.device) -> str:
    """Returns the title of the page, the command, date and machine, and what takes the time."""
    command = " ".join(["python -m benchmarks.step_time", *sys.argv[1:]])
    on_cuda = device.type == "cuda"
    clock = torch.cuda.get_device_name(device) if on_cuda else "One thread, processor time"
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}"
    return (
        "# Time of a training iteration\n\n"
        f"`{command}`, {datetime.date.today()}, {machine}, load {load:.1f} at the start. {clock}.\n"
        "Ratios are relative to `finetune` in the same round: the median, and the first and third quartile.\n\n"
        f"{WHERE_THE_TIME_GOES.rstrip()}"
    )


def section(table: pd.DataFrame) -> str:
    """Returns the Markdown table of one model."""
    rows = [
        f"| {row.method} | {row.seconds:.2f} | {row.ratio:.2f} | {row.q1:.2f} - {row.q3:.2f} |"
        for row in table.itertuples()
    ]
    title = f"\n{table.model[0]}, B = M = {table.batch[0]}:\n"
    return "\n".join([title, "| method | s | relative to finetune | quartiles |", "|---|---|---|---|", *rows, ""])


if __name__ == "__main__":
    main()
