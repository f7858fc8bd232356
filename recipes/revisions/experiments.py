"""The small experiments that the probe runs: between them every stage with every option that chooses code."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from gift_core.config.params_edit import catalogue_rows

CLASSES = ("circle", "square")
REFERENCE, SCORER, PAIRS = "data/0_raw/reference/photos", "data/0_raw/generators/scorer", "data/0_raw/pictures"
SYNTHETIC = {"images": "synthetic", "teacher": "previous"}
DISTILL, ALIGN = {"weight": 1.0, "temperature": 2.0}, {"weight": 0.25, "label_smoothing": 0.2}


@dataclass(frozen=True)
class Experiment:
    """A small experiment: `change` takes params.yaml, and `add_data` writes its data sets into the project."""

    name: str
    change: Callable[[dict[str, Any]], None]
    add_data: Callable[[Path], None]

    def params(self, preset: Path) -> str:
        """Returns params.yaml, made from presets/mini.yaml of one version of the code, with all methods."""
        own = yaml.safe_load(preset.read_text(encoding="utf-8"))
        own["methods"] = catalogue_rows(own, preset.parent) | own["methods"]
        own["run"]["device"] = "cpu"
        own["evaluation"]["probes"] = []
        own["training"] |= {"iterations": 4, "warmup_iterations": 1, "batch_size": 8, "replay_batch_size": 8}
        own["prompts"] |= {"images_per_task": 16}
        own["generator"] |= {"images_per_shard": 8, "steps": 2, "batch_size": 8}
        self.change(own)
        return yaml.safe_dump(own, sort_keys=False)


def experiments() -> tuple[Experiment, ...]:
    """Returns the experiments."""
    return (
        Experiment("methods", _all_methods, _add_reference),
        Experiment("settings", _other_settings, _add_data_sets),
        Experiment("captions", _captions, _add_captions),
        Experiment("pairs", _pairs, _add_pairs),
    )


def _all_methods(params: dict[str, Any]) -> None:
    """Every method of the catalogue on two tasks of the miniature, and the options that none of them has."""
    _use_miniature(params, "letters", "digits")
    methods = params["methods"]
    gift = methods["gift"]
    methods["replay_reference"] = gift | {"replay": {**SYNTHETIC, "images": "reference", "folder": REFERENCE}}
    methods["fisher_of_batches"] = methods["ewc"] | {
        "replay": SYNTHETIC | {"fisher": {"estimator": "batch", "accumulate": True}}
    }
    methods["fisher_of_reference"] = methods["ewc"] | {
        "replay": methods["replay_reference"]["replay"] | {"fisher": {"estimator": "per_sample", "accumulate": False}}
    }
    methods["averages"] = gift | {
        "average": {"kind": "running_mean", "every": 2},
        "merge": {"kind": "interpolate", "alpha": 0.5},
        "release": {"kind": "interpolate", "alpha": 0.7},
    }
    for row in methods.values():
        if "average" in row:
            row["average"]["every"] = 2
        if "iterations" in row["consolidation"]:
            row["consolidation"]["iterations"] = 2
    params["run"]["methods"] = list(methods)


def _use_miniature(params: dict[str, Any], *tasks: str) -> None:
    row = {"source": "mini", "path": "data/mini", "train_images": 40, "test_images": 40}
    params["tasks"] = {task: dict(row) for task in tasks}
    params["sequence"] = _sequence(*tasks)


def _sequence(*tasks: str) -> list[dict[str, Any]]:
    afters = ("../pretrained", *tasks)
    return [
        {"task": task, "after": after, "learning_rate_factor": 1.0} for task, after in zip(tasks, afters, strict=False)
    ]


def _other_settings(params: dict[str, Any]) -> None:
    """Every kind of data set, the class-incremental protocol, filters, and the settings that save memory."""
    own = {"templates": ["a photo of a {}.", "a {}."], "test_fraction": 0.25, "on_bad_image": "refuse"}
    table = {"table": "images.csv", "image_column": "file", "label_column": "label", "split_column": "split"}
    tars = {"train": "*.tar", "test": None, "label": "cls"}
    params["tasks"] = {
        "shapes": {"source": "folder", "path": "data/0_raw/shapes", **own, "on_bad_image": "skip"},
        "listed": {"source": "table", "path": "data/0_raw/listed", **own, **table},
        "packed": {"source": "webdataset", "path": "data/0_raw/packed", **own, **tars, "shots": 3},
        "satellite": {
            "source": "catalogue", "path": "data/0_raw/satellite", "dataset": "eurosat", "allow_partial": True,
        },
    }  # fmt: skip
    params["tasks"]["listed"]["class_names"] = {"circle": "round thing", "square": "box"}
    params["sequence"] = _sequence("shapes", "listed")
    params["ingest"] |= {"image_format": "jpg", "shorter_side": 32, "images_per_shard": 5}
    params["prompts"] |= {"strategy": "all_templates"}
    scorer = {"name": f"local-dir:{SCORER}", "pretrained": None}
    params["generator"] |= {
        "image_format": "jpg",
        "scheduler": "DPMSolverMultistepScheduler",
        "negative_prompt": "blurry",
        "memory": {"vae_slicing": True, "vae_tiling": False, "offload": "none", "attention": None},
        "filters": {"scorer": scorer, "min_clip_score": -0.5, "max_similarity": 0.999, "max_redraws": 50},
    }
    params["training"] |= {"micro_batch_size": 4, "gradient_checkpointing": True, "processes": 2}
    params["evaluation"] |= {"protocol": "class_incremental", "batch_size": 16, "max_images": 3}
    params["run"]["methods"] = ["gift", "icarl", "zero_shot"]


def _captions(params: dict[str, Any]) -> None:
    """Captions as prompts, bfloat16, the cross-domain protocol, and a probe."""
    _use_miniature(params, "letters", "digits", "greek")
    params["sequence"] = params["sequence"][:2]
    params["evaluation"] |= {"protocol": "cross_domain", "probes": ["greek"]}
    params["prompts"] |= {"strategy": "captions", "captions": "data/0_raw/prompts/captions.csv"}
    params["model"] |= {"precision": "amp_bf16"}
    params["run"]["methods"] = ["gift", "finetune", "zero_shot"]


def _pairs(params: dict[str, Any]) -> None:
    """Tasks of image-caption pairs, from files beside the images, a table and tars, and one of classes."""
    own = {"source": "pairs", "test_fraction": 0.25, "on_bad_image": "skip", "vocabulary_captions": 4}
    table = {"table": "captions.csv", "image_column": "file", "caption_column": "caption"}
    _use_miniature(params, "letters")
    params["tasks"] |= {
        "beside": own | {"path": PAIRS},
        "tabled": own | {"path": PAIRS, **table},
        "packed": own | {"path": PAIRS, "train": "*.tar"},
    }
    params["sequence"] = _sequence("letters", "beside")
    params["run"]["methods"] = ["gift", "icarl", "lwf", "zero_shot"]


def _add_pairs(folder: Path) -> None:
    raw = folder / PAIRS
    raw.mkdir(parents=True)
    images = list(_images(12))
    captions = [[f"picture {number} of a {name}" for name in CLASSES] for number in range(len(images))]
    for number, data in enumerate(images):
        (raw / f"{number}.png").write_bytes(data)
        (raw / f"{number}.txt").write_text("\n".join(captions[number]), encoding="utf-8")
    rows = [f"{number}.png,{caption}\n" for number, each in enumerate(captions) for caption in each]
    (raw / "captions.csv").write_text("".join(["file,caption\n", *rows]), encoding="utf-8")
    _write_tar(raw / "0.tar", images, "txt", [each[0] for each in captions])


def _add_reference(folder: Path) -> None:
    for number, data in enumerate(_images(6)):
        image = folder / REFERENCE / f"{number}.png"
        image.parent.mkdir(parents=True, exist_ok=True)
        image.write_bytes(data)
        image.with_suffix(".txt").write_text(f"a photo of a {CLASSES[number % 2]}.", encoding="utf-8")


def _add_data_sets(folder: Path) -> None:
    raw, images = folder / "data" / "0_raw", list(_images(16))
    for number, data in enumerate(images):
        label = CLASSES[number % 2]
        for path in (raw / "shapes" / label / f"{number}.png", raw / "listed" / f"{number}.png"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        kind = ("AnnualCrop", "Forest")[number % 2]
        path = raw / "satellite" / "eurosat" / "2750" / kind / f"{kind}_{number + 1}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.open(io.BytesIO(data)).save(path)
    (raw / "shapes" / CLASSES[0] / "broken.png").write_bytes(b"no image")
    rows = [f"{n}.png,{CLASSES[n % 2]},{'test' if n > 11 else 'train'}\n" for n in range(len(images))]
    (raw / "listed" / "images.csv").write_text("".join(["file,label,split\n", *rows]), encoding="utf-8")
    (raw / "packed").mkdir()
    _write_tar(raw / "packed" / "0.tar", images, "cls", [CLASSES[number % 2] for number in range(len(images))])
    (folder / SCORER).parent.mkdir(parents=True, exist_ok=True)
    (folder / SCORER).symlink_to(folder / "data" / "mini" / "clip")


def _add_captions(folder: Path) -> None:
    file = folder / "data" / "0_raw" / "prompts" / "captions.csv"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("class_name,caption\nhouse,a small house on a hill\n", encoding="utf-8")


def _write_tar(path: Path, images: Sequence[bytes], extension: str, texts: Sequence[str]) -> None:
    """Each image, and beside it its text in a file with the extension."""
    with tarfile.open(path, "w") as tar:
        for number, (image, text) in enumerate(zip(images, texts, strict=True)):
            for suffix, content in (("png", image), (extension, text.encode())):
                member = tarfile.TarInfo(f"{number:04}.{suffix}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))


def _images(count: int) -> Iterator[bytes]:
    """Random PNG files."""
    generator = np.random.default_rng(0)
    for _ in range(count):
        buffer = io.BytesIO()
        Image.fromarray(generator.integers(0, 256, (40, 48, 3), dtype=np.uint8)).save(buffer, "PNG")
        yield buffer.getvalue()
