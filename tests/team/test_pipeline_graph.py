"""The graph of stage types says what real `dvc dag` says of the single stages."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
import yaml
from typer.testing import CliRunner

from gift_core.stage_graph import list_stages
from gift_core.team.pipeline_graph import read_graph
from stages.app import app
from tests.clone import Clone
from tests.imports import ROOT

PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
BLOCKS = [
    "check", "import_model", "ingest", "write_vocabulary", "write_prompts", "synthesize", "teach", "finetune",
    "evaluate", "report",
]  # fmt: skip


def gift_dag(*options: str) -> str:
    done = CliRunner().invoke(app, ["dag", "--params", str(ROOT / "params.yaml"), *options])
    assert done.exit_code == 0, done.output
    return done.output


def reachable(edges: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """Returns every pair with a way from the first to the second."""
    found: set[tuple[str, str]] = set()
    while found != (more := edges | {(a, d) for a, b in edges for c, d in found | edges if b == c} | found):
        found = more
    return found


def test_the_ways_are_those_of_dvc() -> None:
    printed = Clone(ROOT).run("dvc", "dag", "--dot")
    order = {name: index for index, name in enumerate(BLOCKS)}
    edges = {
        (above.partition("@")[0], below.partition("@")[0])
        for above, below in re.findall(r'^"([^"]+)" -> "([^"]+)";$', printed, flags=re.MULTILINE)
    }
    forward = {(above, below) for above, below in edges if order[above] < order[below]}
    graph = read_graph(ROOT, PARAMS)
    assert reachable(set(graph.edges)) == reachable(forward)
    assert all(edge not in reachable(set(graph.edges) - {edge}) for edge in graph.edges)  # no shortcut
    assert sum(graph.stages.values()) == len(list_stages(ROOT, PARAMS))


def test_the_drawing_has_a_box_per_stage_type_and_fits_a_terminal() -> None:
    lines = gift_dag().splitlines()
    assert max(map(len, lines)) <= 100
    boxes = [re.sub(r" x \d+$", "", box) for line in lines for box in re.findall(r"\| ([^|]+) \|", line)]
    assert sorted(boxes) == sorted(BLOCKS)
    rows = {box: next(i for i, line in enumerate(lines) if f"| {box}" in line) for box in BLOCKS}
    assert all(rows[above] < rows[below] for above, below in pairwise(BLOCKS[3:]))  # check stands at the top
    assert lines[-1].endswith(": write_prompts, teach, finetune, evaluate")


@pytest.mark.parametrize("line", ["flowchart TD", '  finetune["finetune x 8"]', "  finetune --> evaluate"])
def test_the_drawing_for_pages_has_the_same_boxes(line: str) -> None:
    assert line in gift_dag("--mermaid").splitlines()
