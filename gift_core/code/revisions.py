"""What the stage check writes of the code: revisions of its parts, and what was edited since they were verified.

A part is a stage, or what an option adds to it: "finetune", "finetune losses.distill", "ingest source.folder". A stage
that uses a part runs again when the revision of the part rises, and not when only its code changes. revisions.json has
the revision of each part, and the reason for each one. verified_code.json has the hashes of the code that was verified
with these revisions. Code with another hash was edited, and counts by its hash (docs/decisions/0064-revisions.md).
It also has a hash of the bytes of each file: where all are the same, the code need not be parsed, which takes a second.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gift_core.code.fingerprint import (
    COUNTS,
    PACKAGES,
    REVISIONS,
    WORK,
    CodeBase,
    category,
    edited_files,
    hashes_of_files,
    read_verified,
)
from gift_core.errors import UserError
from gift_core.layout import CODE
from gift_core.untrusted import MAX_YAML_BYTES, parse_yaml, read_limited

if TYPE_CHECKING:
    from gift_core.config.experiment import Config

PARAMS = "params.yaml"
Units = Mapping[str, Mapping[str, str]]  # {part: {unit of code: hash}}
# The kinds of options that choose code of a stage.
CHOOSE: Mapping[str, Sequence[str]] = {
    "ingest": ["source"],
    "synthesize": ["filters"],
    "teach": ["replay", "fisher"],
    "finetune": ["replay", "losses", "consolidation", "average", "merge", "layer_decay", "trains"],
    "evaluate": ["release"],
}


@dataclass(frozen=True)
class Block:
    """A block of dvc.yaml, with its variables as they are written there: tasks.${key}."""

    name: str
    deps: Sequence[str]
    params: Sequence[str]


def read_blocks(root: Path) -> list[Block]:
    """Returns the blocks of root/dvc.yaml in their order, without DVC, whose import takes a second.

    UserError if it is damaged.
    """
    file, blocks = root / "dvc.yaml", []
    try:
        for name, content in parse_yaml(read_limited(file, MAX_YAML_BYTES))["stages"].items():
            body = content.get("do", content)
            blocks.append(Block(name, body.get("deps", []), body.get("params", [])))
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        what = f"it should have the stages of the pipeline ({error})"
        raise UserError(f"{file}: {what}. Restore it: git checkout dvc.yaml") from None
    return blocks


def value_at(content: Any, key: str) -> Any:
    """Returns the value of a dotted key, such as run.methods, in the content of a YAML file; None without the key."""
    for name in key.split("."):
        content = content.get(name) if isinstance(content, Mapping) else None
    return content


@dataclass
class Code:
    """Code, and beside it the record of what was verified."""

    base: CodeBase
    _reached: dict[tuple[str, frozenset[str]], dict[str, str]] = field(default_factory=dict)

    @cached_property
    def parts(self) -> dict[str, dict[str, Any]]:
        """The rows of revisions.json by part: its "revision", and in "reasons" why each of its revisions began."""
        path = self.base.root / REVISIONS
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}

    @cached_property
    def verified(self) -> Mapping[str, str]:
        """{unit or data file: hash} of verified_code.json."""
        files, units = read_verified(self.base.root)
        return {**{name: digest for name, digest in files.items() if not name.endswith(".py")}, **units}

    @cached_property
    def edited_files(self) -> tuple[str, ...]:
        """The files that do not have the bytes of the verified code."""
        return edited_files(self.base.root, self.base.path(PACKAGES[1]))

    def reached(self, stage: str, options: Collection[str]) -> dict[str, str]:
        """Returns {unit or data file: hash} of what the stage runs with these options."""
        key = stage, frozenset(options)
        if key not in self._reached:
            self._reached[key] = self.base.reached(*key)
        return self._reached[key]

    def state(self, stage: str, options: Collection[str]) -> dict[str, Any]:
        """Returns the content of the file in data/code of a stage with these options."""
        names = [part_name(stage), *(part_name(stage, option) for option in sorted(options))]
        reached = self.reached(stage, options) if self.edited_files else {}
        edited = {
            key: digest
            for key, digest in reached.items()
            if category(key) != WORK and self.verified.get(key, "") != digest
        }
        state = {"revisions": {name: self.parts[name]["revision"] for name in names if name in self.parts}}
        return {**state, "edited": edited} if edited else state


def verified_content(code: CodeBase) -> dict[str, dict[str, str]]:
    """Returns the content of verified_code.json: the hashes of the bytes of all files, and of the units of code."""
    units = code.units()
    content: dict[str, dict[str, str]] = {}
    for file, digest in hashes_of_files(code.root, code.path(PACKAGES[1])).items():
        folder, _, name = file.rpartition("/")
        rows = content.setdefault(folder, {})
        rows[name] = f"{digest} {units.get(file, '')}".rstrip()
        rows |= {key.removeprefix(f"{folder}/"): units[key] for key in units if key.startswith(f"{file}: ")}
    return content


def part_name(stage: str, option: str = "") -> str:
    """Returns the name of a part: "finetune losses.distill"."""
    return f"{stage} {option}".rstrip()


def code_files(code: Code, blocks: Sequence[Block], config: Config) -> dict[str, dict[str, Any]]:
    """Returns {path below the project: content} of all files in data/code that stages of dvc.yaml depend on.

    A stage of a task or a method has a file of its own where dvc.yaml says so: data/code/finetune/gift.json. Otherwise
    one file stands for all of them.
    """
    files: dict[str, dict[str, Any]] = {}
    for block in blocks:
        own = options_of(block.name, config)
        every = sorted({option for options in own.values() for option in options})
        for dep in block.deps:
            if dep == f"{CODE}{block.name}.json":
                files[dep] = code.state(block.name, every)
            elif dep.startswith(f"{CODE}{block.name}/"):
                for name, options in own.items():
                    settings = settings_of(block.name, name, config)
                    files[f"{CODE}{block.name}/{name}.json"] = code.state(block.name, options) | settings
    return files


def settings_of(stage: str, name: str, config: Config) -> dict[str, Any]:
    """Returns {"settings": the part of the method's row that the stage depends on}; {} for another stage.

    DVC can depend on a whole row alone, but an edit of `release` trains nothing.
    """
    if stage == "finetune":
        return {"settings": config.methods[name].trained_settings}
    if stage == "evaluate":
        return {"settings": config.methods[name].model_dump(mode="json", include={"release"}, exclude_none=True)}
    return {}


def options_of(stage: str, config: Config) -> dict[str, list[str]]:
    """Returns the options that choose code of the stage, for each task or method that it runs for."""
    if stage == "ingest":
        return {name: [f"source.{task.source}"] for name, task in config.tasks.items()}
    if stage == "synthesize":
        return {"": ["filters"] if config.generator.filters else []}
    if stage not in ("teach", "finetune", "evaluate"):
        return {"": []}
    found = {}
    for name in config.run.methods:
        row = config.methods[name]
        chosen = ["release"] if stage == "evaluate" and row.release else []
        if stage != "evaluate":
            chosen.append(f"replay.{row.replay.images}")
        if stage == "teach" and getattr(row.replay, "fisher", None) is not None:
            chosen.append("fisher")
        if stage == "finetune":
            chosen += [f"losses.{loss}" for loss, _ in row.losses.items()]
            chosen.append(f"consolidation.{row.consolidation.kind}")
            chosen += [slot for slot in ("average", "merge", "layer_decay") if getattr(row, slot) is not None]
            chosen += [f"trains.{row.trains.kind}"] if row.trains is not None else []
        found[name] = sorted(chosen)
    return found


def work_files(code: CodeBase) -> dict[str, str]:
    """Returns {file: hash of its bytes} of the code that resumes, shares and publishes work: parsing takes a second."""
    files = hashes_of_files(code.root, code.path(PACKAGES[1]))
    return {name: digest for name, digest in files.items() if category(name) == WORK}


def all_options(code: CodeBase) -> list[str]:
    """Returns every option that chooses code, sorted."""
    files = sorted({key.partition(": ")[0] for key in COUNTS if ": " in key})
    return sorted({each for file in files if code.path(file).is_file() for each in code.module(file).options.values()})


def units_of_parts(code: Code, stages: Collection[str]) -> Units:
    """Returns {part: {unit: hash}}: what each stage always runs, and what each option adds to that."""
    parts: dict[str, Mapping[str, str]] = {}
    for stage in stages:
        every = [each for each in all_options(code.base) if each.partition(".")[0] in CHOOSE.get(stage, ())]
        always = parts[part_name(stage)] = code.reached(stage, ())
        for option in every:
            added = _added(code.reached(stage, [option]), always) or _added(
                code.reached(stage, every), code.reached(stage, [each for each in every if each != option])
            )  # the second for an option that only works together with another
            if added:
                parts[part_name(stage, option)] = added
    return parts


def _added(more: Mapping[str, str], less: Mapping[str, str]) -> dict[str, str]:
    return {key: digest for key, digest in more.items() if key not in less}
