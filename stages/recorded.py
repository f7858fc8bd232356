"""What a stage reads is what the pipeline wrote: its small files have the hashes that dvc.lock or the writer recorded.

`dvc repro` looks at times and sizes of files, and a stage that is run by hand has no DVC before it. So an edited
task.json would become part of a result that is recorded as that of the old one. Tars, weights and features are left
out: whoever reads them compares them with the hashes in such a small file.
"""

from __future__ import annotations

import configparser
import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from gift_core.artifacts.contract import write_json
from gift_core.config.experiment import Config
from gift_core.errors import ContractError
from gift_core.layout import Layout
from gift_core.untrusted import read_json_file

from .dvc_store import LISTING, md5_of

HASHED_ELSEWHERE = (".tar", ".safetensors")
LISTS = ("manifest.json", "source.json")  # each has the hash of every other file in its folder
# Parsing all of dvc.lock as YAML takes DVC a second for 200 stages. DVC writes each output in these lines.
OUTPUTS = re.compile(r"^    outs:\n((?:(?:    - |      ).*\n)+)", re.MULTILINE)
OUTPUT = re.compile(r"^    - path: (.+)\n(?:      .*\n)*?      md5: ([0-9a-f]{32}(?:\.dir)?)$", re.MULTILINE)
Hashes = Mapping[str, str]  # {path below the project's root: MD5}


def require_recorded(layout: Layout, config: Config, stage: str, method: str, task: str) -> None:
    """Raises ContractError where a small file that the stage reads is none of the pipeline's.

    Its hash is in dvc.lock, or was noted by the stage that wrote it last on this machine. dvc.lock may have an output
    twice: DVC keeps the entries of steps that are gone. Nothing is compared where dvc.lock has the folder, but DVC's
    cache has no listing of it, nor where neither knows the output.
    """
    locked = _locked(layout.root)
    for path in _inputs(layout, config, stage, method, task):
        name = path.relative_to(layout.root).as_posix()
        recorded = _of_lock(layout.root, name, locked)
        if not all(recorded):
            continue
        known = [hashes for hashes in (*recorded, _written(layout, name)) if hashes]
        changes = [_changed(layout.root, name, hashes) for hashes in known]
        if changes and all(changes):
            raise ContractError(
                f"{changes[0]}: the pipeline wrote another file: this one was edited, or put here. "
                "Restore it with: gift verify --heal. To use it as it is, record it first: dvc commit"
            )


def record(layout: Layout, config: Config, stage: str, method: str, task: str) -> None:
    """Notes the hashes of the small files that the stage has written, until DVC has recorded them."""
    for path in _outputs(layout, config, stage, method, task):
        name = path.relative_to(layout.root).as_posix()
        files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
        small = _small(name, [file.relative_to(layout.root).as_posix() for file in files])
        write_json(layout.written(name), {each: md5_of(layout.root / each) for each in small})


def _inputs(layout: Layout, config: Config, stage: str, method: str, task: str) -> Iterator[Path]:
    """All that the stages before this one wrote and that it may read, directly or as part of its history."""
    names = [step.task for step in config.sequence]
    if stage == "write_prompts":
        yield layout.task(task)
        yield layout.vocabulary(config.sequence[names.index(task)].after)
    elif stage == "synthesize":
        yield layout.prompts(task)
    elif stage in ("teach", "finetune", "evaluate"):
        before = names[: names.index(task)]
        yield from _shared(layout, [*before, task])
        yield from _of_method(layout, method, before)
        done = {"teach": [], "finetune": [layout.teacher], "evaluate": [layout.teacher, layout.model]}[stage]
        yield from (location(method, task) for location in done)
    elif stage == "report":
        yield from _shared(layout, names)
        for each in config.run.methods:
            yield from _of_method(layout, each, names)


def _shared(layout: Layout, tasks: list[str]) -> Iterator[Path]:
    yield from (layout.pretrained(), layout.pretrained_accuracy(), layout.base_vocabulary())
    for task in tasks:
        yield from (layout.task(task), layout.vocabulary(task), layout.prompts(task), layout.shards(task))


def _of_method(layout: Layout, method: str, tasks: list[str]) -> Iterator[Path]:
    for task in tasks:
        yield from (layout.teacher(method, task), layout.model(method, task))
        yield from (layout.accuracy(method, task), layout.predictions(method, task))


def _outputs(layout: Layout, config: Config, stage: str, method: str, task: str) -> list[Path]:
    outputs = {
        "import_model": lambda: [layout.pretrained(), layout.pretrained_accuracy()],
        "ingest": lambda: [layout.task(task)],
        "write_vocabulary": lambda: [layout.base_vocabulary()],
        "write_prompts": lambda: [layout.prompts(task), layout.vocabulary(task)],
        "synthesize": lambda: [layout.shards(task)],
        "teach": lambda: [layout.teacher(method, task)],
        "finetune": lambda: [layout.model(method, task)],
        "evaluate": lambda: [layout.accuracy(method, task), layout.predictions(method, task)],
    }
    return outputs[stage]() if stage in outputs else []


def _changed(root: Path, output: str, hashes: Hashes) -> str:
    """The first file that is there with another hash, empty if there is none. A missing file is an error elsewhere."""
    found = ((name, root / name) for name in _small(output, hashes))
    return next((name for name, path in found if path.is_file() and md5_of(path) != hashes[name]), "")


def _small(output: str, files: Collection[str]) -> list[str]:
    """The files of an output whose hashes no other file of it has."""
    lists = [f"{output}/{name}" for name in LISTS if f"{output}/{name}" in files]
    return lists or [file for file in files if not file.endswith(HASHED_ELSEWHERE)]


def _written(layout: Layout, name: str) -> Hashes:
    """What the stage that wrote the output last on this machine noted; empty where none did."""
    return _json(layout.written(name)) or {}


def _locked(root: Path) -> Mapping[str, Sequence[str]]:
    """{path of an output: its MD5, or that of its listing, in each entry of dvc.lock}."""
    try:
        text = (root / "dvc.lock").read_text(encoding="utf-8")
    except (OSError, ValueError):
        return {}
    found = defaultdict[str, list[str]](list)
    for outputs in OUTPUTS.findall(text):
        for path, md5 in OUTPUT.findall(outputs):
            found[path].append(md5)
    return found


def _of_lock(root: Path, name: str, locked: Mapping[str, Sequence[str]]) -> list[Hashes]:
    """The files of an output in each entry of dvc.lock, empty where DVC's cache has no listing of a folder."""
    found: list[Hashes] = []
    for md5 in locked.get(name, ()):
        listing = _cache(root) / "files" / "md5" / md5[:2] / md5[2:]
        if not md5.endswith(LISTING):
            found.append({name: md5})
        elif md5_of(listing) == md5.removesuffix(LISTING):
            found.append({f"{name}/{entry['relpath']}": entry["md5"] for entry in _json(listing)})
        else:
            found.append({})
    return found


def _json(file: Path) -> Any:
    try:
        return read_json_file(file)
    except (OSError, ValueError):
        return None


def _cache(root: Path) -> Path:
    """DVC's cache: .dvc/cache unless the project's configuration names another folder."""
    config = configparser.ConfigParser(strict=False, interpolation=None)
    try:
        config.read([root / ".dvc" / "config", root / ".dvc" / "config.local"], encoding="utf-8")
    except (configparser.Error, ValueError):
        return root / ".dvc" / "cache"
    return root / ".dvc" / config.get("cache", "dir", fallback="cache")
