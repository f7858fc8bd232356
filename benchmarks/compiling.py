"""What torch.compile would cost and save: the encoders and the UNet, each with its first call cold and warm.

    python -m benchmarks.compiling                                        # the miniature, and ViT-B/16 with one layer
    python -m benchmarks.compiling --device cuda --depth 12 --batch 64    # ViT-B/16 as it is

Each case runs in two processes. The first one compiles with an empty cache (cold), the second one with the cache of the
first (warm). Then rounds of one call as it is, one compiled, and for convolutions one in the layout channels last.
Encoders run forwards and backwards, the UNet forwards. On a CPU, calls are processor time of one thread. The first call
is wall time. Shapes are static. Weights are random where they are not the miniature's. Writes compiling.json and
compiling.md after each case.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.memory import cut_clip
from gift_core.clip.device import resolve_device, wait_for
from gift_core.clip.encoding import encode_images, encode_tokens
from gift_core.clip.model import Clip, open_folder

ROUNDS = 5
TOKENS = 16  # of a row: a short prompt
Outputs = dict[str, torch.Tensor]
Row = dict[str, Any]


@dataclass(frozen=True)
class Work:
    """`call` runs a model and returns its output and gradients. `function`: what call runs, which may be compiled."""

    function: Callable[[torch.Tensor], torch.Tensor]
    call: Callable[[Callable[[torch.Tensor], torch.Tensor]], Outputs]
    convolutions: torch.nn.Module | None = None


def image_tower(clip: Clip, batch: int) -> Work:
    """The image encoder on a batch, forwards and backwards."""
    images_BCHW = torch.randn(batch, 3, clip.image_size, clip.image_size, device=clip.device)
    return encoder(clip, images_BCHW, lambda rows: encode_images(clip, rows))


def text_tower(clip: Clip, batch: int) -> Work:
    """The text encoder on a batch of rows, forwards and backwards."""
    tokens_NL = torch.randint(1, 400, (batch, TOKENS), device=clip.device)
    return encoder(clip, tokens_NL, lambda rows: encode_tokens(clip, rows))


def encoder(clip: Clip, rows: torch.Tensor, encode: Callable[[torch.Tensor], torch.Tensor]) -> Work:
    """Features of `rows` and the gradients of a loss of them."""

    def call(function: Callable[[torch.Tensor], torch.Tensor]) -> Outputs:
        clip.model.zero_grad()
        features_ND = function(rows)
        (features_ND * torch.linspace(-1, 1, features_ND.shape[1], device=clip.device)).sum().backward()
        return {"output": features_ND.detach()} | {
            name: value.grad.clone() for name, value in clip.trainable().items() if value.grad is not None
        }

    return Work(encode, call)


def miniature(choices: argparse.Namespace) -> Clip:
    """The miniature's CLIP, whose image encoder is a ResNet."""
    return open_folder(Path("data/mini/clip"), device=resolve_device(choices.device), precision=choices.precision)


def large(choices: argparse.Namespace) -> Clip:
    """ViT-B/16 with --depth layers per encoder."""
    return cut_clip(choices.depth, resolve_device(choices.device), choices.precision)


def unet(choices: argparse.Namespace) -> Work:
    """A pass of the miniature's UNet on a batch, without gradients."""
    from diffusers import UNet2DConditionModel

    torch.manual_seed(0)
    folder, device = "data/mini/diffusion", resolve_device(choices.device)
    model = UNet2DConditionModel.from_pretrained(folder, subfolder="unet").eval().to(device)
    side, width = model.config.sample_size, model.config.cross_attention_dim
    latents_BCHW = torch.randn(choices.batch, model.config.in_channels, side, side, device=device)
    text_BLW = torch.randn(choices.batch, TOKENS, width, device=device)
    step = torch.tensor(500, device=device)

    def call(function: Callable[[torch.Tensor], torch.Tensor]) -> Outputs:
        with torch.no_grad():
            return {"output": function(latents_BCHW).clone()}

    return Work(lambda latents: model(latents, step, text_BLW, return_dict=False)[0], call, model)


CASES: dict[str, Callable[[argparse.Namespace], Work]] = {
    "unet-mini": unet,
    "images-mini": lambda choices: image_tower(miniature(choices), choices.batch),
    "texts-mini": lambda choices: text_tower(miniature(choices), choices.batch),
    "images": lambda choices: image_tower(large(choices), choices.batch),
    "texts": lambda choices: text_tower(large(choices), choices.batch),
}


def main() -> None:
    """Measures the cases, each in processes of its own, and writes the tables after each."""
    choices = parser().parse_args()
    if choices.case:
        print(json.dumps(measured(CASES[choices.case](choices), torch.device(choices.device))))
        return
    choices.out.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []
    for name in choices.cases:
        with tempfile.TemporaryDirectory() as cache:
            cold, warm = (in_own_process(name, cache) for _ in range(2))
        rows.append({"case": name, "cold": cold["first"], **warm, "warm": warm["first"]})
        (choices.out / "compiling.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
        (choices.out / "compiling.md").write_text(render(rows, choices), encoding="utf-8")
        print(line(rows[-1]), flush=True)


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    made.add_argument("--depth", type=int, default=1, help="layers per encoder of ViT-B/16, which has 12")
    made.add_argument("--batch", type=int, default=8)
    made.add_argument("--precision", default="fp32")
    made.add_argument("--device", default="cpu")
    made.add_argument("--out", type=Path, default=Path(".gift/benchmarks"))
    made.add_argument("--case", choices=CASES, help="measure only this case, in this process, and print it")
    return made


def in_own_process(case: str, cache: str) -> Row:
    """Returns the measurement of a case by a new process, whose compiled code is kept in the folder `cache`."""
    command = [sys.executable, __file__, *sys.argv[1:], "--case", case]
    done = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True, env=os.environ | {"TORCHINDUCTOR_CACHE_DIR": cache}
    )
    row: Row = json.loads(done.stdout)
    return row


def measured(work: Work, device: torch.device) -> Row:
    """Returns the seconds of the first compiled call, and the medians over the rounds with the difference."""
    torch.set_num_threads(1)
    compiled = torch.compile(work.function, dynamic=False)
    plain = work.call(work.function)
    started = time.perf_counter()
    found = work.call(compiled)
    wait_for(device)
    first = time.perf_counter() - started
    ways = [work.function, compiled]
    rounds = [[seconds(work, way, device) for way in ways] for _ in range(ROUNDS)]
    row = {
        "first": first,
        "seconds": medians(rounds)[0],
        "ratio": ratio(rounds),
        "difference": difference(found, plain),
    }
    if work.convolutions is None:
        return row
    layouts = (torch.contiguous_format, torch.channels_last)
    return {**row, "channels_last": ratio([[in_layout(work, each, device) for each in layouts] for _ in range(ROUNDS)])}


def in_layout(work: Work, layout: torch.memory_format, device: torch.device) -> float:
    """Returns the time of a call, not compiled, with the weights of the convolutions in this layout."""
    assert work.convolutions is not None
    work.convolutions.to(memory_format=layout)  # type: ignore[call-overload]
    work.call(work.function)
    return seconds(work, work.function, device)


def seconds(work: Work, function: Callable[[torch.Tensor], torch.Tensor], device: torch.device) -> float:
    """Returns the time of a call: of the processor on a CPU, else until the device has finished."""
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    started = clock()
    work.call(function)
    wait_for(device)
    return clock() - started


def medians(rounds: Sequence[Sequence[float]]) -> list[float]:
    """Returns the median of each column."""
    return [float(value) for value in np.median(np.array(rounds), axis=0)]


def ratio(rounds: Sequence[Sequence[float]]) -> float:
    """Returns the median of the second column divided by the first of the same round."""
    first_R, second_R = np.array(rounds).T
    return float(np.median(second_R / first_R))


def difference(found: Outputs, plain: Outputs) -> float:
    """Returns the norm of the difference of all outputs and gradients, relative to their norm."""
    assert found.keys() == plain.keys()
    apart = sum(float((found[name] - value).double().square().sum()) for name, value in plain.items())
    return (apart / sum(float(value.double().square().sum()) for value in plain.values())) ** 0.5


def render(rows: Sequence[Row], choices: argparse.Namespace) -> str:
    """Returns the page."""
    on_cuda = choices.device.startswith("cuda")
    processor = torch.cuda.get_device_name(choices.device) if on_cuda else "one thread of a CPU"
    machine = f"{platform.system()} {platform.machine()}, torch {torch.__version__}, {processor}"
    head = [
        "# The cost of torch.compile",
        "",
        f"`{' '.join(['python -m benchmarks.compiling', *sys.argv[1:]])}`, {datetime.date.today()}, {machine}.",
        f"{choices.batch} rows in {choices.precision}; layers of ViT-B/16 per encoder: {choices.depth}. Ratios are",
        "medians over rounds of both, one after the other.",
        "",
        "| case | first call cold, s | warm, s | a call, s | compiled / plain | pays after calls, cold (warm) "
        "| difference | channels last / plain |",
        "|---|---|---|---|---|---|---|---|",
    ]
    return "\n".join([*head, *map(line, rows), ""])


def line(row: Row) -> str:
    """Returns a row of the table."""
    saved = row["seconds"] * (1 - row["ratio"])
    pays = f"{row['cold'] / saved:.0f} ({row['warm'] / saved:.0f})" if saved > 0 else "never"
    last = f"{row['channels_last']:.2f}" if "channels_last" in row else ""
    return (
        f"| {row['case']} | {row['cold']:.0f} | {row['warm']:.0f} | {row['seconds']:.3f} | {row['ratio']:.2f} | {pays} "
        f"| {row['difference']:.0e} | {last} |"
    )


if __name__ == "__main__":
    main()
