"""The commands of docs/your_own_task.md, and of "Your own images" in README.md: what they print, write and make."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd
import pytest

from tests.artifacts.damage import png
from tests.clone import copy_of, stages_in
from tests.datasets.folders import picture
from tests.datasets.test_webdataset import write as write_tar
from tests.docs.snippets import install_gift
from tests.imports import ROOT

PAGE = (ROOT / "docs" / "your_own_task.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
GARMENTS = ("dress", "hat", "longsleeve", "outwear", "pants", "shirt", "shoes", "shorts", "skirt", "t-shirt")


def blocks(language: str) -> list[str]:
    return [code for found, code in BLOCK.findall(PAGE) if found == language]


def write_photos(home: Path) -> None:
    """~/photos/garments as the page describes it: 10 classes, 30 training and 10 test images each; cats; new."""
    for number, name in enumerate(GARMENTS):
        for split, count in (("train", 30), ("test", 10)):
            for index in range(count):
                picture(home / "photos" / "garments" / split / name / f"{index}.jpg", (25 * number, 8 * index, 0))
    for number in range(8):
        picture(home / "photos" / "cats" / ("tabby", "siamese")[number % 2] / f"{number}.jpg", (30 * number, 0, 90))
    for number in range(3):
        picture(home / "photos" / "new" / f"{number}.jpg", (80 * number, 0, 0))


def write_raw(folder: Path) -> None:
    """The page's table with photos, its tars, and its table of captions."""
    rows = [(f"images/{number}.png", ("wren", "owl")[number % 2], ("train", "test")[number > 5]) for number in range(8)]
    for file, *_ in rows:
        picture(folder / "birds" / file)
    pd.DataFrame(rows, columns=["file", "bird", "fold"]).to_csv(folder / "birds" / "labels.csv", index=False)
    flowers = [json.dumps({"species": ("rose", "tulip")[number % 2]}).encode() for number in range(4)]
    samples = [{"__key__": str(at), "png": png(at), "json": label} for at, label in enumerate(flowers)]
    for name in ("train-000", "train-001", "test-000"):
        write_tar(folder / "flowers" / f"{name}.tar", samples)
    files = [f"{number}.png" for number in range(10)]
    for number, file in enumerate(files):
        picture(folder / "flickr" / file, (number, 0, 0))
    captions = pd.DataFrame({"image": files, "text": [f"picture {file}" for file in files]})
    captions.to_csv(folder / "flickr" / "captions.csv", index=False)


@pytest.mark.end_to_end
def test_the_commands_print_write_and_run_what_the_page_says(first_result: Path, tmp_path: Path) -> None:
    """In a copy of a finished project with the page's data sets, and a home with its photos."""
    project = copy_of(first_result / "gift", tmp_path / "gift")
    install_gift(project)
    project.environment |= {"HOME": str(tmp_path), "PYTHONPATH": str(project.folder)}
    write_raw(project.folder / "data" / "0_raw")
    write_photos(tmp_path)
    printed = [(line, project.run("bash", "-c", line)) for code in blocks("sh") for line in code.splitlines()]
    (shown,) = blocks("")
    assert all(said.startswith(shown) for _, said in printed[:2])
    written = (project.folder / "params.yaml").read_text(encoding="utf-8")
    assert all(re.sub(r" +#.*", "", code) in written for code in blocks("yaml"))
    assert [step["task"] for step in project.params["sequence"]][-4:] == ["garments", "birds", "flowers", "flickr"]
    learned, probed = ({*stages_in(said)} for line, said in printed if line.startswith("dvc repro"))
    stages = {f"{each}@{method}-step2" for each in ("teach", "finetune", "evaluate") for method in ("gift", "finetune")}
    assert learned == {"check", "ingest@garments", "write_prompts@2", "synthesize@2", "report", *stages}
    assert probed and not [name for name in probed if name.startswith(("teach", "finetune", "synthesize"))]
    (code,) = blocks("python")
    project.run("python", "-c", f"{code}\nassert model and preprocess and tokenizer")
    line, said = printed[-1]
    assert line.startswith("gift search")
    assert "garments: 60 images of the validation part" in said and "3 runs of 4 iterations" in said
    picture(tmp_path / "photos" / "garments" / "train" / "hat" / "30.jpg")
    assert "ingest@garments" in project.run("dvc", "status", "ingest@garments")  # the target of the link
