"""Peak memory and time of a training iteration of gift, with each of the settings that save memory.

    python benchmarks/memory.py                     # ViT-B/16 with four layers per encoder, on one thread of the CPU
    python benchmarks/memory.py --depth 12 --device cuda --batch 64 --classes 397
    python benchmarks/memory.py --trained           # only what training keeps for each kind of `trains`, in seconds

Each case runs in its own process, so that no allocator keeps memory of another case. Weights and batches are random,
which does not change the cost. Writes memory.csv, memory.md and memory_trained.md.
"""

from __future__ import annotations

import argparse
import copy
import datetime
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import open_clip
import pandas as pd
import torch
import yaml
from open_clip.model import CLIP
from torch.nn import functional

from gift_core.clip.batches import TrainingBatch
from gift_core.clip.encoding import tokenize
from gift_core.clip.model import Clip
from gift_core.config.experiment import TrainingConfig
from gift_core.config.method_options import MethodConfig
from gift_core.driving import training as snapshots
from gift_core.driving.training import drive
from gift_core.method.methods import build_method
from gift_core.method.pair_features import ReplayBatch
from gift_core.method.training.loop import sampled, training_run

PRESET = Path("presets/mini.yaml")
GIB = 2**30
COPIES = 6  # of the weights: themselves, gradients, two moments of AdamW, the start weights and their importance
CASES: dict[str, dict[str, Any]] = {
    "full batch": {},
    "micro-batches of 16": {"micro_batch_size": 16},
    "micro-batches of 8": {"micro_batch_size": 8},
    "checkpointing": {"gradient_checkpointing": True},
    "micro-batches of 8, checkpointing": {"micro_batch_size": 8, "gradient_checkpointing": True},
    "bf16": {"precision": "amp_bf16"},
    "bf16, micro-batches of 8, checkpointing": {
        "precision": "amp_bf16",
        "micro_batch_size": 8,
        "gradient_checkpointing": True,
    },
}
ADAPTERS = {"kind": "lora", "rank": 8, "alpha": 16.0, "targets": ["attn", "c_fc", "c_proj"]}
TRAINED: dict[str, dict[str, Any]] = {
    "everything": {},
    "image_tower": {"trains": {"kind": "image_tower"}},
    "text_tower": {"trains": {"kind": "text_tower"}},
    "last_blocks, 1 block": {"trains": {"kind": "last_blocks", "blocks": 1}},
    "lora, rank 8": {"trains": ADAPTERS},
}


def main() -> None:
    """Measures each case in its own process, prints and writes the tables."""
    choices = parser().parse_args()
    if choices.case:
        print(json.dumps(measured(choices)))
        return
    choices.out.mkdir(parents=True, exist_ok=True)
    write_trained(choices)
    if choices.trained:
        return
    load = os.getloadavg()[0]
    table = pd.DataFrame([in_own_process(name) for name in CASES])
    full_batch = table.iloc[0]
    table["memory_ratio"] = table.peak_gib / full_batch.peak_gib
    table["activations_ratio"] = table.activations_gib / full_batch.activations_gib
    table["time_ratio"] = table.seconds / full_batch.seconds
    page = f"{heading(choices, load)}\n\n{rows_of(table)}"
    table.to_csv(choices.out / "memory.csv", index=False, float_format="%.3f")
    (choices.out / "memory.md").write_text(page, encoding="utf-8")
    print(page)


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--depth", type=int, default=4, help="layers per encoder (ViT-B/16 has 12)")
    made.add_argument("--batch", type=int, default=24, help="number of images of the task, and of replayed pairs")
    made.add_argument("--classes", type=int, default=100, help="number of classes of the task")
    made.add_argument("--device", default="cpu")
    made.add_argument("--out", type=Path, default=Path(".gift/benchmarks"))
    made.add_argument("--case", choices=CASES, help="measure only this case, in this process, and print it")
    made.add_argument("--trained", action="store_true", help="measure only what training keeps")
    return made


def write_trained(choices: argparse.Namespace) -> None:
    """Prints and writes what training keeps for each kind of `trains`."""
    head = (
        "# What training keeps, by what is trained\n\n"
        f"`python benchmarks/memory.py --trained`, {datetime.date.today()}, torch {torch.__version__}. gift with "
        f"ViT-B/16, {choices.depth} layers per encoder.\n\n"
        "| trains | values trained, million | AdamW's state, MiB | snapshot, MiB |\n|---|---|---|---|\n"
    )
    page = head + "".join(kept(name, choices) for name in TRAINED)
    (choices.out / "memory_trained.md").write_text(page, encoding="utf-8")
    print(page)


def kept(name: str, choices: argparse.Namespace) -> str:
    """Returns the row of a kind after two small iterations."""
    clip = cut_clip(choices.depth, torch.device(choices.device), "fp32")
    batches, row = Batches(clip, 2, 4), yaml.safe_load(PRESET.read_text())["methods"]["gift"] | TRAINED[name]
    options: dict[str, Any] = {"method": build_method(MethodConfig.model_validate(row)), "training": training({})}
    with (
        tempfile.TemporaryDirectory() as folder,
        patch.object(snapshots, "INTERVAL", 0.0),
        training_run(clip, batches.class_prompts, rates=[1e-6] * 2, seed=0, **options) as run,
    ):
        snapshot = Path(folder) / "training.safetensors"
        drive(run, lambda first: sampled(batches, Pairs(clip, 2), range(first, 2)), snapshot=snapshot)
        size = (Path(folder) / "training.safetensors").stat().st_size
        state = sum(value.nbytes for values in run.update.optimizer.state.values() for value in values.values())
        count = sum(value.numel() for value in run.parameters.values())
    return f"| {name} | {count / 1e6:.1f} | {state / 2**20:,.0f} | {size / 2**20:,.0f} |\n"


def in_own_process(case: str) -> dict[str, Any]:
    """Returns the measurement of the case by a new process."""
    command = [sys.executable, __file__, *sys.argv[1:], "--case", case]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    print(found, file=sys.stderr)
    return found


def measured(choices: argparse.Namespace) -> dict[str, Any]:
    """Returns the peak memory, the memory of the activations, and the seconds of the second iteration."""
    torch.set_num_threads(1)
    settings = dict(CASES[choices.case])
    clip = cut_clip(choices.depth, torch.device(choices.device), settings.pop("precision", "fp32"))
    weights = sum(value.nbytes for value in clip.model.parameters())
    loaded = peak_bytes(clip.device)
    clock = time.perf_counter if clip.device.type == "cuda" else time.process_time  # does not count other processes
    ends = [clock()]
    batches = Batches(clip, choices.batch, choices.classes)
    method = build_method(MethodConfig.model_validate(yaml.safe_load(PRESET.read_text())["methods"]["gift"]))
    with training_run(
        clip, batches.class_prompts, method=method, training=training(settings), rates=[1e-6] * 2, seed=0
    ) as run:
        for iteration in run.iterations(sampled(batches, Pairs(clip, choices.batch), range(2))):
            run.add(iteration)  # a GPU's losses are read in their own iteration
            ends.append(clock())
    peak = peak_bytes(clip.device)
    return {
        "case": choices.case,
        "peak_gib": peak / GIB,
        "activations_gib": (peak - loaded - (COPIES - 1) * weights) / GIB,
        "seconds": ends[-1] - ends[-2],
    }


def training(settings: dict[str, Any]) -> TrainingConfig:
    """Returns the training section of the preset with the settings of the case."""
    section = yaml.safe_load(PRESET.read_text())["training"]
    return TrainingConfig.model_validate({**section, "iterations": 2, "warmup_iterations": 0, **settings})


def cut_clip(depth: int, device: torch.device, precision: str) -> Clip:
    """Returns ViT-B/16 with random weights and `depth` layers per encoder."""
    torch.manual_seed(0)
    config = copy.deepcopy(open_clip.get_model_config("ViT-B-16"))
    config["vision_cfg"]["layers"] = config["text_cfg"]["layers"] = depth
    preprocess = {"size": [224, 224], "mean": [0.48, 0.46, 0.41], "std": [0.27, 0.26, 0.28]}
    described = {"model_cfg": config, "preprocess_cfg": preprocess}
    model = CLIP(**config).to(device)
    return Clip(model, open_clip.get_tokenizer("ViT-B-16"), described, precision)


def peak_bytes(device: torch.device) -> int:
    """Returns the peak memory so far: of the process, or of torch's allocator on a CUDA device."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def rows_in(iteration: int, count: int) -> int:
    """Returns the batch size. The first iteration is small: it only creates AdamW's moments for the next one."""
    return count if iteration else 2


@dataclass(frozen=True)
class Batches:
    """Random images of a task."""

    clip: Clip
    count: int
    classes: int

    @property
    def class_prompts(self) -> Sequence[str]:
        """One prompt per class."""
        return [f"a photo of a thing of kind {number}." for number in range(self.classes)]

    def sample(self, step: int) -> TrainingBatch:
        """Random images whose labels cycle through the classes."""
        count = rows_in(step, self.count)
        images_BCHW = torch.randn(count, 3, *(self.clip.image_size,) * 2).to(self.clip.device)
        labels_B = torch.arange(count, device=self.clip.device) % self.classes
        return TrainingBatch(images_BCHW, {"labels_B": labels_B})


@dataclass(frozen=True)
class Pairs:
    """Random replayed pairs."""

    clip: Clip
    count: int

    def sample(self, step: int) -> ReplayBatch:
        """Random images and teacher features, with different prompts."""
        count = rows_in(step, self.count)
        features_MD = functional.normalize(torch.randn(count, self.clip.embedding_size), dim=-1).to(self.clip.device)
        tokens_ML = tokenize(self.clip, [f"a photo of a {number}." for number in range(count)])
        images_MCHW = torch.randn(count, 3, *(self.clip.image_size,) * 2).to(self.clip.device)
        numbers_M = torch.arange(count, device=self.clip.device)
        return ReplayBatch(images_MCHW, tokens_ML, numbers_M, features_MD, features_MD.flip(0))


def heading(choices: argparse.Namespace, load: float) -> str:
    """Returns the title of the page, the command, date and machine, and what was measured."""
    on_gpu = choices.device.startswith("cuda")
    processor = torch.cuda.get_device_name(choices.device) if on_gpu else "one thread, processor time"
    machine = f"{platform.system()} {platform.machine()}, torch {torch.__version__}, open_clip {open_clip.__version__}"
    command = " ".join(["python benchmarks/memory.py", *sys.argv[1:]])
    return (
        "# Memory of a training iteration\n\n"
        f"`{command}`, {datetime.date.today()}, {machine}, {processor}, load {load:.1f} at the start.\n"
        f"One iteration of gift with ViT-B/16 ({choices.depth} layers per encoder, random weights), {choices.batch} "
        f"images of a task with {choices.classes} classes, and {choices.batch} pairs.\n"
        "Memory is that of the process (on a GPU, that of torch's allocator). Activations are the peak minus the "
        f"loaded model and the {COPIES - 1} further copies of\nthe weights for gradients, AdamW and consolidation. "
        "Ratios are relative to the full batch."
    )


def rows_of(table: pd.DataFrame) -> str:
    """Returns the Markdown table."""
    lines = [
        "| settings | peak, GiB | ratio | activations, GiB | ratio | s per iteration | ratio |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in table.itertuples():
        memory = (
            f"{row.peak_gib:.2f} | {row.memory_ratio:.2f} | {row.activations_gib:.2f} | {row.activations_ratio:.2f}"
        )
        lines.append(f"| {row.case} | {memory} | {row.seconds:.1f} | {row.time_ratio:.2f} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
