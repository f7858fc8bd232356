"""The measurements of benchmarks/growth.py. Each size is measured in a process of its own:

    python -m benchmarks.growth_parts classes 100     # prints its row as JSON

Seconds are processor time of one thread, so that other load on the machine matters little.
"""

from __future__ import annotations

import copy
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pandas as pd
import torch
from open_clip.model import CLIP
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.beside.inputs import SIZES, Inputs, inputs_of
from benchmarks.memory import GIB, Batches, Pairs, peak_bytes, training
from gift_core.artifacts.features import FEATURES, read_features, write_features
from gift_core.artifacts.prompt_files import prompts_digest, write_prompts
from gift_core.artifacts.shards import Pair, iterate_pairs, pair_key, write_manifest, write_shard
from gift_core.clip.encoding import class_features
from gift_core.clip.images import CacheBudget
from gift_core.clip.model import Clip
from gift_core.clip.test_set import TestSet, nearest_classes
from gift_core.methods import build_method
from gift_core.mini.world import mini_task
from gift_core.replay.source import ReplaySource, Sampling
from gift_core.replay.teach import step_replay
from gift_core.training.loop import sampled, training_run

ROOT = Path(__file__).resolve().parents[1]
CPU = torch.device("cpu")
SMALL_BATCH, FEW_CLASSES = 4, 10
TEST_IMAGES = 300  # of a task of the presets of the miniature
DISTINCT_IMAGES, DISTINCT_PROMPTS, SAMPLES = 64, 1000, 20
CHAINS = 25  # of the project with many stages, as many methods learn one task after another
UP_TO_DATE = {
    "repro": (["dvc", "repro"], "Data and pipelines are up to date."),
    "dry": ([sys.executable, "-m", "stages", "run", "--dry"], "Nothing is new or changed"),
}
TIMES = ("iteration", "encoding", "evaluation", "opening", "pairs", "features", "batch_ms", "repro", "dry")
Row = dict[str, Any]
Cells = frozenset[tuple[int, int]]  # (step, task) of an accuracy matrix


def of_classes(classes: int) -> Row:
    """Returns the time of an iteration of gift on the miniature with its preset's batches, and of encoding classes."""
    with miniature() as inputs:
        clip, batch = inputs.clip, inputs.preset["training"]["batch_size"]
        iteration = iteration_seconds(clip, inputs, batch=batch, classes=classes, iterations=4)
        names = [f"thing of kind {number}" for number in range(classes)]
        templates = mini_task("letters").templates
        encoding = seconds(lambda: class_features(clip, names, templates, batch_size=256))
    return {"classes": classes, "iteration": iteration, "encoding": encoding, "peak_gib": peak_bytes(CPU) / GIB}


def of_model(name: str) -> Row:
    """Returns the time, the operations and the memory of an iteration of gift on an architecture, random weights."""
    with miniature() as inputs:
        clip, counts = random_clip(name), list[int]()
        with FlopCounterMode(display=False) as counter:
            iteration = iteration_seconds(
                clip, inputs, batch=SMALL_BATCH, classes=FEW_CLASSES, iterations=2,
                at_end=lambda: counts.append(counter.get_total_flops()),
            )  # fmt: skip
    weights = sum(value.numel() for value in clip.model.parameters())
    counted = {"weights": weights / 1e6, "operations": (counts[-1] - counts[-2]) / 1e12}
    return {"model": name, **counted, "iteration": iteration, "peak_gib": peak_bytes(CPU) / GIB}


def iteration_seconds(
    clip: Clip,
    inputs: Inputs,
    *,
    batch: int,
    classes: int,
    iterations: int,
    at_end: Callable[[], object] = lambda: None,
) -> float:
    """Returns the median seconds of an iteration of the training loop, after a first, small one. Images are random.

    `at_end` is called after each iteration.
    """
    ends: list[float] = []
    batches, rates = Batches(clip, batch, classes), [1e-6] * iterations
    with training_run(
        clip, batches.class_prompts, method=build_method(inputs.gift), training=training({}), rates=rates, seed=0
    ) as run:
        for iteration in run.iterations(sampled(batches, Pairs(clip, batch), range(iterations))):
            run.add(iteration)
            ends.append(time.process_time())
            at_end()
    return float(np.median(np.diff(ends)))


def random_clip(name: str) -> Clip:
    """Returns an architecture of open_clip with random weights."""
    torch.manual_seed(0)
    config = copy.deepcopy(open_clip.get_model_config(name))
    model = CLIP(**copy.deepcopy(config))
    preprocess = dict(open_clip.get_model_preprocess_cfg(model))
    return Clip(model, open_clip.get_tokenizer(name), {"model_cfg": config, "preprocess_cfg": preprocess}, "fp32")


@contextmanager
def miniature() -> Iterator[Inputs]:
    """Yields the inputs of benchmarks/bench.py for the miniature, whose files lie in a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        yield inputs_of("mini", CPU, Path(folder))


def seconds(work: Callable[[], object]) -> float:
    """Returns the processor time of the work."""
    started = time.process_time()
    work()
    return time.process_time() - started


def evaluation_seconds(images: int) -> Row:
    """Returns the time in which the miniature classifies a test set, images and classes together."""
    with miniature() as made:
        inputs = replace(made, size=replace(SIZES["mini"], images=images))
        folder, clip = inputs.task[0], inputs.clip
        batch_size = inputs.preset["evaluation"]["batch_size"]

        def evaluation_of_a_model() -> None:
            nearest_classes(clip, TestSet(folder, batch_size=batch_size, cache_budget=CacheBudget(0)))

        return {"images": images, "evaluation": statistics.median(seconds(evaluation_of_a_model) for _ in range(5))}


def write_images(folder: Path, count: int) -> Row:
    """Writes `count` synthetic pairs of a task, with their prompts and the features of a teacher, below `folder`."""
    random = np.random.default_rng(0)
    with miniature() as inputs:
        settings, width = inputs.preset["generator"], inputs.clip.embedding_size
    images = [_picture(random, settings["size"]) for _ in range(DISTINCT_IMAGES)]
    texts = [f"a photo of a thing of kind {number % DISTINCT_PROMPTS}." for number in range(count)]
    columns = {"source_task": "base", "class_name": "thing", "template": "{}", "prompt": texts, "seed": 0}
    prompts = pd.DataFrame({"prompt_id": range(count), **columns})
    shards, size = folder / "shards", settings["images_per_shard"]
    shards.mkdir(parents=True)
    keys = [pair_key(*divmod(number, size)) for number in range(count)]
    for index, start in enumerate(range(0, count, size)):
        numbers = range(start, min(start + size, count))
        pairs = [Pair(keys[number], number, texts[number], images[number % len(images)]) for number in numbers]
        write_shard(shards, index, pairs, {})
    write_prompts(folder / "task.parquet", prompts)
    write_manifest(shards, settings, prompts_digest(prompts))
    (folder / "teacher").mkdir()
    write_features(
        folder / "teacher" / FEATURES, keys, _unit_rows(random, count, width), _unit_rows(random, count, width), {}
    )
    return {"images": count}


def _picture(random: np.random.Generator, side: int) -> bytes:
    """A PNG file of smooth colors, about as large as a generated image."""
    coarse = Image.fromarray(random.integers(0, 256, (4, 4, 3), dtype=np.uint8))
    buffer = io.BytesIO()
    coarse.resize((side, side), Image.Resampling.BICUBIC).save(buffer, format="PNG")
    return buffer.getvalue()


def _unit_rows(random: np.random.Generator, rows: int, width: int) -> np.ndarray:
    values = random.standard_normal((rows, width), dtype=np.float32)
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def of_images(folder: str) -> Row:
    """Returns what opening the pairs that `write_images` wrote takes, and sampling a batch of them."""
    root = Path(folder)
    with miniature() as inputs:
        clip, method = inputs.clip, inputs.gift
        batch_size = inputs.preset["training"]["replay_batch_size"]
    source = ReplaySource(
        root=root, tasks=(), shards=root / "shards", prompts=root / "task.parquet", earlier=(), vocabulary=root,
        teacher=root / "teacher", teacher_before=root, key="", teacher_model="",
    )  # fmt: skip
    before, started = peak_bytes(CPU), time.process_time()
    replay = step_replay(method.replay, source, Sampling(batch_size, 256, ("growth",))).load(clip, method.losses)
    opening, opened = time.process_time() - started, peak_bytes(CPU)
    return {
        "images": int(root.name),
        "opening": opening,
        "pairs": seconds(lambda: deque(iterate_pairs(source.shards, source.prompts), maxlen=0)),
        "features": seconds(lambda: read_features(source.teacher / FEATURES)),
        "batch_ms": 1000 * statistics.median(seconds(partial(replay.sample, at)) for at in range(SAMPLES)),
        "memory_gib": (opened - before) / GIB,
    }


def in_turns(part: str, sizes: Sequence[int | str], rounds: int) -> list[Row]:
    """Returns a row for each size: medians over rounds, each of which measures all sizes in processes of their own."""
    return medians([[in_own_process(part, str(size)) for size in sizes] for _ in range(rounds)])


def in_own_process(part: str, size: str) -> Row:
    """Returns the row that a new process measures."""
    command = [sys.executable, "-m", "benchmarks.growth_parts", part, size]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    row: Row = json.loads(done.stdout.splitlines()[-1])
    print(row, file=sys.stderr, flush=True)
    return row


def medians(rounds: Sequence[Sequence[Row]]) -> list[Row]:
    """Returns the median of each number of a row. `spread` is the largest (max - min) / median of its times."""
    found = []
    for rows in zip(*rounds, strict=True):
        values = {name: [row[name] for row in rows] for name in rows[0]}
        middle = {
            name: each[0] if isinstance(each[0], str) else statistics.median(each) for name, each in values.items()
        }
        times = [each for name, each in values.items() if name in TIMES]
        spread = max((max(each) - min(each)) / statistics.median(each) for each in times)
        found.append({**middle, "spread": spread})
    return found


MEASURED_HERE: dict[str, Callable[[str], Row]] = {
    "classes": lambda size: of_classes(int(size)),
    "evaluation": lambda size: evaluation_seconds(int(size)),
    "write_images": lambda folder: write_images(Path(folder), int(Path(folder).name)),
    "images": of_images,
    "models": of_model,
}


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps(MEASURED_HERE[sys.argv[1]](sys.argv[2])))
