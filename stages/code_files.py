"""The files in data/code: what each stage depends on besides its inputs and the parameters in dvc.yaml.

That is the version of the stage, what was edited of its code, the files that its settings name, and its settings of a
method's row. `check` writes them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gift_core.artifacts.contract import sha256_of, write_json
from gift_core.code.own_files import own_files
from gift_core.code.versions import digest_of, hash_of_module, is_module, running_code
from gift_core.config.own_code import files_of
from gift_core.layout import CODE, Layout, watched_path
from gift_core.stage_facts import facts_of
from gift_core.untrusted import read_json_file
from gift_core.work.publishing import write_atomically

if TYPE_CHECKING:
    from gift_core.config.experiment import Config

# In dvc.yaml: what stands before the dependencies of `check`, and these, one a line.
CHECK_DEPS = re.compile(r"^  check:\n(?P<head>(?:    .*\n)*?)    deps:\n(?P<deps>(?:      - .*\n)+)", re.MULTILINE)


def code_files(config: Config, root: Path) -> dict[str, dict[str, Any]]:
    """Returns {path below `root`: content} of all files in data/code."""
    files = {}
    for stage in running_code().versions:
        for method in config.run.methods if facts_of(stage).of_methods else [""]:
            files[code_file(stage, method)] = content_of(stage, method, config, root)
    return files


def watch(config: Config, root: Path) -> list[str]:
    """Makes files with code of the user's own dependencies of `check` in dvc.yaml. Returns them where that is new.

    DVC cannot read their names from params.yaml. Nothing is written in a project without GIFT's code: there `check`
    runs at every `dvc repro`.
    """
    path = root / "dvc.yaml"
    modules = list(own_files(root, files_of(config, config.run.methods)))
    before = path.read_text(encoding="utf-8") if path.is_file() else ""
    block = CHECK_DEPS.search(before)
    if block is None or "always_changed" in block["head"]:
        return []
    kept = [line for line in block["deps"].splitlines() if not line.endswith(".py")]
    deps = "\n".join([*kept, *(f"      - {file}" for file in modules)])
    after = before[: block.start("deps")] + f"{deps}\n" + before[block.end("deps") :]
    if after == before:
        return []
    with write_atomically(path.resolve()) as temporary:
        temporary.write_text(after, encoding="utf-8")
    return modules


def code_file(stage: str, method: str) -> str:
    """Returns the path of a file in data/code: data/code/finetune/gift.json, data/code/ingest.json."""
    return f"{CODE}{stage}/{method}.json" if facts_of(stage).of_methods else f"{CODE}{stage}.json"


def content_of(stage: str, method: str, config: Config, root: Path) -> dict[str, Any]:
    """Returns the content of code_file, without what is empty."""
    former = _read(root / code_file(stage, method)).get("files", {})
    files = digests_of(named_files(stage, method, config), root, former)
    own_code = own_files(root, files_of(config, [method])) if stage == "finetune" else {}
    settings = settings_of(stage, method, config)
    content = {**running_code().state(stage), "files": files, "own_code": own_code, "settings": settings}
    return {key: value for key, value in content.items() if value}


def settings_of(stage: str, method: str, config: Config) -> dict[str, Any]:
    """Returns what the stage reads of the method's row, by method where it runs for all methods.

    DVC can depend on a whole row alone, but an edit of `release` trains nothing.
    """
    if facts_of(stage).of_methods:
        return config.methods[method].settings_of(stage)
    rows = {name: config.methods[name].settings_of(stage) for name in config.run.methods}
    return {name: row for name, row in rows.items() if row}


def named_files(stage: str, method: str, config: Config) -> list[str]:
    """Returns the files and folders that the stage's settings name, among names of other things, such as hub names."""
    generator, prompts = config.generator, config.prompts
    names: list[str | None] = []
    if stage == "import_model":
        names = [config.model.name, config.model.pretrained]
    elif stage == "write_vocabulary":
        names = [prompts.base_vocabulary]
    elif stage == "write_prompts":
        names = [prompts.captions]
    elif stage == "synthesize":
        names = [generator.pipeline]
        if generator.lora:
            names.append(f"{generator.lora.path}/{generator.lora.weight_name or ''}")
        if generator.filters:
            names += [generator.filters.scorer.name, generator.filters.scorer.pretrained]
    elif stage == "teach":
        replay = config.methods[method].replay
        names = [getattr(replay, key) for key in replay.watched]
    return [name for name in names if name]


def digests_of(names: Iterable[str], root: Path, former: Mapping[str, str]) -> dict[str, str]:
    """Returns {path below `root`: hash of its content} of the names that are files or folders in WATCHED.

    One that is not on this machine keeps its hash in `former`: results that were made with it stay. What was read is
    noted, so that gigabytes are read again only after a change.
    """
    digests = dict[str, str]()
    noted = Layout(root).noted_hashes()
    notes = _read(noted)
    before = dict(notes)
    for name in names:
        path = watched_path(name, root)
        if path and (root / path).exists():
            digests[path] = _digest(root / path, notes)
        elif path in former:
            digests[path] = former[path]
    if notes != before:
        with suppress(OSError):  # the project may be read-only
            write_json(noted, notes)
    return digests


def checked_files(root: Path) -> list[str]:
    """Returns the files and folders in WATCHED that settings named when `check` ran last, sorted."""
    contents = map(_read, (root / CODE).rglob("*.json"))
    return sorted({name for content in contents for name in content.get("files", {})})


def _read(path: Path) -> dict[str, Any]:
    """The content of a JSON file, {} where there is none or it is damaged."""
    with suppress(OSError, ValueError):
        return dict(read_json_file(path))
    return {}


def _digest(path: Path, notes: dict[str, list[str]]) -> str:
    """The hash of a file or a folder, from `notes` where all sizes and times of change are as they were noted.

    Comments and docstrings of a module do not count, nor do a folder's README.md and hidden files.
    """
    if is_module(path.name):
        return hash_of_module(path.read_text(encoding="utf-8"))
    files = {path.name: path}
    if path.is_dir():
        inside = sorted((file.relative_to(path).as_posix(), file) for file in path.rglob("*") if file.is_file())
        files = {name: file for name, file in inside if file.name != "README.md" and "/." not in f"/{name}"}
    states = {name: (file.stat().st_size, file.stat().st_mtime_ns) for name, file in files.items()}
    state, key = digest_of(repr(states).encode()), os.fspath(path)
    if notes.get(key, [""])[0] != state:
        hashes = {name: sha256_of(file) for name, file in files.items()}
        notes[key] = [state, digest_of(repr(hashes).encode())]
    return notes[key][1]
