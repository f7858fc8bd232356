"""The graph of stage types, from the graph that DVC has of the single stages."""

from __future__ import annotations

import json
import re
from itertools import pairwise

from tests.imports import ROOT
from tests.team.toy import gift
from tests.test_architecture import DVC

BLOCKS = list(DVC)


def gift_dag(*options: str) -> str:
    return gift("dag", "--root", ROOT, *options).output


def test_the_drawing_has_a_box_per_stage_type_and_fits_a_terminal() -> None:
    lines = gift_dag().splitlines()
    assert max(map(len, lines)) <= 100
    boxes = [re.sub(r" x \d+$", "", box) for line in lines for box in re.findall(r"\| ([^|]+) \|", line)]
    assert sorted(boxes) == sorted(BLOCKS)
    rows = {box: next(i for i, line in enumerate(lines) if f"| {box}" in line) for box in BLOCKS}
    assert all(rows[above] < rows[below] for above, below in pairwise(BLOCKS[3:]))  # check stands at the top
    assert lines[-1].endswith(": write_prompts, teach, finetune, evaluate")
    for_pages = {"flowchart TD", '  finetune["finetune x 8"]', "  finetune --> evaluate"}
    assert for_pages <= set(gift_dag("--mermaid").splitlines())


def test_an_edge_is_no_shortcut_and_ends_at_a_later_stage() -> None:
    edges = {tuple(edge) for edge in json.loads(gift_dag("--json"))["edges"]}
    assert all(BLOCKS.index(above) < BLOCKS.index(below) for above, below in edges)
    assert {("synthesize", "teach"), ("teach", "finetune"), ("finetune", "evaluate")} <= edges
    assert ("ingest", "finetune") not in edges  # finetune reads the task, but teach comes between
