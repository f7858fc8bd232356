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

from gift_core.config.experiment import Config, TrainingConfig
from gift_core.config.loading import load_config, parse_config
from gift_core.config.method_options import MethodConfig, UniformOptions
from gift_core.config.tasks import FolderTaskConfig, MiniTaskConfig
from gift_core.errors import UserError

WriteParams = Callable[[dict[str, Any]], Path]
FOLDER_TASK = {
    "source": "folder",
    "path": "data/0_raw/birds",
    "templates": ["a photo of a {}, a bird."],
    "test_fraction": 0.2,
    "on_bad_image": "refuse",
}


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


def test_gift_has_the_papers_losses_and_weights(project: Path) -> None:
    gift = load_config(project / "params.yaml").methods["gift"]
    assert [(name, options.weight, options.keywords()) for name, options in gift.losses.items()] == [
        ("distill", 1.0, {"temperature": 2.0}),
        ("align", 0.25, {"label_smoothing": 0.2}),
    ]
    assert (gift.consolidation.kind, gift.consolidation.keywords()) == ("adaptive_fisher", {"weight": 0.1})


def test_a_tasks_position_is_that_of_its_step(project: Path) -> None:
    config = load_config(project / "params.yaml")
    for index, step in enumerate(config.sequence):
        assert config.position(step.task) == index


def test_position_of_an_unknown_task_names_the_nearest(project: Path) -> None:
    config = load_config(project / "params.yaml")
    with pytest.raises(UserError, match=r"params\.yaml: sequence: unknown name 'leters'\. Did you mean 'letters'\?"):
        config.position("leters")


def test_a_config_is_frozen(project: Path) -> None:
    config = load_config(project / "params.yaml")
    with pytest.raises(Exception, match="frozen"):
        config.training.iterations = 5  # type: ignore[misc]


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


def test_sections_can_be_made_in_python() -> None:
    method = MethodConfig.model_validate(
        {
            "learning_rate": 0.001,
            "replay": {"images": "none"},
            "losses": {},
            "consolidation": UniformOptions(kind="uniform", weight=2.0),
        }
    )
    assert not method.losses
    assert method.consolidation == UniformOptions(kind="uniform", weight=2.0)


def test_lists_serve_as_pairs_of_numbers_in_python() -> None:
    training = TrainingConfig(
        iterations=10, batch_size=4, replay_batch_size=4, warmup_iterations=1, weight_decay=0.0,
        betas=[0.9, 0.999], label_smoothing=0.0, crop_scale=[0.9, 1.0], micro_batch_size=None, gradient_checkpointing=False,  # type: ignore[arg-type]
    )  # fmt: skip
    assert training.betas == (0.9, 0.999)


# (path of the key, its bad value, what the message must say): one case for each row of the table of errors
WRONG_VALUES: list[tuple[str, Any, str]] = [
    # unknown names
    (
        "methods.gift.losses",
        {"distil": {"weight": 1.0, "temperature": 2.0}},
        "methods.gift.losses.distil: unknown loss. Did you mean 'distill'?",
    ),
    ("training.iteration", 5, "training.iteration: unknown key. Did you mean 'iterations'?"),
    ("trainning", {}, "trainning: unknown key. Did you mean 'training'?"),
    (
        "methods.gift.losses.align.smoothing", 0.1,
        "methods.gift.losses.align.smoothing: unknown key. Did you mean 'label_smoothing'?",
    ),
    (
        "tasks.letters.train_image", 5,
        "tasks.letters.train_image: unknown key. Did you mean 'train_images'?",
    ),
    (
        "methods.gift.consolidation.kind", "adaptive_fischer",
        "methods.gift.consolidation.kind: unknown kind 'adaptive_fischer'. Did you mean 'adaptive_fisher'? Known: ",
    ),
    (
        "methods.gift.replay.images", "sinthetic",
        "methods.gift.replay.images: unknown images 'sinthetic'. Did you mean 'synthetic'? Known: exemplars, none, reference, synthetic, task.",
    ),
    (
        "methods.gift.replay.teacher", "previus",
        "methods.gift.replay.teacher: unknown value 'previus'. Did you mean 'previous'?",
    ),
    ("tasks.letters.source", "minni", "tasks.letters.source: unknown source 'minni'. Did you mean 'mini'? Known: catalogue, folder, mini, table, webdataset."),
    ("tasks.letters.path", "data/mine", "tasks.letters.path: unknown value 'data/mine'. Did you mean 'data/mini'?"),
    (
        "prompts.base_vocabulary", "imagnet",
        "prompts.base_vocabulary: unknown vocabulary 'imagnet'. Did you mean 'imagenet'? Known: imagenet, mini, none. "
        "Or write the path of a text file.",
    ),
    ("run.methods", ["finetune", "gitf"], "run.methods: unknown method 'gitf'. Did you mean 'gift'?"),
    ("sequence.1.task", "textur", "sequence[1].task: unknown task 'textur'. Did you mean 'textures'?"),
    ("model.precision", "fp23", "model.precision: unknown value 'fp23'. Did you mean 'fp32'? Known: amp_bf16, amp_fp16, fp32."),
    ("generator.dtype", "float61", "generator.dtype: unknown value 'float61'. Did you mean 'float16'?"),
    ("generator.image_format", "jpeg", "generator.image_format: unknown value 'jpeg'. Did you mean 'jpg'?"),
    ("ingest.image_format", 3, "ingest.image_format: unknown value 3. Known: jpg, png."),
    # wrong types
    ("training.iterations", "100", "training.iterations: should be a whole number, it is the text '100'. Write the number without quotes."),
    ("training.iterations", 1.5, "training.iterations: should be a whole number, it is 1.5."),
    ("training.iterations", True, "training.iterations: should be a whole number, it is true."),
    ("training.iterations", None, "training.iterations: should be a whole number, it is empty (null)."),
    ("training.weight_decay", False, "training.weight_decay: should be a number, it is false."),
    ("experiment", 5, "experiment: should be text, it is 5. Put it in quotes."),
    ("run.methods", "gift", "run.methods: should be a list, it is the text 'gift'."),
    ("training", 5, "training: should be a section, it is 5."),
    ("training", None, "training: should be a section, it is empty (null)."),
    ("methods", [], "methods: should be a section, it is the list []."),
    ("methods.gift", "all", "methods.gift: should be a section, it is the text 'all'."),
    ("tasks.letters", None, "tasks.letters: should be a section, it is empty (null)."),
    ("training.betas", [0.9], "training.betas: entry 2 is missing. Add it."),
    ("training.betas", [0.9, 0.99, 0.999], "training.betas: should have 2 entries, it has 3."),
    # impossible values
    ("training.iterations", 0, "training.iterations: should be at least 1, it is 0."),
    ("training.batch_size", 0, "training.batch_size: should be at least 1, it is 0."),
    ("training.replay_batch_size", -3, "training.replay_batch_size: should be at least 1, it is -3."),
    ("evaluation.batch_size", 0, "evaluation.batch_size: should be at least 1, it is 0."),
    ("generator.batch_size", 0, "generator.batch_size: should be at least 1, it is 0."),
    ("training.weight_decay", -0.1, "training.weight_decay: should be at least 0, it is -0.1."),
    ("training.label_smoothing", 1.0, "training.label_smoothing: should be less than 1, it is 1"),
    ("training.betas", [0.9, 1.0], "training.betas[1]: should be less than 1, it is 1"),
    ("training.crop_scale", [0.0, 1.0], "training.crop_scale[0]: should be more than 0, it is 0"),
    ("training.crop_scale", [0.9, 1.5], "training.crop_scale[1]: should be at most 1, it is 1.5."),
    ("training.crop_scale", [0.9, 0.5], "training.crop_scale: [0.9, 0.5] should ascend."),
    ("training.warmup_iterations", 200, "training.warmup_iterations: 200 should be less than training.iterations (200)."),
    ("prompts.images_per_task", 63, "prompts.images_per_task: 63 images cannot fill a replay batch (64)."),
    ("training.processes", 0, "training.processes: should be at least 1, it is 0."),
    ("training.processes", 65, "training.processes: should be at most 64, it is 65."),
    ("methods.gift.learning_rate", 0.0, "methods.gift.learning_rate: should be more than 0, it is 0"),
    ("methods.gift.learning_rate", float("inf"), "methods.gift.learning_rate: should be a finite number, it is inf."),
    ("methods.gift.learning_rate", float("nan"), "methods.gift.learning_rate: should be a finite number, it is nan."),
    ("methods.gift.losses.distill.weight", 0.0, "methods.gift.losses.distill.weight: should be more than 0, it is 0"),
    ("methods.gift.losses.distill.temperature", -2.0, "methods.gift.losses.distill.temperature: should be at least 0.001, it is -2"),
    ("methods.gift.losses.align.label_smoothing", 1.2, "methods.gift.losses.align.label_smoothing: should be less than 1"),
    ("methods.gift.consolidation.weight", 0.0, "methods.gift.consolidation.weight: should be more than 0, it is 0"),
    ("sequence.0.learning_rate_factor", 0.0, "sequence[0].learning_rate_factor: should be more than 0, it is 0"),
    ("generator.size", 30, "generator.size: should be a multiple of 8, it is 30."),
    ("prompts.base_template", "a photo", "prompts.base_template: 'a photo' does not contain {}. Write {} where the class name goes"),
    ("run.device", "gpu", "run.device: 'gpu' is not a device. Write auto, cpu, cuda, cuda:1 or mps."),
    ("experiment", "", "experiment: should not be empty."),
    ("tasks", {}, "sequence[0].task: unknown task 'letters'. Known: none."),
    ("run.methods", [], "run.methods: should not be empty."),
    ("seed", -1, "seed: should be at least 0, it is -1."),
    # absurd numbers and texts
    ("training.batch_size", 10**9, "training.batch_size: should be at most 65536, it is 1000000000."),
    ("evaluation.batch_size", 10**39, "evaluation.batch_size: should be at most 65536, it is 1e+39."),
    ("prompts.images_per_task", 1.0e30, "prompts.images_per_task: should be a whole number, it is 1e+30."),
    ("methods.gift.learning_rate", 1.0e300, "methods.gift.learning_rate: should be at most 10, it is 1e+300."),
    ("methods.gift.consolidation.weight", 1.0e30, "methods.gift.consolidation.weight: should be at most 1e+09, it is 1e+30."),
    ("generator.steps", 1001, "generator.steps: should be at most 1000, it is 1001."),
    ("generator.guidance", 1.0e30, "generator.guidance: should be at most 100, it is 1e+30."),
    ("generator.size", 80_000, "generator.size: should be at most 8192, it is 80000."),
    ("ingest.shorter_side", 1, "ingest.shorter_side: should be at least 8, it is 1."),
    ("sequence.0.learning_rate_factor", 1.0e9, "sequence[0].learning_rate_factor: should be at most 1000, it is 1e+09."),
    ("run.device", "cuda:99999999999", "run.device: 'cuda:99999999999' is not a device."),
    ("experiment", "a\nb", "experiment: 'a\\nb' contains a line break or another control character. Write it on one line."),
    ("experiment", "x" * 1001, "experiment: should have at most 1000 characters, it has 1001. Shorten it."),
    ("experiment", "../x", "experiment: '../x' looks like a path, and it is a name."),
    ("prompts.base_template", "{}{0}", "prompts.base_template: '{}{0}' should contain {} for the class name once, and no other braces."),
    ("tasks.letters", {**FOLDER_TASK, "templates": ["{}{"]}, "tasks.letters.templates: '{}{' should contain {} for the class name once"),
    ("tasks.letters", {**FOLDER_TASK, "templates": ["{}\nx"]}, "tasks.letters.templates: '{}\\nx' contains a line break or another control"),
    ("tasks.letters", {**FOLDER_TASK, "templates": ["{:>999999999}"]}, "tasks.letters.templates[0]: '{:>999999999}' does not contain {}."),
    ("tasks.letters", {**FOLDER_TASK, "path": "s3://bucket/x"}, "tasks.letters.path: s3://bucket/x is no folder to DVC"),
    ("tasks.letters", {**FOLDER_TASK, "path": "data/0_raw/${seed}"}, "tasks.letters.path: data/0_raw/${seed} is no folder to DVC"),
    # what does not fit together
    ("sequence.0.after", "letters", "sequence[0].after: should be ../pretrained, not letters. Write after: ../pretrained"),
    ("sequence.1.after", "../pretrained", "sequence[1].after: should be letters, not ../pretrained. Write after: letters"),
    ("run.methods", ["finetune", "gift", "gift"], "run.methods: 'gift' is listed more than once. Remove the duplicate."),
    ("methods.finetune.losses", {"align": {"weight": 1.0, "label_smoothing": 0.0}}, "methods.finetune.losses: align: a loss needs replay. Set replay.images to synthetic, or write losses: {}."),
    ("methods.gift.losses", {}, "methods.gift.losses: empty, so the replay has no effect. Add a loss, or set replay.images: none."),
    (
        "methods.finetune.consolidation", {"kind": "adaptive_fisher", "weight": 1.0},
        "methods.finetune.consolidation.kind: adaptive_fisher needs the gradients of the losses, and there are none. Add a loss, or use uniform or none.",
    ),
    # methods
    ("methods.gift.average", {"kind": "runing_mean", "every": 5}, "methods.gift.average.kind: unknown value 'runing_mean'. Did you mean 'running_mean'?"),
    ("methods.wise_ft.merge.alpha", 1.5, "methods.wise_ft.merge.alpha: should be at most 1, it is 1.5."),
    ("methods.wise_ft.merge.alpha", -0.1, "methods.wise_ft.merge.alpha: should be at least 0, it is -0.1."),
    ("methods.gift_mixed_teacher.replay.teacher_alpha", 1.5, "methods.gift_mixed_teacher.replay.teacher_alpha: should be at most 1"),
    ("methods.gift.replay.teacher_alpha", 0.5, "methods.gift.replay.teacher_alpha: is set for teacher: mix, and only for it."),
    ("methods.gift.replay.teacher", "previus", "methods.gift.replay.teacher: unknown value 'previus'. Did you mean 'previous'?"),
    ("methods.gift.start", "pretraned", "methods.gift.start: unknown value 'pretraned'. Did you mean 'pretrained'?"),
    ("methods.gift.learning_rate", None, "methods.gift.learning_rate: empty (null), but the method learns. Write a rate: 1.0e-5."),
    ("methods.zero_shot.learning_rate", 1.0, "methods.zero_shot.learning_rate: has no effect with learns: nothing. Write learning_rate: null."),
    ("methods.zero_shot.consolidation", {"kind": "uniform", "weight": 1.0}, "methods.zero_shot.consolidation: has no effect with learns: nothing. Leave it empty."),
    ("methods.gift.consolidation", {"kind": "static_fisher", "weight": 1.0, "scale": "tensor"}, "methods.gift.consolidation.kind: static_fisher needs the teacher's Fisher information, which is not estimated. Add to a replay with pairs"),
    ("methods.finetune.consolidation", {"kind": "static_fisher", "weight": 1.0, "scale": "tensor"}, "methods.finetune.consolidation.kind: static_fisher needs the teacher's Fisher information"),
    ("methods.gift.replay.fisher", {"estimator": "per_sample", "accumulate": False}, "methods.gift.replay.fisher: the Fisher information is not used by consolidation adaptive_fisher. Remove it,"),
    ("methods.ewc.replay.fisher.estimator", "persample", "methods.ewc.replay.fisher.estimator: unknown value 'persample'. Did you mean 'per_sample'?"),
    ("methods.lwf.losses.align", {"weight": 1.0, "label_smoothing": 0.0}, "methods.lwf.losses.align: needs images with their own texts, which replay.images: task does not have."),
    ("methods.lwf.losses.distill_vocabulary", {"weight": 1.0, "temperature": 2.0}, "methods.lwf.losses.distill_vocabulary: needs images with their own texts, which replay.images: task does not have. Set replay.images to synthetic"),
    ("methods.icarl.losses.distill_vocabulary", {"weight": 1.0, "temperature": 2.0}, "methods.icarl.losses.distill_vocabulary: needs images with their own texts, which replay.images: exemplars"),
    ("methods.gift_vocabulary.replay.keep_earlier", -1, "methods.gift_vocabulary.replay.keep_earlier: should be at least 0, it is -1."),
    ("methods.gift_vocabulary.replay.keep_earlier", 1.5, "methods.gift_vocabulary.replay.keep_earlier: should be"),
    ("methods.lwf.replay.keep_earlier", 1, "methods.lwf.replay.keep_earlier: unknown key"),
    ("methods.lwf.replay.texts.kind", "clases", "methods.lwf.replay.texts.kind: unknown kind 'clases'. Did you mean 'classes'?"),
    ("methods.zscl.replay", {"images": "reference", "folder": "data/elsewhere", "teacher": "initial"}, "methods.zscl.replay.folder: data/elsewhere is outside data/0_raw/reference/"),
    ("methods.lwf.losses.distill_image_side.weight", 0, "methods.lwf.losses.distill_image_side.weight: should be more than 0, it is 0."),
    ("methods.lwf.losses.distill_image_side.temperature", 0.0, "methods.lwf.losses.distill_image_side.temperature: should be at least 0.001, it is 0."),
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


OPTIONAL_SLOTS = ("start", "learns", "average", "merge", "fisher", "teacher_alpha", "keep_earlier")


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        (
            "gift.average",
            {"kind": "running_mean", "every": 500},
            "gift.average.every: 500 is more than training.iterations (200), so nothing is averaged. Lower it.",
        ),
        (
            "gift.consolidation",
            {"kind": "frozen_fisher", "weight": 1.0, "iterations": 200},
            "gift.consolidation.iterations: 200 should be less than training.iterations (200), or nothing is ever frozen.",
        ),
    ],
)
def test_lengths_must_fit_the_steps_of_a_method_that_runs(
    path: str, value: Any, expected: str, mini_params: dict[str, Any], write_params: WriteParams
) -> None:
    set_at(mini_params["methods"], path, value)
    assert f"params.yaml: methods.{expected}" in message_of(write_params(mini_params))
    mini_params["run"]["methods"] = ["finetune"]
    load_config(write_params(mini_params))


def all_key_paths() -> list[tuple[str, ...]]:
    """Every key that a section of the preset must have; names (of tasks, methods, losses) are not keys.

    Of the keys that many tasks or methods have, in a section of the same kind, one.
    """
    names = {("tasks",), ("methods",)}
    preset = yaml.safe_load((Path(__file__).parents[2] / "presets" / "mini.yaml").read_text(encoding="utf-8"))
    paths: dict[tuple[Any, ...], tuple[str, ...]] = {}

    def walk(node: Any, path: tuple[str, ...]) -> None:
        if isinstance(node, list):
            for index, item in enumerate(node[:1]):
                walk(item, (*path, str(index)))
        if not isinstance(node, dict):
            return
        if path not in names and path[-1:] != ("losses",):
            section = (path[0], *path[2:], node.get("kind"), node.get("images")) if path[:1] in names else path
            for key in node:
                if not (path[:1] == ("methods",) and key in OPTIONAL_SLOTS):
                    paths.setdefault((section, key), (*path, key))
        for key, item in node.items():
            walk(item, (*path, key))

    walk(preset, ())
    return [path for path in paths.values() if path != ("training", "processes")]  # new, and it changes no result


@pytest.mark.parametrize("path", all_key_paths(), ids=".".join)
def test_every_key_is_required(path: tuple[str, ...], mini_params: dict[str, Any], write_params: WriteParams) -> None:
    node: Any = mini_params
    for part in path[:-1]:
        node = node[int(part)] if part.isdigit() else node[part]
    del node[path[-1]]
    key = ".".join(path).replace(".0.", "[0].")
    assert f"params.yaml: {key}: missing. " in message_of(write_params(mini_params))


@pytest.mark.parametrize(
    ("section", "old", "new"),
    [
        ("run", "replay_synthetic", None),
        ("run", "replay_real", None),
        ("run", "replay_none", None),
        ("generator", "gates", "filters"),
        ("training", "steps", "iterations"),
        ("training", "warmup_steps", "warmup_iterations"),
        ("methods.gift", "terms", "losses"),
        ("methods.gift", "anchor", "consolidation"),
        ("methods.gift_frozen_fisher.consolidation", "steps", "iterations"),
    ],
)
def test_the_error_for_a_key_of_an_earlier_version_has_its_new_name(
    section: str, old: str, new: str | None, mini_params: dict[str, Any], write_params: WriteParams
) -> None:
    node = mini_params
    for part in section.split("."):
        node = node[part]
    node[old] = node.pop(new) if new else []
    expected = f"renamed. Write {new} instead of {old}." if new else "no longer needed. Remove it."
    assert message_of(write_params(mini_params)) == f"params.yaml: {section}.{old}: {expected}"


def test_all_old_keys_of_a_file_are_listed_at_once(mini_params: dict[str, Any], write_params: WriteParams) -> None:
    row = mini_params["methods"]["gift_frozen_fisher"]
    row["anchor"] = {"kind": "frozen_fisher", "weight": 0.1, "steps": 20}
    row["terms"] = row.pop("losses")
    mini_params["run"]["replay_none"] = ["finetune"]
    assert [line.split(": ")[1] for line in message_of(write_params(mini_params)).splitlines()] == [
        "run.replay_none",
        "methods.gift_frozen_fisher.terms",
        "methods.gift_frozen_fisher.anchor",
        "methods.gift_frozen_fisher.anchor.steps",
    ]


UNSAFE_NAMES = [
    "My-Task",
    "täsk",
    "a task",
    "../x",
    "../..",
    "a; touch pwned ;",
    "$(touch pwned)",
    "a\n",
    "",
    "n" * 65,
    "n" * 250,
]


@pytest.mark.parametrize("name", ["con", "nul", "lpt1"])
def test_a_name_that_windows_reserves_is_refused(
    name: str, mini_params: dict[str, Any], write_params: WriteParams
) -> None:
    mini_params["methods"][name] = mini_params["methods"]["gift"]
    expected = f"params.yaml: methods.{name}: reserved name: Windows has no files called {name}. Choose another one."
    assert message_of(write_params(mini_params)) == expected


@pytest.mark.parametrize("section", ["tasks", "methods"])
@pytest.mark.parametrize("name", UNSAFE_NAMES)
def test_a_name_that_could_not_be_part_of_a_path_or_a_command_is_refused(
    section: str, name: str, mini_params: dict[str, Any], write_params: WriteParams
) -> None:
    mini_params[section][name] = FOLDER_TASK if section == "tasks" else mini_params["methods"]["gift"]
    assert f"params.yaml: {section}.{name}: invalid name. Use 1 to 64 of the characters a-z, 0-9 and _." in message_of(
        write_params(mini_params)
    )


@pytest.mark.parametrize("name", UNSAFE_NAMES)
def test_an_unsafe_name_in_the_sequence_is_refused(
    name: str, mini_params: dict[str, Any], write_params: WriteParams
) -> None:
    for key in ("task", "after"):
        params = copy.deepcopy(mini_params)
        params["sequence"][1][key] = name
        assert f"params.yaml: sequence[1].{key}: " in message_of(write_params(params))
    mini_params["run"]["methods"] = [name]
    assert f"params.yaml: run.methods: unknown method {name!r}." in message_of(write_params(mini_params))


@pytest.mark.parametrize("factor", ["1; touch pwned", "1.0", 0, -1.0, float("inf"), float("nan"), None, True, [1.0]])
def test_a_learning_rate_factor_is_a_finite_positive_number(
    factor: Any, mini_params: dict[str, Any], write_params: WriteParams
) -> None:
    mini_params["sequence"][0]["learning_rate_factor"] = factor
    assert "params.yaml: sequence[0].learning_rate_factor: should be " in message_of(write_params(mini_params))


def test_the_longest_name_is_taken(mini_params: dict[str, Any], write_params: WriteParams) -> None:
    mini_params["tasks"]["n" * 64] = FOLDER_TASK
    assert "n" * 64 in load_config(write_params(mini_params)).tasks


@pytest.mark.parametrize(("section", "name"), [("tasks", "pretrained"), ("methods", "pretrained"), ("tasks", "base")])
def test_reserved_names_are_refused(
    section: str, name: str, mini_params: dict[str, Any], write_params: WriteParams
) -> None:
    mini_params[section][name] = FOLDER_TASK if section == "tasks" else mini_params["methods"]["gift"]
    assert f"params.yaml: {section}.{name}: reserved name. Choose another one than pretrained," in message_of(
        write_params(mini_params)
    )


def test_a_task_that_occurs_twice_is_refused(mini_params: dict[str, Any], write_params: WriteParams) -> None:
    again = dict(mini_params["sequence"][0], after=mini_params["sequence"][-1]["task"])
    mini_params["sequence"].append(again)
    expected = f"params.yaml: sequence: task {again['task']!r} has more than one step. Remove one."
    assert expected in message_of(write_params(mini_params))


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("templates", [], "templates: should not be empty."),
        ("templates", ["a photo"], "templates[0]: 'a photo' does not contain {}."),
        ("test_fraction", 1.0, "test_fraction: should be less than 1, it is 1"),
        ("test_fraction", 0.0, "test_fraction: should be more than 0, it is 0"),
        ("on_bad_image", "skipp", "on_bad_image: unknown value 'skipp'. Did you mean 'skip'? Known: refuse, skip."),
        ("path", "", "path: should not be empty."),
    ],
)
def test_a_wrong_folder_task_is_named(
    key: str, value: Any, expected: str, mini_params: dict[str, Any], write_params: WriteParams
) -> None:
    mini_params["tasks"]["birds"] = {**FOLDER_TASK, key: value}
    assert f"params.yaml: tasks.birds.{expected}" in message_of(write_params(mini_params))


def test_all_errors_of_a_file_are_listed_at_once(mini_params: dict[str, Any], write_params: WriteParams) -> None:
    mini_params["training"]["iterations"] = 0
    mini_params["generator"]["colour"] = "red"
    del mini_params["evaluation"]["batch_size"]
    lines = message_of(write_params(mini_params)).splitlines()
    assert [line.split(":")[1].strip() for line in lines] == [
        "generator.colour",
        "training.iterations",
        "evaluation.batch_size",
    ]


def test_all_that_does_not_fit_together_is_listed_at_once(
    mini_params: dict[str, Any], write_params: WriteParams
) -> None:
    mini_params["training"]["warmup_iterations"] = 500
    mini_params["sequence"][0]["after"] = "letters"
    assert len(message_of(write_params(mini_params)).splitlines()) == 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("seed: 1\nseed: 2\n", "params.yaml: line 2: key 'seed' is already on line 1. Remove one."),
        ("a:\n  b: 1\n  b: 1\n", "params.yaml: line 3: key 'b' is already on line 2."),
        ("a: [1, 2\n", "params.yaml: line 2: "),
        ("", "params.yaml: should contain sections, it contains None. Compare it with presets/mini.yaml."),
        ("- 1\n", "params.yaml: should contain sections, it contains [1]."),
        (
            "a: !!python/object:os.system {}\n",
            "params.yaml: line 1: the tag or sign !!python/object:os.system is not supported",
        ),
        ("a: {[1]: 2}\n", "params.yaml: line 1: a key is a list or a section. Correct that line."),
        ("a:\n  1: 2\n", "params.yaml: line 2: key '1' is not text in YAML. Put it in quotes."),
        ("2024-01-01: 2\n", "params.yaml: line 1: key '2024-01-01' is not text in YAML."),
    ],
)
def test_text_that_is_no_params_file_is_refused(text: str, expected: str, tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(text, encoding="utf-8")
    assert expected in message_of(path)


def test_yaml_anchors_and_merges_may_save_repetition(project: Path, tmp_path: Path) -> None:
    text = (project / "presets" / "mini.yaml").read_text(encoding="utf-8")
    path = tmp_path / "params.yaml"
    path.write_text(
        text.replace("  gift:  ", "  gift: &gift  ", 1).replace(
            "  # Ablations", "  softer:\n    <<: *gift\n    learning_rate: 1.0e-4\n  # Ablations"
        ),
        encoding="utf-8",
    )
    methods = load_config(path).methods
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


def test_no_key_of_a_section_has_a_default(project: Path) -> None:
    def required(section: Any) -> bool:
        fields = section.model_fields.items()
        return all(field.is_required() for name, field in fields if name != "processes")  # it changes no result

    assert required(Config)
    assert all(required(Config.model_fields[name].annotation) for name in ("run", "model", "generator", "training"))
