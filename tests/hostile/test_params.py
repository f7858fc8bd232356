"""params.yaml as somebody hostile or careless writes it: every key with every value, and whole files."""
# ruff: noqa: E501 - in a table, a case is a line

from __future__ import annotations

import copy
import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from gift_core.config.editing import append_task
from gift_core.config.experiment import Config
from gift_core.config.loading import load_config, parse_config
from gift_core.config.overlays import complete_text
from tests.hostile.campaign import SIZES, Case, Choice, run_cases
from tests.hostile.values import YAML_FILES, YAML_VALUES
from tests.imports import with_all_methods

MINI = Path(__file__).resolve().parents[2] / "presets" / "mini.yaml"
EMPTY = complete_text(MINI.with_name("bring_your_own.yaml"))  # no task yet
METHODS = ("finetune", "gift", "ewc", "lwf_vr", "icarl", "wise_ft", "zscl", "gift_frozen_fisher", "gift_mixed_teacher")
OWN = {"path": "data/0_raw/own", "templates": ["a {}.", "the {}."], "test_fraction": 0.2, "on_bad_image": "skip"}
TASKS: dict[str, dict[str, Any]] = {
    "own": {"source": "folder", **OWN, "class_names": {"0": "a wren", "1": "a tree"}, "shots": 4},
    "table": {"source": "table", **OWN, "table": "a.csv", "image_column": "i", "label_column": "l", "split_column": "s"},
    "tars": {"source": "webdataset", **OWN, "train": "a-{0..3}.tar", "test": "b.tar", "label": "cls"},
    "pets": {"source": "catalogue", "dataset": "oxford_pet", "path": "data/0_raw/pets", "shots": 1,
             "classes": {"order": "labels", "first": 0, "count": 5}},
}  # fmt: skip
HERE = "@here@"
Key = tuple[str | int, ...]


@functools.cache
def experiment() -> dict[str, Any]:
    """presets/mini.yaml with a few methods, and a task of every kind."""
    params: dict[str, Any] = with_all_methods(yaml.safe_load(MINI.read_text(encoding="utf-8")))
    params["methods"] = {name: params["methods"][name] for name in METHODS}
    params["tasks"] = {"letters": params["tasks"]["letters"], **TASKS}
    names = list(params["tasks"])
    params["sequence"] = [
        {"task": name, "after": before, "learning_rate_factor": 1.0}
        for name, before in zip(names, ["../pretrained", *names], strict=False)
    ]
    params["generator"] |= {
        "lora": {"path": "a/b", "weight_name": None, "scale": 1.0},
        "memory": {"vae_slicing": True, "vae_tiling": False, "offload": "none", "attention": None},
        "filters": {"scorer": {"name": "ViT-B-32", "pretrained": "openai"}, "min_clip_score": 0.1, "max_similarity": None,
                    "max_redraws": 3},
    }  # fmt: skip
    return params


def keys_of(value: Any, key: Key = ()) -> Iterator[Key]:
    """Every location in the file, sections and their values."""
    if key:
        yield key
    entries: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in entries:
        yield from keys_of(inner, (*key, name))


@functools.cache
def text_with(key: Key) -> str:
    """The text of the experiment with HERE in place of the value."""
    params = copy.deepcopy(experiment())
    section: Any = params
    for name in key[:-1]:
        section = section[name]
    section[key[-1]] = HERE
    return yaml.safe_dump(params, sort_keys=False, width=10**6)


def load(text: str) -> str:
    config = parse_config(text, "params.yaml")
    return "" if isinstance(config, Config) and parse_config(text, "params.yaml") == config else "no Config"


def value_cases() -> list[Case]:
    """Every key with a third of the values; over the keys, every value comes up again and again."""
    keys = list(keys_of(experiment()))
    return [
        Case(f"{'.'.join(map(str, key))}: {value[:60]!r}", functools.partial(load, text_with(key).replace(f"'{HERE}'", value)))
        for number, key in enumerate(keys)
        for value in YAML_VALUES[number % 9 :: 9]
    ]  # fmt: skip


def file_cases(folder: Path) -> Iterator[Case]:
    """Whole files: as params.yaml, as a preset's base, and as what add-task edits."""
    for name, content in YAML_FILES.items():
        path = folder / f"{re.sub('[^a-zA-Z0-9]', '_', name)}.yaml"
        path.write_bytes(content)
        yield Case(f"load_config, {name}", functools.partial(_load_file, path))
        yield Case(f"complete_text, {name}", functools.partial(_complete, path))
        yield Case(f"append_task, {name}", functools.partial(_append, content.decode("latin-1")))
    for section in ("tasks", "sequence"):
        for value in YAML_VALUES:
            empty = "{}" if section == "tasks" else "[]"
            text = EMPTY.replace(f"{section}: {empty}", f"{section}: {value}")
            yield Case(f"append_task, {section}: {value[:60]!r}", functools.partial(_append, text))
    for key in ("dataset", "base_classes", "classes_per_step", "steps"):
        for number, value in enumerate(YAML_VALUES):
            slices = {"dataset": "cifar100", "base_classes": 0, "classes_per_step": 10, "steps": 10, key: HERE}
            text = "base: mini\nclass_slices:\n" + "".join(f"  {name}: {each}\n" for name, each in slices.items())
            path = folder / f"slices_{key}_{number}.yaml"
            path.write_text(text.replace(HERE, value), encoding="utf-8")
            (folder / "mini.yaml").write_bytes(MINI.read_bytes())
            yield Case(f"class_slices.{key}: {value[:60]!r}", functools.partial(_complete, path))


def _load_file(path: Path) -> str:
    load_config(path)
    return "an incomplete file was accepted"


def _complete(path: Path) -> str:
    text = complete_text(path)
    return "" if len(text) < 4_000_000 else f"a text of {len(text)} characters"


def _append(text: str) -> str:
    parse_config(text, "params.yaml")  # as gift add-task does first
    added = append_task(text, "new_task", {"source": "folder", **OWN}, learning_rate_factor=1.0)
    return "" if "new_task" in yaml.safe_load(added)["tasks"] else "the task was not added"


def message_fault(message: str) -> str:
    """A message has a file, where in the file, and what to do: at least two sentences a line."""
    for line in message.split("\nparams.yaml: "):
        if not re.search(r"[\w-]+\.yaml: ", f"params.yaml: {line}"):
            return f"no file: {line}"
        if not re.search(r"(\S[.?:] \S)|gift use", line):
            return f"no remedy: {line}"
    return ""


@pytest.fixture(autouse=True)
def nothing_ran() -> Iterator[None]:
    yield
    assert not Path("pwned").exists()


@pytest.mark.parametrize("choose", SIZES)
def test_values_are_accepted_or_refused_with_a_message(choose: Choice) -> None:
    assert run_cases(choose(value_cases()), message_fault=message_fault) == []


@pytest.mark.parametrize("choose", SIZES)
def test_files_are_accepted_or_refused_with_a_message(choose: Choice, tmp_path: Path) -> None:
    cases = list(file_cases(tmp_path))
    whole = 3 * len(YAML_FILES)
    assert run_cases([*cases[:whole], *choose(cases[whole:])], message_fault=message_fault) == []
