"""The small experiments that the probe runs: between them every stage with every option that chooses code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from PIL import Image
from webdataset import TarWriter

from gift_core.config.params_edit import catalogue_rows

RAW = "data/0_raw"
PICTURES = f"{RAW}/reference/photos"  # the random pictures, for all readers but those that need a layout of their own


def params_of(experiment: str, preset: Path) -> str:
    """Returns params.yaml of an experiment, made from presets/mini.yaml of one version of the code."""
    own = yaml.safe_load(preset.read_text(encoding="utf-8"))
    own["methods"] = catalogue_rows(own, preset.parent) | own["methods"]
    own["run"]["device"] = "cpu"
    own["evaluation"]["probes"] = []
    own["training"] |= {"iterations": 4, "warmup_iterations": 1, "batch_size": 8, "replay_batch_size": 8}
    own["prompts"] |= {"images_per_task": 16}
    own["generator"] |= {"images_per_shard": 8, "steps": 2, "batch_size": 8}
    row = {"source": "mini", "path": "data/mini", "train_images": 40, "test_images": 40}
    own["tasks"] = {task: dict(row) for task in ("letters", "digits", "greek")}
    tasks = EXPERIMENTS[experiment](own)
    steps = zip(tasks, ("../pretrained", *tasks), strict=False)
    own["sequence"] = [{"task": task, "after": after, "learning_rate_factor": 1.0} for task, after in steps]
    return yaml.safe_dump(own, sort_keys=False)


def _all_methods(params: dict[str, Any]) -> tuple[str, str]:
    """Every method of the catalogue, and the options that none of them has."""
    methods, running_mean = params["methods"], {"kind": "running_mean", "every": 2}
    fisher = {"estimator": "batch", "accumulate": True}
    reference = {"images": "reference", "teacher": "previous", "folder": PICTURES, "fisher": fisher}
    methods["of_reference"] = methods["gift_static_fisher"] | {"replay": reference}
    methods["of_all_slots"] = methods["gift"] | {
        "average": running_mean,
        "merge": {"kind": "interpolate", "alpha": 0.5},
        "release": {"kind": "interpolate", "alpha": 0.7},
        "trains": {"kind": "last_blocks", "blocks": 1},
        "layer_decay": 0.9,
    }
    methods["of_text_tower"] = methods["gift"] | {"trains": {"kind": "text_tower"}}
    methods["zscl"]["average"] = running_mean
    methods["gift_frozen_fisher"]["consolidation"]["iterations"] = 2
    params["run"]["methods"] = list(methods)
    return "letters", "digits"


def _other_settings(params: dict[str, Any]) -> tuple[str, str]:
    """Every kind of data set, the class-incremental protocol, filters, and the settings that save memory."""
    own = {"templates": ["a photo of a {}.", "a {}."], "test_fraction": 0.25, "on_bad_image": "skip", "path": PICTURES}
    table = {"table": "images.csv", "image_column": "file", "label_column": "label", "split_column": "split"}
    names = {"class_names": {"circle": "round thing", "square": "box"}}
    hub = {"repository": "of/shapes", "revision": "0" * 40, "splits": {"train": "train"}, "on_bad_image": "refuse"}
    columns = {"image_column": "image", "label_column": "label"}
    params["tasks"] = {
        "shapes": own | {"source": "folder", "path": f"{RAW}/shapes"},
        "listed": own | {"source": "table", **table, **names},
        "packed": own | {"source": "webdataset", "train": "all.tar", "label": "cls", "shots": 3},
        "fetched": own | {"source": "hub", "path": f"{RAW}/fetched", **hub, **columns},
        "satellite": {"source": "catalogue", "path": f"{RAW}/satellite", "dataset": "eurosat", "allow_partial": True},
    }
    params["ingest"] |= {"image_format": "jpg", "shorter_side": 32, "images_per_shard": 5}
    params["prompts"] |= {"strategy": "all_templates"}
    scorer = {"name": f"local-dir:{RAW}/generators/scorer", "pretrained": None}
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
    return "shapes", "listed"


def _captions(params: dict[str, Any]) -> tuple[str, str]:
    """Captions as prompts, bfloat16, the cross-domain protocol, and a probe."""
    params["evaluation"] |= {"protocol": "cross_domain", "probes": ["greek"]}
    params["prompts"] |= {"strategy": "captions", "captions": f"{RAW}/prompts/captions.csv"}
    params["model"] |= {"precision": "amp_bf16"}
    params["run"]["methods"] = ["gift", "finetune", "zero_shot"]
    return "letters", "digits"


def _pairs(params: dict[str, Any]) -> tuple[str, str]:
    """Tasks of image-caption pairs, from files beside the images, a table and tars, and one of classes."""
    own = {"source": "pairs", "path": PICTURES, "test_fraction": 0.25, "on_bad_image": "skip", "vocabulary_captions": 4}
    params["tasks"] = {
        "letters": params["tasks"]["letters"],
        "beside": own,
        "tabled": own | {"table": "images.csv", "image_column": "file", "caption_column": "caption"},
        "packed": own | {"train": "all.tar"},
    }
    params["run"]["methods"] = ["gift", "icarl", "lwf", "zero_shot"]
    return "letters", "beside"


EXPERIMENTS = {"methods": _all_methods, "settings": _other_settings, "captions": _captions, "pairs": _pairs}


def add_data(raw: Path) -> None:
    """Writes random pictures of two classes into data/0_raw, as each reader and each kind of replay takes them."""
    pictures, generator, rows = raw / "reference" / "photos", np.random.default_rng(0), list[dict[str, Any]]()
    kinds = [raw / "satellite" / "eurosat" / "2750" / kind for kind in ("AnnualCrop", "Forest")]
    shapes = [raw / "shapes" / label for label in ("circle", "square")]
    for folder in (pictures, *kinds, *shapes, raw / "prompts", raw / "fetched"):
        folder.mkdir(parents=True, exist_ok=True)
    with TarWriter(str(pictures / "all.tar"), mtime=0) as tar:
        for number in range(16):
            file, shape, kind = f"{number}.png", shapes[number % 2], kinds[number % 2]
            picture = Image.fromarray(generator.integers(0, 256, (40, 48, 3), dtype=np.uint8))
            for path in (pictures / file, shape / file, kind / f"{kind.name}_{number + 1}.jpg"):
                picture.save(path)
            caption, image = f"picture {number} of a {shape.name}", (pictures / file).read_bytes()
            (pictures / f"{number}.txt").write_text(f"{caption}\na {shape.name}, {number}", encoding="utf-8")
            split = "test" if number > 11 else "train"
            rows.append({"file": file, "label": shape.name, "split": split, "caption": caption, "image": image})
            tar.write({"__key__": f"{number:04}", "png": image, "cls": shape.name, "txt": caption})
    (shapes[0] / "broken.png").write_bytes(b"no image")
    (raw / "prompts" / "captions.csv").write_text("class_name,caption\nhouse,a small house on a hill\n")
    (raw / "generators" / "scorer").symlink_to(raw.parent / "mini" / "clip")
    table = pd.DataFrame(rows)
    table.drop(columns="image").to_csv(pictures / "images.csv", index=False)
    table[["image", "label"]].to_parquet(raw / "fetched" / "train-00000-of-00001.parquet")
