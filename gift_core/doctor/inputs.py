"""The models and the data sets of params.yaml: where they are on this machine, whole or to be downloaded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gift_core.artifacts.model_folder import CONFIG, PATH_SUFFIXES, WEIGHTS, read_shapes, shape_fault
from gift_core.config.experiment import looks_local
from gift_core.config.own_code import files_of, own_code, require_own_code
from gift_core.config.replay_options import ReferenceReplayConfig
from gift_core.datasets.dataset import VALIDATION_NOTE
from gift_core.datasets.image_captions import captioned_images
from gift_core.datasets.status import RawData, can_test_more, data_in_use, few_tested, open_raw
from gift_core.doctor.finding import Finding, Project
from gift_core.downloads import CACHED_WEIGHTS, download_problem, in_cache
from gift_core.errors import ContractError, UserError, no_such_path
from gift_core.layout import Layout, watched_path
from gift_core.mini.miniature import miniature_of
from gift_core.quantities import byte_size, plural
from gift_core.untrusted import read_json_file

if TYPE_CHECKING:
    from gift_core.clip.model import Clip

CONTEXT = 77  # tokens of a text, where the configuration names no other number
CLIP_CACHE = Path("~/.cache/clip")  # where open_clip keeps weights downloaded from a plain address
INDEX = "model_index.json"
RESTORE = "Correct {}, put it there, or pull it if others have shared it: gift get."
BY_HAND = {
    "model": "download it elsewhere, put it into data/0_raw/models and name it there (docs/models.md)",
    "generator": "download it elsewhere, put it into data/0_raw/generators and name that folder (docs/generators.md)",
}


def known_models() -> Mapping[str, Any]:
    """Returns {repository of the hub: what counts of its configurations}, for estimates before a download.

    It has the models that the presets name: the model_cfg of a CLIP, and the config.json of each part of a pipeline.
    What is the default of the class is left out.
    """
    return dict(read_json_file(Path(__file__).with_name("known_models.json")))


def model_config_of(project: Project) -> dict[str, Any] | None:
    """Returns the model_cfg of open_clip for the model of params.yaml, or None if it is not known here.

    That of an architecture is read without importing open_clip, which takes seconds. UserError if it is damaged.
    """
    kind, location = kind_of_model(project.config.model.name)
    config = None
    if kind == "local-dir":
        file = project.root / location / CONFIG
        config = read_model_config(file) if file.is_file() else None
    elif kind == "hf-hub":
        cached = in_cache(location, (CONFIG,))
        config = read_model_config(cached) if cached else known_models().get(location, {}).get("model_cfg")
    elif not kind:
        package = find_spec("open_clip")
        file = Path(str(package and package.origin)).parent / "model_configs" / f"{location.replace('/', '-')}.json"
        config = dict(read_json_file(file)) if file.is_file() else None
    return None if config is None or "hf_model_name" in config["text_cfg"] else config  # that needs a file of the hub


def kind_of_model(name: str) -> tuple[str, str]:
    """Returns local-dir, local-file or hf-hub, and the path or repository; "" and the name for an architecture."""
    kind, colon, location = name.partition(":")
    return (kind, location) if colon else ("", name)


def read_model_config(file: Path) -> dict[str, Any]:
    """Returns the model_cfg in a file of open_clip. UserError if it is damaged."""
    try:
        config = dict(read_json_file(file))["model_cfg"]
        fault = shape_fault(config)
    except (OSError, ValueError, LookupError, TypeError) as error:
        fault = f"{type(error).__name__}: {error}"
    if fault:
        raise UserError(f"{file} is no model configuration: {fault}. Restore the file.")
    return dict(config)


def pipeline_folder(project: Project) -> Path | None:
    """Returns the folder of the pipeline on this machine: a local one, which may not exist, or a complete one in the
    hub cache, or None."""
    generator = project.config.generator
    local = project.root / generator.pipeline
    if looks_local(generator.pipeline) or local.is_dir():
        return local
    index = in_cache(generator.pipeline, (INDEX,), revision=generator.revision)
    return None if index is None or missing_parts(index.parent) else index.parent


def missing_parts(folder: Path) -> list[str]:
    """Returns what is missing of the parts that the index of a diffusers folder names. ContractError without one."""
    try:
        index = read_json_file(folder / INDEX).items()
    except (OSError, ValueError, AttributeError) as error:
        raise ContractError(f"{folder}: no diffusers pipeline: {error}. Restore it, or download it again.") from None
    parts = [name for name, part in index if isinstance(part, list) and part[:1] != [None]]
    return [name for name in parts if not (folder / name).is_dir()]


def check_model(project: Project) -> Iterator[Finding]:
    """Yields whether the CLIP is on this machine or can be downloaded, and is supported. A local one is opened.

    A quick check looks at local ones only, and reads no more than the header of their weights. Also a warning if it is
    the miniature's, and should learn other tasks.
    """
    warning = miniature_of(project.config).warning
    if warning:
        yield Finding("model", "warn", warning)
    path = _local_weights(project)
    if path is None:
        if not project.quick:
            yield _downloaded_clip(project)
    elif not path.exists():
        yield Finding("model", "fail", f"there is no {path}", RESTORE.format("model.name or model.pretrained"))
    elif project.quick:
        if path.suffix == ".safetensors" or project.config.model.name.startswith("local-file:"):
            read_shapes(path)
        yield Finding("model", "ok", str(path))
    else:
        yield Finding("model", "ok", f"{path}, {_opened(project).parameter_count / 1e6:.1f}M parameters")
        if not watched_path(str(path.absolute()), project.root):
            yield Finding("model", "warn", f"DVC does not watch {path}", "Name a copy of it in data/0_raw/models.")


def _opened(project: Project) -> Clip:
    """The local model of params.yaml, as `import_model` opens it. UserError if its parts do not fit each other."""
    from gift_core.interop.importing import load_clip

    kind, location = kind_of_model(project.config.model.name)
    pretrained = project.config.model.pretrained
    if kind:
        return load_clip(f"{kind}:{project.root / location}", pretrained, device="cpu")
    return load_clip(location, str(project.root / str(pretrained)), device="cpu")


def _local_weights(project: Project) -> Path | None:
    """The weights that params.yaml names by a path, which may be missing, or None. UserError for a damaged folder."""
    kind, location = kind_of_model(project.config.model.name)
    pretrained = project.config.model.pretrained
    if kind == "local-file":
        return project.root / location
    if kind == "local-dir":
        folder = project.root / location
        if folder.is_file():
            remedy = "Name its architecture in model.name, and the file in model.pretrained (docs/models.md)."
            raise UserError(f"{no_such_path(folder, 'folder')} {remedy}")
        weights = sorted(file.name for file in folder.glob("*") if file.suffix in PATH_SUFFIXES)
        if weights and ((folder / CONFIG).is_file() or not (folder / "config.json").is_file()):
            read_model_config(folder / CONFIG)
        return folder / (weights[0] if weights else WEIGHTS)
    if not kind and pretrained and ({"/", "."} & set(pretrained) or (project.root / pretrained).exists()):
        return project.root / pretrained  # a path: no tag has these characters
    return None


def _downloaded_clip(project: Project) -> Finding:
    """Whether the weights of the hub, or of open_clip's own list, are on this machine or can be downloaded."""
    kind, repository = kind_of_model(project.config.model.name)
    address = ""
    files: tuple[str, ...] = CACHED_WEIGHTS
    if not kind:
        import open_clip

        from gift_core.clip.architectures import architecture_config
        from gift_core.interop.importing import tag_options

        pretrained = project.config.model.pretrained
        architecture, _ = architecture_config(repository)
        tag_options(architecture, pretrained)
        source: dict[str, Any] = open_clip.get_pretrained_cfg(architecture, pretrained)
        repository, _, file = source.get("hf_hub", "").rpartition("/")
        address = source.get("url", "")
        files = (file,) if file else CACHED_WEIGHTS
    kept = in_cache(repository, files) if repository else CLIP_CACHE.expanduser() / Path(address).name
    if kept is not None and kept.is_file():
        return Finding("model", "ok", f"{repository or project.config.model.name}, on this machine: {kept}")
    return download_finding("model", repository or address)


def check_trained(project: Project) -> Iterator[Finding]:
    """Yields a problem for each method that runs and cannot train this model. Nothing is loaded or computed."""
    rows = project.config.methods
    names = [name for name in project.config.run.methods if rows[name].trains or rows[name].layer_decay]
    config = model_config_of(project) if names else None
    if config is None:
        return
    from gift_core.method.methods import build_method
    from gift_core.method.training.loop import require_trainable

    for name in names:
        try:
            method = build_method(rows[name], root=project.root)
            require_trainable(empty_clip(config), project.config.training, method)
        except UserError as error:
            yield Finding(f"methods.{name}", "fail", str(error))


def empty_clip(model_config: Mapping[str, Any]) -> Clip:
    """Returns a model of open_clip without memory, on torch's meta device, with a tokenizer that gives rows of 0."""
    import torch

    from gift_core.clip.architectures import build_model
    from gift_core.clip.model import Clip

    length = model_config["text_cfg"].get("context_length", CONTEXT)
    with torch.device("meta"):
        model: Any = build_model(model_config, {})
    config = {"model_cfg": model_config, "preprocess_cfg": {"size": model.visual.image_size}}
    return Clip(model, lambda texts: torch.zeros(len(texts), length, dtype=torch.long), config, "fp32")


def check_own_code(project: Project) -> Iterator[Finding]:
    """Yields whether the losses and consolidations of the user's own work, on toy inputs.

    A quick check reads their files, and does not run them.
    """
    require_own_code(project.config, project.root)
    if project.quick or not files_of(project.config, project.config.run.methods):
        return
    from gift_core.method.loaded_code import require_working

    for name in project.config.run.methods:
        row, key = project.config.methods[name], f"methods.{name}"
        names = [f"{code.file}: {code.name}" for code in own_code(key, row)]
        if not names:
            continue
        try:
            require_working(key, row, project.root)
        except UserError as error:
            yield Finding(key, "fail", str(error))
        else:
            yield Finding(key, "ok", f"{', '.join(names)} {'works' if len(names) == 1 else 'work'} on toy inputs")


def check_generator(project: Project) -> Iterator[Finding]:
    """Yields whether the pipeline is on this machine with all its parts or can be downloaded, and a local LoRA.

    Also a problem if the scorer of the filters is a folder that is missing. A quick check yields nothing of a pipeline
    of the hub, and a scorer of the hub is not looked up.
    """
    from gift_core.generators.pipeline import check_lora

    filters = project.config.generator.filters
    if filters is not None and not (project.root / filters.local_scorer).exists():
        problem = f"there is no {filters.local_scorer}"
        yield Finding("generator.filters.scorer.name", "fail", problem, "Correct the path, or put the model there.")
    check_lora(project.config.generator.lora, project.root)
    folder, name = pipeline_folder(project), project.config.generator.pipeline
    if folder is None:
        if not project.quick:
            yield download_finding("generator", name)
    elif not folder.is_dir():
        yield Finding("generator", "fail", f"there is no {folder}", RESTORE.format("generator.pipeline"))
    else:
        missing = missing_parts(folder)
        if missing:
            raise ContractError(f"{folder}: {', '.join(missing)}: named in {INDEX}, but missing. Download it again.")
        files = [file for file in sorted(folder.glob("*/*")) if file.suffix in (".safetensors", ".bin")]
        for file in (file for file in files if file.suffix == ".safetensors"):
            read_shapes(file)
        yield Finding("generator", "ok", f"{name}, {byte_size(sum(file.stat().st_size for file in files))} of weights")


def download_finding(subject: str, source: str) -> Finding:
    """Returns whether `what` (of the subject model or generator), which is not on this machine, can be downloaded."""
    from huggingface_hub import constants

    problem = download_problem(timeout=3.0)
    if problem is None:
        return Finding(subject, "ok", f"{source} is not on this machine yet, and {constants.ENDPOINT} answers")
    remedy = f"{problem[1]}, or {BY_HAND[subject]}."
    return Finding(subject, "fail", f"{source} is not on this machine, and {problem[0]}", remedy)


def check_data(project: Project) -> Iterator[Finding]:
    """Yields the findings about every folder of raw data, without decoding an image.

    A quick check yields only those about missing and empty folders.
    """
    config = project.config
    count = sum(task.source == "mini" for task in config.tasks.values())
    if count and not project.quick:
        yield Finding("data", "ok", f"{plural(count, 'task')} of the miniature benchmark, without a download")
    for raw in data_in_use(config, root=project.root):
        subject = f"data {raw.name}"
        if not raw.path.is_dir() or not any(raw.path.iterdir()):
            problem = f"{raw.path} is empty" if raw.path.is_dir() else f"there is no {raw.path}"
            yield Finding(subject, "fail", problem, _remedy_of_missing(project, raw))
            continue
        if project.quick:
            continue
        inventory = open_raw(raw, config, project.root)
        dataset = inventory.dataset
        suffices = raw.is_enough(inventory)
        if suffices:
            counts = f"{len(dataset.train):,} + {len(dataset.test):,} images, {dataset.described}"
            yield Finding(subject, "ok", f"{config.tasks[raw.tasks[0]].path}: {counts}")
        remedy = "Accuracies will not be comparable to published ones." if suffices else ""
        yield from (Finding(subject, "warn" if suffices else "fail", fault, remedy) for fault in inventory.faults)
        if suffices and raw.row is None:
            remedy = "Change the data set if that is not intended."
            for note in dataset.notes:
                if note.endswith(VALIDATION_NOTE):
                    yield Finding(subject, "info", note, "gift search and gift release --choose measure on it.")
                else:
                    yield Finding(subject, "warn", note, remedy)
            few = few_tested(dataset)
            if few:
                fraction = getattr(config.tasks[raw.name], "test_fraction", None)
                remedy = "Add photos, or raise test_fraction of the task." if can_test_more(dataset, fraction) else ""
                yield Finding(subject, "warn", few, remedy or "Add photos.")


def check_reference(project: Project) -> Iterator[Finding]:
    """Yields whether each folder that a method replays (replay.images: reference) has images with captions."""
    for name in project.config.run.methods:
        replay = project.config.methods[name].replay
        if isinstance(replay, ReferenceReplayConfig):
            images, _ = captioned_images(project.root / replay.folder, f"methods.{name}.replay.folder")
            yield Finding(f"methods.{name}", "ok", f"{replay.folder}: {len(images):,} images with captions")


def _remedy_of_missing(project: Project, raw: RawData) -> str:
    """What to do about raw data that is missing."""
    remedy = "Put the data there, or correct the path of the task in params.yaml (docs/your_own_task.md)."
    if raw.row is not None:
        size = byte_size(sum(archive.bytes for archive in raw.row.archives))
        remedy = f"Run: gift data fetch {raw.name} ({size}). It says what to download by hand, if anything."
        remedy += f" Or learn without it: gift remove-task {raw.tasks[0]}." if len(raw.tasks) == 1 else ""
    elif getattr(project.config.tasks[raw.name], "repository", None):
        remedy = f"Run: gift data fetch {raw.name}."
    if all((Layout(project.root).task(name) / "task.json").is_file() for name in raw.tasks):
        remedy += " The ingested data is there. To run without the raw data: dvc repro --allow-missing."
    return remedy
