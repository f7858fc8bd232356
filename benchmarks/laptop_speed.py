"""What would make presets/laptop.yaml faster on a CPU: its parts at full size, as they are and in other ways.

    python -m benchmarks.laptop_speed                                 # about 12 processor minutes
    python -m benchmarks.laptop_speed --parts unet --ways bfloat16

Weights are random. A part runs once as it is and once in another way, --rounds times. A ratio below 1 is a gain: the
median over the rounds, and the smallest and the largest. Times are processor times of one thread, so other processes
disturb them little. Prints a table, and writes benchmarks/laptop_speed.csv and .md with --record.
"""

from __future__ import annotations

import argparse
import copy
import datetime
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.smoke.laptop import CLIPS, GENERATORS
from benchmarks.smoke.random_models import build_clip, build_diffusion
from benchmarks.smoke.sizes import CONTEXT, Size
from gift_core.doctor.device_speed import core_rate

TRAINED, TESTED = 32, 64  # images of a batch
COLUMNS = ("part", "way", "seconds", "rate", "ratio", "smallest", "largest", "first_call", "difference")
PAGE = """\
# What would make the preset laptop faster on a CPU

`python -m benchmarks.laptop_speed --record`, {date}, {machine}, one thread, {rounds} rounds.

TinyCLIP 40M/32 and SDXS-512 DreamShaper with random weights. A ratio is the processor time of this way over that of the
part as it is, in the same round: the median, and the smallest and largest. `rate` is that of the part as it is, in
operations per second relative to a matrix product in float32 ({rate:.0f} x 10^9). `first call` is in seconds.
`difference` is the norm of the difference of the outputs, relative to their norm.

"""


@dataclass(frozen=True)
class Part:
    """A model and what the stages do with it. `trains`: they compute gradients. `scope`: in which it runs."""

    model: Any
    call: Callable[[Any], torch.Tensor]
    trains: bool = False
    scope: Callable[[], AbstractContextManager[Any]] = nullcontext

    def __call__(self) -> torch.Tensor:
        """Returns the output, float32, after the backward pass if there is one."""
        if not self.trains:
            with torch.no_grad(), self.scope():
                return self.call(self.model).float()
        self.model.zero_grad()
        with self.scope():
            output = self.call(self.model).float()
        (output * torch.linspace(-1, 1, output.shape[-1])).sum().backward()  # type: ignore[no-untyped-call]
        return output.detach()


def unet(generator: Size) -> Part:
    """A step of the UNet on one image."""
    latents_1CHW = torch.randn(1, 4, *(generator.pixels // 8,) * 2)
    text_1LW = torch.randn(1, CONTEXT, generator.unet["cross_attention_dim"])

    def call(model: Any) -> torch.Tensor:
        output: torch.Tensor = model(latents_1CHW.to(model.dtype), 999, text_1LW.to(model.dtype), return_dict=False)[0]
        return output

    return Part(build_diffusion(generator)["unet"].eval(), call)


def decoder(generator: Size) -> Part:
    """The decoder on the latents of one image."""
    latents_1CHW = torch.randn(1, 4, *(generator.pixels // 8,) * 2)

    def call(model: Any) -> torch.Tensor:
        output: torch.Tensor = model.decode(latents_1CHW.to(model.dtype), return_dict=False)[0]
        return output

    return Part(build_diffusion(generator)["vae"].eval(), call)


def images(size: Size, count: int, *, trains: bool) -> Part:
    """The image tower on a batch, which the stages give in the layout channels last."""
    side = size.clip["vision_cfg"]["image_size"]
    images_BCHW = torch.randn(count, 3, side, side).contiguous(memory_format=torch.channels_last)
    model = build_clip(size).train(trains)
    return Part(model, lambda clip: functional.normalize(clip.encode_image(images_BCHW).float(), dim=-1), trains)


def parts() -> Mapping[str, Callable[[], Part]]:
    """Returns what builds each part, by its name."""
    generator = GENERATORS["sdxs"].size
    size = replace(generator, clip=CLIPS["tinyclip_40m"]().config)
    return {
        "unet": lambda: unet(size),
        "decoder": lambda: decoder(size),
        f"training, {TRAINED} images": lambda: images(size, TRAINED, trains=True),
        f"testing, {TESTED} images": lambda: images(size, TESTED, trains=False),
    }


def channels_last(part: Part) -> Part:
    """The weights of convolutions in the layout channels last."""
    return replace(part, model=part.model.to(memory_format=torch.channels_last))


def without_onednn(part: Part) -> Part:
    """Without oneDNN, which torch uses by default."""
    return replace(part, scope=lambda: torch.backends.mkldnn.flags(enabled=False))


def bfloat16(part: Part) -> Part:
    """What generator.dtype: bfloat16 and model.precision: amp_bf16 compute."""
    if hasattr(part.model, "encode_image"):
        return replace(part, scope=lambda: torch.autocast("cpu", torch.bfloat16))
    return replace(part, model=part.model.bfloat16())


def inference_mode(part: Part) -> Part:
    """torch.inference_mode where no_grad is enough; the pipeline has it already."""
    return part if part.trains else replace(part, scope=torch.inference_mode)


def compiled(part: Part) -> Part:
    """torch.compile, with static shapes."""
    return replace(part, call=torch.compile(part.call, dynamic=False))


WAYS: Mapping[str, Callable[[Part], Part]] = {
    "channels last": channels_last,
    "without oneDNN": without_onednn,
    "bfloat16": bfloat16,
    "inference_mode": inference_mode,
    "torch.compile": compiled,
}


def measured(part: Part, way: Callable[[Part], Part], rounds: int) -> dict[str, float]:
    """Returns the figures of COLUMNS for the part in this way."""
    other = way(replace(part, model=copy.deepcopy(part.model)))
    started = time.process_time()
    found = other()
    first, plain = time.process_time() - started, part()
    times_R2 = np.array([[seconds(part), seconds(other)] for _ in range(rounds)])
    ratios_R = times_R2[:, 1] / times_R2[:, 0]
    return {
        "seconds": float(np.median(times_R2[:, 0])), "ratio": float(np.median(ratios_R)),
        "smallest": ratios_R.min(), "largest": ratios_R.max(), "first_call": first,
        "difference": float((found - plain).norm() / plain.norm()),
    }  # fmt: skip


def seconds(part: Part) -> float:
    """Returns the processor time of a call."""
    started = time.process_time()
    part()
    return time.process_time() - started


def operations(part: Part) -> float:
    """Returns the operations of the matrix products and convolutions in a call."""
    torch.backends.mha.set_fastpath_enabled(False)  # it is one operation that the counter does not know
    with FlopCounterMode(display=False) as counter:
        part()
    torch.backends.mha.set_fastpath_enabled(True)
    return float(counter.get_total_flops())


def rows(chosen: argparse.Namespace, rate: float) -> Iterator[dict[str, Any]]:
    """Yields a row for each part and way. `rate`: the operations per second of a matrix product."""
    for name in chosen.parts:
        part = parts()[name]()
        count = operations(part)
        for way in chosen.ways:
            if way != "inference_mode" or not part.trains:
                row = measured(part, WAYS[way], chosen.rounds)
                yield {"part": name, "way": way, "rate": count / row["seconds"] / rate, **row}


def line(row: Mapping[str, Any]) -> str:
    """Returns a row of the table."""
    ratio = f"{row['ratio']:.2f} ({row['smallest']:.2f} to {row['largest']:.2f})"
    plain = f"| {row['part']} | {row['seconds']:.2f} | {row['rate']:.2f} "
    return f"{plain}| {row['way']} | {ratio} | {row['first_call']:.1f} | {row['difference']:.0e} |"


def main() -> None:
    """Prints the table, and writes it with --record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=parts(), default=list(parts()))
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--record", action="store_true")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    table = ["| part | as it is, s | rate | way | ratio | first call | difference |", "|---|---|---|---|---|---|---|"]
    print("\n".join(table), flush=True)
    rate, found = core_rate(), list[dict[str, Any]]()
    for row in rows(chosen, rate):
        found.append(row)
        table.append(line(row))
        print(table[-1], flush=True)
    if chosen.record:
        machine = f"{platform.system()} {platform.machine()}, torch {torch.__version__} ({cpu()})"
        head = PAGE.format(date=datetime.date.today(), machine=machine, rounds=chosen.rounds, rate=rate / 1e9)
        path = Path(__file__).with_suffix(".md")
        path.write_text(head + "\n".join(table) + "\n", encoding="utf-8")
        pd.DataFrame(found, columns=COLUMNS).to_csv(path.with_suffix(".csv"), index=False, float_format="%.3g")


def cpu() -> str:
    """Returns what torch says of the instructions of this processor."""
    halves = [name for name in ("avx512_bf16", "amx_tile") if getattr(torch.cpu, f"_is_{name}_supported")()]
    return ", ".join([torch.backends.cpu.get_cpu_capability(), *halves])


if __name__ == "__main__":
    main()
