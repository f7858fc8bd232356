"""The commands of docs/your_own_task.md, and of "Your own images" in README.md: what they print, write and make."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import sys
from pathlib import Path

import pandas as pd
import pytest
import webdataset

from gift_core.config.loading import load_config
from gift_core.config.presets import complete_text
from tests.artifacts.damage import png
from tests.clone import copy_of
from tests.datasets.folders import picture
from tests.imports import ROOT
from tests.team.toy import gift

PAGE = (ROOT / "docs" / "your_own_task.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SEARCH = "gift search garments --rates 1e-6 3e-6 1e-5"  # the last command, which trains
GARMENTS = ("dress", "hat", "longsleeve", "outwear", "pants", "shirt", "shoes", "shorts", "skirt", "t-shirt")


def blocks(language: str) -> list[str]:
    return [code for found, code in BLOCK.findall(PAGE) if found == language]


def commands() -> list[str]:
    return [line for code in blocks("sh") for line in code.splitlines()]


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
    (folder / "flowers").mkdir()
    for name in ("train-000", "train-001", "test-000"):
        with webdataset.TarWriter(str(folder / "flowers" / f"{name}.tar")) as tar:
            for number in range(4):
                label = json.dumps({"species": ("rose", "tulip")[number % 2]}).encode()
                tar.write({"__key__": str(number), "png": png(number), "json": label})
    files = [f"{number}.png" for number in range(10)]
    for number, file in enumerate(files):
        picture(folder / "flickr" / file, (number, 0, 0))
    captions = pd.DataFrame({"image": files, "text": [f"picture {file}" for file in files]})
    captions.to_csv(folder / "flickr" / "captions.csv", index=False)


def follow(line: str) -> str:
    """Runs a line of the page that begins with gift, and returns what it prints, without the progress."""
    words = [os.path.expanduser(word) for word in shlex.split(line)]  # noqa: PTH111 (not all are paths)
    assert words[0] == "gift"
    return gift(*words[1:]).stdout


def test_the_commands_print_and_write_what_the_page_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a project of the mini preset with the page's data sets, and a home with its photos."""
    params = tmp_path / "gift" / "params.yaml"
    write_raw(params.parent / "data" / "0_raw")
    write_photos(tmp_path)
    shutil.copy(ROOT / "presets" / "mini.yaml", params)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(params.parent)
    printed = [follow(line) for line in commands() if line.startswith("gift") and line != SEARCH]
    (shown,) = blocks("")
    assert printed[0].startswith(shown) and printed[1].startswith(shown)
    written = params.read_text(encoding="utf-8")
    assert all(re.sub(r" +#.*", "", code) in written for code in blocks("yaml"))
    assert [step.task for step in load_config(params).sequence][-4:] == ["garments", "birds", "flowers", "flickr"]
    # the task can be the first of the full-size preset
    text = complete_text(ROOT / "presets" / "bring_your_own.yaml")
    params.write_text(text, encoding="utf-8")
    (params.parent / "data" / "0_raw" / "garments").unlink()  # the link of before
    follow(commands()[1])
    lines = iter(params.read_text(encoding="utf-8").splitlines())
    kept = text.replace("tasks: {}", "tasks:").replace("sequence: []", "sequence:").splitlines()
    assert all(line in lines for line in kept)  # as a subsequence
    config = load_config(params)
    assert list(config.tasks) == ["garments"]
    assert [(step.task, step.after) for step in config.sequence] == [("garments", "../pretrained")]


@pytest.mark.end_to_end
def test_dvc_runs_only_the_new_task_and_open_clip_opens_the_result(
    first_result: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clone = copy_of(first_result / "gift", tmp_path / "gift")
    write_photos(tmp_path)
    monkeypatch.setitem(clone.environment, "HOME", str(tmp_path))
    program = f"{sys.executable} -m stages "
    _, add, repro = commands()[:3]
    assert (repro, commands()[-1]) == ("dvc repro", SEARCH)
    clone.run("bash", "-c", add.replace("gift ", program, 1))
    ran = clone.repro()
    stages = {f"{each}@{method}-step2" for each in ("teach", "finetune", "evaluate") for method in ("gift", "finetune")}
    assert set(ran) == {"check", "ingest@garments", "write_prompts@2", "synthesize@2", "report", *stages}
    assert clone.repro() == []
    (code,) = blocks("python")
    monkeypatch.chdir(clone.folder)
    found: dict[str, object] = {}
    exec(code, found)
    assert {"model", "preprocess", "tokenizer"} <= set(found)
    said = clone.run("bash", "-c", SEARCH.replace("gift ", program, 1))
    assert "garments: 60 images of the validation part" in said and "3 runs of 4 iterations" in said
    picture(tmp_path / "photos" / "garments" / "train" / "hat" / "30.jpg")
    assert "ingest@garments" in clone.repro()  # DVC sees the change at the target of the link
