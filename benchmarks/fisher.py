"""Time and memory of the Fisher diagonals: both estimators and a Python loop over the pairs.

    python benchmarks/fisher.py           # data/mini/clip, 384 pairs
    python benchmarks/fisher.py --full    # and ViT-B/16 with random weights, 4 pairs

The images are noise, and all prompts differ. Each measurement runs in its own process with one thread. Each round
measures all variants once. Time is the shortest processor time over the rounds. Memory is the median of the peaks above
the loaded model. Writes fisher.md.
"""

from __future__ import annotations

import argparse
import datetime
import multiprocessing
import os
import platform
import resource
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import open_clip
import torch

from gift_core.clip.encoding import encode_images, encode_tokens, tokenize
from gift_core.clip.images import normalize
from gift_core.clip.model import Clip
from gift_core.interop.importing import load_clip
from gift_core.losses import shared_prompt_targets
from gift_core.replay import fisher
from gift_core.replay.fisher import ESTIMATORS, batch_slices, contrastive_loss, estimate_fisher

MEBIBYTE = 2**20
RSS_UNIT = 1 if sys.platform == "darwin" else 2**10  # bytes per unit of ru_maxrss


@dataclass(frozen=True)
class Case:
    """A model, the number of pairs and the batch size, and the variants to compare, by their names in VARIANTS."""

    model: str
    load: Callable[[], Clip]
    pairs: int
    batch_size: int
    variants: tuple[str, ...]


@dataclass(frozen=True)
class Cost:
    """Processor time in seconds, and peak memory in MiB above that of the loaded model and the pairs."""

    seconds: float
    mebibytes: float


def mini() -> Clip:
    """The miniature CLIP."""
    return load_clip("local-dir:data/mini/clip", device="cpu")


def vit_b_16() -> Clip:
    """ViT-B/16 with random weights."""
    model = open_clip.create_model("ViT-B-16")
    preprocess = {"size": [224, 224], "mean": [0.48, 0.45, 0.40], "std": [0.26, 0.25, 0.27]}
    config = {"model_cfg": open_clip.get_model_config("ViT-B-16"), "preprocess_cfg": preprocess}
    return Clip(model.eval(), open_clip.get_tokenizer("ViT-B-16"), config, "fp32")


COMPARED = ("loop", "per_sample", "batch")
BUDGETS = {f"per_sample, {size} MiB": size * MEBIBYTE for size in (32, 1024)}  # instead of fisher.GRADIENT_BYTES
CASES = {
    "mini": Case("data/mini/clip", mini, 384, 64, (*COMPARED, *BUDGETS)),
    "full": Case("ViT-B/16, random weights", vit_b_16, 4, 4, COMPARED),
}


def main() -> None:
    """Measures, prints and writes the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path(".gift/benchmarks/fisher.md"))
    choices = parser.parse_args()
    names = ["mini", "full"] if choices.full else ["mini"]
    report = "\n".join(
        [heading(choices.rounds), *(table(CASES[name], measured(name, choices.rounds)) for name in names)]
    )
    choices.out.parent.mkdir(parents=True, exist_ok=True)
    choices.out.write_text(report, encoding="utf-8")
    print(report)


def measured(name: str, rounds: int) -> dict[str, Cost]:
    """Returns the cost of each variant: the shortest time and the median memory over the rounds."""
    costs: dict[str, list[Cost]] = {variant: [] for variant in CASES[name].variants}
    for _ in range(rounds):
        for variant, known in costs.items():
            with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
                known.append(process.submit(measure, name, variant).result())
    return {variant: Cost(min(c.seconds for c in known), median(known)) for variant, known in costs.items()}


def median(costs: list[Cost]) -> float:
    """Returns the median of the costs' memory, in MiB."""
    return sorted(cost.mebibytes for cost in costs)[len(costs) // 2]


def measure(name: str, variant: str) -> Cost:
    """Returns the cost of one estimate in this process, which should be a new one."""
    torch.set_num_threads(1)
    case = CASES[name]
    clip = case.load()
    side = clip.image_size
    pixels_MCHW = torch.randint(0, 256, (case.pairs, 3, side, side), dtype=torch.uint8)
    tokens_ML = tokenize(clip, [f"a photo of a thing number {number}." for number in range(case.pairs)])
    # a few pairs first, forward only: the memory of torch's first call is not part of the estimate
    encode_images(clip, normalize(clip, pixels_MCHW[:2]))
    before, started = peak_rss(), time.process_time()
    VARIANTS[variant](clip, pixels_MCHW, tokens_ML, batch_size=case.batch_size)
    return Cost(time.process_time() - started, (peak_rss() - before) / MEBIBYTE)


def peak_rss() -> int:
    """Returns the most memory this process has held so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * RSS_UNIT


def loop(clip: Clip, pixels_MCHW: torch.Tensor, tokens_ML: torch.Tensor, *, batch_size: int) -> None:
    """The estimate of per_sample, with one backward pass of plain autograd for each pair."""
    weights = list(clip.trainable().values())
    total = [torch.zeros_like(weight) for weight in weights]
    for batch in batch_slices(len(pixels_MCHW), batch_size):
        images_BCHW, tokens_BL = normalize(clip, pixels_MCHW[batch]), tokens_ML[batch]
        with torch.no_grad():
            image_BD, text_BD = encode_images(clip, images_BCHW), encode_tokens(clip, tokens_BL)
        others = {"image_BD": image_BD, "text_BD": text_BD, "scale": clip.scale}
        own_BB = torch.eye(len(tokens_BL), dtype=torch.bool)
        targets_BB = shared_prompt_targets(tokens_BL.unique(dim=0, return_inverse=True)[1])
        for row in range(len(tokens_BL)):
            image_1D = encode_images(clip, images_BCHW[row : row + 1])
            text_1D = encode_tokens(clip, tokens_BL[row : row + 1])
            loss = contrastive_loss(image_1D[0], text_1D[0], own_BB[row], targets_BB[row], **others)
            gradients = torch.autograd.grad(loss, weights)
            torch._foreach_addcmul_(total, gradients, gradients)


def with_budget(
    budget: int, clip: Clip, pixels_MCHW: torch.Tensor, tokens_ML: torch.Tensor, *, batch_size: int
) -> None:
    """per_sample with another memory budget for the gradients, in bytes. It changes a constant of this process."""
    fisher.GRADIENT_BYTES = budget
    estimate_fisher(clip, pixels_MCHW, tokens_ML, estimator="per_sample", batch_size=batch_size)


VARIANTS: dict[str, Callable[..., object]] = {
    "loop": loop,
    **{name: partial(estimate_fisher, estimator=name) for name in ESTIMATORS},
    **{name: partial(with_budget, budget) for name, budget in BUDGETS.items()},
}


def heading(rounds: int) -> str:
    """Returns the title of the page, and the command, date and machine."""
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, one thread, torch {torch.__version__}"
    return (
        "# Time and memory of Fisher diagonals\n\n"
        f"`python benchmarks/fisher.py --full`, {datetime.date.today()}, {machine}.\n"
        f"Rounds: {rounds}. Time is the shortest processor time, memory the median of the peaks above the loaded "
        "model. `loop` is a\nPython loop over the pairs with plain autograd. `per_sample` keeps "
        f"{fisher.GRADIENT_BYTES // MEBIBYTE} MiB of gradients at once, or those of one pair if they are larger.\n"
    )


def table(case: Case, costs: dict[str, Cost]) -> str:
    """Returns a Markdown table with one row per variant: its cost, and the cost relative to the loop."""
    loop_cost = costs["loop"]
    rows = [
        f"| {variant} | {cost.seconds:.1f} | {cost.seconds / loop_cost.seconds:.2f} | {cost.mebibytes:.0f} "
        f"| {cost.mebibytes / loop_cost.mebibytes:.2f} |"
        for variant, cost in costs.items()
    ]
    title = f"{case.model}, {case.pairs} pairs in batches of {case.batch_size}:\n"
    return "\n".join([title, "| | s | relative to loop | MiB | relative to loop |", "|---|---|---|---|---|", *rows, ""])


if __name__ == "__main__":
    main()
