"""The pieces of the checks on a GPU, each far below the limit of time on a GPU of 2022 or later."""

from __future__ import annotations

from dataclasses import dataclass

LIMIT = 480  # seconds for a piece
MODELS = ".gift/gpu_models"  # random weights, made once by the first piece that needs them


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


def throughput(part: str, what: str) -> Piece:
    """Returns the piece that runs one part of benchmarks/throughput.py."""
    shared = ("-m", "benchmarks.throughput", "--device", "{device}", "--record", "{out}", "--parts", part)
    full = (*shared, "--size", "full", "--models", f"{MODELS}/full")
    return Piece(f"throughput-{part}", what, full, (*shared, "--size", "cut", "--models", f"{MODELS}/cut"))


def bench(name: str, what: str, *stages: str, size: str, cut: str) -> Piece:
    """Returns the piece that runs some stages of benchmarks/bench.py, and only the stage `cut` at toy size."""
    shared = ("-m", "benchmarks.bench", "--device", "{device}", "--out", "{out}")
    full = (*shared, "--size", size, "--stages", *stages)
    return Piece(name, what, full, (*shared, "--size", "mini", "--stages", cut))


STEP_TIME = ("-m", "benchmarks.step_time", "--device", "{device}", "--out", "{out}")
MEMORY = ("-m", "benchmarks.memory", "--device", "{device}", "--out", "{out}")
GOLDEN = ("-m", "benchmarks.golden", "--device", "{device}", "--out", "{out}")
COMPILING = ("-m", "benchmarks.compiling", "--device", "{device}", "--out", "{out}")
OVERLAP = ("-m", "benchmarks.overlap", "--out", "{out}")

PIECES = (
    tests("official-steps", "the recorded iterations of the official loop", "tests/test_parity.py"),
    tests("golden-losses", "the golden losses of all methods", "tests/test_golden_losses.py"),
    tests(
        "training",
        "precisions, gradient cache, checkpointing, reading losses late",
        "tests/training",
        "tests/clip/test_checkpointing.py",
        "tests/work/test_training.py",
    ),
    tests(
        "copies",
        "prefetch, pinned copies, the message of a full memory",
        "tests/work/test_overlap.py",
        "tests/clip/test_device.py",
        "tests/test_out_of_memory.py",
    ),
    tests("generators", "images of every family of pipelines, and synthesize", "tests/generators"),
    Piece("losses", "the losses of this device, to be compared with the golden ones", GOLDEN, GOLDEN),
    throughput("images", "images per second"),
    throughput("amp_bf16", "training iterations per second in amp_bf16"),
    throughput("fp32", "training iterations per second in float32"),
    bench("bench-mini", "every stage beside a naive way, miniature", "synthesize", "teach", "finetune", "evaluate",
          size="mini", cut="evaluate"),
    bench("bench-synthesize", "images at full size, beside a naive way", "synthesize", size="full", cut="synthesize"),
    bench("bench-teach", "features at full size, beside a naive way", "teach", size="full", cut="teach"),
    bench("bench-finetune", "training at full size, beside a naive way", "finetune", size="full", cut="finetune"),
    bench("bench-evaluate", "testing at full size, beside a naive way", "evaluate", size="full", cut="evaluate"),
    Piece("step-time", "an iteration of each method, relative to finetune", (*STEP_TIME, "--full"),
          (*STEP_TIME, "--methods", "gift")),
    Piece("memory", "memory and time of an iteration with each setting that saves memory",
          (*MEMORY, "--depth", "12", "--batch", "64", "--classes", "397"),
          (*MEMORY, "--depth", "1", "--batch", "4", "--classes", "4")),
    Piece("compile-mini", "what torch.compile costs and saves, miniature",
          (*COMPILING, "--batch", "64", "--cases", "unet-mini", "images-mini", "texts-mini"),
          (*COMPILING, "--batch", "2", "--cases", "texts-mini")),
    Piece("compile-images", "the same, image encoder of ViT-B/16",
          (*COMPILING, "--batch", "64", "--depth", "12", "--cases", "images"),
          (*COMPILING, "--batch", "2", "--cases", "texts-mini")),
    Piece("compile-texts", "the same, text encoder of ViT-B/16",
          (*COMPILING, "--batch", "64", "--depth", "12", "--cases", "texts"),
          (*COMPILING, "--batch", "2", "--cases", "texts-mini")),
    Piece("overlap", "how much of the time a device computes; the device is simulated", OVERLAP, OVERLAP),
)  # fmt: skip
