"""The memory and the time of `gift merge`, by kind and number of models.

    python -m benchmarks.merging            # ViT-B/16 with random weights, 3 GB of disk

Each merge runs in a process of its own. Its memory is the peak of the process (VmHWM of Linux, with the pages of files
that it reads) minus what it had before the merge. Writes merging.md.
"""

from __future__ import annotations

import argparse
import datetime
import multiprocessing
import os
import platform
import tempfile
import time
from pathlib import Path

import open_clip
import torch

from benchmarks.hashing import random_vit
from gift_core.artifacts.model_folder import PROVENANCE, WEIGHTS
from gift_core.clip.model import save_clip
from gift_core.interop.merge_kinds import KINDS, complete_options
from gift_core.interop.merging import Merge, merge_models
from gift_core.interop.stored_model import open_stored

CASES = [("mean", 2), ("mean", 8), ("ties", 4), ("dare", 4)]
GIVEN = {"dare": {"weight": [0.3]}}


def main() -> None:
    """Measures, prints and writes the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(".gift/benchmarks"))
    out, load = parser.parse_args().out, os.getloadavg()[0]
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        largest = make_models(folder, max(count for _, count in CASES))
        model = (folder / "0" / WEIGHTS).stat().st_size / 1e6
        start = multiprocessing.get_context("spawn")
        rows = []
        for kind, count in CASES:
            with start.Pool(1) as pool:
                added, seconds = pool.apply(measured, (folder, kind, count))
            files = count + ("base" in KINDS[kind].options)
            numbers = (f"{size:.0f}" for size in (added, files * model, files * largest))
            rows.append(f"| {kind} | {count} | {' | '.join(numbers)} | {seconds:.1f} |")
            print(rows[-1], flush=True)
    page = head(load, model, largest) + "\n".join(rows) + "\n"
    (out / "merging.md").write_text(page, encoding="utf-8")
    print(page)


def make_models(folder: Path, count: int) -> float:
    """Writes so many folders with the same model, and returns the megabytes of its largest tensor."""
    clip = random_vit()
    save_clip(clip, folder / "0", {})
    (folder / "0" / PROVENANCE).unlink()  # so that no hash is computed
    for number in range(1, count):
        (folder / str(number)).mkdir()
        for file in (folder / "0").iterdir():
            os.link(file, folder / str(number) / file.name)
    return max(value.numel() for value in clip.model.state_dict().values()) * 4 / 1e6


def measured(folder: Path, kind: str, count: int) -> tuple[float, float]:
    """Returns by how many megabytes the merge increased the process's memory at most, and its processor time."""
    torch.set_num_threads(1)
    models = [open_stored(str(folder / str(number))) for number in range(count)]
    base = models[0] if "base" in KINDS[kind].options else None
    options = complete_options(kind, GIVEN.get(kind, {}) | ({"base": "0"} if base else {}), models=count)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins here
    before, started = kilobytes("VmRSS"), time.process_time()
    merge_models(Merge(kind, models, options, base), folder / f"{kind}-{count}")
    return (kilobytes("VmHWM") - before) / 1e3, time.process_time() - started


def kilobytes(field: str) -> int:
    """Returns a number of /proc/self/status."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


def head(load: float, model: float, largest: float) -> str:
    """Returns the page up to the rows of its table."""
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}"
    return (
        "# Memory of merging models\n\n"
        f"`python -m benchmarks.merging`, {datetime.date.today()}, {machine}, open_clip {open_clip.__version__}, "
        f"load {load:.1f} at the start.\n"
        f"Models of ViT-B/16: {model:.0f} MB, of which the largest tensor has {largest:.0f} MB. Memory is what the\n"
        "merge adds to the process at its peak, with the pages of the files that it reads. All\n"
        "files: every model, and the base. Largest tensors: one of each of these. Processor time on one thread.\n\n"
        "| kind | models | memory, MB | all files, MB | largest tensors, MB | s |\n"
        "|---|---|---|---|---|---|\n"
    )


if __name__ == "__main__":
    main()
