"""The graph of stage types, from the graph that DVC has of the single stages."""

from __future__ import annotations

import json

from tests.imports import ROOT
from tests.team.toy import gift
from tests.test_architecture import DVC


def test_every_stage_type_has_an_edge_to_a_later_one_and_no_edge_is_a_shortcut() -> None:
    blocks = list(DVC)
    edges = {tuple(edge) for edge in json.loads(gift("dag", "--root", ROOT, "--json").stdout)["edges"]}
    assert all(blocks.index(above) < blocks.index(below) for above, below in edges)
    assert {("synthesize", "teach"), ("teach", "finetune"), ("finetune", "evaluate")} <= edges
    assert ("ingest", "finetune") not in edges  # finetune reads the task, but teach comes between
    assert '  finetune["finetune x 8"]' in gift("dag", "--root", ROOT, "--mermaid").stdout.splitlines()
