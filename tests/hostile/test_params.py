"""params.yaml as somebody hostile or careless writes it: every key with a value of another kind, and whole files."""

from __future__ import annotations

import copy
import functools
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from gift_core.config.editing import append_task
from gift_core.config.loading import load_config, parse_config
from gift_core.config.overlays import complete_text
from tests.hostile.values import YAML_FILES, YAML_VALUES, faults
from tests.imports import ROOT, with_all_methods

MINI = ROOT / "presets" / "mini.yaml"
METHODS = ("finetune", "gift", "ewc", "lwf_vr", "icarl", "wise_ft", "zscl", "gift_frozen_fisher", "gift_mixed_teacher")
OWN = {"path": "data/0_raw/own", "templates": ["a {}.", "the {}."], "test_fraction": 0.2, "on_bad_image": "skip"}
TASKS: dict[str, dict[str, Any]] = {
    "own": {"source": "folder", **OWN, "class_names": {"0": "a wren", "1": "a tree"}, "shots": 4},
    "table": {"source": "table", **OWN, "table": "a.csv", "image_column": "i", "label_column": "l"},
    "tars": {"source": "webdataset", **OWN, "train": "a-{0..3}.tar", "test": "b.tar", "label": "cls"},
    "pets": {"source": "catalogue", "dataset": "oxford_pet", "path": "data/0_raw/pets", "shots": 1,
             "classes": {"order": "labels", "first": 0, "count": 5}},
}  # fmt: skip
FILTERS = {"scorer": {"name": "a", "pretrained": "b"}, "min_clip_score": 0.1, "max_similarity": None, "max_redraws": 3}
HERE = "@here@"
Key = tuple[str | int, ...]
Case = tuple[str, Callable[[], object]]


def experiment() -> dict[str, Any]:
    """presets/mini.yaml with a few methods, and a task of every kind."""
    params: dict[str, Any] = with_all_methods(yaml.safe_load(MINI.read_text(encoding="utf-8")))
    params["methods"] = {name: params["methods"][name] for name in METHODS}
    params["tasks"] = {"letters": params["tasks"]["letters"], **TASKS}
    afters = zip(params["tasks"], ["../pretrained", *params["tasks"]], strict=False)
    params["sequence"] = [{"task": name, "after": before, "learning_rate_factor": 1.0} for name, before in afters]
    params["generator"] |= {
        "lora": {"path": "a/b", "weight_name": None, "scale": 1.0},
        "memory": {"vae_slicing": True, "vae_tiling": False, "offload": "none", "attention": None},
        "filters": FILTERS,
    }
    return params


def keys_of(value: Any, key: Key = ()) -> Iterator[Key]:
    """Every location in the file, sections and their values."""
    if key:
        yield key
    entries: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in entries:
        yield from keys_of(inner, (*key, name))


def with_here(content: Any, key: Key) -> Any:
    """The content with HERE in place of the value."""
    content = section = copy.deepcopy(content)
    for name in key[:-1]:
        section = section[name]
    section[key[-1]] = HERE
    return content


def value_cases() -> Iterator[Case]:
    """Every third key, each with the next one of the values."""
    whole = experiment()
    for number, key in enumerate(list(keys_of(whole))[::3]):
        text, value = yaml.safe_dump(with_here(whole, key), width=10**6), YAML_VALUES[number % len(YAML_VALUES)]
        written = text.replace(f"'{HERE}'", value)
        yield f"{key}: {value[:60]!r}", functools.partial(parse_config, written, "params.yaml")


def file_cases(folder: Path) -> Iterator[Case]:
    """Whole files: as params.yaml, as a preset's base, and as what add-task edits."""
    for name, content in YAML_FILES.items():
        path = folder / f"{name.replace(' ', '_')}.yaml"
        path.write_bytes(content)
        yield f"load_config, {name}", functools.partial(load_config, path)
        yield f"complete_text, {name}", functools.partial(complete_text, path)
        yield f"append_task, {name}", functools.partial(append, content.decode("latin-1"))


def append(text: str) -> None:
    parse_config(text, "params.yaml")  # as gift add-task does first
    append_task(text, "new_task", {"source": "folder", **OWN}, learning_rate_factor=1.0)


def lacks(message: str) -> str:
    """A message has a file, where in the file, and what to do: at least two sentences a line."""
    for line in message.split("\nparams.yaml: "):
        if not re.search(r"[\w-]+\.yaml: ", f"params.yaml: {line}"):
            return f"no file: {line[:600]}"
        if not re.search(r"(\S[.?:] \S)|gift use", line):
            return f"no remedy: {line[:600]}"
    return ""


def test_values_and_whole_files_are_accepted_or_refused_with_a_message(tmp_path: Path) -> None:
    assert faults([*value_cases(), *file_cases(tmp_path)], lacks) == []
    assert not Path("pwned").exists()
