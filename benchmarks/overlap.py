"""The share of the time in which a device computes, with and without overlap, on a fake device of known speed.

    make bench-overlap                      # two minutes, no GPU; writes overlap.md and overlap.json

The device, and what encodes, writes and decodes images, sleep for fixed times. So they need no cores, and other load on
the machine matters little. What is between them is the code of the stages. Compare the columns of a row: they are of
one run. A device that never waits for Python is busy all the time.
"""

from __future__ import annotations

import argparse
import datetime
import json
import queue
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pandas as pd
import torch
from PIL import Image

from gift_core.artifacts.shards import write_shard
from gift_core.generators import synthesize as synthesizing
from gift_core.generators.filters import NoFilters
from gift_core.training.loop import Iteration
from gift_core.work import overlap, training
from gift_core.work.snapshot import NOT_KEPT

CPU, GPU = torch.device("cpu"), torch.device("cuda")
# Seconds, a quarter of those of a few-step model at 512 px: 25 images a second, 10 PNGs a second for each thread.
BATCHES, BATCH, SHARD = 100, 16, 320
GENERATE, ENCODE, WRITE, ENCODERS = 0.16, 0.025, 0.2, 8
# Of an iteration: computing, queueing what is computed, and decoding its images.
ITERATIONS, COMPUTE, QUEUE, DECODE = 100, 0.040, 0.015, 0.020


class Device:
    """Computes what is queued, one after another, in the given seconds."""

    def __init__(self) -> None:
        self.busy = 0.0
        self._queue: queue.Queue[tuple[float, Future[None]]] = queue.Queue()
        threading.Thread(target=self._run, daemon=True).start()

    def queue(self, seconds: float) -> Future[None]:
        """Returns at once. The future is done when the device has computed."""
        done: Future[None] = Future()
        self._queue.put((seconds, done))
        return done

    def _run(self) -> None:
        while True:
            seconds, done = self._queue.get()
            started = time.perf_counter()
            time.sleep(seconds)
            self.busy += time.perf_counter() - started
            done.set_result(None)


def synthesize(device: Device, kind: torch.device) -> None:
    """The stage with a pipeline that computes on `device`. Encoding and writing take their time in threads."""
    config = {"size": 8, "images_per_shard": SHARD, "batch_size": BATCH, "seed": 0, "image_format": "png"}
    picture = Image.new("RGB", (8, 8), (1, 2, 3))
    encode = synthesizing._encode

    def generate(prompts: Sequence[str], seeds: Sequence[int]) -> list[Image.Image]:
        device.queue(GENERATE).result()
        return [picture] * len(prompts)

    pipeline: Any = SimpleNamespace(
        config=SimpleNamespace(**config, filters=None, model_dump=lambda exclude: config), generate=generate
    )
    count = BATCHES * BATCH
    prompts = pd.DataFrame({"prompt_id": range(count), "prompt": "a bird.", "seed": range(count)})
    with tempfile.TemporaryDirectory() as name, ExitStack() as patches:
        patches.enter_context(mock.patch.object(synthesizing, "_encode", slow(encode, ENCODE)))
        patches.enter_context(mock.patch.object(synthesizing, "write_shard", slow(write_shard, WRITE)))
        patches.enter_context(mock.patch.object(synthesizing, "ENCODERS", ENCODERS))
        folder, work = Path(name) / "shards", Path(name) / "work"
        synthesizing.synthesize(prompts, pipeline, folder, work=work, filters=NoFilters(), device=kind)


def finetune(device: Device, kind: torch.device) -> None:
    """The loop with batches that take time to decode, and losses that are there when the device has computed them."""
    computed: list[Future[None]] = []

    def copied(tensor: torch.Tensor) -> Callable[[], torch.Tensor]:
        own = computed[-1]
        return lambda: (own.result(), tensor)[1]

    def iterations(batches: Iterable[int]) -> Iterator[Iteration]:
        for index in batches:
            time.sleep(QUEUE)
            computed.append(device.queue(COMPUTE))
            yield Iteration(index, 0.1, ["task"], torch.ones(1))

    run: Any = SimpleNamespace(iterations=iterations, add=lambda iteration, values: {}, rates=range(ITERATIONS))
    with mock.patch.object(training, "copied_to_cpu", copied), closing(prefetched(kind)) as batches:
        deque(training._rows(run, batches, NOT_KEPT, late=0 if kind == CPU else 1), maxlen=0)  # type: ignore[arg-type]


def encode(device: Device, kind: torch.device) -> None:
    """The loop of `evaluate` and `teach`: the features of a batch are copied before the next one is queued."""
    with closing(prefetched(kind)) as batches:
        for _ in batches:
            device.queue(COMPUTE).result()


def prefetched(kind: torch.device) -> Generator[int, None, None]:
    """Batches that take time to decode."""

    def decoded() -> Iterator[int]:
        for index in range(ITERATIONS):
            time.sleep(DECODE)
            yield index

    return overlap.prefetched(decoded(), device=kind)


def slow(function: Callable[..., Any], seconds: float) -> Callable[..., Any]:
    """The function, which takes so much longer."""

    def run(*arguments: Any, **options: Any) -> Any:
        time.sleep(seconds)
        return function(*arguments, **options)

    return run


STAGES = {"synthesize": synthesize, "finetune": finetune, "evaluate, teach": encode}


def occupancy(stage: Callable[[Device, torch.device], None], kind: torch.device) -> float:
    """The share (0-1) of the stage's time in which the device computes."""
    device, started = Device(), time.perf_counter()
    stage(device, kind)
    return round(device.busy / (time.perf_counter() - started), 3)


def main() -> None:
    """Measures, prints and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(".gift/benchmarks"))
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    nothing = overlap.Copies(CPU)  # there is no second stream on a fake device
    with (
        mock.patch.object(overlap, "Copies", lambda device: nothing),
        mock.patch.object(synthesizing, "Copies", lambda device: nothing),
    ):
        shares = {
            name: {"in_turn": occupancy(stage, CPU), "overlapped": occupancy(stage, GPU)}
            for name, stage in STAGES.items()
        }
    page = render(shares)
    (out / "overlap.json").write_text(json.dumps(shares, indent=2) + "\n", encoding="utf-8")
    (out / "overlap.md").write_text(page, encoding="utf-8")
    print(page)


def render(shares: dict[str, dict[str, float]]) -> str:
    """The page with the table."""
    rows = [f"| `{name}` | {each['in_turn']:.1%} | {each['overlapped']:.1%} |" for name, each in shares.items()]
    return "\n".join(
        [
            "# How much of the time a device computes",
            "",
            f"Measured on {datetime.date.today()} by `make bench-overlap`, on a fake device: no GPU was there. It "
            f"generates {BATCH} images in",
            f"{GENERATE * 1000:.0f} ms and computes an iteration in {COMPUTE * 1000:.0f} ms. Encoding an image takes "
            f"{ENCODE * 1000:.0f} ms in each of {ENCODERS} threads, writing a shard of {SHARD} images",
            f"{WRITE * 1000:.0f} ms, decoding a batch {DECODE * 1000:.0f} ms, and queueing an iteration "
            f"{QUEUE * 1000:.0f} ms.",
            "",
            "| stage | in turn, as on the CPU | overlapped, as on a GPU |",
            "|---|---|---|",
            *rows,
            "",
        ]
    )


if __name__ == "__main__":
    main()
