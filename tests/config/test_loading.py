"""params.yaml: what is read, and every way in which it can be wrong."""
# ruff: noqa: E501 - in a table, a case is a line

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.utils.serialize import loads_yaml

from gift_core.config.experiment import Config
from gift_core.config.loading import load_config, parse_config
from gift_core.config.tasks import FolderTaskConfig, MiniTaskConfig
from gift_core.errors import UserError

WriteParams = Callable[[dict[str, Any]], Path]
FOLDER_TASK = {
    "source": "folder", "path": "data/0_raw/birds", "templates": ["a photo of a {}, a bird."], "test_fraction": 0.2,
    "on_bad_image": "refuse",
}  # fmt: skip


def set_at(params: dict[str, Any], path: str, value: Any) -> None:
    """Sets params["a"]["b"][0] for the path "a.b.0"."""
    *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    for part in parents:
        params = params[part]
    params[last] = value


def message_of(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        load_config(path)
    return str(caught.value)


def test_a_folder_task_is_recognized_by_its_source(mini_params: dict[str, Any], write_params: WriteParams) -> None:
    mini_params["tasks"]["birds"] = FOLDER_TASK
    config = load_config(write_params(mini_params))
    assert isinstance(config.tasks["birds"], FolderTaskConfig)
    assert config.tasks["birds"].templates == ("a photo of a {}, a bird.",)
    assert isinstance(config.tasks["letters"], MiniTaskConfig)


def test_whole_numbers_serve_where_a_number_is_asked(mini_params: dict[str, Any], write_params: WriteParams) -> None:
    mini_params["generator"]["guidance"] = 3
    assert load_config(write_params(mini_params)).generator.guidance == 3.0


@pytest.mark.parametrize(
    ("text", "number"), [("1e-05", 1e-5), ("5e-5", 5e-5), ("2E1", 20.0), ("1.e-3", 1e-3), ("5.0e-5", 5e-5)]
)
def test_a_number_with_an_exponent_is_read_as_dvc_reads_it(text: str, number: float, project: Path) -> None:
    params = (project / "presets" / "mini.yaml").read_text(encoding="utf-8")
    changed = params.replace("weight_decay: 0.0 ", f"weight_decay: {text} ")
    assert parse_config(changed, "params.yaml").training.weight_decay == number
    assert loads_yaml(changed)["training"]["weight_decay"] == number


# (path of the key, its bad value, what the message must say): one case for each message
WRONG_VALUES: list[tuple[str, Any, str]] = [
    # unknown names
    ("methods.gift.losses", {"distil": {"weight": 1.0, "temperature": 2.0}}, "methods.gift.losses.distil: unknown loss. Did you mean 'distill'?"),
    ("trainning", {}, "trainning: unknown key. Did you mean 'training'?"),
    ("methods.gift.losses.align.smoothing", 0.1, "methods.gift.losses.align.smoothing: unknown key. Did you mean 'label_smoothing'?"),
    ("tasks.letters.train_image", 5, "tasks.letters.train_image: unknown key. Did you mean 'train_images'?"),
    ("methods.gift.consolidation.kind", "adaptive_fischer", "methods.gift.consolidation.kind: unknown kind 'adaptive_fischer'. Did you mean 'adaptive_fisher'? Known: "),
    ("methods.gift.replay.images", "sinthetic", "methods.gift.replay.images: unknown images 'sinthetic'. Did you mean 'synthetic'? Known: exemplars, none, reference, synthetic, task."),
    ("methods.gift.start", "pretraned", "methods.gift.start: unknown value 'pretraned'. Did you mean 'pretrained'?"),
    ("methods.lwf.replay.keep_earlier", 1, "methods.lwf.replay.keep_earlier: unknown key"),
    ("tasks.letters.path", "data/mine", "tasks.letters.path: unknown value 'data/mine'. Did you mean 'data/mini'?"),
    ("prompts.base_vocabulary", "imagnet", "prompts.base_vocabulary: unknown vocabulary 'imagnet'. Did you mean 'imagenet'? Known: imagenet, mini, none. Or write the path of a text file."),
    ("run.methods", ["finetune", "gitf"], "run.methods: unknown method 'gitf'. Did you mean 'gift'?"),
    ("sequence.1.task", "textur", "sequence[1].task: unknown task 'textur'. Did you mean 'textures'?"),
    ("generator.dtype", "float61", "generator.dtype: unknown value 'float61'. Did you mean 'float16'?"),
    # wrong types
    ("training.iterations", "100", "training.iterations: should be a whole number, it is the text '100'. Write the number without quotes."),
    ("training.iterations", 1.5, "training.iterations: should be a whole number, it is 1.5."),
    ("training.iterations", True, "training.iterations: should be a whole number, it is true."),
    ("training.iterations", None, "training.iterations: should be a whole number, it is empty (null)."),
    ("experiment", 5, "experiment: should be text, it is 5. Put it in quotes."),
    ("run.methods", "gift", "run.methods: should be a list, it is the text 'gift'."),
    ("training", None, "training: should be a section, it is empty (null)."),
    ("methods.gift", "all", "methods.gift: should be a section, it is the text 'all'."),
    ("training.betas", [0.9], "training.betas: entry 2 is missing. Add it."),
    ("training.betas", [0.9, 0.99, 0.999], "training.betas: should have 2 entries, it has 3."),
    # numbers outside of their bounds: that all have some, test_every_number_has_bounds says
    ("training.batch_size", 0, "training.batch_size: should be at least 1, it is 0."),
    ("training.batch_size", 10**9, "training.batch_size: should be at most 65536, it is 1000000000."),
    ("training.betas", [0.9, 1.0], "training.betas[1]: should be less than 1, it is 1"),
    ("training.crop_scale", [0.9, 0.5], "training.crop_scale: [0.9, 0.5] should ascend."),
    ("training.warmup_iterations", 200, "training.warmup_iterations: 200 should be less than training.iterations (200)."),
    ("prompts.images_per_task", 63, "prompts.images_per_task: 63 images cannot fill a replay batch (64)."),
    ("methods.gift.learning_rate", float("inf"), "methods.gift.learning_rate: should be a finite number, it is inf."),
    ("methods.gift.learning_rate", float("nan"), "methods.gift.learning_rate: should be a finite number, it is nan."),
    ("methods.wise_ft.merge.alpha", 1.5, "methods.wise_ft.merge.alpha: should be at most 1, it is 1.5."),
    ("sequence.0.learning_rate_factor", 0.0, "sequence[0].learning_rate_factor: should be more than 0, it is 0"),
    ("generator.size", 30, "generator.size: should be a multiple of 8, it is 30."),
    # texts
    ("prompts.base_template", "a photo", "prompts.base_template: 'a photo' does not contain {}. Write {} where the class name goes"),
    ("prompts.base_template", "{}{0}", "prompts.base_template: '{}{0}' should contain {} for the class name once, and no other braces."),
    ("tasks.letters", {**FOLDER_TASK, "templates": ["{}\nx"]}, "tasks.letters.templates: '{}\\nx' contains a line break or another control"),
    ("tasks.letters", {**FOLDER_TASK, "templates": ["{:>999999999}"]}, "tasks.letters.templates[0]: '{:>999999999}' does not contain {}."),
    ("tasks.letters", {**FOLDER_TASK, "path": "s3://bucket/x"}, "tasks.letters.path: s3://bucket/x is no folder to DVC"),
    ("tasks.letters", {**FOLDER_TASK, "path": "data/0_raw/${seed}"}, "tasks.letters.path: data/0_raw/${seed} is no folder to DVC"),
    ("tasks.letters", {**FOLDER_TASK, "templates": []}, "tasks.letters.templates: should not be empty."),
    ("run.device", "gpu", "run.device: 'gpu' is not a device. Write auto, cpu, cuda, cuda:1 or mps."),
    ("experiment", "", "experiment: should not be empty."),
    ("experiment", "x" * 1001, "experiment: should have at most 1000 characters, it has 1001. Shorten it."),
    ("experiment", "../x", "experiment: '../x' looks like a path, and it is a name."),
    # what does not fit together
    ("sequence.0.after", "letters", "sequence[0].after: should be ../pretrained, not letters. Write after: ../pretrained"),
    ("run.methods", ["finetune", "gift", "gift"], "run.methods: 'gift' is listed more than once. Remove the duplicate."),
    ("tasks", {}, "sequence[0].task: unknown task 'letters'. Known: none."),
    ("methods.finetune.losses", {"align": {"weight": 1.0, "label_smoothing": 0.0}}, "methods.finetune.losses: align: a loss needs replay. Set replay.images to synthetic, or write losses: {}."),
    ("methods.gift.losses", {}, "methods.gift.losses: empty, so the replay has no effect. Add a loss, or set replay.images: none."),
    ("methods.finetune.consolidation", {"kind": "adaptive_fisher", "weight": 1.0}, "methods.finetune.consolidation.kind: adaptive_fisher needs the gradients of the losses, and there are none. Add a loss,"),
    ("methods.gift.replay.teacher_alpha", 0.5, "methods.gift.replay.teacher_alpha: is set for teacher: mix, and only for it."),
    ("methods.gift.learning_rate", None, "methods.gift.learning_rate: empty (null), but the method learns. Write a rate: 1.0e-5."),
    ("methods.zero_shot.learning_rate", 1.0, "methods.zero_shot.learning_rate: has no effect with learns: nothing. Write learning_rate: null."),
    ("methods.zero_shot.consolidation", {"kind": "uniform", "weight": 1.0}, "methods.zero_shot.consolidation: has no effect with learns: nothing. Leave it empty."),
    ("methods.gift.consolidation", {"kind": "static_fisher", "weight": 1.0, "scale": "tensor"}, "methods.gift.consolidation.kind: static_fisher needs the teacher's Fisher information, which is not estimated. Add to a replay with pairs"),
    ("methods.gift.replay.fisher", {"estimator": "per_sample", "accumulate": False}, "methods.gift.replay.fisher: the Fisher information is not used by consolidation adaptive_fisher. Remove it,"),
    ("methods.lwf.losses.align", {"weight": 1.0, "label_smoothing": 0.0}, "methods.lwf.losses.align: needs images with their own texts, which replay.images: task does not have. Set replay.images to synthetic"),
    ("methods.zscl.replay", {"images": "reference", "folder": "data/elsewhere", "teacher": "initial"}, "methods.zscl.replay.folder: data/elsewhere is outside data/0_raw/reference/"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "value", "expected"), WRONG_VALUES)
def test_the_error_for_a_wrong_value_has_its_key_and_a_remedy(
    path: str, value: Any, expected: str, mini_params: dict[str, Any], write_params: WriteParams
) -> None:
    set_at(mini_params, path, value)
    message = message_of(write_params(mini_params))
    assert expected in message
    assert all(line.startswith("params.yaml: ") for line in message.splitlines())
    assert all(line.endswith(".") for line in message.splitlines()), message


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("gift.average", {"kind": "running_mean", "every": 500}, "average.every: 500 is more than training.iterations"),
        ("gift.consolidation", {"kind": "frozen_fisher", "weight": 1.0, "iterations": 200},
         "consolidation.iterations: 200 should be less than training.iterations (200), or nothing is ever frozen."),
    ],
)  # fmt: skip
def test_lengths_must_fit_the_steps_of_a_method_that_runs(
    path: str, value: Any, expected: str, mini_params: dict[str, Any], write_params: WriteParams
) -> None:
    set_at(mini_params["methods"], path, value)
    assert f"params.yaml: methods.gift.{expected}" in message_of(write_params(mini_params))
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


# Slots that a row may leave out. Of all other keys params.yaml is complete.
OPTIONAL = {
    "CatalogueTaskConfig": {"templates", "on_bad_image", "shots", "classes", "allow_partial"},
    "FolderTaskConfig": {"class_names", "shots"},
    "TableTaskConfig": {"split_column", "class_names", "shots"},
    "WebDatasetTaskConfig": {"test", "class_names", "shots"},
    "MethodConfig": {"average", "start", "learns", "merge", "trains", "layer_decay"},
    "ExemplarReplayConfig": {"teacher_alpha"},
    "ReferenceReplayConfig": {"fisher", "teacher_alpha"},
    "SyntheticReplayConfig": {"fisher", "keep_earlier", "teacher_alpha"},
    "TaskReplayConfig": {"teacher_alpha"},
    "LoraConfig": {"weight_name"},
    "TrainingConfig": {"processes"},  # it changes no result
}


def test_no_other_key_has_a_default() -> None:
    schema = Config.model_json_schema()
    sections = {"Config": schema, **schema["$defs"]}
    del sections["LossesConfig"]  # its keys are names
    optional = {
        name: set(part.get("properties", {})) - set(part.get("required", [])) for name, part in sections.items()
    }
    assert {name: keys for name, keys in optional.items() if keys} == OPTIONAL


@pytest.mark.parametrize(
    "path",
    ["seed", "training.iterations", "sequence.0.after", "tasks.letters.path", "methods.gift.losses.align.weight"],
)
def test_a_missing_key_is_named(path: str, mini_params: dict[str, Any], write_params: WriteParams) -> None:
    *parents, last = path.split(".")
    node: Any = mini_params
    for part in parents:
        node = node[int(part) if part.isdigit() else part]
    del node[last]
    assert f"params.yaml: {path.replace('.0.', '[0].')}: missing. " in message_of(write_params(mini_params))


@pytest.mark.parametrize(
    ("section", "old", "new"),
    [
        ("run", "replay_synthetic", None), ("generator", "gates", "filters"), ("training", "steps", "iterations"),
        ("training", "warmup_steps", "warmup_iterations"), ("methods.gift", "terms", "losses"),
        ("methods.gift", "anchor", "consolidation"),
        ("methods.gift_frozen_fisher.consolidation", "steps", "iterations"),
    ],
)  # fmt: skip
def test_the_error_for_a_key_of_an_earlier_version_has_its_new_name(
    section: str, old: str, new: str | None, mini_params: dict[str, Any], write_params: WriteParams
) -> None:
    node = mini_params
    for part in section.split("."):
        node = node[part]
    node[old] = node.pop(new) if new else []
    expected = f"renamed. Write {new} instead of {old}." if new else "no longer needed. Remove it."
    assert message_of(write_params(mini_params)) == f"params.yaml: {section}.{old}: {expected}"


@pytest.mark.parametrize(
    "name", ["My-Task", "täsk", "a task", "../..", "a; touch pwned ;", "$(touch pwned)", "a\n", "", "n" * 65]
)
def test_a_name_that_could_not_be_part_of_a_path_or_a_command_is_refused(
    name: str, mini_params: dict[str, Any], write_params: WriteParams
) -> None:
    for section, row in (("tasks", FOLDER_TASK), ("methods", mini_params["methods"]["gift"])):
        params = mini_params | {section: {**mini_params[section], name: row}}
        expected = f"params.yaml: {section}.{name}: invalid name. Use 1 to 64 of the characters a-z, 0-9 and _."
        assert expected in message_of(write_params(params))
    for key in ("task", "after"):
        params = copy.deepcopy(mini_params)
        params["sequence"][1][key] = name
        assert f"params.yaml: sequence[1].{key}: " in message_of(write_params(params))


@pytest.mark.parametrize("factor", ["1; touch pwned", "1.0", None])
def test_a_learning_rate_factor_is_a_number(
    factor: Any, mini_params: dict[str, Any], write_params: WriteParams
) -> None:
    mini_params["sequence"][0]["learning_rate_factor"] = factor  # it is part of a command
    assert "params.yaml: sequence[0].learning_rate_factor: should be " in message_of(write_params(mini_params))


@pytest.mark.parametrize(
    ("section", "name", "expected"),
    [
        ("tasks", "pretrained", "Choose another one than pretrained,"), ("tasks", "base", "Choose another one than"),
        ("methods", "pretrained", "Choose another one than"), ("methods", "con", "Windows has no files called con."),
    ],
)  # fmt: skip
def test_reserved_names_are_refused(
    section: str, name: str, expected: str, mini_params: dict[str, Any], write_params: WriteParams
) -> None:
    mini_params[section][name] = FOLDER_TASK if section == "tasks" else mini_params["methods"]["gift"]
    message = message_of(write_params(mini_params))
    assert f"params.yaml: {section}.{name}: reserved name" in message and expected in message


def test_a_task_that_occurs_twice_is_refused(mini_params: dict[str, Any], write_params: WriteParams) -> None:
    again = dict(mini_params["sequence"][0], after=mini_params["sequence"][-1]["task"])
    mini_params["sequence"].append(again)
    expected = f"params.yaml: sequence: task {again['task']!r} has more than one step. Remove one."
    assert expected in message_of(write_params(mini_params))


def test_all_errors_of_a_file_are_listed_at_once(mini_params: dict[str, Any], write_params: WriteParams) -> None:
    mini_params["training"]["iterations"] = 0
    mini_params["generator"]["colour"] = "red"
    del mini_params["evaluation"]["batch_size"]
    lines = message_of(write_params(mini_params)).splitlines()
    keys = ["generator.colour", "training.iterations", "evaluation.batch_size"]
    assert [line.split(":")[1].strip() for line in lines] == keys


def test_the_limit_of_test_images_is_empty_or_a_count_and_never_left_out(
    mini_params: dict[str, Any], write_params: WriteParams
) -> None:
    evaluation = mini_params["evaluation"]
    assert evaluation["max_images"] is None
    evaluation["max_images"] = 500
    assert load_config(write_params(mini_params)).evaluation.max_images == 500
    evaluation["max_images"] = 0
    expected = "params.yaml: evaluation.max_images: should be at least 1, it is 0. Change the number."
    assert message_of(write_params(mini_params)) == expected
    del evaluation["max_images"]
    expected = "params.yaml: evaluation.max_images: missing. Every key is required. Add it, as in presets/mini.yaml."
    assert message_of(write_params(mini_params)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("seed: 1\nseed: 2\n", "params.yaml: line 2: key 'seed' is already on line 1. Remove one."),
        ("a: [1, 2\n", "params.yaml: line 2: "),
        ("", "params.yaml: should contain sections, it contains None. Compare it with presets/mini.yaml."),
        ("- 1\n", "params.yaml: should contain sections, it contains [1]."),
        ("a: !!python/object:os.system {}\n", "line 1: the tag or sign !!python/object:os.system is not supported"),
        ("a: {[1]: 2}\n", "params.yaml: line 1: a key is a list or a section. Correct that line."),
        ("a:\n  1: 2\n", "params.yaml: line 2: key '1' is not text in YAML. Put it in quotes."),
    ],
)
def test_text_that_is_no_params_file_is_refused(text: str, expected: str, tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(text, encoding="utf-8")
    assert expected in message_of(path)


def test_yaml_anchors_and_merges_may_save_repetition(project: Path) -> None:
    text = (project / "presets" / "mini.yaml").read_text(encoding="utf-8")
    own = "  softer:\n    <<: *gift\n    learning_rate: 1.0e-4\n  # Ablations"
    text = text.replace("  gift:  ", "  gift: &gift  ", 1).replace("  # Ablations", own)
    methods = parse_config(text, "params.yaml").methods
    assert methods["softer"].learning_rate == 1.0e-4
    assert methods["softer"].losses == methods["gift"].losses


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert "no such file. Run in a project's root" in message_of(tmp_path / "params.yaml")


def test_a_file_that_is_no_utf8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes(b"experiment: \xff\xfe")
    assert "Save it as UTF-8 text." in message_of(path)


def test_the_vocabularies_of_the_file_are_those_of_the_library() -> None:
    from gift_core.config.checks import VOCABULARIES
    from gift_core.datasets.base_vocabulary import VOCABULARIES as LIBRARY

    assert sorted(VOCABULARIES) == sorted(LIBRARY)


@pytest.mark.parametrize(
    ("batch_size", "device", "message"),
    [
        (2, "auto", "training.processes: 3 processes share a batch of 2 images, so some would have none. Lower it,"),
        (64, "cuda:1", "run.device: cuda:1 is one device, which 3 processes cannot share. Write cuda, auto or cpu,"),
        (64, "mps", "run.device: mps is one device, which 3 processes cannot share."),
    ],
)
def test_several_processes_need_a_batch_and_devices_to_share(
    mini_params: dict[str, Any], batch_size: int, device: str, message: str
) -> None:
    mini_params["run"]["device"] = device
    mini_params["training"] |= {"processes": 3, "replay_batch_size": batch_size}
    with pytest.raises(UserError) as error:
        parse_config(yaml.safe_dump(mini_params), "params.yaml")
    assert message in str(error.value)
