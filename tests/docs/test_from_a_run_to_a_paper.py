"""docs/from_a_run_to_a_paper.md: a reader types all of its commands in the miniature, cut to a small size."""

from __future__ import annotations

from pathlib import Path

import pytest

from gift_core.process_variables import FORK_SERVER
from tests.clone import fork_server, new_project, small
from tests.docs.snippets import blocks_of, install_gift
from tests.imports import ROOT

pytestmark = [pytest.mark.end_to_end, pytest.mark.slow]  # ten minutes
PAGE = Path("docs", "from_a_run_to_a_paper.md").as_posix()
TASKS = ("letters", "textures", "digits", "greek")


def test_every_command_runs_as_printed_and_leaves_tables_charts_and_another_order(tmp_path: Path) -> None:
    project = new_project(tmp_path / "gift")
    params = small(project.params, *TASKS)
    project.write_params(params)
    install_gift(project)
    project.environment |= {"PYTHONPATH": str(project.folder), "OMP_NUM_THREADS": "1"}
    socket, _ = fork_server(frozenset(project.environment.items()))
    printed = []
    for block in blocks_of(ROOT, PAGE):
        printed.append(project.run("bash", "-c", "\n".join(["set -e", *block.commands]), **{FORK_SERVER: socket}))
        if "gift show" in block.commands:
            page = (project.folder / "reports" / "index.html").read_text(encoding="utf-8")
            assert "The rows strength_0_5, gift, strength_2 differ in this number alone." in page
    latex = (project.folder / "table.tex").read_text(encoding="utf-8")
    assert latex.startswith("% \\usepackage{booktabs}\n") and latex.endswith("\\end{table*}\n")
    assert "letters & textures & digits & greek & mean" in latex
    assert "over 3 seeds" in printed[0] and "| Last | GIFT |" in printed[0]
    assert [step["task"] for step in project.params["sequence"]] == ["textures", "letters", "digits", "greek"]
    assert project.params["methods"] == params["methods"]
