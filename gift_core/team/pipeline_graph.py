"""The pipeline as a graph of its stage types: which block of dvc.yaml reads what another one writes."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from gift_core.stage_graph import list_stages

_EXPRESSION = re.compile(r"\$\{([^}]+)\}")


@dataclass(frozen=True)
class PipelineGraph:
    """`stages`: {block: number of its stages}. `edges`: (block, a later block that reads what it writes), no shortcuts.

    `chained`: the blocks whose stages read what one of the step before wrote.
    """

    stages: Mapping[str, int]
    edges: Sequence[tuple[str, str]]
    chained: Sequence[str]

    def mermaid(self) -> str:
        """Returns the graph in the language that GitHub and GitLab draw."""
        boxes = [f'  {name}["{label}"]' for name, label in self.labels().items()]
        return "\n".join(["flowchart TD", *boxes, *(f"  {above} --> {below}" for above, below in self.edges)])

    def labels(self) -> dict[str, str]:
        """Returns {block: its name, with the number of its stages if there are several}."""
        return {name: f"{name} x {count}" if count > 1 else name for name, count in self.stages.items()}


def read_graph(root: Path, params: Mapping[str, Any]) -> PipelineGraph:
    """Returns the graph of root/dvc.yaml. `params` is the content of params.yaml."""
    blocks: dict[str, Any] = yaml.safe_load((root / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    reads, writes = ({name: _paths(block, params, of) for name, block in blocks.items()} for of in ("deps", "outs"))
    order = list(blocks)
    pairs = [
        (writer, reader)
        for writer, reader in product(order, order)
        if any(_overlap(out, dep) for out in writes[writer] for dep in reads[reader])
    ]
    forward = [(writer, reader) for writer, reader in pairs if order.index(writer) < order.index(reader)]
    counts = dict.fromkeys(order, 0)
    for stage in list_stages(root, params):
        counts[stage.partition("@")[0]] += 1
    return PipelineGraph(
        counts,
        [pair for pair in forward if not _is_shortcut(pair, forward)],
        [name for name in order if (name, name) in pairs],
    )


def _is_shortcut(pair: tuple[str, str], pairs: Sequence[tuple[str, str]]) -> bool:
    """Whether another way leads from the first block of the pair to the second."""
    start, end = pair
    found, waiting = set(), [below for above, below in pairs if above == start and below != end]
    while waiting:
        block = waiting.pop()
        if block not in found:
            found.add(block)
            waiting += [below for above, below in pairs if above == block]
    return end in found


def _paths(block: Mapping[str, Any], params: Mapping[str, Any], of: str) -> set[str]:
    """Returns the deps or outs (also metrics) of all stages of a block."""
    body = block.get("do", block)
    listed = [*body.get(of, []), *(body.get("metrics", []) if of == "outs" else [])]
    names = [next(iter(each)) if isinstance(each, Mapping) else each for each in listed]
    return {posixpath.normpath(_fill(name, values)) for values in _loop(block, params) for name in names}


def _loop(block: Mapping[str, Any], params: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yields what ${item} and ${key} stand for in each stage of a block, as DVC does."""
    if "foreach" in block:
        values = _look_up(block["foreach"][2:-1], params)
        for key, item in values.items() if isinstance(values, Mapping) else enumerate(values):
            yield {"key": key, "item": item}
    elif "matrix" in block:
        lists = [_look_up(expression[2:-1], params) for expression in block["matrix"].values()]
        for items in product(*lists):
            yield {"item": dict(zip(block["matrix"], items, strict=True))}
    else:
        yield {}


def _fill(text: str, values: Mapping[str, Any]) -> str:
    return _EXPRESSION.sub(lambda found: str(_look_up(found[1], values)), text)


def _look_up(key: str, values: Mapping[str, Any]) -> Any:
    return reduce(lambda section, name: section[name], key.split("."), values)


def _overlap(out: str, dep: str) -> bool:
    """Whether one of two paths is the other or below it."""
    return out == dep or out.startswith(f"{dep}/") or dep.startswith(f"{out}/")
