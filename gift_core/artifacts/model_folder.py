"""A model folder: open_clip's weights and configuration, tokenizer files, provenance.json and losses.jsonl."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, FiniteFloat
from safetensors import SafetensorError, safe_open

from gift_core.artifacts.contract import broken, parse, read, require_file, require_hashes, sha256_of, write_json
from gift_core.errors import UserError, no_such_path
from gift_core.layout import RELEASED
from gift_core.work.publishing import write_atomically

WEIGHTS = "open_clip_model.safetensors"
PATH_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth")  # a name that ends so is a file of weights
CONFIG = "open_clip_config.json"
OWN_CONFIG = f"A CLIP with a configuration of its own is a folder with {CONFIG} and {WEIGHTS}"
OWN_CONFIG += " or open_clip_pytorch_model.bin (a state_dict). Write model.name: local-dir:FOLDER, pretrained: null."
PROVENANCE = "provenance.json"
LOSSES = "losses.jsonl"
LOSS_FIELDS = ("iteration", "learning_rate", "task", "total")
ENTROPY = "_entropy"  # ends the field with the entropy of the teacher, beside the field of a cross-entropy to it
_FINETUNE = "finetune"
PRETRAINED = "pretrained"  # the folder of the model that import_model writes
LossRow = Mapping[str, float]
# Far beyond every published CLIP. A model with more would fill the memory, or take hours to build, before its weights
# are found not to fit.
_LARGEST = {
    "embed_dim": 16_384, "width": 65_536, "heads": 1024, "head_width": 16_384, "layers": 1024, "mlp_ratio": 64,
    "patch_size": 4096, "image_size": 8192, "context_length": 100_000, "vocab_size": 10_000_000,
}  # fmt: skip
# open_clip gives tokenizer_kwargs to AutoTokenizer.from_pretrained, where trust_remote_code runs code of the folder.
_TOKENIZER_OPTIONS = ("clean", "strip_sep_token", "language")


def read_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Returns the shape of every tensor in a safetensors file by name, sorted.

    UserError if the file is missing, damaged or incomplete: the whole header is checked, and the file's length against
    it, so a file that was copied only in part is found.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in sorted(file.keys())}
    except (SafetensorError, OSError) as error:
        if path.suffix != ".safetensors":
            remedy = "Name its architecture in model.name, the file in model.pretrained (docs/models.md)."
            raise UserError(f"{path}: no .safetensors file. {remedy} {OWN_CONFIG}") from error
        raise UserError(f"{path}: damaged or incomplete ({error}). Fetch or make it again.") from error


def require_model_path(name: str) -> None:
    """Raises UserError, which names what is beside it, if `name` can only be a path and there is nothing.

    Names of open_clip (ViT-B-16, ViT-B/16, hf-hub:owner/model) pass. It is checked before torch is loaded.
    """
    path = Path(name)
    if name.startswith("hf-hub:") or path.exists():
        return
    begins_here = "/" in name and Path(path.parts[0]).exists()
    if name.startswith((".", "/", "~")) or name.count("/") > 1 or path.suffix in PATH_SUFFIXES or begins_here:
        problem = no_such_path(path, "file" if path.suffix in PATH_SUFFIXES else "folder")
        written = {"5_models", RELEASED} & {*path.parts}
        raise UserError(f"{problem} If params.yaml has the task, it is learned by: dvc repro" if written else problem)


class Provenance(BaseModel, extra="allow", protected_namespaces=()):
    """What provenance.json says of every model; that of a training says more. `method` and `task`: of its folder."""

    method: str | None = None
    task: str | None = None
    environment: dict[str, str | int] = {}
    weights_sha256: str | None = None
    files_sha256: dict[Annotated[str, Field(pattern=r"^[^/\\]+$")], str] = {}  # of the configuration and the tokenizer


def model_hash(folder: Path) -> str:
    """Returns the SHA-256 of the folder's weights file, by which other artifacts identify the model.

    ContractError if weights, configuration or tokenizer are missing or not the ones that were saved, and as noted_hash.
    """
    noted = noted_hash(folder)
    require_hashes(folder, {WEIGHTS: noted, **_provenance(folder).files_sha256}, _stage_of(folder))
    return noted


def noted_hash(folder: Path) -> str:
    """Returns the hash that provenance.json notes, without reading the weights (see model_hash).

    ContractError if provenance.json is missing or notes no hash.
    """
    noted = _provenance(folder).weights_sha256
    if noted is None:
        raise broken(folder / PROVENANCE, "it should note weights_sha256", _stage_of(folder))
    return noted


def require_noted_files(folder: Path) -> None:
    """Raises UserError if provenance.json, where there is one, notes another hash of the weights or another file."""
    if not (folder / PROVENANCE).is_file():
        return
    record = _provenance(folder)
    for name, digest in {WEIGHTS: record.weights_sha256, **record.files_sha256}.items():
        file = folder / name
        if digest is not None and file.is_file() and sha256_of(file) != digest:
            raise UserError(
                f"{file}: its sha256 is not the one that {PROVENANCE} notes: the file was changed. "
                f"Fetch or make the folder again. If you changed it yourself, delete {PROVENANCE}."
            )


def write_provenance(folder: Path, provenance: Mapping[str, Any]) -> None:
    """Writes provenance.json: the inputs and settings the model was made from. It holds no time and no host name.

    If the folder has open_clip's weights, their SHA-256 is added, and those of the files that are there with them.
    """
    if not (folder / WEIGHTS).is_file():
        write_json(folder / PROVENANCE, provenance)
        return
    others = sorted(path for path in folder.iterdir() if path.is_file() and path.name[0] != ".")
    files = {path.name: sha256_of(path) for path in others if path.name not in (WEIGHTS, PROVENANCE, LOSSES)}
    hashes = {"weights_sha256": sha256_of(folder / WEIGHTS), "files_sha256": files}
    write_json(folder / PROVENANCE, {**provenance, **hashes})


def read_provenance(folder: Path) -> dict[str, Any]:
    """Returns provenance.json. ContractError if it is missing or has another content."""
    return _provenance(folder).model_dump(exclude_unset=True)


def require_chain(folders: Sequence[Path]) -> None:
    """UserError if a model was not trained from the one before it in `folders`: that one was made again afterwards."""
    for start, trained in pairwise(folders):
        if read_provenance(trained).get("start_model") != noted_hash(start):
            raise UserError(f"{trained}: was trained from another model than the one in {start} now. Run: dvc repro")


def record_hashes(folder: Path) -> dict[str, str]:
    """Returns the SHA-256 of provenance.json and of losses.jsonl (a model that is not trained has none).

    The stage evaluate writes them into the accuracy file. provenance.json has the hashes of what the model was made
    from, so whatever the report reads of the steps before changes an accuracy file, too.
    """
    require_file(folder / PROVENANCE, _stage_of(folder))
    files = {"provenance": folder / PROVENANCE, "losses": folder / LOSSES}
    return {name: sha256_of(file) for name, file in files.items() if file.is_file()}


def hashes_below(folder: Path) -> dict[str, str]:
    """Returns {file: SHA-256} of the files in `folder`, none if there is no folder.

    The weights of a model are left out, since they are large and model_hash has theirs, and so is what does not
    influence a run that starts from the model: its provenance and losses.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): sha256_of(path)
        for path in files
        if path.name not in (WEIGHTS, PROVENANCE, LOSSES)
    }


def write_losses(path: Path, rows: Iterable[LossRow]) -> None:
    """Writes losses.jsonl, one line per iteration: {"iteration": 0, "learning_rate": .., "task": .., "total": ..}.

    Between "task" and "total" there is one field for each replay loss. For a cross-entropy to the teacher there is also
    "<loss>_entropy", the teacher's own entropy with the same weight. Their difference is the KL divergence. "total" is
    the sum of the losses without these fields.
    """
    text = "".join(json.dumps(dict(row), allow_nan=False) + "\n" for row in rows)
    with write_atomically(path) as temporary:
        temporary.write_bytes(text.encode("ascii"))


def read_losses(path: Path) -> list[dict[str, float]]:
    """Returns the rows in their order; iterations count from 0. ContractError if the file is missing or damaged."""
    require_file(path, _FINETUNE)
    content = b"[" + b",\n".join(path.read_bytes().splitlines()) + b"]"
    return parse(list[dict[str, int | FiniteFloat]], content, path, _FINETUNE)


def _provenance(folder: Path) -> Provenance:
    return read(Provenance, folder / PROVENANCE, _stage_of(folder))


def _stage_of(folder: Path) -> str:
    if folder.name == PRETRAINED:
        return "import_model"
    return "evaluate" if RELEASED in folder.parts else _FINETUNE


def shape_fault(model_config: Any) -> str | None:
    """Returns the reason to reject a model_cfg of open_clip, or None. `model_config` is any value of JSON.

    A missing section, a wrong type, an absurd size, or a tokenizer option that could run code.
    """
    try:
        settings = {"embed_dim": model_config["embed_dim"]}
        for section in ("vision_cfg", "text_cfg"):
            settings |= {f"{section}.{key}": value for key, value in model_config[section].items()}
    except (LookupError, TypeError, AttributeError) as error:
        return f"it should have an embed_dim, a vision_cfg and a text_cfg ({error!r})"
    for name, value in settings.items():
        key = name.rpartition(".")[2]
        if key == "tokenizer_kwargs":
            options = value if isinstance(value, Mapping) else [_shown(value)]
            unknown = [option for option in options if option not in _TOKENIZER_OPTIONS]
            if unknown:
                return f"{name}.{unknown[0]} is not allowed, only {', '.join(_TOKENIZER_OPTIONS)}"
        elif key.endswith("_name") and not (value is None or isinstance(value, str)):
            return f"{name} should be text, it is {_shown(value)}"
        elif key in _LARGEST and not (value is None and key == "patch_size"):  # a ResNet has none
            kinds = (int, float) if key == "mlp_ratio" else (int,)
            for number in value if isinstance(value, list | tuple) and value else [value]:
                if isinstance(number, bool) or not isinstance(number, kinds) or not 0 < number <= _LARGEST[key]:
                    kind = "number" if key == "mlp_ratio" else "whole number"
                    return f"{name} should be a {kind}, more than 0 and at most {_LARGEST[key]}, it is {_shown(value)}"
    return None


def _shown(value: Any) -> str:
    return json.dumps(value)[:80]
