"""The small experiments of `make versions ARGS=--compare`: their settings, from experiments.yaml, and their data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from PIL import Image
from webdataset import TarWriter

from gift_core.config.params_edit import catalogue_rows

CONTENT = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
Experiment = Mapping[str, Any]  # its sections, where they differ from those of presets/mini.yaml and of `shared`
EXPERIMENTS: dict[str, Experiment] = CONTENT["experiments"]


def params_of(experiment: Experiment, preset: Path) -> str:
    """Returns params.yaml of an experiment, made from presets/mini.yaml of one version of the code."""
    params = yaml.safe_load(preset.read_text(encoding="utf-8")) | {"tasks": {}}
    rows = catalogue_rows(params, preset.parent) | params["methods"]
    variants = {name: rows[base] | changes for name, (base, changes) in CONTENT["variants"].items()}
    for sections in (CONTENT["shared"], experiment):
        for name, section in sections.items():
            params[name] = params[name] | section if isinstance(section, dict) else section
    params["methods"] = {name: (rows | variants)[name] for name in params["run"]["methods"]}
    steps = zip(params["sequence"], ("../pretrained", *params["sequence"]), strict=False)
    params["sequence"] = [{"task": task, "after": after, "learning_rate_factor": 1.0} for task, after in steps]
    return yaml.safe_dump(params, sort_keys=False)


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
    (raw / "generators" / "scorer").symlink_to(Path("..", "..", "mini", "clip"))
    table = pd.DataFrame(rows)
    table.drop(columns="image").to_csv(pictures / "images.csv", index=False)
    table[["image", "label"]].to_parquet(raw / "fetched" / "train-00000-of-00001.parquet")
