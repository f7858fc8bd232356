"""The pieces of the checks on a GPU, each far below the limit of time on a GPU of 2022 or later."""

from __future__ import annotations

from dataclasses import dataclass

LIMIT = 480  # seconds for a piece


@dataclass(frozen=True)
class Piece:
    """What Python runs. `{device}` and `{out}` (the piece's own folder) are filled in. `cut`: the same at toy size."""

    name: str
    what: str
    full: tuple[str, ...]
    cut: tuple[str, ...]


def tests(name: str, what: str, *files: str) -> Piece:
    """Returns the piece that runs the tests marked gpu of some files, at the same size on every device."""
    options = ("-m", "gpu", "--device", "{device}", "-p", "no:cacheprovider", "--junitxml", "{out}/tests.xml")
    command = ("-m", "pytest", *options, *files)
    return Piece(name, what, command, command)


STEP_TIME = ("-m", "benchmarks.step_time", "--device", "{device}", "--out", "{out}")
MEMORY = ("-m", "benchmarks.memory", "--device", "{device}", "--out", "{out}")
GOLDEN = ("-m", "benchmarks.golden", "--device", "{device}", "--out", "{out}")

PIECES = (
    tests("official-steps", "the recorded iterations of the official loop", "tests/method/test_parity.py"),
    tests("golden-losses", "the golden losses of all methods", "tests/method/test_golden_losses.py"),
    tests(
        "training",
        "precisions, gradient cache, checkpointing, reading losses late",
        "tests/method/training",
        "tests/clip/test_checkpointing.py",
        "tests/driving/test_training.py",
    ),
    tests(
        "copies",
        "prefetch, pinned copies, the message of a full memory",
        "tests/work/test_overlap.py",
        "tests/test_torch_devices.py",
        "tests/work/test_os_errors.py",
    ),
    tests("generators", "images of every family of pipelines, and synthesize", "tests/generators"),
    Piece("losses", "the losses of this device, to be compared with the golden ones", GOLDEN, GOLDEN),
    Piece("step-time", "an iteration of each method, relative to finetune", (*STEP_TIME, "--full"),
          (*STEP_TIME, "--methods", "gift")),
    Piece("memory", "memory and time of an iteration with each setting that saves memory",
          (*MEMORY, "--depth", "12", "--batch", "64", "--classes", "397"),
          (*MEMORY, "--depth", "1", "--batch", "4", "--classes", "4")),
)  # fmt: skip
