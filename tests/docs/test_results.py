"""The results that README.md and docs/results.md report are those of the recorded files."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from recipes import results_tables
from tests.imports import ROOT

RESULTS = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
MEASURED = re.compile(r"(?<![\w.])\d+\.\d+(?![\w.]*\w)")


def sections() -> list[str]:
    """README's results, the beginning of results.md together with its first section, and the other sections."""
    head, first, *others = re.split(r"^## ", RESULTS, flags=re.MULTILINE)
    own = re.search(r"^## Results\n(.*?)^## ", README, flags=re.MULTILINE | re.DOTALL)
    assert own
    return [own[1], head + first, *others]


def unsourced(section: str) -> set[str]:
    """The numbers with decimals in the sentences of a section that none of its generated tables has."""
    tables = " ".join(match[0] for match in results_tables.TABLE.finditer(section))
    text = re.sub(r"`[^`]*`|\]\([^)]*\)", "", results_tables.TABLE.sub("", section))
    return set(MEASURED.findall(text)) - set(MEASURED.findall(tables))


@pytest.mark.parametrize("page", results_tables.PAGES, ids=lambda page: page.stem)
def test_every_table_of_results_is_what_the_recorded_files_give(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert results_tables.filled(text) == text, "run: make results"


def test_every_measured_number_in_a_sentence_stands_in_a_generated_table_of_its_section() -> None:
    assert [unsourced(section) for section in sections()] == [set()] * len(sections())
    without_tables = results_tables.TABLE.sub("", RESULTS)
    assert re.search(r"^\|(?!.*better|---| Transfer| Avg| Last| Forgetting| Own| Zero)", without_tables, re.M) is None
    assert unsourced("It keeps 12.3 points.") == {"12.3"}


def test_cells_have_means_arrows_and_paired_differences_with_their_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [("a", 1, 60.0, -1.0), ("a", 2, 62.0, 2.0), ("a", 3, 64.0, 2.0), ("b", 1, 58.0, -9.0), ("b", 2, 61.0, -8.0)]
    frame = pd.DataFrame([*rows, ("b", 3, 61.0, -7.0)], columns=["method", "seed", "avg", "zero_shot_change"])
    monkeypatch.setattr(results_tables, "recorded", lambda file: frame)
    table = {"file": "any"}
    assert results_tables.cell(table, "a", "avg") == "62.0"
    assert results_tables.cell(table, "b -> a", "zero_shot_change") == "−8.0 → +1.0"
    # The differences are 2, 1 and 3: mean 2, standard deviation 1, t(0.975, 2) = 4.303, so 2 ± 4.303 / sqrt(3).
    assert results_tables.cell(table, "a - b", "avg") == "+2.0 (−0.5 to 4.5)"
    assert results_tables.cell(table, "a seed=1 - b seed=1", "avg") == "+2.0"
    with pytest.raises(KeyError, match="no c"):
        results_tables.cell(table, "c", "avg")
