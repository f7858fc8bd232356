"""params.yaml: what is read, and every way in which it can be wrong."""
# ruff: noqa: E501 - in a table, a case is a line

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from gift_core.config.experiment import Config
from gift_core.config.loading import load_config
from gift_core.config.tasks import MADE
from gift_core.errors import UserError

Params = dict[str, Any]
WriteParams = Callable[[Params], Path]
FOLDER_TASK: dict[str, Any] = {
    "source": "folder", "path": "data/0_raw/birds", "templates": ["a photo of a {}, a bird."], "test_fraction": 0.2,
    "on_bad_image": "refuse",
}  # fmt: skip
TABLE = {**FOLDER_TASK, "source": "table", "table": "labels.csv", "image_column": "image", "label_column": "label"}
TARS = {**FOLDER_TASK, "source": "webdataset", "train": "train-{000..005}.tar", "label": "cls"}
HUB = {
    **FOLDER_TASK, "source": "hub", "repository": "a/b", "revision": "main", "splits": {"train": "all"},
    "label_column": "bird",
}  # fmt: skip
PAIRS = {"source": "pairs", "path": "data/0_raw/birds", "vocabulary_captions": 9, "on_bad_image": "refuse"}
LORA = {"kind": "lora", "rank": 2, "alpha": 4.0, "targets": ["attn"]}
FILTERS = {
    "scorer": {"name": "ViT-B-32", "pretrained": "openai"}, "min_clip_score": 0.2, "max_similarity": None,
    "max_redraws": 5,
}  # fmt: skip


def set_at(params: dict[str, Any], path: str, value: Any) -> None:
    """Sets params["a"]["b"][0] for the path "a.b.0"."""
    *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    for part in parents:
        params = params[part]
    params[last] = params[last] | value if path == "generator" else value


def message_of(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        load_config(path)
    return str(caught.value)


# (path of the key, its bad value, what the message must say): one case for each message
WRONG_VALUES: list[tuple[str, Any, str]] = [
    # unknown names
    ("methods.gift.losses", {"distil": {"weight": 1.0, "temperature": 2.0}}, "methods.gift.losses.distil: unknown loss. Did you mean 'distill'?"),
    ("methods.gift.consolidation.kind", "adaptive_fischer", "methods.gift.consolidation.kind: unknown kind 'adaptive_fischer'. Did you mean 'adaptive_fisher'? Known: adaptive_fisher, frozen_fisher, none, static_fisher, uniform."),
    ("prompts.base_vocabulary", "imagnet", "prompts.base_vocabulary: unknown vocabulary 'imagnet'. Did you mean 'imagenet'? Known: imagenet, mini, none. Or write the path of a text file."),
    ("run.methods", ["finetune", "gitf"], "run.methods: unknown method 'gitf'. Did you mean 'gift'?"),
    # wrong types
    ("training.iterations", "100", "training.iterations: should be a valid integer, it is '100'. Write the number without quotes."),
    ("training", None, "training: should be an object, it is empty (null)."),
    # numbers outside of their bounds: that all have some, test_every_number_has_bounds says
    ("training.crop_scale", [0.9, 0.5], "training.crop_scale: [0.9, 0.5] should ascend."),
    ("training.warmup_iterations", 200, "training.warmup_iterations: 200 should be less than training.iterations (200)."),
    ("methods.gift.learning_rate", 1e-320, "methods.gift.learning_rate: should be greater than or equal to 0.000000001, it is 1e-320. Write 1e-09 or more."),
    # texts
    ("prompts.base_template", "a photo", "prompts.base_template: 'a photo' should contain {} for the class name once"),
    ("tasks.letters", {**FOLDER_TASK, "templates": ["{}\nx"]}, "tasks.letters.templates[0]: '{}\\nx' should contain {} for the class name once, and no other braces, in one line"),
    ("run.device", "gpu", "run.device: 'gpu' is not a device. Write auto, cpu, cuda, cuda:1 or mps."),
    ("methods.gift.label", 41 * "x", f"methods.gift.label: '{41 * 'x'}' has more than 40 characters. Write a shorter one."),
    ("experiment", "../x", "experiment: '../x' looks like a path, and it is a name."),
    # what does not fit together
    ("sequence.0.after", "letters", "sequence[0].after: should be ../pretrained, not letters. Write after: ../pretrained"),
    ("sequence.1", {"task": "letters", "after": "letters", "learning_rate_factor": 1.0}, "sequence: task 'letters' has more than one step. Remove one."),
    ("methods.finetune.losses", {"align": {"weight": 1.0, "label_smoothing": 0.0}}, "methods.finetune.losses: align: a loss needs replay. Set replay.images to synthetic, or write losses: {}."),
    ("methods.gift.losses", {}, "methods.gift.losses: empty, so the replay has no effect. Add a loss, or set replay.images: none."),
    ("methods.finetune.consolidation", {"kind": "adaptive_fisher", "weight": 1.0}, "methods.finetune.consolidation.kind: adaptive_fisher needs the gradients of the losses, and there are none. Add a loss,"),
    ("methods.gift.learning_rate", None, "methods.gift.learning_rate: empty (null), but the method learns. Write a rate: 1.0e-5."),
    ("methods.gift.consolidation", {"kind": "static_fisher", "weight": 1.0, "scale": "tensor"}, "methods.gift.consolidation.kind: static_fisher needs the teacher's Fisher information, which is not estimated. Add to a replay with pairs"),
    ("methods.gift.replay.fisher", {"estimator": "per_sample", "accumulate": False}, "methods.gift.replay.fisher: the Fisher information is not used by consolidation adaptive_fisher. Remove it,"),
    ("methods.lwf.losses.align", {"weight": 1.0, "label_smoothing": 0.0}, "methods.lwf.losses.align: needs images with their own texts, which replay.images: task does not have. Set replay.images to synthetic"),
    ("methods.zscl.replay", {"images": "reference", "folder": "data/elsewhere", "teacher": "initial"}, "methods.zscl.replay.folder: data/elsewhere is outside data/0_raw/reference/"),
    ("methods.gift_text_side.trains", {"kind": "image_tower"}, "methods.gift_text_side.losses.distill_text_side: has no effect, since it has gradients for the text_tower only"),
    ("methods.ewc.trains", LORA, "methods.ewc.consolidation.kind: static_fisher has the Fisher information of the weights, and lora trains other parameters"),
    ("methods.zscl.trains", LORA, "methods.zscl.average: a mean of weights, and lora trains other parameters"),
    ("generator", {"negative_prompt": "blurry", "guidance": 1.0}, "generator.negative_prompt: 'blurry' has no effect with guidance 1.0"),
    ("generator.scheduler", "DPMSolverSDEScheduler", "generator.scheduler: the noise of DPMSolverSDEScheduler does not follow the images' seeds"),
    ("generator.filters", {**FILTERS, "min_clip_score": None}, "generator.filters: neither min_clip_score nor max_similarity is set"),
    ("generator.filters", {**FILTERS, "scorer": {"name": "local-dir:here", "pretrained": None}}, "generator.filters.scorer.name: here is outside data/0_raw/generators/"),
    ("prompts.strategy", "captions", "prompts.captions: a file of captions is for strategy: captions, and only for it. Write captions: data/0_raw/prompts/captions.csv, or"),
    ("prompts.base_vocabulary", "lists/words.txt", "prompts.base_vocabulary: lists/words.txt is outside data"),
    # tasks
    ("tasks.birds", {**FOLDER_TASK, "path": "/data/birds"}, "tasks.birds.path: /data/birds is outside the project"),
    ("tasks.birds", {**FOLDER_TASK, "class_names": "../names.txt"}, "tasks.birds.class_names: '../names.txt' is outside the task's path"),
    ("tasks.birds", {**TABLE, "table": "labels.xlsx"}, "tasks.birds.table: labels.xlsx is not a supported table. Save it as one of .csv"),
    ("tasks.birds", {**TABLE, "split_column": "label"}, "tasks.birds: a column is named twice: image, label, label."),
    ("tasks.birds", {**TARS, "test": "a.tar::../b.tar"}, "tasks.birds.test: '../b.tar' is outside the task's path"),
    ("tasks.birds", {**TARS, "label": ".cls"}, "tasks.birds.label: .cls is no extension, nor a key"),
    ("tasks.birds", {**HUB, "splits": {"tran": "all"}}, "tasks.birds.splits.tran: unknown key 'tran'. Did you mean 'train'?"),
    ("tasks.birds", {**PAIRS, "repository": "a/b"}, "tasks.birds.repository: its files are unknown. Write table: '*.parquet', or train: '*.tar'."),
    ("tasks.birds", HUB, "tasks.birds.revision: 'main' is not a commit. Write its 40 hexadecimal digits"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "value", "expected"), WRONG_VALUES)
def test_the_error_for_a_wrong_value_has_its_key_and_a_remedy(
    path: str, value: Any, expected: str, mini_params: Params, write_params: WriteParams
) -> None:
    set_at(mini_params, path, value)
    message = message_of(write_params(mini_params))
    assert expected in message
    assert all(line.startswith("params.yaml: ") for line in message.splitlines())
    assert all(line.endswith(".") for line in message.splitlines()), message


def test_lengths_must_fit_a_method_that_runs(mini_params: Params, write_params: WriteParams) -> None:
    gift = mini_params["methods"]["gift"]
    gift["average"] = {"kind": "running_mean", "every": 500}
    gift["consolidation"] = {"kind": "frozen_fisher", "weight": 1.0, "iterations": 200}
    message = message_of(write_params(mini_params))
    assert "params.yaml: methods.gift.average.every: 500 is more than training.iterations" in message
    expected = "should be less than training.iterations (200), or nothing is ever frozen."
    assert f"params.yaml: methods.gift.consolidation.iterations: 200 {expected}" in message
    mini_params["run"]["methods"] = ["finetune"]
    load_config(write_params(mini_params))


def test_every_number_has_bounds() -> None:
    schema = Config.model_json_schema()
    unbounded = set()
    for section, part in {"": schema, **schema["$defs"]}.items():
        for key, option in part.get("properties", {}).items():
            for kind in (option, *option.get("anyOf", []), *option.get("prefixItems", [])):
                is_number = kind.get("type") in ("integer", "number")
                if is_number and not ({"minimum", "exclusiveMinimum"} & set(kind)
                                      and {"maximum", "exclusiveMaximum"} & set(kind)):  # fmt: skip
                    unbounded.add((section, key))
    assert unbounded == {("TrainingConfig", "warmup_iterations")}  # less than iterations


def test_missing_keys_are_named(mini_params: Params, write_params: WriteParams) -> None:
    del mini_params["seed"], mini_params["evaluation"]["max_images"], mini_params["sequence"][0]["after"]
    del mini_params["methods"]["gift"]["losses"]["align"]["weight"]
    message = message_of(write_params(mini_params))
    for key in ("seed", "evaluation.max_images", "sequence[0].after", "methods.gift.losses.align.weight"):
        assert f"params.yaml: {key}: missing. " in message


INVALID = "invalid name. Use 1 to 64 of the characters a-z, 0-9 and _."
NAMES = {
    **dict.fromkeys(["My-Task", "täsk", "../..", "a; touch pwned ;", "a\n", "", "n" * 65], INVALID),
    "pretrained": "reserved name",
}


@pytest.mark.parametrize(("name", "expected"), NAMES.items())
def test_a_name_that_could_not_be_part_of_a_path_or_a_command_is_refused(
    name: str, expected: str, mini_params: Params, write_params: WriteParams
) -> None:
    for section, row in (("tasks", FOLDER_TASK), ("methods", mini_params["methods"]["gift"])):
        params = mini_params | {section: {**mini_params[section], name: row}}
        assert f"params.yaml: {section}.{name}: {expected}" in message_of(write_params(params))
    for key in ("task", "after"):
        params = copy.deepcopy(mini_params)
        params["sequence"][1][key] = name
        assert f"params.yaml: sequence[1].{key}: " in message_of(write_params(params))


def test_several_processes_need_a_batch_and_devices_to_share(mini_params: Params, write_params: WriteParams) -> None:
    mini_params["training"] |= {"processes": 3, "replay_batch_size": 2}
    expected = "training.processes: 3 processes share a batch of 2 images, so some would have none. Lower it,"
    assert expected in message_of(write_params(mini_params))
    mini_params["training"]["replay_batch_size"], mini_params["run"]["device"] = 64, "cuda:1"
    expected = "run.device: cuda:1 is one device, which 3 processes cannot share. Write cuda, auto or cpu,"
    assert expected in message_of(write_params(mini_params))


def test_the_folders_that_the_pipeline_writes_are_those_of_dvc_yaml(project: Path) -> None:
    stages = yaml.safe_load((project / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    outs = [out for stage in stages.values() for out in stage.get("do", stage).get("outs", []) if isinstance(out, str)]
    assert outs
    assert [out for out in outs if not MADE.fullmatch(out)] == []
