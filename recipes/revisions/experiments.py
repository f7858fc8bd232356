"""The small experiments that the probe runs: between them every stage with every option that chooses code."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from PIL import Image

from gift_core.config.params_edit import catalogue_rows

CLASSES = ("circle", "square")
KINDS = ("AnnualCrop", "Forest")  # of EuroSAT
RAW = "data/0_raw"
REFERENCE, SCORER = f"{RAW}/reference/photos", f"{RAW}/generators/scorer"
SYNTHETIC = {"images": "synthetic", "teacher": "previous"}


def params_of(experiment: str, preset: Path) -> str:
    """Returns params.yaml of an experiment, made from presets/mini.yaml of one version of the code."""
    own = yaml.safe_load(preset.read_text(encoding="utf-8"))
    own["methods"] = catalogue_rows(own, preset.parent) | own["methods"]
    own["run"]["device"] = "cpu"
    own["evaluation"]["probes"] = []
    own["training"] |= {"iterations": 4, "warmup_iterations": 1, "batch_size": 8, "replay_batch_size": 8}
    own["prompts"] |= {"images_per_task": 16}
    own["generator"] |= {"images_per_shard": 8, "steps": 2, "batch_size": 8}
    EXPERIMENTS[experiment](own)
    return yaml.safe_dump(own, sort_keys=False)


def _all_methods(params: dict[str, Any]) -> None:
    """Every method of the catalogue on two tasks of the miniature, and the options that none of them has."""
    _use_miniature(params, "letters", "digits")
    methods = params["methods"]
    gift, ewc = methods["gift"], methods["ewc"]
    reference = {**SYNTHETIC, "images": "reference", "folder": REFERENCE}
    of_batches, of_pairs = ({"estimator": name, "accumulate": name == "batch"} for name in ("batch", "per_sample"))
    methods["replay_reference"] = gift | {"replay": reference}
    methods["fisher_of_batches"] = ewc | {"replay": {**SYNTHETIC, "fisher": of_batches}}
    methods["fisher_of_reference"] = ewc | {"replay": {**reference, "fisher": of_pairs}}
    methods["averages"] = gift | {
        "average": {"kind": "running_mean", "every": 2},
        "merge": {"kind": "interpolate", "alpha": 0.5},
        "release": {"kind": "interpolate", "alpha": 0.7},
    }
    methods["last_blocks"] = gift | {"trains": {"kind": "last_blocks", "blocks": 1}, "layer_decay": 0.9}
    methods["text_tower"] = gift | {"trains": {"kind": "text_tower"}}
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
    tars = {"train": "classes.tar", "test": None, "label": "cls"}
    hub = {"repository": "of/shapes", "revision": "0" * 40, "splits": {"train": "train"}}
    columns = {"image_column": "image", "label_column": "label"}
    names = {"class_names": {"circle": "round thing", "square": "box"}}
    params["tasks"] = {
        "shapes": {"source": "folder", "path": f"{RAW}/shapes", **own, "on_bad_image": "skip"},
        "listed": {"source": "table", "path": f"{RAW}/pictures", **own, **table, **names},
        "packed": {"source": "webdataset", "path": f"{RAW}/pictures", **own, **tars, "shots": 3},
        "fetched": {"source": "hub", "path": f"{RAW}/fetched", **own, **hub, **columns},
        "satellite": {
            "source": "catalogue", "path": f"{RAW}/satellite", "dataset": "eurosat", "allow_partial": True,
        },
    }  # fmt: skip
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
    params["prompts"] |= {"strategy": "captions", "captions": f"{RAW}/prompts/captions.csv"}
    params["model"] |= {"precision": "amp_bf16"}
    params["run"]["methods"] = ["gift", "finetune", "zero_shot"]


def _pairs(params: dict[str, Any]) -> None:
    """Tasks of image-caption pairs, from files beside the images, a table and tars, and one of classes."""
    own = {"source": "pairs", "test_fraction": 0.25, "on_bad_image": "skip", "vocabulary_captions": 4}
    own["path"] = f"{RAW}/pictures"
    _use_miniature(params, "letters")
    params["tasks"] |= {
        "beside": own,
        "tabled": own | {"table": "captions.csv", "image_column": "file", "caption_column": "caption"},
        "packed": own | {"train": "captions.tar"},
    }
    params["sequence"] = _sequence("letters", "beside")
    params["run"]["methods"] = ["gift", "icarl", "lwf", "zero_shot"]


EXPERIMENTS = {"methods": _all_methods, "settings": _other_settings, "captions": _captions, "pairs": _pairs}


def add_data(raw: Path) -> None:
    """Writes random pictures of two classes into data/0_raw, as each reader and each kind of replay takes them."""
    generator, files, rows = np.random.default_rng(0), dict[str, bytes](), list[dict[str, Any]]()
    for number in range(16):
        label, buffer = CLASSES[number % 2], io.BytesIO()
        picture = Image.fromarray(generator.integers(0, 256, (40, 48, 3), dtype=np.uint8))
        picture.save(buffer, "PNG")
        image, captions = buffer.getvalue(), [f"picture {number} of a {label}", f"a {label}, {number}"]
        split = "test" if number > 11 else "train"
        rows.append({"file": f"{number}.png", "label": label, "split": split, "caption": captions[0], "image": image})
        for file in (f"shapes/{label}/{number}", f"pictures/{number}", f"reference/photos/{number}"):
            files[f"{file}.png"] = image
        files |= {f"{folder}/{number}.txt": "\n".join(captions).encode() for folder in ("pictures", "reference/photos")}
        satellite = io.BytesIO()
        picture.save(satellite, "JPEG")
        kind = KINDS[number % 2]
        files[f"satellite/eurosat/2750/{kind}/{kind}_{number + 1}.jpg"] = satellite.getvalue()
    files["shapes/circle/broken.png"] = b"no image"
    files["prompts/captions.csv"] = b"class_name,caption\nhouse,a small house on a hill\n"
    for name, content in files.items():
        (raw / name).parent.mkdir(parents=True, exist_ok=True)
        (raw / name).write_bytes(content)
    (raw / "generators" / "scorer").symlink_to(raw.parent / "mini" / "clip")
    listed = pd.DataFrame(rows)
    listed[["file", "label", "split"]].to_csv(raw / "pictures" / "images.csv", index=False)
    listed[["file", "caption"]].to_csv(raw / "pictures" / "captions.csv", index=False)
    (raw / "fetched").mkdir()
    listed[["image", "label"]].to_parquet(raw / "fetched" / "train-00000-of-00001.parquet")
    for name, extension, column in (("classes", "cls", "label"), ("captions", "txt", "caption")):
        with tarfile.open(raw / "pictures" / f"{name}.tar", "w") as tar:
            for number, row in enumerate(rows):
                for suffix, content in (("png", row["image"]), (extension, row[column].encode())):
                    member = tarfile.TarInfo(f"{number:04}.{suffix}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
