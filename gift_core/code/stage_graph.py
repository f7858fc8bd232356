"""The stages of dvc.yaml, read without DVC: their parameters, and the instances that DVC makes of each block.

DVC names an instance after what it loops over: ingest@birds (`foreach` over a section), synthesize@3 (`foreach` over a
list of sections) and finetune@gift-step3 (`matrix`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from gift_core.errors import UserError
from gift_core.untrusted import MAX_YAML_BYTES, parse_yaml, read_limited

RUN_METHODS = "run.methods"
PARAMS = "params.yaml"


@dataclass(frozen=True)
class Block:
    """A block of dvc.yaml. `loops`: {variable: dotted key of params.yaml}; the variable of `foreach` is ""."""

    name: str
    deps: Sequence[str]
    params: Sequence[str]
    loops: Mapping[str, str]


@dataclass(frozen=True)
class StageInstance:
    """A stage as DVC runs it: finetune@gift-step3. `tasks` and `methods`: those that its loops name."""

    name: str
    tasks: tuple[str, ...]
    methods: tuple[str, ...]


def read_blocks(root: Path) -> list[Block]:
    """Returns the blocks of root/dvc.yaml in their order. UserError if it is damaged."""
    file, blocks = root / "dvc.yaml", []
    try:
        for name, content in parse_yaml(read_limited(file, MAX_YAML_BYTES))["stages"].items():
            loops = {"": content["foreach"]} if "foreach" in content else content.get("matrix", {})
            keys = {variable: each.removeprefix("${").removesuffix("}") for variable, each in loops.items()}
            body = content.get("do", content)
            blocks.append(Block(name, body.get("deps", []), body.get("params", []), keys))
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        what = f"it should have the stages of the pipeline ({error})"
        raise UserError(f"{file}: {what}. Restore it: git checkout dvc.yaml") from None
    return blocks


def list_stages(root: Path, params: Mapping[str, Any]) -> list[str]:
    """Returns all stages that DVC makes of root/dvc.yaml, in the order of its blocks.

    `params` is the content of params.yaml.
    """
    return [instance.name for block in read_blocks(root) for instance in _instances(block, params)]


def stages_of_step(root: Path, params: Mapping[str, Any], *tasks: str) -> list[str]:
    """Returns the stages that run when `tasks` are added to tasks and sequence, in the order of the blocks."""
    return _stages_of(root, params, ("tasks", "sequence"), tasks)


def stages_of_probe(root: Path, params: Mapping[str, Any], *tasks: str) -> list[str]:
    """Returns the stages that run when `tasks` are added to tasks and evaluation.probes, in the order of the blocks."""
    return _stages_of(root, params, ("tasks", "evaluation.probes"), tasks)


def stages_of_method(root: Path, params: Mapping[str, Any], method: str) -> list[str]:
    """Returns the stages that run when `method` is added to methods and run.methods, in the order of the blocks."""
    return _stages_of(root, params, (RUN_METHODS, "methods"), [method])


def _stages_of(root: Path, params: Mapping[str, Any], sections: Sequence[str], names: Sequence[str]) -> list[str]:
    """The instances for the names, and all of the blocks that read params.yaml itself or one of the sections."""
    return [
        instance.name
        for block in read_blocks(root)
        for instance in _instances(block, params)
        if {*names} & {*(instance.methods if RUN_METHODS in sections else instance.tasks)}
        or PARAMS in block.deps
        or {*block.params} & {*sections}
    ]


def value_at(content: Any, key: str) -> Any:
    """Returns the value of a dotted key, such as run.methods, in the content of a YAML file; None without the key."""
    for name in key.split("."):
        content = content.get(name) if isinstance(content, Mapping) else None
    return content


def _instances(block: Block, params: Mapping[str, Any]) -> Iterator[StageInstance]:
    if not block.loops:
        yield StageInstance(block.name, (), ())
        return
    loops = []
    for variable, key in block.loops.items():
        loops.append(list(_items(variable, value_at(params, key))))
    for items in product(*loops):
        name = "-".join(label for label, _ in items)
        named = zip(block.loops.values(), items, strict=True)
        methods = tuple(label for key, (label, _) in named if key == RUN_METHODS)
        yield StageInstance(f"{block.name}@{name}", tuple(task for _, task in items if task), methods)


def _items(variable: str, values: Mapping[str, Any] | Sequence[Any]) -> Iterator[tuple[str, str]]:
    """Yields (part of the stage's name, task or "") of each item, as DVC names them."""
    if isinstance(values, Mapping):
        yield from ((name, name) for name in values)
        return
    for index, value in enumerate(values):
        if isinstance(value, Mapping):
            yield f"{variable}{index}", value["task"]
        else:
            yield str(value), "" if variable else str(value)  # a method, or a task of evaluation.probes
