"""The time of checking a model when a stage opens it, relative to loading it and to a training iteration.

    python benchmarks/hashing.py            # the miniature, and ViT-B/16 with random weights (2 GiB)

A stage hashes each model once (SHA-256 of the weights) and looks once at every number (are all finite?). Each figure
is the shortest processor time of a few rounds on one thread, so that other load on the machine does not matter. The
file is in the page cache. Writes hashing.md.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import open_clip
import torch

from gift_core.artifacts.model_folder import WEIGHTS, model_hash, noted_hash
from gift_core.clip.architectures import architecture_config, require_sound
from gift_core.clip.encoding import encode_images, encode_tokens, tokenize
from gift_core.clip.model import Clip, load_folder, save_clip
from gift_core.interop.importing import load_clip
from gift_core.losses import task_loss
from gift_core.training.loop import training_mode

ROUNDS = 3
PROMPTS = [f"a photo of a thing number {number}." for number in range(10)]


@dataclass(frozen=True)
class Timing:
    """Seconds for one model: its hash, the look at its numbers, loading it without both, and a training iteration."""

    model: str
    megabytes: float
    batch: int
    hashing: float
    numbers: float
    loading: float
    iteration: float


def main() -> None:
    """Measures, prints and writes the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(".gift/benchmarks"))
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    load = os.getloadavg()[0]
    models: list[tuple[str, Callable[[], Clip], int]] = [
        ("data/mini/clip", lambda: load_clip("local-dir:data/mini/clip", device="cpu"), 64),
        ("ViT-B/16", random_vit, 8),
    ]
    with tempfile.TemporaryDirectory() as folder:
        timings = [measured(name, make(), batch, Path(folder) / str(batch)) for name, make, batch in models]
    page = render(timings, load)
    (out / "hashing.md").write_text(page, encoding="utf-8")
    print(page)


def random_vit() -> Clip:
    """Returns open_clip's ViT-B-16 with random weights."""
    _, config = architecture_config("ViT-B-16")
    model = open_clip.create_model("ViT-B-16").eval()
    preprocess = json.loads(json.dumps(open_clip.get_model_preprocess_cfg(model)))
    return Clip(model, open_clip.SimpleTokenizer(), {"model_cfg": config, "preprocess_cfg": preprocess}, "fp32")


def measured(name: str, clip: Clip, batch: int, root: Path) -> Timing:
    """Saves the model as a stage does, and returns its times."""
    folder = root / "gift" / "task"
    save_clip(clip, folder, {"method": "gift", "task": "task"})

    def load() -> Clip:
        return load_folder(folder, device=torch.device("cpu"), precision="fp32", sha256=noted_hash(folder))

    numbers = shortest(lambda: require_sound(clip.model, clip.config["preprocess_cfg"], name))
    return Timing(
        model=name,
        megabytes=(folder / WEIGHTS).stat().st_size / 1e6,
        batch=batch,
        hashing=shortest(lambda: model_hash(folder)),
        numbers=numbers,
        loading=shortest(load) - numbers,
        iteration=iteration_of(clip, batch),
    )


def shortest(work: Callable[[], object]) -> float:
    """Returns the shortest processor time of `work` in seconds."""
    times = []
    for _ in range(ROUNDS):
        started = time.process_time()
        work()
        times.append(time.process_time() - started)
    return min(times)


def iteration_of(clip: Clip, batch: int) -> float:
    """Returns the time of an iteration of plain fine-tuning on `batch` images and ten class prompts."""
    images_BCHW = torch.randn(batch, 3, clip.image_size, clip.image_size)
    tokens_KL, labels_B = tokenize(clip, PROMPTS), torch.arange(batch) % len(PROMPTS)
    with training_mode(clip):
        optimizer = torch.optim.AdamW(clip.trainable().values(), lr=1e-6, fused=True)

        def iteration() -> None:
            optimizer.zero_grad()
            image_BD, text_KD = encode_images(clip, images_BCHW), encode_tokens(clip, tokens_KL)
            task_loss(image_BD, text_KD, labels_B=labels_B, scale=clip.scale, label_smoothing=0.0).backward()
            optimizer.step()

        return shortest(iteration)


def render(timings: list[Timing], load: float) -> str:
    """Returns the page."""
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}"
    head = (
        "# Time of checking a model\n\n"
        f"`python benchmarks/hashing.py`, {datetime.date.today()}, {machine}, open_clip {open_clip.__version__}, "
        f"load {load:.1f} at the start.\n"
        "One thread, processor time. SHA-256 uses the processor's own instructions where it has them.\n"
        "A stage hashes each model that it opens once, and looks once at every number. Both together are given\n"
        "relative to loading the model, and to one iteration of plain fine-tuning.\n\n"
        "| model | MB | hash, s | numbers, s | loading, s | relative | iteration, s (images) | relative |\n"
        "|---|---|---|---|---|---|---|---|\n"
    )
    rows = [
        f"| {t.model} | {t.megabytes:.0f} | {t.hashing:.3f} | {t.numbers:.3f} | {t.loading:.3f} | "
        f"{(t.hashing + t.numbers) / t.loading:.2f} | {t.iteration:.2f} ({t.batch}) | "
        f"{(t.hashing + t.numbers) / t.iteration:.2f} |"
        for t in timings
    ]
    return head + "\n".join(rows) + "\n"


if __name__ == "__main__":
    main()
