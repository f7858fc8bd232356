"""What the snapshots of a training run cost: their size, the time to write and read them, and their share of the time.

    python benchmarks/snapshots.py          # writes snapshots.md; needs 6 GB of memory and of disk

A snapshot has the weights and both moments of AdamW. Frozen importance and a running mean add a copy of the weights
each, so these are the largest snapshots. Random weights and images take as much time as real ones. The share of the
time is measured in one run of the miniature, with the intervals that the stage uses. ViT-B/16 is too slow for that on a
CPU, so its share follows from the time of a write.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import tempfile
import time
from pathlib import Path

import open_clip
import torch

from gift_core.averaging import RunningMean
from gift_core.clip.batches import TaskBatch
from gift_core.clip.device import resolve_device
from gift_core.clip.model import Clip, as_clip, load_folder
from gift_core.config.experiment import TrainingConfig
from gift_core.consolidation import FrozenFisher, Uniform
from gift_core.methods import Method
from gift_core.replay.source import NoReplay
from gift_core.training.loop import sampled, training_run
from gift_core.work import snapshot as snapshots
from gift_core.work.snapshot import Snapshot
from gift_core.work.training import drive

MINI = Path("data/mini/clip")
WORK = Path(".gift")
RUN_SECONDS = 150.0
METHODS = {
    "weights and moments": Method({}, lambda weights: Uniform(weights, weight=1.0)),
    "and frozen importance, running mean": Method(
        {},
        lambda weights: FrozenFisher(weights, weight=1.0, iterations=10),
        lambda weights: (RunningMean(weights, every=1),),
    ),
}
TRAINING = TrainingConfig(
    iterations=1,
    batch_size=1,
    replay_batch_size=2,
    warmup_iterations=0,
    weight_decay=0.0,
    betas=(0.9, 0.999),
    label_smoothing=0.0,
    crop_scale=(0.9, 1.0),
    micro_batch_size=None,
    gradient_checkpointing=False,
)


class RandomImages:
    """The same random batch in every iteration."""

    class_prompts = tuple(f"a photo of a {number}." for number in range(4))

    def __init__(self, clip: Clip, batch_size: int) -> None:
        images = torch.randn(batch_size, 3, clip.image_size, clip.image_size, device=clip.device)
        self._batch = TaskBatch(images, torch.arange(batch_size, device=clip.device) % len(self.class_prompts))

    def sample(self, iteration: int) -> TaskBatch:
        """The batch."""
        return self._batch


def main() -> None:
    """Measures, prints and writes the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(".gift/benchmarks"))
    parser.add_argument("--device", default="cpu")
    choices = parser.parse_args()
    choices.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    WORK.mkdir(exist_ok=True)
    load, device = os.getloadavg()[0], resolve_device(choices.device)
    models = {"mini": load_folder(MINI, device=device, precision="fp32"), "ViT-B-16": random_clip("ViT-B-16", device)}
    rows = [row_of(name, clip, method) for name, clip in models.items() for method in METHODS]
    page = heading(load) + "\n".join(rows) + "\n\n" + measured_run(models["mini"])
    (choices.out / "snapshots.md").write_text(page, encoding="utf-8")
    print(page)


def random_clip(name: str, device: torch.device) -> Clip:
    """An architecture of open_clip with random weights."""
    model = open_clip.create_model(name).to(device)
    return as_clip(model, open_clip.get_tokenizer(name), open_clip.get_model_config(name), precision="fp32")


def train(clip: Clip, method: Method, iterations: int, batch_size: int, snapshot: Snapshot) -> float:
    """Returns the seconds of a training run."""
    started = time.monotonic()
    images, rates = RandomImages(clip, batch_size), [1e-6] * iterations
    with training_run(clip, images.class_prompts, method=method, training=TRAINING, rates=rates, seed=0) as run:
        drive(run, lambda first: sampled(images, NoReplay(), range(first, iterations)), snapshot=snapshot)
    return time.monotonic() - started


def row_of(name: str, clip: Clip, method: str) -> str:
    """Writes three snapshots and reads one; returns a row of the table."""
    with tempfile.TemporaryDirectory(dir=WORK) as folder:
        snapshot = Snapshot(Path(folder) / "training.safetensors")
        policy = snapshots.SHORTEST_INTERVAL, snapshots.SHARE_OF_TIME
        snapshots.SHORTEST_INTERVAL, snapshots.SHARE_OF_TIME = 0.0, float("inf")
        train(clip, METHODS[method], 4, 2, snapshot)
        snapshots.SHORTEST_INTERVAL, snapshots.SHARE_OF_TIME = policy
        assert snapshot.path is not None
        started = time.monotonic()
        snapshots._probe(snapshot.path)
        probe = time.monotonic() - started
        size, seconds = snapshot.path.stat().st_size, snapshot.seconds_written / 3
        started = time.monotonic()
        snapshot.read()
        reading = time.monotonic() - started
    expected = probe * size / snapshots.PROBE_BYTES if size > snapshots.PROBE_BYTES else 0.0
    first = max(snapshots.SHORTEST_INTERVAL, expected / snapshots.SHARE_OF_TIME)
    later = max(snapshots.SHORTEST_INTERVAL, seconds / snapshots.SHARE_OF_TIME)
    return (
        f"| {name}, {method} | {size / 1e6:,.0f} MB | {seconds:.2f} s | {reading:.2f} s | {first:,.0f} s "
        f"| {seconds / (first + seconds):.2%} | {later:,.0f} s | {seconds / (later + seconds):.2%} |"
    )


def measured_run(clip: Clip) -> str:
    """Trains the miniature with the stage's own intervals; returns a sentence about the share of the time."""
    method = METHODS["and frozen importance, running mean"]
    with tempfile.TemporaryDirectory(dir=WORK) as folder:
        of_one = train(clip, method, 4, 64, Snapshot()) / 4
        iterations = int(RUN_SECONDS / of_one)
        snapshot = Snapshot(Path(folder) / "training.safetensors")
        seconds = train(clip, method, iterations, 64, snapshot)
    return (
        f"Measured in a run of the miniature with the largest state, {iterations} iterations of 64 images in "
        f"{seconds:.0f} s: {snapshot.seconds_written:.2f} s for writing, "
        f"**{snapshot.seconds_written / seconds:.2%} of the time**.\n"
    )


def heading(load: float) -> str:
    """Returns the title of the page, the command, date and machine, and the head of the table."""
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}"
    return (
        "# The cost of snapshots\n\n"
        f"`python benchmarks/snapshots.py`, {datetime.date.today()}, {machine}, load {load:.1f} at the start.\n\n"
        "A training run writes a snapshot when the last one is 30 s old and writing takes at most 1.5 % of the time.\n"
        "The interval before the first one follows from its size and the time to write 32 MiB, later intervals from\n"
        "the time of the last write. Writing includes checksums and the flush to the disk.\n\n"
        "| state | size | write | read | first after | its share | later every | their share |\n"
        "|---|---|---|---|---|---|---|---|\n"
    )


if __name__ == "__main__":
    main()
