"""Models and synthetic shards on the Hugging Face hub: their cards, what is uploaded, and the upload.

A card is the README.md, written from what the pipeline recorded; its text is in templates/hub_card.md.j2. The token is
the one of `hf auth login`, which huggingface_hub reads itself. Nothing here sees it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import yaml

from gift_core.artifacts.accuracy import MAX_IMAGES, PRETRAINED_STEP, PROBE, read_accuracy
from gift_core.artifacts.contract import require_hashes
from gift_core.artifacts.model_folder import CONFIG, LOSSES, PROVENANCE, WEIGHTS, read_provenance, require_noted_files
from gift_core.artifacts.report_json import one_decimal, read_metrics
from gift_core.artifacts.shards import MANIFEST, STAGE, Manifest, read_manifest
from gift_core.artifacts.task import read_task
from gift_core.clip.architectures import TOKENIZER_FILES, tokenizer_files_of
from gift_core.clip.model import check_folder
from gift_core.datasets.hub_dataset import hub_errors
from gift_core.errors import UserError
from gift_core.layout import Layout
from gift_core.protocols import PROTOCOLS
from gift_core.quantities import plural

if TYPE_CHECKING:
    from huggingface_hub import DatasetCardData, EvalResult, ModelCardData

TAGS = ("clip", "continual-learning", "gift")
HUB = "hf-hub:"
SETTINGS = (
    "method", "task", "step", "learning_rate_factor", "seed", "precision", "training", "settings", "own_code",
    "release", "environment",
)  # fmt: skip
CARD = "README.md"
_LOGIN = "Log in with: hf auth login. The token needs the right to write."


def model_card(folder: Path, layout: Layout, repository: str, license: str | None) -> str:
    """Returns the card of a model, with YAML that the hub validates. `license` is a name of the hub, such as mit.

    `layout` has what else is known of the model. Accuracies of other weights are left out.
    """
    from huggingface_hub import ModelCardData

    name = repository.rpartition("/")[2]
    provenance = _provenance(folder)
    method, task = provenance.get("method"), provenance.get("task", "")
    facts = _tested(layout, provenance)
    learned = facts.pop("learned", [task] if task else [])
    results = _results({tested_task: after for tested_task, (_, after) in facts.get("accuracies", {}).items()})
    start = _provenance(layout.pretrained()).get("name", "") if method else ""
    data = ModelCardData(
        library_name="open_clip",
        pipeline_tag="zero-shot-image-classification",
        tags=list(TAGS),
        license=license,
        base_model=start.removeprefix(HUB) if start.startswith(HUB) else None,
        model_name=name if results else None,
        eval_results=results or None,
    )
    task_folders = [layout.task(learned_task) for learned_task in learned]
    facts["tasks"] = [read_task(ingested) for ingested in task_folders if (ingested / "task.json").is_file()]
    if method:
        facts["settings"] = _as_yaml({key: provenance[key] for key in SETTINGS if key in provenance})
        if provenance["settings"]["replay"]["images"] == "synthetic" and (layout.shards(task) / MANIFEST).is_file():
            facts["generators"] = [_as_yaml(read_manifest(layout.shards(task)).generator)]
    return _card(data, repository, provenance=provenance, start=start, **facts)


def _tested(layout: Layout, provenance: Mapping[str, Any]) -> dict[str, Any]:
    """What the stage evaluate measured of a model, and the tasks that it had learned; {} where it tested other weights.

    The metrics of the run are those of its last model alone.
    """
    method, task = str(provenance.get("method")), provenance.get("task", "")
    of_step = layout.accuracy(method, task)
    tested, metadata = read_accuracy(of_step) if of_step.is_file() else (None, {})
    if tested is None or metadata.get(f"model:{task}") != provenance.get("weights_sha256", ""):
        return {}
    of_others = [file for file in sorted(of_step.parent.glob("*.parquet")) if file != of_step]
    # of the same test in two files, that of the model's own step is first
    rows = pd.concat([tested, *(read_accuracy(file)[0] for file in of_others)])
    learned = list(dict.fromkeys(rows[rows.step.between(0, provenance["step"])].sort_values("step").trained_task))
    facts = {
        "learned": learned,
        "accuracies": _before_and_after(rows, provenance, learned),
        "limit": metadata.get(MAX_IMAGES),
        "probes": {*rows[rows.phase == PROBE].eval_task},
        "own_classes": PROTOCOLS[tested.protocol.iloc[0]].own_classes,
    }
    file = layout.reports() / "metrics.json"
    if provenance["step"] == rows.step.max() and file.is_file():
        facts["metrics"] = read_metrics(file).get(method)
    return facts


def _results(accuracies: Mapping[str, float]) -> list[EvalResult]:
    """The hub's records of accuracies in percent by task."""
    from huggingface_hub import EvalResult

    return [
        EvalResult(
            task_type="image-classification",
            dataset_type=task,
            dataset_name=task,
            dataset_split="test",
            metric_type="accuracy",
            metric_name="top-1 accuracy (percent)",
            metric_value=round(accuracy, 2),
        )
        for task, accuracy in accuracies.items()
    ]


def dataset_card(manifests: Mapping[str, Manifest], repository: str, license: str | None) -> str:
    """Returns the card of synthetic shards by the task before which they are replayed, with a config for each."""
    from huggingface_hub import DatasetCardData

    configs = [{"config_name": "default", "data_files": [{"split": "train", "path": "*/*.tar"}], "default": True}]
    for task in manifests:
        configs.append({"config_name": task, "data_files": [{"split": "train", "path": f"{task}/*.tar"}]})
    data = DatasetCardData(
        license=license,
        task_categories=["text-to-image", "zero-shot-image-classification"],
        tags=["synthetic", "webdataset", *TAGS],
        annotations_creators=["machine-generated"],
        configs=configs,
    )
    generators = list(dict.fromkeys(_as_yaml(manifest.generator) for manifest in manifests.values()))
    return _card(data, repository, manifests=manifests, generators=generators)


def _card(data: ModelCardData | DatasetCardData, repository: str, **facts: Any) -> str:
    from jinja2 import Environment, PackageLoader

    environment = Environment(
        loader=PackageLoader("gift_core.team"), trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters["one_decimal"] = one_decimal
    name = repository.rpartition("/")[2]
    template = environment.get_template("hub_card.md.j2")
    return template.render(data=data.to_yaml(), name=name, repository=repository, license=data.license, **facts)


def _provenance(folder: Path) -> Mapping[str, Any]:
    return read_provenance(folder) if (folder / PROVENANCE).is_file() else {}


def _before_and_after(
    rows: pd.DataFrame, provenance: Mapping[str, Any], learned: Sequence[str]
) -> dict[str, tuple[float, float]]:
    """The accuracy of the pre-trained model and of this one by task, in percent.

    A class-incremental model has one instead, on the classes of all tasks that it `learned`.
    """
    protocol = PROTOCOLS[rows.protocol.iloc[0]]
    names = dict[str, str]()
    if protocol.renews_matrix:  # later steps test this model on later tasks, among more classes
        rows = rows[rows.eval_task.isin(learned) | (rows.phase == PROBE)]
    if not protocol.has_matrix:
        names[provenance["task"]] = f"classes of {plural(len(learned), 'task')}"
    before = rows[rows.step == PRETRAINED_STEP].drop_duplicates("eval_task").set_index("eval_task").top1
    of_model = rows[(rows.step == provenance["step"]) & (rows.trained_task == provenance["task"])]
    after = of_model.drop_duplicates("eval_task").set_index("eval_task").top1
    return {
        names.get(name, name): (100 * float(before[name]), 100 * float(after[name]))
        for name in after.index
        if name in before.index
    }


def _as_yaml(settings: Mapping[str, Any]) -> str:
    return yaml.safe_dump(dict(settings), sort_keys=False)


def build_model(folder: Path, target: Path, repository: str, layout: Layout, license: str | None) -> None:
    """Fills `target` with what is uploaded of the model in `folder`: open_clip's layout and the model card.

    In open_clip_config.json the tokenizer is named by its repository, since open_clip looks for it there.
    UserError for a folder that is no whole open_clip model.
    """
    config = check_folder(folder)
    if not (folder / WEIGHTS).is_file():
        raise UserError(f"{folder}: has no {WEIGHTS}. Write the model again: gift merge, or a stage of the pipeline.")
    require_noted_files(folder)
    if tokenizer_files_of(folder):
        config["model_cfg"]["text_cfg"]["hf_tokenizer_name"] = repository
    for name in (*TOKENIZER_FILES, WEIGHTS, PROVENANCE, LOSSES):
        if (folder / name).is_file():
            shutil.copyfile(folder / name, target / name)
    (target / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    (target / CARD).write_text(model_card(folder, layout, repository, license), encoding="utf-8")


def build_shards(folders: Sequence[Path], target: Path, repository: str, license: str | None) -> None:
    """Fills `target` with a folder for each of `folders`, named like it, and the dataset card.

    UserError for a folder that is not of the stage synthesize, and for two of one name. ContractError for one that is
    not as it was written.
    """
    by_name = {folder.name: folder for folder in map(Path.resolve, folders)}
    alike = [folder for folder in folders if by_name[folder.resolve().name] != folder.resolve()]
    if alike:
        raise UserError(f"{alike[0]}: another folder has the same name. Push each to a repository of its own.")
    manifests = {name: _synthetic(folder) for name, folder in by_name.items()}
    for name, manifest in manifests.items():
        (target / name).mkdir()
        files = [file for shard in manifest.shards for file in (shard.name, *shard.sidecars)]
        for file in (MANIFEST, *files):
            shutil.copyfile(by_name[name] / file, target / name / file)
    (target / CARD).write_text(dataset_card(manifests, repository, license), encoding="utf-8")


def upload(folder: Path, repository: str, kind: str, branch: str | None, *, private: bool) -> str:
    """Uploads the folder as one commit; returns its address. The repository, of the hub's kind, is made if needed.

    `private` counts for a new repository. A branch that does not exist is made; None is main.
    """
    from huggingface_hub import HfApi

    api = HfApi()
    with hub_errors(repository, _LOGIN):
        api.create_repo(repository, repo_type=kind, private=private or None, exist_ok=True)
        if branch:
            api.create_branch(repository, branch=branch, repo_type=kind, exist_ok=True)
        message = f"A {kind} of the GIFT pipeline"
        commit = api.upload_folder(
            repo_id=repository, repo_type=kind, folder_path=folder, revision=branch, commit_message=message
        )
    return str(commit.commit_url)


def _synthetic(folder: Path) -> Manifest:
    """Returns the manifest of a folder of the stage synthesize, whose files have the hashes in it."""
    manifest = read_manifest(folder) if (folder / MANIFEST).is_file() else None
    if manifest is None or not manifest.generator.get("pipeline"):
        problem = f"no {MANIFEST} that names a generator, so the images may be real. Nothing was uploaded"
        raise UserError(f"{folder}: has {problem}. Only synthetic images are shared: name a folder of data/3_shards.")
    for shard in manifest.shards:
        require_hashes(folder, shard.hashes, STAGE)
    return manifest
